//! Who is connected.

use crate::error::WireError;
use crate::net::lines::{CommandError, TextSession};
use crate::net::observe::{ConnectionInfo, Observer};
use crate::text::{Command, Status, Table, Value};

pub(super) fn table(observer: &Observer) -> Table {
    let mut table = Table::new(&[
        "ID",
        "ADDRESS",
        "MODE",
        "CLIENT",
        "AGE S",
        "REQUESTS",
        "IN",
        "OUT",
        "UNANSWERED",
        "QUEUED",
    ]);
    for connection in observer.connections.list() {
        table.push(row(&connection));
    }
    table
}

fn row(connection: &ConnectionInfo) -> [Value; 10] {
    [
        connection.id.into(),
        connection.address.to_string().into(),
        connection.mode.to_string().into(),
        connection.client.clone().into(),
        connection.opened.elapsed().as_secs().into(),
        connection.requests.into(),
        connection.bytes_in.into(),
        connection.bytes_out.into(),
        connection.unanswered.into(),
        connection.queued_bytes.into(),
    ]
}

pub(super) async fn list(
    session: &mut TextSession,
    observer: &Observer,
    command: &Command,
) -> Result<Status, CommandError> {
    command.plain(0)?;
    session.answer(&table(observer)).await
}

pub(super) fn kill(
    session: &TextSession,
    observer: &Observer,
    command: &Command,
) -> Result<Status, CommandError> {
    command.plain(1)?;
    let word = command.word(0, "the number of a connection, as in CONNS")?;
    let id: u64 = word
        .parse()
        .map_err(|_| WireError::bad_request(format!("KILL: {word} is not the number of a connection")))?;
    if id == session.peer().id() {
        return Err(WireError::bad_request("that is this connection").hint("QUIT closes it").into());
    }
    let by = session.peer().address();
    if !observer.connections.kill(id, &format!("killed by hand from {by}")) {
        return Err(WireError::bad_request(format!("there is no connection {id}"))
            .hint("CONNS lists them")
            .into());
    }
    observer.events.note("killed", format!("connection {id} by hand from {by}"));
    Ok(Status::ok().with("killed", id))
}
