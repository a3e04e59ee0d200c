//! A process to talk to by hand: the fake service with a few commands of its own, and somebody who types.

use super::net::{Fake, Server};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Hello, Metadata};
use yak_protocol::net::{
    Closed, CommandError, Incoming, Interrupt, ListenerConfig, Observer, Peer, Replier, Service, TextSession,
};
use yak_protocol::text::{Access, Command, Status, Table, Verb};

#[derive(Default)]
pub struct Desk {
    pub fake: Fake,
    pub observer: Observer,
    /// The commands that were run.
    pub ran: Mutex<Vec<Command>>,
    /// The verbs of those that were dropped before they were done.
    pub dropped: Mutex<Vec<String>>,
}

const fn verb(name: &'static str, access: Access) -> Verb {
    Verb { name, usage: name, about: "a command of the test", access }
}

const VERBS: &[Verb] = &[
    verb("PUBN", Access::Write),
    verb("ROWS", Access::Read),
    verb("SHOW", Access::Read),
    verb("STUCK", Access::Read),
    verb("WATCH", Access::Read),
    verb("ASK", Access::Read),
];

/// Notes a command that did not come to its end.
struct Undone<'a>(&'a Desk, Option<String>);

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        self.0.dropped.lock().unwrap().extend(self.1.take());
    }
}

impl Service for Desk {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        self.fake.call(peer, request, reply).await;
    }

    fn closed(&self, peer: &Peer, how: Closed) {
        self.fake.closed(peer, how);
    }

    fn verbs(&self) -> &'static [Verb] {
        VERBS
    }

    fn observer(&self) -> Option<&Observer> {
        Some(&self.observer)
    }

    async fn command(&self, session: &mut TextSession, command: &Command) -> Result<Status, CommandError> {
        self.ran.lock().unwrap().push(command.clone());
        let mut undone = Undone(self, Some(command.verb.clone()));
        let status = self.done(session, command).await;
        undone.1 = None;
        status
    }
}

impl Desk {
    async fn done(&self, session: &mut TextSession, command: &Command) -> Result<Status, CommandError> {
        match command.verb.as_str() {
            "PUBN" => {
                let bytes = command.payload.as_ref().map_or(0, bytes::Bytes::len);
                Ok(Status::ok().with("bytes", bytes).with("forward", session.forward()))
            }
            "ROWS" => {
                let count: usize = command.word(0, "a number")?.parse().unwrap();
                let rows = (0..count).fold(Table::new(&["ROW"]), |table, row| table.row([row]));
                session.table(&rows).await?;
                Ok(Status::ok().with("count", count))
            }
            "SHOW" => {
                let (partition, offset) = (PartitionIndex(1), Offset(7));
                let values =
                    [(Some(&b"u 1"[..]), Some(&b"a\0b\\"[..])), (None, None), (Some(b"\xff"), Some(b"."))];
                for (key, value) in values {
                    session.message("orders", partition, offset, 1_700_000_000_123, key, value).await?;
                }
                session.end().await?;
                Ok(Status::ok())
            }
            "STUCK" => std::future::pending().await,
            "WATCH" => {
                session.line("watching").await?;
                let why = session.interrupted().await;
                session.end().await?;
                Ok(Status::ok().with("interrupted", format!("{why:?}")))
            }
            "ASK" => {
                let hello = Hello { client: command.words.join(" "), ..Hello::default() };
                let (answer, _) = session.ask(self, &hello, vec![]).await?;
                let bin = vec![bytes::Bytes::from_static(b"some bytes")];
                let (metadata, bin) = session.ask(self, &Metadata::default(), bin).await?;
                let status = Status::ok().with("process", answer.process);
                Ok(status.with("version", metadata.version).with("bin", bin.len()))
            }
            other => panic!("{other} is not of the desk"),
        }
    }
}

pub async fn desk() -> Server<Desk> {
    Server::start(Desk::default()).await
}

pub async fn desk_with(config: ListenerConfig) -> Server<Desk> {
    Server::start_with(Desk::default(), config).await
}

impl Server<Desk> {
    /// The verbs of the commands that were run, and the kinds of the messages that came.
    pub fn seen(&self) -> (Vec<String>, Vec<String>) {
        let ran = self.service.ran.lock().unwrap().iter().map(|command| command.verb.clone()).collect();
        (ran, self.service.fake.kinds.lock().unwrap().clone())
    }

    /// Sends all of it, says that this is all, and returns what comes until the server closes.
    pub async fn told(&self, bytes: impl AsRef<[u8]>) -> String {
        String::from_utf8_lossy(&self.answer(bytes.as_ref(), true).await).into_owned()
    }

    /// The same without saying that this is all: the server has to close by itself.
    pub async fn told_open(&self, bytes: impl AsRef<[u8]>) -> String {
        String::from_utf8_lossy(&self.answer(bytes.as_ref(), false).await).into_owned()
    }

    pub async fn answer(&self, bytes: &[u8], half_close: bool) -> Vec<u8> {
        let mut stream = self.raw().await;
        // The server may have heard enough before it has read everything.
        let _ = stream.write_all(bytes).await;
        if half_close {
            let _ = stream.shutdown().await;
        }
        let mut all = Vec::new();
        within(stream.read_to_end(&mut all)).await.unwrap();
        all
    }
}

/// What never comes fails the test instead of hanging it.
pub async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3600), wait).await.expect("it never came")
}

/// Somebody who types and reads line by line.
pub struct Typist {
    pub stream: tokio::io::BufReader<TcpStream>,
}

impl Typist {
    pub async fn sit_down(server: &Server<Desk>) -> Self {
        Self { stream: tokio::io::BufReader::new(server.raw().await) }
    }

    pub async fn types(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// The next line without its end; `None` at the end.
    pub async fn reads(&mut self) -> Option<String> {
        use tokio::io::AsyncBufReadExt;
        let mut line = String::new();
        let count = within(self.stream.read_line(&mut line)).await.unwrap();
        (count > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    pub async fn asks(&mut self, line: &str) -> String {
        self.types(format!("{line}\n")).await;
        self.reads().await.expect("an answer")
    }
}

/// The interrupt as the desk prints it.
pub fn interrupted(why: Interrupt) -> String {
    format!("+OK interrupted={why:?}")
}
