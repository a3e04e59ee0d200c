//! Whose data dir this is, and how it was left. Two copies, so that one damaged sector costs nothing.
//!
//! ```text
//!  identity.a, identity.b:
//!
//!  byte 0       8     12       16           24       28
//!       +-------+-----+--------+------------+--------+-----------------+
//!       | magic | crc | format | generation | length | MessagePack map |
//!       +-------+-----+--------+------------+--------+-----------------+
//! ```
//!
//! Big-endian; `crc` covers what follows it. Both copies are written at every change, one after the other,
//! each synced before the next: the newer sound one counts.

use crate::error::OpenError;
use crate::io::{Io, read_whole, write_all};
use crate::layout::{IDENTITY, KNOWN, LOCK};
use crate::wal::{u32_at, u64_at};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use yak_protocol::ids::{BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId};

const MAGIC: [u8; 8] = *b"YAKIDY\r\n";
const HEADER_BYTES: usize = 28;
/// The format of the whole data dir.
const FORMAT: u32 = 1;

/// Who uses a data dir, and what it must not forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Made when the dir was; another id is another disk (rule R12).
    pub data_dir: DataDirId,
    /// The cluster that it belongs to, once it has joined one.
    pub cluster_id: Option<ClusterId>,
    /// The broker's number, once it has one.
    pub broker_id: Option<BrokerId>,
    /// The broker's name, once it has registered.
    pub name: Option<String>,
    /// The last session that the coordinator granted.
    pub broker_epoch: BrokerEpoch,
    /// The highest coordinator epoch seen (rule R15).
    pub coordinator_epoch: CoordinatorEpoch,
    /// Whether the store was closed the last time (true for a new dir). Set by the store.
    pub clean_shutdown: bool,
    /// Whether the machine has not been started since (true for a new dir). Set by the store.
    pub same_boot: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    data_dir: DataDirId,
    #[serde(default)]
    cluster_id: Option<ClusterId>,
    #[serde(default)]
    broker_id: Option<BrokerId>,
    #[serde(default)]
    name: Option<String>,
    broker_epoch: BrokerEpoch,
    coordinator_epoch: CoordinatorEpoch,
    clean_shutdown: bool,
    boot_id: String,
}

/// The identity and what is needed to write it again.
pub(crate) struct IdentityFile {
    /// As found at start, with what has been updated since.
    pub(crate) identity: Identity,
    generation: u64,
    boot_id: String,
    /// How the dir was found if something may be lost: kept until a session is granted that knows of it. A
    /// process that dies before it has registered must not make its successor look whole.
    pub(crate) unsettled: Option<String>,
}

impl IdentityFile {
    /// Reads the identity of a dir that is locked, or makes one for an empty dir, and marks the dir as in
    /// use: until [`IdentityFile::close`] it counts as not cleanly shut down.
    pub(crate) fn open(io: &dyn Io, root: &Path) -> Result<Self, OpenError> {
        let boot_id = io.boot_id();
        let mut newest: Option<(u64, Stored)> = None;
        let mut bad = 0;
        for name in IDENTITY {
            let path = root.join(name);
            let bytes = match read_whole(io, &path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(OpenError::Unusable { action: "read", path, cause: source }),
            };
            match decode(&bytes) {
                Ok((generation, stored))
                    if newest.as_ref().is_none_or(|(newest, _)| *newest < generation) =>
                {
                    newest = Some((generation, stored));
                }
                Ok(_) => {}
                Err(Some(found)) => {
                    return Err(OpenError::Unsupported { dir: root.to_owned(), found, known: FORMAT });
                }
                Err(None) => bad += 1,
            }
        }
        let mut file = match newest {
            Some((generation, stored)) => Self {
                unsettled: (!stored.clean_shutdown && (boot_id.is_empty() || stored.boot_id != boot_id))
                    .then(|| stored.boot_id.clone()),
                identity: stored.identity(&boot_id),
                generation,
                boot_id,
            },
            None => Self::format(io, root, boot_id, bad)?,
        };
        file.write(io, root, false).map_err(|source| OpenError::Unusable {
            action: "write the identity in",
            path: root.to_owned(),
            cause: source,
        })?;
        Ok(file)
    }

