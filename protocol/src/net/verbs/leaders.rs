//! Who leads, who is in sync, and who is there at all.

use super::topics::find;
use super::{answer_table, no_more_words};
use crate::message::Metadata;
use crate::net::lines::{CommandError, TextSession};
use crate::net::service::Service;
use crate::text::{Command, Status, cluster};

type Outcome = Result<Status, CommandError>;

pub(super) async fn isr<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    no_more_words(command, 1)?;
    let found = find(session, service, command, command.word(0, "a topic, or topic/partition")?).await?;
    answer_table(session, &cluster::isr(&found.known)).await
}

pub(super) async fn brokers<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Outcome {
    no_more_words(command, 0)?;
    let (known, _) = session.ask(service, &Metadata::default(), Vec::new()).await?;
    answer_table(session, &cluster::brokers(&known)).await
}

pub(super) async fn leader<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    no_more_words(command, 1)?;
    let known = match command.words.first() {
        Some(wanted) => find(session, service, command, wanted).await?.known,
        None => session.ask(service, &Metadata::default(), Vec::new()).await?.0,
    };
    answer_table(session, &cluster::leaders(&known)).await
}
