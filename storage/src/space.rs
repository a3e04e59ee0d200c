//! When the disk counts as full, and what is kept back for that time.
//!
//! Appends are refused below the reserve, and taken again only once there is a quarter more than the
//! reserve: without that gap each freed block would be filled and refused in turn. The ballast is a file
//! that is given up when even the reserve did not help (somebody else filled the disk), so that promises,
//! truncations and checkpoints still find room.

use crate::StoreConfig;
use crate::io::{DiskSpace, Io, write_all};
use crate::layout::BALLAST;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Room on the store's disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that may still be taken.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Below this much room appends are refused.
    pub reserve_bytes: u64,
    /// Whether appends are refused now.
    pub full: bool,
}

pub(crate) struct SpaceGuard {
    io: Arc<dyn Io>,
    root: PathBuf,
    reserve: Option<u64>,
    recheck: Duration,
    ballast_bytes: u64,
    full: AtomicBool,
    /// Whether it is known to be there in full.
    has_ballast: AtomicBool,
    why: Mutex<Why>,
}

struct Why {
    text: String,
    looked: Option<Instant>,
}

impl SpaceGuard {
    pub(crate) fn new(io: Arc<dyn Io>, root: &Path, config: &StoreConfig) -> Self {
        Self {
            io,
            root: root.to_owned(),
            reserve: config.reserve_bytes,
            recheck: config.full_recheck,
            ballast_bytes: config.ballast_bytes,
            full: AtomicBool::new(false),
            has_ballast: AtomicBool::new(false),
            why: Mutex::new(Why { text: String::new(), looked: None }),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    fn reserve_of(&self, space: DiskSpace) -> u64 {
        self.reserve.unwrap_or_else(|| (space.total_bytes / 20).min(1 << 30))
    }

    /// With this much room appends are taken again.
    fn ample(&self, space: DiskSpace) -> u64 {
        let reserve = self.reserve_of(space);
        reserve + reserve / 4
    }

    pub(crate) fn space(&self) -> io::Result<Space> {
        let found = self.io.space(&self.root)?;
        let DiskSpace { free_bytes, total_bytes } = found;
        Ok(Space { free_bytes, total_bytes, reserve_bytes: self.reserve_of(found), full: self.is_full() })
    }

    /// What publishers are told.
    pub(crate) fn reason(&self) -> String {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    /// A write found no room, or could not be made; appends are refused from here on.
    pub(crate) fn note(&self, doing: &str, error: &io::Error) {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.text = format!("{doing}: {error}");
        why.looked = Some(Instant::now());
        if !self.full.swap(true, Ordering::AcqRel) {
            tracing::error!(doing, %error, "no room on the disk; appends are refused until there is");
        }
    }

    /// Looks how much room there is. While full, not more often than configured unless `now`.
    pub(crate) fn check(&self, now: bool) {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        if !now && why.looked.is_some_and(|at| at.elapsed() < self.recheck) {
            return;
        }
        why.looked = Some(Instant::now());
        let Ok(space) = self.io.space(&self.root) else { return };
        let reserve = self.reserve_of(space);
        let full = self.is_full();
        if !full && space.free_bytes < reserve {
            why.text = format!("{} bytes are free, {reserve} are kept in reserve", space.free_bytes);
            self.full.store(true, Ordering::Release);
            tracing::error!(free = space.free_bytes, reserve, "the disk is full; appends are refused");
        } else if full && space.free_bytes >= self.ample(space) {
            self.full.store(false, Ordering::Release);
            tracing::info!(free = space.free_bytes, "there is room on the disk again");
        }
    }

    fn ballast(&self) -> PathBuf {
        self.root.join(BALLAST)
    }

    /// Makes the ballast if it is not there in full and leaves room enough. Failing is not an error: then there
    /// is none.
    pub(crate) fn load_ballast(&self) {
        if self.is_full() || self.has_ballast.load(Ordering::Acquire) {
            return;
        }
        let path = self.ballast();
        let there = self.io.open(&path).and_then(|file| file.len()).unwrap_or(0);
        let missing = self.ballast_bytes.saturating_sub(there);
        // Otherwise a ballast that was just given up would be taken back before its room has served.
        match self.io.space(&self.root) {
            Ok(space) if space.free_bytes >= missing.saturating_add(self.ample(space)) => {}
            _ => return,
        }
        let filled = self.io.create(&path).and_then(|file| {
            if file.len()? < self.ballast_bytes {
                file.allocate(self.ballast_bytes)?;
                // Where blocks cannot be reserved the file must be written to hold any.
                if file.len()? < self.ballast_bytes {
                    write_all(file.as_ref(), &vec![0; 1 << 20], self.ballast_bytes.saturating_sub(1 << 20))?;
                }
            }
            Ok(())
        });
        self.has_ballast.store(true, Ordering::Release);
        if filled.is_err() {
            self.drop_ballast();
        }
    }

    /// Gives the ballast up; `true` if there was any, an earlier process's counts too.
    pub(crate) fn drop_ballast(&self) -> bool {
        self.has_ballast.store(false, Ordering::Release);
        self.io.remove_file(&self.ballast()).is_ok()
    }
}
