//! What people type to the coordinator, one group a file. What a client could ask is asked as the message that
//! a client would send; everything else is looked at in the one task that knows it.

mod cluster;
mod process;
mod requests;
mod words;

pub(crate) use words::word;

use crate::front::Front;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::net::{CommandError, TextSession};
use yak_protocol::text::{Access, Command, Status, Table, Verb, unknown_verb};

const fn verb(name: &'static str, usage: &'static str, about: &'static str, access: Access) -> Verb {
    Verb { name, usage, about, access }
}

/// Besides those of every process; `BROKERS` in the place of the shared one, which knows less.
pub(crate) const VERBS: &[Verb] = &[
    verb("INFO", "INFO", "this coordinator: who, where, how", Access::Read),
    verb("BROKERS", "BROKERS", "the brokers, their last heartbeat and lease", Access::Read),
    verb("LEASES", "LEASES", "who holds which lease, and how long it is left", Access::Read),
    verb("EPOCH", "EPOCH", "the terms and versions that this coordinator has reached", Access::Read),
    verb(
        "ELECT",
        "ELECT <topic>/<p> [to=<broker>]",
        "moves leadership to an in-sync replica: that one, or the first that may lead",
        Access::Admin,
    ),
    verb("DRAIN", "DRAIN <broker>", "its leaderships go elsewhere, and none come back", Access::Admin),
    verb("UNDRAIN", "UNDRAIN <broker>", "it may lead again", Access::Admin),
    verb("CLIENTS", "CLIENTS", "producers and consumers that have registered here", Access::Read),
    verb("HISTORY", "HISTORY [n]", "elections and ISR changes since the start, with reason", Access::Read),
    verb("BACKEND", "BACKEND", "the journal: file, size, records, last sync", Access::Read),
    verb("CONF", "CONF [prefix]", "the settings: value and source", Access::Read),
    verb("METRICS", "METRICS [prefix]", "the numbers of this process", Access::Read),
];

type Outcome = Result<Status, CommandError>;

/// Does one of [`VERBS`].
pub(crate) async fn run(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    match command.verb.as_str() {
        "ELECT" => requests::elect(session, front, command).await,
        "DRAIN" => requests::drain(session, front, command, true).await,
        "UNDRAIN" => requests::drain(session, front, command, false).await,
        "EPOCH" => {
            plain(command, 0)?;
            Ok(front.look(cluster::epoch).await?)
        }
        "HISTORY" => {
            plain(command, 1)?;
            let count = match command.words.first() {
                None => cluster::HISTORY,
                Some(word) => {
                    word.parse().map_err(|_| bad(format!("HISTORY: {word} is not a number of changes")))?
                }
            };
            answer(session, &front.look(move |server| cluster::history(server, count)).await?).await
        }
        "CONF" => {
            plain(command, 1)?;
            let settings = front.look(process::settings).await?;
            let settings = process::with_listener(settings, session.config());
            answer(session, &settings.table(prefix(command))).await
        }
        "METRICS" => {
            plain(command, 1)?;
            answer(session, &front.look(process::metrics).await?.table(prefix(command))).await
        }
        verb => {
            plain(command, 0)?;
            let table = match verb {
                "INFO" => process::info,
                "BACKEND" => process::backend,
                "BROKERS" => cluster::brokers,
                "LEASES" => cluster::leases,
                "CLIENTS" => cluster::clients,
                other => return Err(unknown_verb(other, VERBS.iter().map(|verb| verb.name)).into()),
            };
            answer(session, &front.look(table).await?).await
        }
    }
}

/// Refuses options, and words beyond the first `most`.
fn plain(command: &Command, most: usize) -> Result<(), WireError> {
    command.allow(&[])?;
    command.words.get(most).map_or(Ok(()), |word| {
        let error = bad(format!("{} does not take {word}", command.verb));
        Err(error.hint(format!("HELP {}", command.verb)))
    })
}

fn prefix(command: &Command) -> &str {
    command.words.first().map_or("", String::as_str)
}

async fn answer(session: &mut TextSession, table: &Table) -> Outcome {
    session.table(table).await?;
    session.end().await?;
    Ok(Status::ok().with("count", table.len()))
}

fn bad(message: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::BadRequest, message)
}
