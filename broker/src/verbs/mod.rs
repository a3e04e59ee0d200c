//! What people type to a broker, one group a file. Whatever a client could ask is asked as the message that a
//! client would send; only what is this process' own (its replicas, its settings) is looked at directly.

mod conf;
mod groups;
mod offsets;
mod peek;
mod publish;
mod state;
mod subscribe;
mod trim;
mod words;

pub(crate) use words::word;

use crate::metrics;
use crate::service::BrokerService;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::net::{CommandError, TextSession};
use yak_protocol::text::{Access, Command, Status, Verb, unknown_verb};

/// Besides those of every process.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("INFO", "INFO", "this broker: who, where, how", Access::Read),
    Verb::new(
        "PUB",
        "PUB <topic>[/<p>] [key=] [part=] [h.<name>=] [acks=all|1|0] [id=<producer>/<sequence>] -- value to the \
         end of the line",
        "publishes one record",
        Access::Write,
    ),
    Verb::new(
        "PUBN",
        "PUBN <topic>[/<p>] <bytes> [options of PUB]",
        "publishes one record whose value are the bytes after the line",
        Access::Write,
    ),
    Verb::new(
        "SUB",
        "SUB <topic>[/<p>] [from=earliest|latest|<offset>|-<n>|@<time>] [max=<n>] [FOLLOW]",
        "shows committed records, with FOLLOW also new ones; ends with your next line",
        Access::Read,
    ),
    Verb::new(
        "OFFSETS",
        "OFFSETS <topic>[/<p>] [at=@<time>]",
        "where the log begins, is committed and ends, at the leader",
        Access::Read,
    ),
    Verb::new(
        "TRIM",
        "TRIM <topic>/<p> <offset>|@<time>|end CONFIRM",
        "deletes the committed records before it for ever",
        Access::Admin,
    ),
    Verb::new(
        "PEEK",
        "PEEK <topic>/<p> <offset>|-<n> [n]",
        "records as this broker's own replica has them, the uncommitted too",
        Access::Read,
    ),
    Verb::new("GROUPS", "GROUPS", "the consumer groups", Access::Read),
    Verb::new("GROUP", "GROUP <group>", "the members of a group, and what each reads", Access::Read),
    Verb::new("LAG", "LAG <group>", "how far a group is behind, partition by partition", Access::Read),
    Verb::new(
        "COMMIT",
        "COMMIT <group> <topic>/<p> <offset> [rewind=on] [metadata=]",
        "commits an offset of a group without members; back only with rewind=on",
        Access::Write,
    ),
    Verb::new(
        "RESET",
        "RESET <group> <topic>[/<p>] to=start|end|<offset>|+<n>|-<n>|@<time> [DRYRUN]",
        "moves a group without members",
        Access::Write,
    ),
    Verb::new("ROLE", "ROLE", "the replicas here: led or followed, and how far they are", Access::Read),
    Verb::new("RECOVERY", "RECOVERY", "what was found in the data dir when the broker started", Access::Read),
    Verb::new("CONF", "CONF [prefix]", "the settings: value and source", Access::Read),
    Verb::new("METRICS", "METRICS [prefix]", "the numbers of this process", Access::Read),
];

type Outcome = Result<Status, CommandError>;

/// Does one of [`VERBS`].
pub(crate) async fn run(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    let broker = &service.0;
    match command.verb.as_str() {
        "PUB" | "PUBN" => publish::publish(session, service, command).await,
        "SUB" => subscribe::subscribe(session, service, command).await,
        "OFFSETS" => offsets::offsets(session, service, command).await,
        "TRIM" => trim::trim(session, service, command).await,
        "PEEK" => peek::peek(session, service, command).await,
        "GROUPS" => groups::list(session, service, command).await,
        "GROUP" => groups::show(session, service, command).await,
        "LAG" => groups::lag(session, service, command).await,
        "COMMIT" => groups::commit(session, service, command).await,
        "RESET" => groups::reset(session, service, command).await,
        "INFO" => {
            command.plain(0)?;
            session.answer(&state::info(broker).await).await
        }
        "ROLE" => {
            command.plain(0)?;
            session.answer(&state::roles(broker)).await
        }
        "RECOVERY" => {
            command.plain(0)?;
            session.table(&state::recovered(broker)).await?;
            session.end().await?;
            Ok(state::recovery(broker))
        }
        "CONF" => {
            command.plain(1)?;
            let settings = conf::settings(broker, session.config());
            session.answer(&settings.table(command.prefix())).await
        }
        "METRICS" => {
            command.plain(1)?;
            session.answer(&gather(service).await?.table(command.prefix())).await
        }
        other => Err(unknown_verb(other, VERBS.iter().map(|verb| verb.name)).into()),
    }
}

async fn gather(service: &BrokerService) -> Result<yak_protocol::text::Metrics, WireError> {
    let broker = service.0.clone();
    let gathered = service.0.tasks.blocking("metrics", move || metrics::gather(&broker)).await;
    gathered.ok_or_else(stops)
}

fn stops() -> WireError {
    WireError::new(ErrorCode::ShuttingDown, "this broker stops")
}
