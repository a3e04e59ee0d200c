//! `ELECT`, `DRAIN` and `UNDRAIN`.

use super::Outcome;
use crate::front::Front;
use yak_protocol::error::WireError;
use yak_protocol::message::{Drain, DrainReply, Elect};
use yak_protocol::net::{TextSession, find_broker, place};
use yak_protocol::text::{Command, Status};

pub(super) async fn elect(session: &mut TextSession, front: &Front, command: &Command) -> Outcome {
    command.allow(&["to", "confirm"])?;
    let text = command.word(0, "a partition, as in orders/2")?;
    command.at_most(2)?;
    let unclean = command.flag("unclean");
    if let Some(word) = command.words.get(1).filter(|_| !unclean) {
        return Err(WireError::bad_request(format!("ELECT does not take {word}")).hint("HELP ELECT").into());
    }
    let (topic, partition) = place(text)?;
    let partition = partition.ok_or_else(|| {
        WireError::bad_request(format!("{text} names no partition")).hint(format!("ELECT {text}/0"))
    })?;
    let to = match command.option("to") {
        Some(name) => Some(find_broker(session, front, name).await?),
        None => None,
    };
    let confirm = command.option("confirm").map(ToOwned::to_owned);
    let elect = Elect { topic: topic.to_owned(), partition, to, unclean, confirm, dry_run: false };
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
    command.plain(1)?;
    let broker_id = find_broker(session, front, command.word(0, "a broker, as in BROKERS")?).await?;
    let (reply, _) = session.ask(front, &Drain { broker_id, draining, dry_run: false }, Vec::new()).await?;
    let DrainReply { draining, leads, needed } = reply;
    let status = Status::ok().with("broker", broker_id).with("draining", draining);
    Ok(status.with("leads", leads).with("needed", needed))
}
