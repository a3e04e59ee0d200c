//! `MOVE`, `MOVES`, `DECOMMISSION` and `REPLACE`.

use super::{Outcome, says};
use crate::front::Front;
use yak_protocol::error::WireError;
use yak_protocol::message::{
    CancelMoves, DecommissionBroker, ListMoves, Move, MovePartitions, MoveState, PartitionName, ReplaceBroker,
};
use yak_protocol::net::{TextSession, find_broker, place};
use yak_protocol::text::{Command, Status, Table, Value};

fn named(command: &Command, text: &str) -> Result<PartitionName, WireError> {
    let (topic, partition) = place(text)?;
    let partition = partition.ok_or_else(|| {
        let error = WireError::bad_request(format!("{text} names no partition"));
        error.hint(format!("{} {text}/0", command.verb))
    })?;
    Ok(PartitionName { topic: topic.to_owned(), partition })
}

fn rate(command: &Command) -> Result<Option<u64>, WireError> {
    let wrong = |text: &str| WireError::bad_request(format!("rate={text} is no number of bytes a second"));
    command.option("rate").map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

/// `MOVE orders/2 to=4,2,3`, `MOVE orders/2 back`.
pub(super) async fn start(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.allow(&["to", "rate"])?;
    let name = named(command, command.word(0, "a partition, as in orders/2")?)?;
    let known = ["back", "dry"];
    let (back, dry_run) = (says(command, 1, &known, "back")?, says(command, 1, &known, "dry")?);
    if back == command.option("to").is_some() {
        let error = WireError::bad_request("MOVE needs to=<broker>,... or the word back, one of the two");
        return Err(error.hint("HELP MOVE").into());
    }
    let moves = if back {
        let cancel = CancelMoves { partitions: vec![name], dry_run };
        session.ask(front, &cancel, Vec::new()).await?.0.moves
    } else {
        let mut replicas = Vec::new();
        for broker in command.option("to").unwrap_or_default().split(',') {
            replicas.push(find_broker(session, front, broker).await?);
        }
        let moves = vec![Move { topic: name.topic, partition: name.partition, replicas }];
        let start = MovePartitions { moves, bytes_per_second: rate(command)?, dry_run };
        session.ask(front, &start, Vec::new()).await?.0.moves
    };
    let Some(state) = moves.into_iter().next() else { return Ok(Status::ok()) };
    let status = Status::ok().with("partition", format!("{}/{}", state.topic, state.partition));
    let status = status.with("replicas", state.replicas).with("to", state.to).with("changed", state.changed);
    Ok(status.with("waits", state.waits))
}

/// `MOVES [topic/p]`.
pub(super) async fn list(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.plain(1)?;
    let partitions = match command.words.first() {
        Some(text) => vec![named(command, text)?],
        None => Vec::new(),
    };
    let (reply, _) = session.ask(front, &ListMoves { partitions }, Vec::new()).await?;
    session.answer(&table(&reply.moves)).await
}

fn table(moves: &[MoveState]) -> Table {
    let mut table = Table::new(&["PARTITION", "FROM", "TO", "ISR", "LEADER", "BYTES A SECOND", "WAITS"]);
    for state in moves {
        table.push([
            Value::from(format!("{}/{}", state.topic, state.partition)),
            state.from.clone().into(),
            state.to.clone().into(),
            state.isr.clone().into(),
            state.leader.into(),
            state.bytes_per_second.into(),
            state.waits.clone().into(),
        ]);
    }
    table
}

/// `DECOMMISSION 3`, `DECOMMISSION 3 stay`.
pub(super) async fn decommission(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.allow(&["rate"])?;
    let name = command.word(0, "a broker, as in BROKERS")?;
    let known = ["stay", "dry"];
    let (cancel, dry_run) = (says(command, 1, &known, "stay")?, says(command, 1, &known, "dry")?);
    // One that is gone already is known by its number alone.
    let broker_id = match name.parse() {
        Ok(number) => yak_protocol::ids::BrokerId(number),
        Err(_) => find_broker(session, front, name).await?,
    };
    let bytes_per_second = rate(command)?;
    let ask = DecommissionBroker { broker_id, cancel, bytes_per_second, dry_run };
    let (reply, _) = session.ask(front, &ask, Vec::new()).await?;
    let status = Status::ok().with("broker", broker_id).with("decommissioning", reply.decommissioning);
    let status = status.with("done", reply.done).with("left", reply.left).with("of", reply.of);
    let moving = reply.moves.iter().filter_map(|moved| {
        moved.waits.as_ref().map(|waits| format!("{}/{} {waits}", moved.topic, moved.partition))
    });
    let waits: Vec<String> = moving.chain(reply.stuck.iter().cloned()).collect();
    let waits = (!waits.is_empty()).then(|| waits.join("; "));
    Ok(status.with("waits", waits))
}

/// `REPLACE 3 by=4`.
pub(super) async fn replace(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.allow(&["by", "rate"])?;
    let dry_run = says(command, 1, &["dry"], "dry")?;
    let dead = find_broker(session, front, command.word(0, "a broker, as in BROKERS")?).await?;
    let by = command.option("by").ok_or_else(|| {
        WireError::bad_request("REPLACE needs by=<broker>: who takes its place?").hint("HELP REPLACE")
    })?;
    let by = find_broker(session, front, by).await?;
    let ask = ReplaceBroker { dead, by, bytes_per_second: rate(command)?, dry_run };
    let (reply, _) = session.ask(front, &ask, Vec::new()).await?;
    session.answer(&table(&reply.moves)).await
}
