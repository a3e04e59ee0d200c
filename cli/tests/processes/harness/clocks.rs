//! Wall clocks that can be set for one process alone, by the faketime library.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A clock for each process; all begin at the machine's time.
pub struct Clocks {
    library: PathBuf,
    dir: TempDir,
}

impl Clocks {
    /// `None` (and a line that says so) where the library is not installed; where it must be (`CI=true`) that
    /// is a failure.
    pub fn new() -> Option<Self> {
        let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
        let folders = folders.into_iter().flat_map(|folder| {
            let below = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            std::iter::once(folder).chain(below).collect::<Vec<_>>()
        });
        let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|library| library.is_file());
        let needed = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(
            library.is_some() || !needed,
            "faketime is not installed: scripts/test.sh says which package has it"
        );
        if library.is_none() {
            eprintln!("SKIPPED: faketime is not installed");
        }
        Some(Self { library: library?, dir: tempfile::tempdir().expect("a folder for clocks") })
    }

    /// What a process must be started with to have its own clock. Only the time of day is changed: the clocks
    /// that measure how long something takes cannot be set on a real machine either.
    pub fn environment(&self, name: &str) -> Vec<(String, String)> {
        self.set(name, 0);
        let text = |path: &Path| path.to_str().expect("a readable path").to_owned();
        let values = [
            // The C library's allocator: that of Redis asks for the time before this library can answer.
            ("LD_PRELOAD", format!("{}:libc.so.6", text(&self.library))),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.dir.path().join(name))),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Sets a clock to so many seconds beside the machine's.
    pub fn set(&self, name: &str, seconds: i64) {
        let (next, file) = (self.dir.path().join("next"), self.dir.path().join(name));
        std::fs::write(&next, format!("{seconds:+}\n")).expect("it can be written");
        std::fs::rename(next, file).expect("it can be renamed");
    }
}
