//! A disk in memory that forgets what was not synced, and fails where it is told to.
//!
//! For tests, of this crate and of those above it. It keeps to the letter of [`super::Io`]: after
//! [`SimDisk::crash`] a file holds what it held at its last sync, and a folder the names that it had at
//! its own; a rename is atomic, as on any journaling file system. Calls that change something are counted,
//! and faults are placed by that count, so that "at every call" is a loop.

mod nodes;

use super::{DirEntry, DiskSpace, Io, RandomFile};
use nodes::Nodes;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an injected fault does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The call finds no room. Only calls that take room can; others go through.
    NoSpace,
    /// The call fails with an I/O error, having done nothing.
    Error,
    /// The call fails with an I/O error after all, though it was carried out.
    ErrorAfter,
    /// A write takes half of its bytes.
    Short,
    /// The machine stops: this call and all after it fail.
    Death,
}

/// What is left after the machine stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// Power cut: nothing that was not synced.
    LoseUnsynced,
    /// Power cut in the middle of writing back: of what was not synced, each sector of 512 bytes may be there.
    KeepSome {
        /// Which ones.
        seed: u64,
    },
    /// Only the process stopped: everything that was written.
    KeepAll,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    nodes: Nodes,
    /// Changing calls so far.
    calls: u64,
    faults: Vec<(Range<u64>, Fault)>,
    dead: bool,
    capacity: Option<u64>,
    locked: BTreeSet<PathBuf>,
    syncs: u64,
    boot: u64,
}

/// What a changing call is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    TakesRoom,
    Sync,
    Other,
}

impl Disk {
    /// Counts a changing call; the fault that it meets.
    fn enter(&mut self, call: Call) -> io::Result<Option<Fault>> {
        self.alive()?;
        let number = self.calls;
        self.calls += 1;
        self.syncs += u64::from(call == Call::Sync);
        let fault = self.faults.iter().find(|(calls, _)| calls.contains(&number)).map(|(_, fault)| *fault);
        match fault {
            Some(Fault::Death) => {
                self.dead = true;
                Err(died())
            }
            Some(Fault::NoSpace) if call == Call::TakesRoom => Err(no_space()),
            Some(Fault::Error) => Err(io::Error::from_raw_os_error(5)),
            other => Ok(other),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(died()) } else { Ok(()) }
    }

    fn room_for(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.nodes.bytes() + more > capacity => Err(no_space()),
            _ => Ok(()),
        }
    }
}

fn died() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn after(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::ErrorAfter) => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    }
}

impl SimDisk {
    /// An empty disk without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls have changed something, or tried to.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// How many of them were syncs of files.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Lets the changing calls with these numbers (from 0) meet a fault.
    pub fn fault(&self, calls: Range<u64>, fault: Fault) {
        self.disk().faults.push((calls, fault));
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.disk().faults.clear();
    }

    /// Whether a [`Fault::Death`] has been met.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.disk().dead
    }

    /// How many bytes the disk holds at most; `None` = no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// How many bytes are in its files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.disk().nodes.bytes()
    }

    /// Stops the machine and starts it again. Whoever used the disk must be gone: files that are still open
    /// lead nowhere.
    pub fn crash(&self, how: Crash) {
        let mut disk = self.disk();
        disk.dead = false;
        disk.faults.clear();
        disk.locked.clear();
        disk.nodes.crash(how);
        disk.boot += u64::from(how != Crash::KeepAll);
    }

    /// Another disk with the same content, as if all of it were synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.disk();
        let copy = Disk { nodes: disk.nodes.copy(), boot: disk.boot, ..Disk::default() };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// The content of a file.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk().nodes.file(path).map(|node| node.to_vec())
    }

    /// Alters a file behind everybody's back, as a failing disk would; the result counts as synced.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn damage(&self, path: &Path, alter: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.disk().nodes.damage(path, alter)
    }
}

struct Held(SimDisk, PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.disk().locked.remove(&self.1);
    }
}

impl Io for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn RandomFile>> {
        let disk = self.disk();
        disk.alive()?;
        let node = disk.nodes.file_number(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node, incarnation: disk.nodes.incarnation() }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn RandomFile>> {
        if let Ok(file) = self.open(path) {
            return Ok(file);
        }
        let mut disk = self.disk();
        let fault = disk.enter(Call::TakesRoom)?;
        let node = disk.nodes.create(path)?;
        after(fault)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node, incarnation: disk.nodes.incarnation() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.enter(Call::Other)?;
        disk.nodes.rename(from, to)?;
        after(fault)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.enter(Call::Other)?;
        disk.nodes.file_number(path)?;
        disk.nodes.remove(path)?;
        after(fault)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.enter(Call::Other)?;
        disk.nodes.list(path)?;
        disk.nodes.remove(path)?;
        after(fault)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.alive()?;
        if disk.nodes.list(path).is_ok() {
            return Ok(());
        }
        let fault = disk.enter(Call::TakesRoom)?;
        disk.nodes.create_dir_all(path)?;
        after(fault)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.enter(Call::Other)?;
        disk.nodes.sync_dir(path)?;
        after(fault)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.disk();
        disk.alive()?;
        disk.nodes.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.disk();
        disk.alive()?;
        Ok(disk.nodes.exists(path))
    }

    fn space(&self, _: &Path) -> io::Result<DiskSpace> {
        let disk = self.disk();
        disk.alive()?;
        let total_bytes = disk.capacity.unwrap_or(1 << 40);
        Ok(DiskSpace { free_bytes: total_bytes.saturating_sub(disk.nodes.bytes()), total_bytes })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.create(path)?;
        if !self.disk().locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(self.clone(), path.to_owned()))))
    }

    fn boot_id(&self) -> String {
        format!("boot {}", self.disk().boot)
    }
}

struct SimFile {
    disk: SimDisk,
    node: usize,
    /// Files that were open before a crash lead nowhere.
    incarnation: u64,
}

impl SimFile {
    fn with<T>(&self, what: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.disk();
        disk.alive()?;
        if disk.nodes.incarnation() != self.incarnation {
            return Err(died());
        }
        what(&mut disk)
    }
}

impl RandomFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|disk| Ok(disk.nodes.read(self.node, buffer, position)))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.with(|disk| {
            let fault = disk.enter(Call::TakesRoom)?;
            let length = if fault == Some(Fault::Short) { bytes.len().div_ceil(2) } else { bytes.len() };
            let grows = (position + length as u64).saturating_sub(disk.nodes.len(self.node));
            disk.room_for(grows)?;
            disk.nodes.write(self.node, &bytes[..length], position);
            after(fault)?;
            Ok(length)
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(|disk| {
            let grows = length.saturating_sub(disk.nodes.len(self.node));
            let fault = disk.enter(if grows > 0 { Call::TakesRoom } else { Call::Other })?;
            disk.room_for(grows)?;
            disk.nodes.set_len(self.node, length);
            after(fault)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.nodes.len(self.node)))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = length.max(self.len()?);
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk| {
            let fault = disk.enter(Call::Sync)?;
            disk.nodes.sync(self.node);
            after(fault)
        })
    }
}
