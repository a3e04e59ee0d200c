//! What people type to the coordinator, one group a file. What a client could ask is asked as the message that
//! a client would send; everything else is looked at in the one task that knows it.

mod cluster;
mod moves;
mod process;
mod requests;
mod words;

pub(crate) use words::word;

use crate::front::Front;
use crate::server::Server;
use yak_protocol::error::WireError;
use yak_protocol::net::{CommandError, TextSession};
use yak_protocol::text::{Access, Command, Status, Verb, unknown_verb};

/// Besides those of every process; `BROKERS` in the place of the shared one, which knows less.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("INFO", "INFO", "this coordinator: who, where, how", Access::Read),
    Verb::new("BROKERS", "BROKERS", "the brokers, their last heartbeat and lease", Access::Read),
    Verb::new("LEASES", "LEASES", "who holds which lease, and how long it is left", Access::Read),
    Verb::new("EPOCH", "EPOCH", "the terms and versions that this coordinator has reached", Access::Read),
    Verb::new(
        "ELECT",
        "ELECT <topic>/<p> [to=<broker>] [unclean [confirm=<topic>/<p>]] [dry]",
        "moves leadership to an in-sync replica: that one, or the first that may lead; unclean: to any, with loss",
        Access::Admin,
    ),
    Verb::new(
        "PREFERRED",
        "PREFERRED [topic[/p]] [dry]",
        "gives the lead to the first of the replicas wherever it is in sync",
        Access::Admin,
    ),
    Verb::new(
        "MOVE",
        "MOVE <topic>/<p> to=<broker>,... [rate=<bytes/s>] [dry] | MOVE <topic>/<p> back [dry]",
        "puts the partition on these brokers, the preferred leader first; back: where it came from; dry: says what would change",
        Access::Admin,
    ),
    Verb::new("MOVES", "MOVES [topic/p]", "what moves, and what it waits for", Access::Read),
    Verb::new(
        "DECOMMISSION",
        "DECOMMISSION <broker> [rate=<bytes/s>] [dry] | DECOMMISSION <broker> stay [dry]",
        "what it holds moves to others, then it is forgotten; says how far that is",
        Access::Admin,
    ),
    Verb::new(
        "REPLACE",
        "REPLACE <dead broker> by=<broker> [rate=<bytes/s>] [dry]",
        "puts one broker in the place of a dead one, wherever that holds something",
        Access::Admin,
    ),
    Verb::new(
        "DRAIN",
        "DRAIN <broker> [dry]",
        "its leaderships go elsewhere, and none come back",
        Access::Admin,
    ),
    Verb::new("UNDRAIN", "UNDRAIN <broker> [dry]", "it may lead again", Access::Admin),
    Verb::new("CLIENTS", "CLIENTS", "producers and consumers that have registered here", Access::Read),
    Verb::new(
        "HISTORY",
        "HISTORY [n]",
        "elections and ISR changes since the start, with reason",
        Access::Read,
    ),
    Verb::new("BACKEND", "BACKEND", "the metadata log: who keeps it, how far it is", Access::Read),
    Verb::new("CONF", "CONF [prefix]", "the settings: value and source", Access::Read),
    Verb::new("METRICS", "METRICS [prefix]", "the numbers of this process", Access::Read),
];

type Outcome = Result<Status, CommandError>;

/// Whether `word` is among the words after the first `skip`; refuses those that are not in `known`.
fn says(command: &Command, skip: usize, known: &[&str], word: &str) -> Result<bool, WireError> {
    let words = || command.words.iter().skip(skip);
    let is_known = |found: &&String| known.iter().any(|known| found.eq_ignore_ascii_case(known));
    if let Some(other) = words().find(|found| !is_known(found)) {
        let error = WireError::bad_request(format!("{} does not take {other}", command.verb));
        return Err(error.hint(format!("HELP {}", command.verb)));
    }
    Ok(words().any(|found| found.eq_ignore_ascii_case(word)))
}

/// Does one of [`VERBS`].
pub(crate) async fn run(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    match command.verb.as_str() {
        "ELECT" => requests::elect(session, front, command).await,
        "PREFERRED" => requests::preferred(session, front, command).await,
        "MOVE" => moves::start(session, front, command).await,
        "MOVES" => moves::list(session, front, command).await,
        "DECOMMISSION" => moves::decommission(session, front, command).await,
        "REPLACE" => moves::replace(session, front, command).await,
        "DRAIN" => requests::drain(session, front, command, true).await,
        "UNDRAIN" => requests::drain(session, front, command, false).await,
        "EPOCH" => {
            command.plain(0)?;
            Ok(front.look(cluster::epoch).await?)
        }
        "HISTORY" => {
            command.plain(1)?;
            let count = match command.words.first() {
                None => cluster::HISTORY,
                Some(word) => word.parse().map_err(|_| {
                    WireError::bad_request(format!("HISTORY: {word} is not a number of changes"))
                })?,
            };
            session.answer(&front.look(move |server| cluster::history(server, count)).await?).await
        }
        "BACKEND" => {
            command.plain(0)?;
            session.answer(&process::backend(&*front.log)).await
        }
        "CONF" => {
            command.plain(1)?;
            let told = |server: &Server| (process::settings(server), server.portrait.config.sources.clone());
            let (mut settings, sources) = front.look(told).await?;
            session.config().show(&sources, &mut settings);
            session.answer(&settings.table(command.prefix())).await
        }
        "METRICS" => {
            command.plain(1)?;
            session.answer(&front.look_with_log(process::metrics).await?.table(command.prefix())).await
        }
        verb => {
            command.plain(0)?;
            let table = match verb {
                "INFO" => process::info,
                "BROKERS" => cluster::brokers,
                "LEASES" => cluster::leases,
                "CLIENTS" => cluster::clients,
                other => return Err(unknown_verb(other, VERBS.iter().map(|verb| verb.name)).into()),
            };
            session.answer(&front.look(table).await?).await
        }
    }
}
