//! What happened.

use crate::error::WireError;
use crate::net::lines::{CommandError, TextSession};
use crate::net::observe::{Event, Observer};
use crate::text::{Command, Format, Status, Table, Value, rfc3339};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// How many events are shown unless more are asked for.
pub(super) const RECENT: usize = 20;

pub(super) async fn events(
    session: &mut TextSession,
    observer: &Observer,
    command: &Command,
) -> Result<Status, CommandError> {
    command.allow(&[])?;
    let follow = command.flag("FOLLOW");
    let mut count = RECENT;
    for word in command.words.iter().filter(|word| !word.eq_ignore_ascii_case("FOLLOW")) {
        count = word
            .parse()
            .map_err(|_| WireError::bad_request(format!("EVENTS: {word} is not a number of events")))?;
    }
    if !follow {
        command.plain(1)?;
    }
    // First, so that none is missed between the two.
    let following = observer.events.follow();
    let recent = observer.events.recent(count);
    let last = recent.last().map_or(0, |event| event.number);
    let mut shown = recent.len();
    for event in &recent {
        show(session, event).await?;
    }
    if follow {
        shown += follow_on(session, following, last).await?;
    }
    session.end().await?;
    Ok(Status::ok().with("count", shown))
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
                show(session, &event).await?;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                session.line(&format!("# {missed} events were missed")).await?;
            }
            Err(RecvError::Closed) => return Ok(shown),
        }
    }
}

/// One event a line: columns would have to wait for the last one.
async fn show(session: &mut TextSession, event: &Event) -> Result<(), CommandError> {
    let time = rfc3339(event.at_ms);
    if session.format() == Format::Table {
        return Ok(session.line(&format!("{time} {} {}", event.kind, event.text)).await?);
    }
    let row = [Value::from(event.number), time.into(), event.kind.into(), event.text.as_str().into()];
    let table = Table::new(&["NUMBER", "TIME", "KIND", "TEXT"]).row(row);
    Ok(session.table(&table).await?)
}
