use std::path::Path;
use yak_storage::io::Io;
use yak_storage::io::sim::SimDisk;

/// A disk in memory that holds these files.
pub fn disk(files: &[(&str, &[u8])]) -> SimDisk {
    let disk = SimDisk::new();
    for (path, bytes) in files {
        let path = Path::new(path);
        disk.create_dir_all(path.parent().expect("a file in a folder")).expect("a folder is made");
        let file = disk.create(path).expect("a file is made");
        let mut at = 0;
        while at < bytes.len() {
            at += file.write_at(&bytes[at..], at as u64).expect("it is written");
        }
    }
    disk
}
