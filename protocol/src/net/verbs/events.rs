//! What happened, and what the process says of it.

use crate::error::WireError;
use crate::net::lines::{CommandError, TextSession};
use crate::net::observe::{Event, Events, ProcessLog};
use crate::text::{Command, Format, Status, Table, Value, rfc3339};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

type Outcome = Result<Status, CommandError>;

/// How many events are shown unless more are asked for.
pub(super) const RECENT: usize = 20;

/// `EVENTS` and `LOG`: the last lines of a ring, and with `FOLLOW` those that come.
pub(super) async fn show(session: &mut TextSession, ring: &Events, command: &Command) -> Outcome {
    command.allow(&[])?;
    let follow = command.flag("FOLLOW");
    let mut words = command.words.iter().filter(|word| !word.eq_ignore_ascii_case("FOLLOW"));
    let count = match words.next() {
        None => RECENT,
        Some(word) => word.parse().map_err(|_| {
            WireError::bad_request(format!("{}: {word} is not a number of lines", command.verb))
        })?,
    };
    command.at_most(1 + usize::from(follow))?;
    // First, so that none is missed between the two.
    let following = ring.follow();
    let recent = ring.recent(count);
    let last = recent.last().map_or(0, |event| event.number);
    let mut shown = recent.len();
    for event in &recent {
        row(session, event).await?;
    }
    if follow {
        shown += follow_on(session, following, last).await?;
    }
    session.end().await?;
    Ok(Status::ok().with("count", shown))
}

/// `LEVEL`, `LEVEL yak_broker debug`, `LEVEL * info`.
pub(super) fn level(log: &ProcessLog, command: &Command) -> Outcome {
    command.plain(2)?;
    let Some(module) = command.words.first() else {
        return Ok(Status::ok().with("filter", log.levels.filter()));
    };
    let level = command.word(1, "a level: error, warn, info, debug, trace or off")?;
    let filter = log.levels.set(module, level).map_err(WireError::bad_request)?;
    Ok(Status::ok().with("filter", filter))
}

/// Shows the events behind `last` as they come, until it is interrupted; returns how many.
async fn follow_on(
    session: &mut TextSession,
    mut following: Receiver<Event>,
    mut last: u64,
) -> Result<usize, CommandError> {
    let mut shown = 0;
    loop {
        let event = tokio::select! {
            biased;
            _ = session.interrupted() => return Ok(shown),
            event = following.recv() => event,
        };
        match event {
            Ok(event) if event.number > last => {
                (last, shown) = (event.number, shown + 1);
                row(session, &event).await?;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                session.line(&super::missed(missed, "line", "missed")).await?;
            }
            Err(RecvError::Closed) => return Ok(shown),
        }
    }
}

/// One event a line: columns would have to wait for the last one.
async fn row(session: &mut TextSession, event: &Event) -> Result<(), CommandError> {
    let time = rfc3339(event.at_ms);
    if session.format() == Format::Table {
        return Ok(session.line(&format!("{time} {} {}", event.kind, event.text)).await?);
    }
    let row = [Value::from(event.number), time.into(), event.kind.into(), event.text.as_str().into()];
    let table = Table::new(&["NUMBER", "TIME", "KIND", "TEXT"]).row(row);
    Ok(session.table(&table).await?)
}
