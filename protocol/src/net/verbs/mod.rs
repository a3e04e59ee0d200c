//! The commands that every process knows, one group a file.

mod connections;
mod events;
mod leaders;
mod settings;
mod tap;
mod topics;
mod who;
mod why;
mod words;

use super::lines::{CommandError, TextSession};
use super::observe::{Observer, ProcessLog};
use super::service::Service;
use crate::error::{ErrorCode, WireError};
use crate::text::{Access, Command, Status, Verb, Word, count, unknown_verb};

pub use leaders::find_broker;
pub use topics::{Found, find, may_pass, place};
pub(super) use who::banner;
pub(super) use words::word;
pub use words::{environment, stat_of_connections};

/// The commands of every process, in the order in which `HELP` shows them.
pub(super) const SHARED: &[Verb] = &[
    Verb::new("PING", "PING", "answers pong", Access::Read),
    Verb::new("HELP", "HELP [command]", "lists the commands, or shows one", Access::Read),
    Verb::new("VERSION", "VERSION", "which process answers, and its version", Access::Read),
    Verb::new("WHOAMI", "WHOAMI", "who you are to this process, and what you may do", Access::Read),
    Verb::new(
        "FORMAT",
        "FORMAT table|kv|json",
        "how data and status lines look; format= does it once",
        Access::Read,
    ),
    Verb::new("RAW", "RAW on|off", "on: only the values of messages, and errors", Access::Read),
    Verb::new("ESC", "ESC on|off", "off: what cannot be printed as it is, too", Access::Read),
    Verb::new(
        "FORWARD",
        "FORWARD on|off",
        "off: NOT_LEADER instead of passing on; forward= does it once",
        Access::Read,
    ),
    Verb::new(
        "LINGER",
        "LINGER <seconds>",
        "how long FOLLOW goes on after the end of the input",
        Access::Read,
    ),
    Verb::new("ONESHOT", "ONESHOT", "closes as soon as nothing has come for 200 ms", Access::Read),
    Verb::new("CONNS", "CONNS", "the connections of this process", Access::Read),
    Verb::new("KILL", "KILL <connection>", "cuts a connection of CONNS", Access::Admin),
    Verb::new("EVENTS", "EVENTS [n] [FOLLOW]", "what happened last in this process", Access::Read),
    Verb::new("LOG", "LOG [n] [FOLLOW]", "what this process last said in its log", Access::Read),
    Verb::new(
        "LEVEL",
        "LEVEL [<module>|* error|warn|info|debug|trace|off]",
        "how much this process says in its log, until it is started again",
        Access::Admin,
    ),
    Verb::new(
        "TAP",
        "TAP <connection>|<topic>|* [n] [rate=100] [payload=on]",
        "decoded copies of frames as they come and go; ends with your next line",
        Access::Admin,
    ),
    Verb::new("TOPICS", "TOPICS [ALL]", "the topics, with ALL the brokers' own, too", Access::Read),
    Verb::new("TOPIC", "TOPIC <topic>[/<p>]", "one topic: its settings and partitions", Access::Read),
    Verb::new(
        "CREATE",
        "CREATE <topic> [parts=3] [rf=2] [min_isr=] [durability=fsync|replicated] [retention_ms=7d] \
         [cleanup=delete|compact|both] [SETTING=..] [if_not_exists=on]",
        "makes a topic, and answers once it can be used; TOPIC names every setting",
        Access::Write,
    ),
    Verb::new(
        "ALTER",
        "ALTER <topic> [parts=] [SETTING=<value>|default ..] [dry]",
        "changes settings; more partitions, and every key stays where it is",
        Access::Admin,
    ),
    Verb::new("DROP", "DROP <topic> CONFIRM", "deletes a topic and its records for ever", Access::Admin),
    Verb::new("ISR", "ISR <topic>[/<p>]", "the in-sync replicas, and which are missing", Access::Read),
    Verb::new("BROKERS", "BROKERS", "the brokers, and whether they may lead", Access::Read),
    Verb::new("LEADER", "LEADER [<topic>[/<p>]]", "who leads, and where that is", Access::Read),
    Verb::new(
        "WHY",
        "WHY [<topic>[/<p>] | broker <broker>]",
        "what is wrong with it, or with anything, and what to do",
        Access::Read,
    ),
    Verb::new("QUIT", "QUIT", "finishes and closes", Access::Read),
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
            command.plain(0)?;
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
        "EVENTS" => events::show(session, &observer(service)?.events, command).await,
        "LOG" => {
            let log = log(session)?;
            events::show(session, &log.lines, command).await
        }
        "LEVEL" => events::level(&log(session)?, command),
        "TAP" => tap::tap(session, service, observer(service)?, command).await,
        "TOPICS" => topics::list(session, service, command).await,
        "TOPIC" => topics::show(session, service, command).await,
        "CREATE" => topics::create(session, service, command).await,
        "ALTER" => topics::alter(session, service, command).await,
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

fn log(session: &TextSession) -> Result<ProcessLog, WireError> {
    let none = || WireError::new(ErrorCode::Disabled, "this process keeps no lines of its log");
    session.config().log.clone().ok_or_else(none)
}

/// `# 1 frame was dropped`
fn missed(number: u64, what: &str, how: &str) -> String {
    format!("# {} {} {how}", count(number, what), if number == 1 { "was" } else { "were" })
}

/// Says what a listener is to answer that nobody knows here.
pub(super) fn check_allowed<S: Service>(allowed: &[String], service: &S) {
    for name in allowed {
        if Word::parse(name.as_bytes()).is_none() && of(service).all(|verb| verb.name != name) {
            let error = unknown_verb(name, of(service).map(|verb| verb.name));
            let hint = error.hint.unwrap_or_default();
            tracing::warn!("text_allow names {name}, which is no command here: {hint}");
        }
    }
}

fn observer<S: Service>(service: &S) -> Result<&Observer, WireError> {
    let none = || WireError::new(ErrorCode::Disabled, "this process does not watch itself");
    service.observer().ok_or_else(none)
}
