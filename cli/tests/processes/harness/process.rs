//! One process of the binary.

use super::environment::forget_settings;
use super::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What a process has written to one of its outputs so far, line by line.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn follow(source: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let lines = Self::default();
        let noted = lines.clone();
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(source).lines() {
                let Ok(line) = line else { return };
                noted.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                noted.0.1.notify_all();
            }
        });
        (lines, thread)
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line.
    pub fn wait(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let started = Instant::now();
        let mut lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "waited in vain for {what}; there is: {lines:#?}");
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// How a process has ended, and what it wrote.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: String,
}

impl Finished {
    /// Panics unless it ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Panics unless stderr holds all of these.
    #[track_caller]
    pub fn expect_stderr(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        }
        self
    }
}

/// A running process; dropping it kills it.
pub struct Process {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
    followers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `yak <arguments>`.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with::<&str>(arguments, &[])
    }

    /// The same with these variables.
    pub fn start_with<S: AsRef<OsStr>>(arguments: &[&str], variables: &[(S, S)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yak"));
        forget_settings(&mut command);
        let mut child = command
            .args(arguments)
            .env("NO_COLOR", "1")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let (stdout, out) = Lines::follow(child.stdout.take().expect("it is piped"));
        let (stderr, err) = Lines::follow(child.stderr.take().expect("it is piped"));
        let stdin = child.stdin.take();
        Self { child, stdin, stdout, stderr, followers: vec![out, err] }
    }

    /// The system's number for it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `ready <address>`, and returns the address.
    pub fn ready(&mut self) -> String {
        let started = Instant::now();
        until("a process to be ready", || {
            let ready = |line: &String| line.strip_prefix("ready ").map(str::to_owned);
            if let Some(address) = self.stdout.all().iter().find_map(ready) {
                return Some(address);
            }
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{ended:?} before ready: {:#?}", self.stderr.all());
            assert!(started.elapsed() < PATIENCE, "not ready: {:#?}", self.stderr.all());
            None
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it is our child and has not been waited for");
    }

    /// `kill -9`; returns once it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Writes a line to its stdin.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        writeln!(stdin, "{line}").expect("it reads its stdin");
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        drop(self.stdin.take());
        let started = Instant::now();
        let status: ExitStatus = until("a process to end", || {
            let ended = self.child.try_wait().expect("it is our child");
            let in_time = ended.is_some() || started.elapsed() < PATIENCE / 2;
            assert!(in_time, "it does not end: {:#?} {:#?}", self.stdout.all(), self.stderr.all());
            ended
        });
        for follower in self.followers.drain(..) {
            follower.join().expect("it only reads");
        }
        Finished { code: status.code(), stdout: self.stdout.all(), stderr: self.stderr.all().join("\n") }
    }

    fn end(&mut self) {
        // SIGKILL ends a halted process, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs `yak <arguments>` to its end with this on its stdin.
pub fn yak(arguments: &[&str], stdin: &str) -> Finished {
    let mut process = Process::start(arguments);
    let mut input = process.stdin.take().expect("it is piped");
    // It may end without reading it.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    process.finish()
}
