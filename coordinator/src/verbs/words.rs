//! The words in the manner of `ZooKeeper`, as the coordinator answers them.

use super::{cluster, process};
use crate::front::Front;
use crate::server::Server;
use std::fmt::Write;
use std::time::Duration;
use tokio::time::timeout;
use yak_protocol::message::MetadataReply;
use yak_protocol::net::{environment, stat_of_connections};
use yak_protocol::text::{self, Format, Table, Word};

/// How long the coordinator's task may take to answer before `ruok` says that it does not serve.
const SERVES_WITHIN: Duration = Duration::from_secs(3);

/// What the word asks for; `cons` and `evnt` are answered before they come here.
pub(crate) async fn word(front: &Front, word: Word) -> String {
    let seen = match word {
        Word::Ruok => return ruok(front).await,
        Word::Role => return "coordinator".to_owned(),
        Word::Envi => return environment(env!("CARGO_PKG_VERSION")),
        Word::Isro => front.look(|_| "rw".to_owned()).await,
        Word::Srvr => front.look(server).await,
        Word::Stat => {
            front
                .look(|it| {
                    format!(
                        "{}
{}",
                        server(it),
                        stat_of_connections(&it.observer)
                    )
                })
                .await
        }
        Word::Mntr => front.look_with_log(|it, log| process::metrics(it, log).mntr()).await,
        Word::Conf => front.look(|it| process::settings(it).conf()).await,
        Word::Dump => front.look(dump).await,
        Word::Dirs => Ok(lines(&process::backend(&*front.log))),
        Word::Tops => front.look(|it| lines(&text::cluster::topics(&metadata(it)))).await,
        Word::Isrs => front.look(|it| lines(&text::cluster::isr(&metadata(it)))).await,
        Word::Lead => front.look(|it| lines(&text::cluster::leaders(&metadata(it)))).await,
        other => return format!("{} is not answered by a coordinator", other.text()),
    };
    seen.unwrap_or_else(|error| error.to_string())
}

/// `imok` only if a coordinator is active, and this one, if it is that, answers and could keep another entry.
async fn ruok(front: &Front) -> String {
    let trouble = match timeout(SERVES_WITHIN, front.look(|_| ())).await {
        Err(_) => Some(format!("nothing is decided since {} s; its disk may hang", SERVES_WITHIN.as_secs())),
        Ok(Err(_)) if front.standing.borrow().active.is_some() => None,
        Ok(Err(error)) => Some(error.message),
        Ok(Ok(())) => None,
    };
    let log = front.log.clone();
    let trouble = match trouble {
        None => tokio::task::spawn_blocking(move || log.trouble()).await.unwrap_or(None),
        some => some,
    };
    trouble.map_or_else(|| "imok".to_owned(), |trouble| format!("imno: {trouble}"))
}

fn lines(table: &Table) -> String {
    table.lines(Format::Table).join("\n")
}

fn metadata(server: &Server) -> MetadataReply {
    crate::answers::metadata(server.cluster.state(), &server.portrait.address, &Default::default())
}

fn server(server: &Server) -> String {
    let state = server.cluster.state();
    let (alive, leaderless) = process::health(server);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "yak coordinator, version {}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "Address: {}", server.portrait.address);
    let _ = writeln!(out, "Uptime s: {}", server.portrait.started.elapsed().as_secs());
    let _ = writeln!(out, "Connections: {}", server.observer.connections.count());
    let _ = writeln!(out, "Epoch: {}", state.coordinator_epoch());
    let _ = writeln!(out, "Version: {}", state.version());
    let _ = writeln!(out, "Mode: coordinator");
    let _ = writeln!(out, "Brokers: {alive} of {} alive", state.brokers().count());
    let _ = write!(out, "Partitions: {}, {leaderless} without leader", state.partitions().count());
    out
}

/// Leases and sessions.
fn dump(server: &Server) -> String {
    let (leases, clients) = (lines(&cluster::leases(server)), lines(&cluster::clients(server)));
    format!("leases:\n{leases}\nsessions:\n{clients}")
}
