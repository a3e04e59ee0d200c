//! What this coordinator knows that the Redis has held, in a small file of its own.
//!
//! ```text
//! yak coordinator with redis, format 1
//! cluster <uuid>          the cluster, or -
//! node <uuid>             this data dir
//! token <n>               the highest one in use
//! sequence <n>            the last entry of the journal
//! crc <8 hex digits>      and its CRC
//! check <8 hex digits>    CRC32C of the lines above
//! ```
//!
//! A Redis that holds less has lost data. The file is written beside and renamed, and durable before this
//! process acts in a term; within a term it is written again with the renewals of the lease.

use super::RedisLogError;
use super::entry::Header;
use crate::data_dir;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const FILE: &str = "redis-seen";
const TITLE: &str = "yak coordinator with redis, format 1";
/// What a coordinator that keeps its journal here calls it.
const PLAIN_JOURNAL: &str = "journal";

/// The highest marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub cluster: Option<u128>,
    pub node: Uuid,
    pub token: u64,
    pub sequence: u64,
    pub crc: u32,
}

impl Seen {
    /// Takes an end that follows on what was seen.
    pub(super) fn raise(&mut self, end: Option<Header>) {
        if let Some(end) = end
            && end.sequence >= self.sequence
        {
            self.token = self.token.max(end.epoch);
            (self.sequence, self.crc) = (end.sequence, end.crc);
        }
    }

    /// What a Redis with that token, that end and that in the place of the entry seen last has lost, if it has.
    pub(super) fn missing_in(
        &self,
        host: &str,
        token: u64,
        end: Option<Header>,
        known: Option<Header>,
    ) -> Option<String> {
        let found = match end {
            None if self.sequence == 0 => return None,
            None => "is empty".to_owned(),
            Some(end) if end.sequence < self.sequence || token < self.token => {
                format!("ends at entry {}, token {token}", end.sequence)
            }
            // One that is in a snapshot by now cannot be compared.
            Some(_) => match known {
                Some(known) if known.sequence == self.sequence && known.crc != self.crc => {
                    format!("has another entry {}", known.sequence)
                }
                _ => return None,
            },
        };
        let Self { sequence, token, .. } = self;
        Some(format!(
            "redis at {host} has lost data: its journal {found}, and this coordinator has seen entry {sequence}, \
             token {token}. No second history is begun: restore that Redis from a copy that has entry {sequence}, \
             or make the journal again: yak coordinator rebuild --lease-backend redis://{host}"
        ))
    }

    fn to_text(self) -> String {
        let cluster = self.cluster.map_or_else(|| "-".to_owned(), |id| Uuid::from_u128(id).to_string());
        let Self { node, token, sequence, crc, .. } = self;
        let mut text = format!(
            "{TITLE}\ncluster {cluster}\nnode {node}\ntoken {token}\nsequence {sequence}\ncrc {crc:08x}\n"
        );
        let check = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "check {check:08x}");
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let cluster = match field("cluster")? {
            "-" => None,
            id => Some(Uuid::parse_str(id).ok()?.as_u128()),
        };
        let seen = Self {
            cluster,
            node: Uuid::parse_str(field("node")?).ok()?,
            token: field("token")?.parse().ok()?,
            sequence: field("sequence")?.parse().ok()?,
            crc: u32::from_str_radix(field("crc")?, 16).ok()?,
        };
        (seen.to_text() == text).then_some(seen)
    }
}

/// The file. Blocking; one owner, which holds the data dir's lock.
#[derive(Debug)]
pub(super) struct SeenFile {
    dir: PathBuf,
    written: Option<Seen>,
    _lock: File,
}

