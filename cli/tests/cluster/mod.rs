//! A real cluster of real processes, and the real binary to talk to it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "../environment/mod.rs"]
mod environment;

use environment::forget_settings;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;

/// The binary under test, with an environment of its own.
pub fn yak(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yak"));
    command.args(arguments);
    forget_settings(&mut command);
    command
}

/// A cluster in a `yak dev` process that ends with the test.
pub struct Dev {
    child: Child,
    stdin: ChildStdin,
    pub brokers: String,
    data: TempDir,
}

impl Dev {
    /// Starts so many brokers on free ports and waits until they serve.
    pub fn start(nodes: u16) -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("data");
        let nodes = nodes.to_string();
        let mut child =
            yak(&["dev", "--base-port", "0", "--nodes", &nodes, "--data", path.to_str().unwrap()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| line.unwrap().strip_prefix("ready ").map(str::to_owned));
        let brokers = ready.expect("yak dev says when it is ready");
        // Its further words go nowhere, but its pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, stdin, brokers, data }
    }

    /// Where broker `n` keeps its files.
    pub fn dir(&self, n: usize) -> PathBuf {
        self.data.path().join("data").join(format!("b{n}"))
    }

    /// Ends it by this signal, and waits until it has.
    pub fn end(&mut self, signal: Signal) {
        send_signal(&self.child, signal);
        self.child.wait().unwrap();
    }

    /// Types a line into it.
    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Stops its process as Ctrl-Z does, and waits until every thread of it stands still.
    pub fn freeze(&self) {
        send_signal(&self.child, Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(stopped.1.stopped());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        send_signal(&self.child, Signal::CONT);
    }

    /// A command for this cluster.
    pub fn yak(&self, arguments: &[&str]) -> Command {
        let mut command = yak(arguments);
        command.env("YAK_BROKERS", &self.brokers);
        command
    }

    /// Runs it with this input and gives what it printed.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .yak(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writing = std::thread::spawn(move || {
            // A command that fails early does not read all of it.
            let _ = stdin.write_all(input.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        output
    }

    /// Runs it, insists on success and silence on stderr, and gives what it printed.
    pub fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{err}", output.status);
        assert_eq!(err, "", "{arguments:?} is silent when piped");
        out
    }

    /// Runs it, insists on this exit code, and gives what it said on stderr.
    pub fn fails(&self, code: i32, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A command that goes on while the test talks to it.
pub struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next line that it says on stderr which contains this.
    pub fn noted(&mut self, what: &str) -> String {
        let mut stderr = BufReader::new(self.child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it never said {what:?}");
        }
        self.child.stderr = Some(stderr.into_inner());
        line
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    /// Closes its stdin, reads the rest of what it prints, and gives exit code and stderr.
    pub fn finish(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        end(self.child)
    }

    /// Closes its stdin and stdout without reading on, and gives exit code and stderr.
    pub fn hang_up(self) -> (Option<i32>, String) {
        let Self { child, stdin, stdout } = self;
        drop((stdin, stdout));
        end(child)
    }
}

fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).unwrap();
    }
    (child.wait().unwrap().code(), said)
}
