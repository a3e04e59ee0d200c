//! The machine's own Redis, for demos and tests.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// How `redis-server` is started here: the one that `YAK_REDIS_SERVER` names, or else the one in the path. Debian has
/// it also in redis-tools, as `redis-check-rdb`, where no service comes with it. `None` where there is none.
#[must_use]
pub fn local_server() -> Option<Command> {
    if let Some(given) = std::env::var_os("YAK_REDIS_SERVER") {
        return Some(Command::new(given));
    }
    if let Some(server) = in_path("redis-server") {
        return Some(Command::new(server));
    }
    let mut command = Command::new(in_path("redis-check-rdb")?);
    command.arg0("redis-server");
    Some(command)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