    fn format(io: &dyn Io, root: &Path, boot_id: String, bad: usize) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { action: "list", path: root.to_owned(), cause: source };
        let names: Vec<_> = io.list(root).map_err(unusable)?.into_iter().map(|entry| entry.name).collect();
        let foreign: Vec<_> = names.iter().filter(|name| !KNOWN.contains(&name.as_str())).collect();
        // Beside the lock only a first start that was cut short leaves no identity behind: then there is
        // one copy at most, and nothing else yet.
        let ours = names.iter().any(|name| name != LOCK && !IDENTITY.contains(&name.as_str()));
        if !foreign.is_empty() && bad == 0 {
            let shown: Vec<_> = foreign.iter().take(3).map(|name| format!("{name:?}")).collect();
            let more = foreign.len().saturating_sub(shown.len());
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            let found = format!("{}{rest}", shown.join(", "));
            return Err(OpenError::Foreign { dir: root.to_owned(), found });
        }
        if ours || bad == IDENTITY.len() {
            let what = format!("it has data, but no sound copy of its identity ({bad} damaged)");
            return Err(OpenError::Corrupt { dir: root.to_owned(), what });
        }
        let identity = Identity {
            data_dir: DataDirId(uuid::Uuid::new_v4().as_u128()),
            cluster_id: None,
            broker_id: None,
            name: None,
            broker_epoch: BrokerEpoch::ZERO,
            coordinator_epoch: CoordinatorEpoch::ZERO,
            clean_shutdown: true,
            same_boot: true,
        };
        Ok(Self { identity, generation: 0, boot_id, unsettled: None })
    }

    /// A session was granted: the coordinator has heard what may be lost, and nothing is since.
    pub(crate) fn settle(&mut self) {
        self.unsettled = None;
        self.identity.same_boot = true;
    }

    /// Makes the identity durable, in both copies.
    pub(crate) fn write(&mut self, io: &dyn Io, root: &Path, clean: bool) -> io::Result<()> {
        let stored = Stored {
            data_dir: self.identity.data_dir,
            cluster_id: self.identity.cluster_id,
            broker_id: self.identity.broker_id,
            name: self.identity.name.clone(),
            broker_epoch: self.identity.broker_epoch,
            coordinator_epoch: self.identity.coordinator_epoch,
            clean_shutdown: clean && self.unsettled.is_none(),
            boot_id: self.unsettled.as_ref().unwrap_or(&self.boot_id).clone(),
        };
        let body = rmp_serde::to_vec_named(&stored).map_err(io::Error::other)?;
        let mut out = vec![0; HEADER_BYTES];
        out.extend_from_slice(&body);
        self.generation += 1;
        out[..8].copy_from_slice(&MAGIC);
        out[12..16].copy_from_slice(&FORMAT.to_be_bytes());
        out[16..24].copy_from_slice(&self.generation.to_be_bytes());
        out[24..28].copy_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_be_bytes());
        for name in IDENTITY {
            let file = io.create(&root.join(name))?;
            write_all(file.as_ref(), &out, 0)?;
            file.sync()?;
            if self.generation == 1 {
                io.sync_dir(root)?;
            }
        }
        Ok(())
    }
}

impl Stored {
    /// As it was left; `boot_id` is that of the machine now.
    pub(crate) fn identity(self, boot_id: &str) -> Identity {
        Identity {
            data_dir: self.data_dir,
            cluster_id: self.cluster_id,
            broker_id: self.broker_id,
            name: self.name,
            broker_epoch: self.broker_epoch,
            coordinator_epoch: self.coordinator_epoch,
            clean_shutdown: self.clean_shutdown,
            same_boot: !boot_id.is_empty() && self.boot_id == boot_id,
        }
    }
}

/// The stored identity; on failure the format, if that is what is not understood.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, Stored), Option<u32>> {
    if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
        return Err(None);
    }
    let length = u32_at(bytes, 24) as usize;
    let end = HEADER_BYTES.saturating_add(length);
    let Some(covered) = bytes.get(12..end) else { return Err(None) };
    if crc32c::crc32c(covered) != u32_at(bytes, 8) {
        return Err(None);
    }
    let format = u32_at(bytes, 12);
    if format != FORMAT {
        return Err(Some(format));
    }
    let stored = rmp_serde::from_slice(&bytes[HEADER_BYTES..end]).map_err(|_| None)?;
    Ok((u64_at(bytes, 16), stored))
}
