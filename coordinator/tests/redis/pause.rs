//! A coordinator process that is stopped and wakes up in another's term.

use crate::coordinators::{Coordinator, LONG, SHORT, decision, decisions, epoch, within};
use crate::server::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use tokio::sync::mpsc;
use yak_coordinator::metalog::MetaLog;
use yak_coordinator::redis::Target;

const PORT: &str = "YAK_TEST_REDIS_PORT";

/// The other process: this test binary, told to run only this.
#[tokio::test]
#[ignore = "started by the test below"]
async fn holder() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse().ok()) else { return };
    let mut coordinator = Coordinator::new("holder", Target::plain("127.0.0.1", port), SHORT);
    let term = coordinator.campaign().await;
    println!("say active {}", epoch(&term));
    let mut lines = lines_of(std::io::stdin());
    while let Some(line) = lines.recv().await {
        match coordinator.log.append(vec![decision(line.parse().unwrap())]).await {
            Ok(()) => println!("say kept"),
            Err(lost) => println!("say lost held={} {lost}", coordinator.log.held()),
        }
    }
}

/// What is read there, on a thread of its own.
fn lines_of(from: impl std::io::Read + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

struct Holder {
    child: Child,
    input: ChildStdin,
    output: mpsc::UnboundedReceiver<String>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Holder {
    fn start(port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pause::holder", "--ignored", "--nocapture"])
            .env(PORT, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), lines_of(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    async fn says(&mut self) -> String {
        loop {
            let line = within(self.output.recv()).await.expect("it lives");
            if let Some((_, said)) = line.split_once("say ") {
                return said.to_owned();
            }
        }
    }

    fn append(&mut self, n: u64) {
        self.input.write_all(format!("{n}\n").as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

#[tokio::test]
async fn a_stopped_holder_that_wakes_up_cannot_write() {
    let Some(server) = RedisServer::start().await else { return };
    let mut holder = Holder::start(server.port);
    assert_eq!(holder.says().await, "active 1");
    holder.append(1);
    assert_eq!(holder.says().await, "kept");
    holder.signal(Signal::STOP);

    let mut second = Coordinator::new("second", server.target(), LONG);
    assert_eq!(epoch(&second.campaign().await), 2);
    holder.append(666);
    holder.signal(Signal::CONT);
    let said = holder.says().await;
    assert!(said.starts_with("lost held=false"), "{said}");

    second.append(&[decision(2)]).await;
    second.log.resign().await;
    let mut third = Coordinator::new("third", server.target(), LONG);
    assert_eq!(decisions(&third.campaign().await.records), [1, 2]);
}
