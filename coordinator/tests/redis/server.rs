//! A Redis of the test's own: on a free port, in a dir that goes away with it.

use redis::{FromRedisValue, Value};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use yak_coordinator::redis::{Target, local_server};

/// Longer than anything here takes; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct RedisServer {
    pub dir: TempDir,
    pub port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    password: Option<&'static str>,
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl RedisServer {
    /// With every write synced before it is answered.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// With further settings, which win. `None` (and a line that says so) where there is no server to start.
    pub async fn start_with(settings: &[&str]) -> Option<Self> {
        if local_server().is_none() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "redis-server is not installed");
            eprintln!("SKIPPED: redis-server is not installed");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut arguments: Vec<String> =
            ["--appendonly", "yes", "--appendfsync", "always", "--save", ""].map(str::to_owned).to_vec();
        arguments.extend(settings.iter().map(|&setting| setting.to_owned()));
        let password = settings.iter().position(|s| *s == "--requirepass").map(|_| "correct");
        let mut server = Self { dir: TempDir::new().unwrap(), port, arguments, child: None, password };
        server.run().await;
        Some(server)
    }

    /// Starts it again on what is in its dir.
    pub async fn run(&mut self) {
        let mut command = local_server().unwrap();
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.arg("--dir").arg(self.dir.path()).arg("--logfile").arg(self.dir.path().join("log"));
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while self.try_ask::<String>(&["PING"]).await.is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "redis-server ended with {ended:?}: {}", log());
            assert!(Instant::now() < until, "redis-server does not answer: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As a crash would end it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// What it keeps on disk.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("appendonlydir")
    }

    /// Who may do everything.
    pub fn target(&self) -> Target {
        let password = self.password.map(yak_coordinator::redis::Secret::new);
        Target { password, ..Target::plain("127.0.0.1", self.port) }
    }

    async fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let password = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }

    /// What a command is answered.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).await.unwrap()
    }

    /// Carries out a command.
    pub async fn tell(&self, words: &[&str]) {
        self.ask::<Value>(words).await;
    }
}

/// Copies a folder of files.
pub fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
