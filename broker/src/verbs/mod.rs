//! What people type to a broker, one group a file. Whatever a client could ask is asked as the message that a
//! client would send; only what is this process' own (its replicas, its settings) is looked at directly.

mod conf;
mod offsets;
mod peek;
mod publish;
mod state;
mod subscribe;
mod words;

pub(crate) use words::word;

use crate::metrics;
use crate::service::BrokerService;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::net::{CommandError, TextSession};
use yak_protocol::text::{Access, Command, Status, Table, Verb, unknown_verb};

const fn verb(name: &'static str, usage: &'static str, about: &'static str, access: Access) -> Verb {
    Verb { name, usage, about, access }
}

/// Besides those of every process.
pub(crate) const VERBS: &[Verb] = &[
    verb("INFO", "INFO", "this broker: who, where, how", Access::Read),
    verb(
        "PUB",
        "PUB <topic>[/<p>] [key=] [part=] [h.<name>=] [acks=all|1|0] [id=<producer>/<sequence>] -- value to the \
         end of the line",
        "publishes one record",
        Access::Write,
    ),
    verb(
        "PUBN",
        "PUBN <topic>[/<p>] <bytes> [options of PUB]",
        "publishes one record whose value are the bytes after the line",
        Access::Write,
    ),
    verb(
        "SUB",
        "SUB <topic>[/<p>] [from=earliest|latest|<offset>|-<n>|@<time>] [max=<n>] [FOLLOW]",
        "shows committed records, with FOLLOW also new ones; ends with your next line",
        Access::Read,
    ),
    verb(
        "OFFSETS",
        "OFFSETS <topic>[/<p>] [at=@<time>]",
        "where the log begins, is committed and ends, at the leader",
        Access::Read,
    ),
    verb(
        "PEEK",
        "PEEK <topic>/<p> <offset>|-<n> [n]",
        "records as this broker's own replica has them, the uncommitted too",
        Access::Read,
    ),
    verb("ROLE", "ROLE", "the replicas here: led or followed, and how far they are", Access::Read),
    verb("RECOVERY", "RECOVERY", "what was found in the data dir when the broker started", Access::Read),
    verb("CONF", "CONF [prefix]", "the settings: value and source", Access::Read),
    verb("METRICS", "METRICS [prefix]", "the numbers of this process", Access::Read),
];

type Outcome = Result<Status, CommandError>;

/// Does one of [`VERBS`].
pub(crate) async fn run(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    let broker = &service.0;
    match command.verb.as_str() {
        "PUB" | "PUBN" => publish::publish(session, service, command).await,
        "SUB" => subscribe::subscribe(session, service, command).await,
        "OFFSETS" => offsets::offsets(session, service, command).await,
        "PEEK" => peek::peek(session, service, command).await,
        "INFO" => {
            plain(command, 0)?;
            answer(session, &state::info(broker).await).await
        }
        "ROLE" => {
            plain(command, 0)?;
            answer(session, &state::roles(broker)).await
        }
        "RECOVERY" => {
            plain(command, 0)?;
            session.table(&state::recovered(broker)).await?;
            session.end().await?;
            Ok(state::recovery(broker))
        }
        "CONF" => {
            plain(command, 1)?;
            let settings = conf::settings(broker, session.config());
            answer(session, &settings.table(prefix(command))).await
        }
        "METRICS" => {
            plain(command, 1)?;
            answer(session, &gather(service).await?.table(prefix(command))).await
        }
        other => Err(unknown_verb(other, VERBS.iter().map(|verb| verb.name)).into()),
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

async fn gather(service: &BrokerService) -> Result<yak_protocol::text::Metrics, WireError> {
    let broker = service.0.clone();
    let gathered = service.0.tasks.blocking("metrics", move || metrics::gather(&broker)).await;
    gathered.ok_or_else(stops)
}

async fn answer(session: &mut TextSession, table: &Table) -> Outcome {
    session.table(table).await?;
    session.end().await?;
    Ok(Status::ok().with("count", table.len()))
}

fn bad(message: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::BadRequest, message)
}

fn stops() -> WireError {
    WireError::new(ErrorCode::ShuttingDown, "this broker stops")
}
