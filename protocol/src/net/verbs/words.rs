//! The words that say the same of every process.

use super::{connections, events};
use crate::net::observe::{Event, Observer};
use crate::net::service::Service;
use crate::text::{Format, Word, rfc3339};

/// Answers a word: those about connections and events here, all others by the service.
pub(in crate::net) async fn word<S: Service>(service: &S, word: Word) -> String {
    match (word, service.observer()) {
        (Word::Cons, Some(observer)) => connections::table(observer).lines(Format::Table).join("\n"),
        (Word::Evnt, Some(observer)) => {
            let events = observer.events.recent(events::RECENT);
            let line = |event: &Event| format!("{} {} {}", rfc3339(event.at_ms), event.kind, event.text);
            events.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        _ => service.word(word).await,
    }
}

/// The part of `stat` about connections: one a line, as `ZooKeeper` writes them.
#[must_use]
pub fn stat_of_connections(observer: &Observer) -> String {
    let mut lines = vec!["Clients:".to_owned()];
    for connection in observer.connections.list() {
        let (address, mode) = (connection.address, connection.mode);
        let name = connection.client.as_deref().unwrap_or("-");
        let (queued, recved, sent) = (connection.unanswered, connection.requests, connection.bytes_out);
        lines.push(format!(" {address} {mode} {name} (queued={queued},recved={recved},sent={sent})"));
    }
    lines.join("\n")
}

/// What `envi` says of this process and its machine; `version` is that of the software.
#[must_use]
pub fn environment(version: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let folder = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let system = rustix::system::uname();
    [
        format!("yak.version={version}"),
        format!("host.name={}", system.nodename().to_string_lossy()),
        format!("os.name={}", std::env::consts::OS),
        format!("os.arch={}", std::env::consts::ARCH),
        format!("os.version={}", system.release().to_string_lossy()),
        format!("os.cores={cores}"),
        format!("process.id={}", std::process::id()),
        format!("process.folder={folder}"),
    ]
    .join("\n")
}
