//! What is wrong, and what to do about it.

use super::leaders::find_broker;
use super::topics::place;
use crate::message::Why;
use crate::net::lines::{CommandError, TextSession};
use crate::net::service::Service;
use crate::text::{Command, Format, Status, Table, Value};

pub(super) async fn why<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Result<Status, CommandError> {
    let asked = asked(session, service, command).await?;
    let (answer, _) = session.ask(service, &asked, Vec::new()).await?;
    if session.format() == Format::Table {
        session.line(&answer.text).await?;
    } else {
        let mut table = Table::new(&["CAUSE", "SUBJECT", "TEXT", "NEXT"]);
        for cause in &answer.causes {
            let next = Some(cause.next.as_str()).filter(|next| !next.is_empty());
            let told = [&cause.cause, &cause.subject, &cause.text].map(Value::from);
            table.push(told.into_iter().chain([next.into()]));
        }
        session.table(&table).await?;
    }
    session.end().await?;
    Ok(Status::ok().with("well", answer.causes.is_empty()).with("causes", answer.causes.len()))
}

/// `WHY`, `WHY orders`, `WHY orders/2`, `WHY broker 3`.
async fn asked<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Result<Why, CommandError> {
    let forward = session.forward();
    let mut why = Why { forward, ..Why::default() };
    match command.words.first().map(String::as_str) {
        None => command.plain(0)?,
        // A topic of that name is asked for without a second word.
        Some(word) if word.eq_ignore_ascii_case("broker") && command.words.len() > 1 => {
            command.plain(2)?;
            why.broker = Some(find_broker(session, service, &command.words[1]).await?);
        }
        Some(word) => {
            command.plain(1)?;
            let (topic, partition) = place(word)?;
            (why.topic, why.partition) = (Some(topic.to_owned()), partition);
        }
    }
    Ok(why)
}