impl SeenFile {
    /// Opens it in `dir`; a new dir gets a node id of its own, with the first write.
    pub(super) fn open(dir: &Path) -> Result<(Self, Seen), RedisLogError> {
        let lock = data_dir::take(dir)?;
        if dir.join(PLAIN_JOURNAL).exists() {
            return Err(RedisLogError::PlainJournal(dir.to_owned()));
        }
        let path = dir.join(FILE);
        let written = match std::fs::read_to_string(&path) {
            Ok(text) => Some(Seen::parse(&text).ok_or_else(|| RedisLogError::SeenDamaged(path.clone()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let fresh = Seen { cluster: None, node: Uuid::new_v4(), token: 0, sequence: 0, crc: 0 };
        Ok((Self { dir: dir.to_owned(), written, _lock: lock }, written.unwrap_or(fresh)))
    }

    /// Makes `seen` durable, if it is news.
    pub(super) fn keep(&mut self, seen: Seen) -> Result<(), RedisLogError> {
        if self.written == Some(seen) {
            return Ok(());
        }
        let path = self.dir.join(FILE);
        let unfinished = self.dir.join("redis-seen.new");
        let mut file = File::create(&unfinished).map_err(io_error("make", &unfinished))?;
        file.write_all(seen.to_text().as_bytes()).map_err(io_error("write", &unfinished))?;
        file.sync_all().map_err(io_error("sync", &unfinished))?;
        std::fs::rename(&unfinished, &path).map_err(io_error("rename a new", &path))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io_error("sync the data dir", &self.dir))?;
        self.written = Some(seen);
        Ok(())
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RedisLogError {
    let path = path.to_owned();
    move |cause| RedisLogError::Io { what, path, cause }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    fn end(sequence: u64, crc: u32) -> Option<Header> {
        Some(Header { kind: Kind::Decision, sequence, epoch: 1, previous: 0, crc })
    }

    #[test]
    fn the_file_reads_back_and_a_flipped_bit_is_found() {
        let dir = tempfile::TempDir::new().unwrap();
        let (mut file, mut seen) = SeenFile::open(dir.path()).unwrap();
        assert!(matches!(SeenFile::open(dir.path()), Err(RedisLogError::Dir(_))), "one owner");
        seen.raise(end(40, 0xab));
        seen.cluster = Some(9);
        file.keep(seen).unwrap();
        drop(file);
        assert_eq!(SeenFile::open(dir.path()).unwrap().1, seen);
        let text = seen.to_text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let found = String::from_utf8(bytes).ok().and_then(|text| Seen::parse(&text));
            assert_eq!(found, None, "byte {at}");
        }
        std::fs::write(dir.path().join(FILE), "x").unwrap();
        assert!(matches!(SeenFile::open(dir.path()), Err(RedisLogError::SeenDamaged(_))));
    }

    #[test]
    fn a_dir_with_a_journal_of_its_own_is_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join("journal"), "YAKJ").unwrap();
        assert!(matches!(SeenFile::open(dir.path()), Err(RedisLogError::PlainJournal(_))));
    }

    #[test]
    fn what_is_less_than_was_seen_is_a_loss_and_both_numbers_are_named() {
        let fresh = Seen { cluster: None, node: Uuid::nil(), token: 0, sequence: 0, crc: 0 };
        assert_eq!(fresh.missing_in("h", 0, None, None), None, "a new cluster");
        let seen = Seen { token: 5, sequence: 40, crc: 7, ..fresh };
        assert_eq!(seen.missing_in("h", 5, end(40, 7), end(40, 7)), None);
        assert_eq!(seen.missing_in("h", 6, end(41, 8), end(40, 7)), None);
        assert_eq!(seen.missing_in("h", 6, end(90, 8), None), None, "it is in a snapshot");
        for (token, found, known, word) in [
            (0, None, None, "is empty"),
            (5, end(12, 1), None, "ends at entry 12, token 5"),
            (4, end(41, 1), None, "ends at entry 41, token 4"),
            (5, end(40, 8), end(40, 8), "has another entry 40"),
            (9, end(80, 1), end(40, 8), "has another entry 40"),
        ] {
            let words = seen.missing_in("h", token, found, known).unwrap();
            assert!(words.contains(word) && words.contains("seen entry 40, token 5"), "{words}");
        }
    }
}
