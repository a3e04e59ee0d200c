//! Who is here, and what can be asked.

use crate::message::Hello;
use crate::net::lines::{CommandError, TextSession};
use crate::net::service::Service;
use crate::text::{Command, Status, Table, Verb, Word, unknown_verb};

/// What whoever presses Enter is told.
pub(in crate::net) async fn banner<S: Service>(session: &mut TextSession, service: &S) -> Status {
    match session.ask(service, &Hello::default(), Vec::new()).await {
        Ok((hello, _)) => {
            let number = hello.broker_id.map(|id| format!(" {id}")).unwrap_or_default();
            let health = hello.unhealthy.map(|why| format!(", unhealthy: {why}")).unwrap_or_default();
            let (process, software) = (hello.process, hello.software);
            Status::said(format!("YAK {process}{number} {software}{health}; HELP lists the commands"))
        }
        Err(_) => Status::said("YAK; HELP lists the commands"),
    }
}

pub(super) async fn version<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Result<Status, CommandError> {
    command.plain(0)?;
    let (hello, _) = session.ask(service, &Hello::default(), Vec::new()).await?;
    let status = Status::ok().with("process", hello.process).with("software", hello.software);
    let status = status.with("protocol", hello.version).with("cluster_id", hello.cluster_id);
    let status = status.with("broker_id", hello.broker_id).with("max_frame_bytes", hello.max_frame_bytes);
    Ok(status.with("unhealthy", hello.unhealthy))
}

pub(super) fn whoami(session: &TextSession, command: &Command) -> Result<Status, CommandError> {
    command.plain(0)?;
    let peer = session.peer();
    let status = Status::ok().with("connection", peer.id()).with("address", peer.address().to_string());
    let status = status.with("text", session.access().to_string());
    Ok(status.with("roles", session.config().roles.to_string()).with("authenticated", false))
}

pub(super) async fn help<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
) -> Result<Status, CommandError> {
    command.plain(1)?;
    let all = || super::of(service);
    let Some(name) = command.words.first() else {
        let mut verbs: Vec<&Verb> = all().collect();
        verbs.sort_by_key(|verb| verb.name);
        let mut table = Table::new(&["COMMAND", "WHAT IT DOES"]);
        for verb in verbs {
            table.push([verb.name, verb.about]);
        }
        session.table(&table).await?;
        let words = Word::ALL.iter().map(|word| word.text()).collect::<Vec<_>>().join(" ");
        session.line("HELP <command> shows how it is typed").await?;
        session.line(&format!("{{...}} sends any message as JSON; alone on a connection: {words}")).await?;
        session.end().await?;
        return Ok(Status::ok().with("commands", table.len()));
    };
    if let Some(verb) = all().find(|verb| verb.name.eq_ignore_ascii_case(name)) {
        session.line(verb.usage).await?;
        session.line(&format!("  {}", verb.about)).await?;
        session.end().await?;
        return Ok(Status::ok().with("access", format!("{:?}", verb.access).to_ascii_lowercase()));
    }
    if let Some(word) = Word::parse(name.as_bytes()) {
        session.line(&format!("{}  (alone on a connection)", word.text())).await?;
        session.line(&format!("  {}", word.about())).await?;
        session.end().await?;
        return Ok(Status::ok());
    }
    Err(unknown_verb(&name.to_ascii_uppercase(), all().map(|verb| verb.name)).into())
}
