//! Who leads, who is in sync, and who is there at all.

use super::topics::find;
use crate::error::WireError;
use crate::ids::BrokerId;
use crate::message::Metadata;
use crate::names::nearest;
use crate::net::lines::{CommandError, TextSession};
use crate::net::service::Service;
use crate::text::{Command, Status, cluster};

type Outcome = Result<Status, CommandError>;

pub(super) async fn isr<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    command.plain(1)?;
    let found = find(session, service, command, command.word(0, "a topic, or topic/partition")?).await?;
    session.answer(&cluster::isr(&found.known)).await
}

pub(super) async fn brokers<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Outcome {
    command.plain(0)?;
    let (known, _) = session.ask(service, &Metadata::default(), Vec::new()).await?;
    session.answer(&cluster::brokers(&known)).await
}

pub(super) async fn leader<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    command.plain(1)?;
    let known = match command.words.first() {
        Some(wanted) => find(session, service, command, wanted).await?.known,
        None => session.ask(service, &Metadata::default(), Vec::new()).await?.0,
    };
    session.answer(&cluster::leaders(&known)).await
}

/// The broker of that number or name.
///
/// # Errors
/// `BAD_REQUEST` that names the nearest one, or what `metadata` was refused with.
pub async fn find_broker<S: Service>(
    session: &mut TextSession,
    service: &S,
    text: &str,
) -> Result<BrokerId, WireError> {
    if let Ok(id) = text.parse() {
        return Ok(BrokerId(id));
    }
    let none = Metadata { topics: Some(Vec::new()) };
    let (known, _) = session.ask(service, &none, Vec::new()).await?;
    let named = known.brokers.iter().find(|broker| broker.name == text);
    named.map(|broker| broker.id).ok_or_else(|| {
        let error = WireError::bad_request(format!("there is no broker {text}"));
        match nearest(text, known.brokers.iter().map(|broker| broker.name.as_str())) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("BROKERS lists them"),
        }
    })
}
