//! The operating system's files, only to look at.

use super::{DirEntry, DiskSpace, Io, RandomFile, RealIo};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The real file system, of which nothing can be changed: also where this user may only read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOnlyIo;

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "files are only looked at here"))
}

impl Io for ReadOnlyIo {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn RandomFile>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn create(&self, _: &Path) -> io::Result<Arc<dyn RandomFile>> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealIo.exists(path)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        RealIo.space(path)
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        refused()
    }

    fn boot_id(&self) -> String {
        RealIo.boot_id()
    }
}
