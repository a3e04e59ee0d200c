//! A Redis of the test's own: on a free port, in a folder that goes away with it, every write synced.

use super::until;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use tempfile::TempDir;
use yak_coordinator::redis::local_server;

/// See the module. Dropping it kills it.
pub struct Redis {
    address: String,
    child: Child,
    _dir: TempDir,
}

impl Redis {
    /// With these variables. `None` (and a line that says so) where there is no server to start; where there must be
    /// one (`CI=true`) that is a failure.
    pub fn start(variables: &[(String, String)]) -> Option<Self> {
        let Some(mut command) = local_server() else {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "redis-server is not installed");
            eprintln!("SKIPPED: redis-server is not installed");
            return None;
        };
        let dir = tempfile::tempdir().expect("a folder for the Redis");
        let address = super::free_ports(1).remove(0);
        let port = address.rsplit(':').next().expect("an address has a port");
        command.args(["--port", port, "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        command.arg("--dir").arg(dir.path()).envs(variables.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it can be started");
        let redis = Self { address, child, _dir: dir };
        until("the Redis to answer", || redis.ask("PING")?.starts_with("+PONG").then_some(()));
        Some(redis)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a key holds; empty if there is none.
    pub fn get(&self, key: &str) -> String {
        let said = self.ask(&format!("GET {key}")).expect("it answers");
        // `$5`, and then so many bytes.
        said.lines().nth(1).filter(|_| !said.starts_with("$-1")).unwrap_or_default().to_owned()
    }

    /// Carries out a command.
    pub fn tell(&self, command: &str) {
        assert!(self.ask(command).is_some_and(|said| said.starts_with('+')), "{command}");
    }

    /// All that it answers to a command.
    fn ask(&self, command: &str) -> Option<String> {
        let mut connection = TcpStream::connect(&self.address).ok()?;
        connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut said = String::new();
        connection.read_to_string(&mut said).ok()?;
        Some(said)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
