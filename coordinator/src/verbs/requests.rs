//! `ELECT`, `PREFERRED`, `DRAIN` and `UNDRAIN`.

use super::{Outcome, says};
use crate::front::Front;
use yak_protocol::error::WireError;
use yak_protocol::message::{Drain, DrainReply, Elect, ElectPreferred};
use yak_protocol::net::{TextSession, find_broker, place};
use yak_protocol::text::{Command, Status, Table, Value};

pub(super) async fn elect(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.allow(&["to", "confirm"])?;
    let text = command.word(0, "a partition, as in orders/2")?;
    let known = ["unclean", "dry"];
    let (unclean, dry_run) = (says(command, 1, &known, "unclean")?, says(command, 1, &known, "dry")?);
    let (topic, partition) = place(text)?;
    let partition = partition.ok_or_else(|| {
        WireError::bad_request(format!("{text} names no partition")).hint(format!("ELECT {text}/0"))
    })?;
    let to = match command.option("to") {
        Some(name) => Some(find_broker(session, front, name).await?),
        None => None,
    };
    let confirm = command.option("confirm").map(ToOwned::to_owned);
    let elect = Elect { topic: topic.to_owned(), partition, to, unclean, confirm, dry_run };
    let (elected, _) = session.ask(front, &elect, Vec::new()).await?;
    let status = Status::ok().with("partition", text).with("leader", elected.leader);
    let status = status.with("epoch", elected.leader_epoch).with("moved", elected.moved);
    Ok(match elected.may_lose {
        Some(loss) => status.with("may_lose", loss),
        None => status,
    })
}

pub(super) async fn drain(
    session: &mut TextSession,
    front: &Front,
    command: &Command,
    draining: bool,
) -> Outcome {
    command.allow(&[])?;
    let dry_run = says(command, 1, &["dry"], "dry")?;
    let broker_id = find_broker(session, front, command.word(0, "a broker, as in BROKERS")?).await?;
    let (reply, _) = session.ask(front, &Drain { broker_id, draining, dry_run }, Vec::new()).await?;
    let DrainReply { draining, leads, needed } = reply;
    let status = Status::ok().with("broker", broker_id).with("draining", draining);
    Ok(status.with("leads", leads).with("needed", needed))
}

/// `PREFERRED`, `PREFERRED orders dry`.
pub(super) async fn preferred(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.allow(&[])?;
    let about = command.words.first().filter(|word| !word.eq_ignore_ascii_case("dry"));
    let dry_run = says(command, usize::from(about.is_some()), &["dry"], "dry")?;
    let (topic, partition) = match about {
        Some(text) => {
            let (topic, partition) = place(text)?;
            (Some(topic.to_owned()), partition)
        }
        None => (None, None),
    };
    let (reply, _) = session.ask(front, &ElectPreferred { topic, partition, dry_run }, Vec::new()).await?;
    let mut table = Table::new(&["PARTITION", "FROM", "TO", "EPOCH", "MOVED", "WAITS"]);
    for election in reply.elections {
        table.push([
            Value::from(format!("{}/{}", election.topic, election.partition)),
            election.from.into(),
            election.to.into(),
            election.leader_epoch.into(),
            election.moved.into(),
            election.waits.into(),
        ]);
    }
    session.answer(&table).await
}
