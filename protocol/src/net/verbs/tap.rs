//! Frames as they come and go.

use super::missed;
use crate::error::WireError;
use crate::json;
use crate::message::Metadata;
use crate::net::limits::TAP_RATE;
use crate::net::lines::{CommandError, Gone, TextSession};
use crate::net::observe::{Observer, TapFilter, Tapped};
use crate::net::service::Service;
use crate::text::{Command, Format, Status, rfc3339};
use std::time::UNIX_EPOCH;

/// One line a frame: `<time> conn=<n> in|out <bytes> {json}`, until so many were shown or the next line.
pub(super) async fn tap<S: Service>(
    session: &mut TextSession,
    service: &S,
    observer: &Observer,
    command: &Command,
) -> Result<Status, CommandError> {
    command.allow(&["rate", "payload", "n"])?;
    let what = command.word(0, "a connection, a topic or *")?;
    let payload = command.switch("payload")?.unwrap_or(false);
    let rate = command.number("rate")?.unwrap_or(TAP_RATE);
    let most: u64 = match command.words.get(1) {
        Some(word) => word
            .parse()
            .map_err(|_| WireError::bad_request(format!("TAP: {word} is not a number of frames")))?,
        None => command.number("n")?.unwrap_or(u64::MAX),
    };
    let filter = filter(session, service, what).await?;
    let mut tap = observer.taps.subscribe(filter, rate);
    let (mut shown, mut dropped) = (0, 0);
    while shown < most {
        let tapped = tokio::select! {
            biased;
            _ = session.interrupted() => break,
            tapped = tap.next() => tapped,
        };
        if tapped.dropped > 0 {
            dropped += tapped.dropped;
            session.line(&missed(tapped.dropped, "frame", "dropped")).await?;
        }
        show(session, &tapped, payload).await?;
        shown += 1;
    }
    dropped += tap.dropped();
    session.end().await?;
    Ok(Status::ok().with("frames", shown).with("dropped", dropped))
}

/// A number is a connection; a topic is looked for by its name and by its id.
async fn filter<S: Service>(
    session: &mut TextSession,
    service: &S,
    what: &str,
) -> Result<TapFilter, WireError> {
    if what == "*" {
        return Ok(TapFilter::All);
    }
    if let Ok(id) = what.parse() {
        return Ok(TapFilter::Connection(id));
    }
    let metadata = Metadata { topics: Some(vec![what.to_owned()]) };
    let (found, _) = session.ask(service, &metadata, Vec::new()).await?;
    let ids = found.topics.iter().filter(|topic| topic.name == what).map(|topic| topic.id.to_string());
    // A topic that does not exist yet can be waited for by its name.
    Ok(TapFilter::Topic(std::iter::once(what.to_owned()).chain(ids).collect()))
}

async fn show(session: &mut TextSession, tapped: &Tapped, payload: bool) -> Result<(), Gone> {
    let since = tapped.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = rfc3339(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let write = if payload { json::write_message } else { json::write_masked };
    let message = write(&tapped.frame)
        .unwrap_or_else(|error| serde_json::json!({"error": error.to_string()}).to_string());
    let (connection, direction, bytes) = (tapped.connection, tapped.direction, tapped.frame.len());
    if session.format() == Format::Json {
        let head = format!("\"time\":\"{time}\",\"connection\":{connection},\"direction\":\"{direction}\"");
        return session.object(&format!("{{{head},\"bytes\":{bytes},\"message\":{message}}}")).await;
    }
    session.line(&format!("{time} conn={connection} {direction} {bytes} {message}")).await
}
