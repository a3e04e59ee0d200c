//! The words in the manner of `ZooKeeper`, as a broker answers them.

use super::{conf, state};
use crate::broker::Broker;
use crate::metrics;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use yak_protocol::net::{environment, stat_of_connections};
use yak_protocol::text::{Format, Table, Word, cluster};

/// What the word asks for; `cons` and `evnt` are answered before they come here.
pub(crate) async fn word(broker: &Arc<Broker>, word: Word) -> String {
    match word {
        Word::Ruok => match broker.unhealthy() {
            None => "imok".to_owned(),
            Some(reason) => format!("imno: {reason}"),
        },
        Word::Role => role(broker).to_owned(),
        Word::Isro => if takes_writes(broker) { "rw" } else { "ro" }.to_owned(),
        Word::Srvr => server(broker),
        Word::Stat => format!("{}\n{}", server(broker), stat_of_connections(&broker.observer)),
        Word::Mntr => {
            let of_task = broker.clone();
            let gathered = broker.tasks.blocking("metrics", move || metrics::gather(&of_task)).await;
            gathered.map_or_else(|| "this broker stops".to_owned(), |metrics| metrics.mntr())
        }
        Word::Conf => conf::of_broker(broker).conf(),
        Word::Dump => dump(broker),
        Word::Envi => {
            let own = environment(env!("CARGO_PKG_VERSION"));
            format!("{own}\ndata.dir={}", broker.config.data.display())
        }
        Word::Dirs => {
            let of_task = broker.clone();
            let looked = broker.tasks.blocking("dirs", move || dirs(&of_task)).await;
            looked.unwrap_or_else(|| "this broker stops".to_owned())
        }
        Word::Tops => text(&cluster::topics(&broker.cluster.metadata(None))),
        Word::Isrs => text(&cluster::isr(&broker.cluster.metadata(None))),
        Word::Lead => text(&cluster::leaders(&broker.cluster.metadata(None))),
        other => format!("{} is not answered by a broker", other.text()),
    }
}

fn text(table: &Table) -> String {
    table.lines(Format::Table).join("\n")
}

fn role(broker: &Broker) -> &'static str {
    if state::led_and_followed(broker).0 > 0 { "leader" } else { "follower" }
}

/// Whether a publish could be taken here at all.
fn takes_writes(broker: &Broker) -> bool {
    !broker.fenced() && !broker.store.is_full() && !broker.stopping.load(Ordering::Relaxed)
}

fn server(broker: &Broker) -> String {
    let (leads, follows) = state::led_and_followed(broker);
    let id = broker.id().map_or_else(|| "-".to_owned(), |id| id.to_string());
    let totals = broker.observer.connections.totals();
    let mut out = String::new();
    let uptime = broker.counters.started().elapsed().as_secs();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "yak broker {id} ({}), version {}", broker.config.name, env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "Address: {}", broker.address);
    let _ = writeln!(out, "Uptime s: {uptime}");
    let _ = writeln!(out, "Connections: {}", broker.observer.connections.count());
    let _ = writeln!(out, "Requests: {}", broker.counters.requests());
    let _ = writeln!(out, "Received: {}", totals.bytes_in);
    let _ = writeln!(out, "Sent: {}", totals.bytes_out);
    let _ = writeln!(out, "Mode: {}", role(broker));
    let _ = writeln!(out, "Leads: {leads}");
    let _ = writeln!(out, "Follows: {follows}");
    let _ = write!(out, "State: {}", broker.unhealthy().unwrap_or_else(|| "ok".to_owned()));
    out
}

/// The session and its lease, and who has what here.
fn dump(broker: &Broker) -> String {
    let session = match broker.session() {
        Some(session) => format!(
            "session: broker {} epoch {} in cluster {}",
            session.broker_id, session.broker_epoch, session.cluster_id
        ),
        None => "session: none yet".to_owned(),
    };
    let lease = broker.link.lease_left();
    let lease = if lease.is_zero() { "none".to_owned() } else { format!("{} ms left", lease.as_millis()) };
    let lost = broker.link.lost().map_or_else(|| "connected".to_owned(), |why| format!("lost: {why}"));
    let fenced = if broker.fenced() { "yes" } else { "no" };
    let roles = text(&state::roles(broker));
    format!("{session}\nlease: {lease}\nfenced: {fenced}\ncoordinator: {lost}\n{roles}")
}

/// Asks the file system.
fn dirs(broker: &Broker) -> String {
    let logs: u64 = broker.partitions.iter().map(|handle| handle.log.bytes()).sum();
    let mut lines = vec![format!("data_dir={}", broker.config.data.display()), format!("log_bytes={logs}")];
    if let Ok(space) = broker.store.space() {
        lines.push(format!("disk_free_bytes={}", space.free_bytes));
        lines.push(format!("disk_total_bytes={}", space.total_bytes));
        lines.push(format!("disk_reserve_bytes={}", space.reserve_bytes));
        lines.push(format!("disk_full={}", if space.full { "yes" } else { "no" }));
    }
    lines.join("\n")
}
