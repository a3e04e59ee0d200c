//! What the store asks of a file system. The real one is [`RealIo`]; tests put faults between.
//!
//! The contract is POSIX's, taken literally: bytes are on disk after [`RandomFile::sync`] of their file,
//! and a name is on disk after [`Io::sync_dir`] of its folder. Nothing else is assumed.

mod read_only;
mod real;
pub mod sim;

pub use read_only::ReadOnlyIo;
pub use real::RealIo;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Free and total bytes of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// Bytes that this process may still take.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// A name in a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// The name; entries whose name is not UTF-8 are listed lossily and match nothing.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// A file system.
pub trait Io: Send + Sync {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn RandomFile>>;
    /// Opens a file for reading and writing, and makes it if there is none.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn RandomFile>>;
    /// Moves a file or a folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and its parents; fine if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Whether there is a file or a folder of that name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// How much room there is.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
    /// Takes the lock file at `path`; `None` if another process (or store) holds it. It is released when the
    /// returned value is dropped, or when the process dies.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// What tells one start of the machine from another; empty if unknown.
    fn boot_id(&self) -> String;
}

/// An open file, read and written by position.
pub trait RandomFile: Send + Sync {
    /// Reads at most `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes at most `bytes.len()` bytes.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;
    /// Cuts the file, or extends it with a hole.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// The length.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reserves blocks for `length` bytes; a file system that cannot is silently left alone.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Makes the content and the length durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of `bytes`, however many calls it takes.
pub(crate) fn write_all(file: &dyn RandomFile, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the file takes no more bytes")),
            Ok(n) => {
                bytes = bytes.get(n..).unwrap_or_default();
                position += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; returns how many bytes there were.
pub(crate) fn read_up_to(file: &dyn RandomFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The whole content of a file.
pub(crate) fn read_whole(io: &dyn Io, path: &Path) -> io::Result<Vec<u8>> {
    let file = io.open(path)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = read_up_to(file.as_ref(), &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
