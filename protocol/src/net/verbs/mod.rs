//! The commands that every process knows, one group a file.

mod connections;
mod events;
mod leaders;
mod settings;
mod tap;
mod topics;
mod who;
mod why;

use super::lines::{CommandError, TextSession};
use super::observe::Observer;
use super::service::Service;
use crate::error::{ErrorCode, WireError};
use crate::text::{Access, Command, Format, Status, Table, Verb, Word, rfc3339};

pub use leaders::find_broker;
pub use topics::{Found, find, may_pass, place};
pub(super) use who::banner;

const fn verb(name: &'static str, usage: &'static str, about: &'static str, access: Access) -> Verb {
    Verb { name, usage, about, access }
}

/// The commands of every process, in the order in which `HELP` shows them.
pub(super) const SHARED: &[Verb] = &[
    verb("PING", "PING", "answers pong", Access::Read),
    verb("HELP", "HELP [command]", "lists the commands, or shows one", Access::Read),
    verb("VERSION", "VERSION", "which process answers, and its version", Access::Read),
    verb("WHOAMI", "WHOAMI", "who you are to this process, and what you may do", Access::Read),
    verb(
        "FORMAT",
        "FORMAT table|kv|json",
        "how data and status lines look; format= does it once",
        Access::Read,
    ),
    verb("RAW", "RAW on|off", "on: only the values of messages, and errors", Access::Read),
    verb("ESC", "ESC on|off", "off: what cannot be printed as it is, too", Access::Read),
    verb(
        "FORWARD",
        "FORWARD on|off",
        "off: NOT_LEADER instead of passing on; forward= does it once",
        Access::Read,
    ),
    verb("LINGER", "LINGER <seconds>", "how long FOLLOW goes on after the end of the input", Access::Read),
    verb("ONESHOT", "ONESHOT", "closes as soon as nothing has come for 200 ms", Access::Read),
    verb("CONNS", "CONNS", "the connections of this process", Access::Read),
    verb("KILL", "KILL <connection>", "cuts a connection of CONNS", Access::Admin),
    verb("EVENTS", "EVENTS [n] [FOLLOW]", "what happened last in this process", Access::Read),
    verb(
        "TAP",
        "TAP <connection>|<topic>|* [n] [rate=100] [payload=on]",
        "decoded copies of frames as they come and go; ends with your next line",
        Access::Admin,
    ),
    verb("TOPICS", "TOPICS", "the topics", Access::Read),
    verb("TOPIC", "TOPIC <topic>[/<p>]", "one topic: its settings and partitions", Access::Read),
    verb(
        "CREATE",
        "CREATE <topic> [parts=3] [rf=2] [min_isr=] [durability=fsync|replicated] [validate=header|deep] \
         [batch_bytes_max=] [if_not_exists=on]",
        "makes a topic, and answers once it can be used",
        Access::Write,
    ),
    verb("DROP", "DROP <topic> CONFIRM", "deletes a topic and its records for ever", Access::Admin),
    verb("ISR", "ISR <topic>[/<p>]", "the in-sync replicas, and which are missing", Access::Read),
    verb("BROKERS", "BROKERS", "the brokers, and whether they may lead", Access::Read),
    verb("LEADER", "LEADER [<topic>[/<p>]]", "who leads, and where that is", Access::Read),
    verb(
        "WHY",
        "WHY [<topic>[/<p>] | broker <broker>]",
        "what is wrong with it, or with anything, and what to do",
        Access::Read,
    ),
    verb("QUIT", "QUIT", "finishes and closes", Access::Read),
];

/// What is answered however little the listener allows.
pub(super) const ALWAYS: &[&str] = &["PING", "HELP", "QUIT"];

/// The commands that go on until they are interrupted without being told `FOLLOW`.
pub(super) const FOLLOWING: &[&str] = &["TAP"];

/// Every command of a process. What the service knows better takes the place of the shared one.
pub(super) fn of<S: Service>(service: &S) -> impl Iterator<Item = &'static Verb> {
    let own = service.verbs();
    let shared = SHARED.iter().filter(|shared| own.iter().all(|verb| verb.name != shared.name));
    shared.chain(own)
}

/// Does a command: one of the service, or a shared one.
pub(super) async fn run<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Result<Status, CommandError> {
    if service.verbs().iter().any(|verb| verb.name == command.verb) {
        return service.command(session, command).await;
    }
    match command.verb.as_str() {
        "PING" => {
            no_more_words(command, 0)?;
            Ok(Status::said("pong"))
        }
        "HELP" => who::help(session, service, command).await,
        "VERSION" => who::version(session, service, command).await,
        "WHOAMI" => who::whoami(session, command),
        "FORMAT" => settings::format(session, command),
        "RAW" => settings::switch(session, command, |settings, on| settings.raw = on),
        "ESC" => settings::switch(session, command, |settings, on| settings.escape = on),
        "FORWARD" => settings::switch(session, command, |settings, on| settings.forward = on),
        "LINGER" => settings::linger(session, command),
        "ONESHOT" => settings::oneshot(session, command),
        "CONNS" => connections::list(session, observer(service)?, command).await,
        "KILL" => connections::kill(session, observer(service)?, command),
        "EVENTS" => events::events(session, observer(service)?, command).await,
        "TAP" => tap::tap(session, service, observer(service)?, command).await,
        "TOPICS" => topics::list(session, service, command).await,
        "TOPIC" => topics::show(session, service, command).await,
        "CREATE" => topics::create(session, service, command).await,
        "DROP" => topics::delete(session, service, command).await,
        "ISR" => leaders::isr(session, service, command).await,
        "BROKERS" => leaders::brokers(session, service, command).await,
        "LEADER" => leaders::leader(session, service, command).await,
        "WHY" => why::why(session, service, command).await,
        "QUIT" => {
            session.quit();
            Ok(Status::said("bye"))
        }
        _ => service.command(session, command).await,
    }
}

fn observer<S: Service>(service: &S) -> Result<&Observer, WireError> {
    let none = || WireError::new(ErrorCode::Disabled, "this process does not watch itself");
    service.observer().ok_or_else(none)
}

fn bad(message: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::BadRequest, message)
}

/// Answers a word: those about connections and events here, all others by the service.
pub(super) async fn word<S: Service>(service: &S, word: Word) -> String {
    match (word, service.observer()) {
        (Word::Cons, Some(observer)) => connections::table(observer).lines(Format::Table).join("\n"),
        (Word::Evnt, Some(observer)) => {
            let events = observer.events.recent(events::RECENT);
            let line = |event: &super::observe::Event| {
                format!("{} {} {}", rfc3339(event.at_ms), event.kind, event.text)
            };
            events.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        _ => service.word(word).await,
    }
}

/// Refuses words beyond the first `most`.
fn no_more_words(command: &Command, most: usize) -> Result<(), WireError> {
    match command.words.get(most) {
        None => command.allow(&[]),
        Some(word) => {
            let error = bad(format!("{} does not take {word}", command.verb));
            Err(error.hint(format!("HELP {}", command.verb)))
        }
    }
}

/// A table, its end, and how many rows it had.
async fn answer_table(session: &mut TextSession, table: &Table) -> Result<Status, CommandError> {
    session.table(table).await?;
    session.end().await?;
    Ok(Status::ok().with("count", table.len()))
}
