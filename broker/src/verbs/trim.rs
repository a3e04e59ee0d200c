//! `TRIM`: deletes the oldest records of a partition; the word `CONFIRM` keeps a slip of the hand from it.

use super::Outcome;
use crate::clock;
use crate::service::BrokerService;
use yak_protocol::error::WireError;
use yak_protocol::ids::Offset;
use yak_protocol::message::DeleteRecords;
use yak_protocol::net::{TextSession, find};
use yak_protocol::text::{Command, Status, count, moment};

pub(super) async fn trim(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.plain(3)?;
    let (name, to) = (command.word(0, "a partition")?, command.word(1, "an offset, @time or `end`")?);
    let found = find(session, service, command, name).await?;
    let [info] = found.partitions.as_slice() else {
        let what = format!("{name} has {}", count(found.partitions.len() as u64, "partition"));
        return Err(WireError::bad_request(what).hint(format!("one at a time: TRIM {name}/0 {to}")).into());
    };
    let (before, before_ms) = place(to)?;
    let confirmed = command.words.get(2).is_some_and(|word| word.eq_ignore_ascii_case("confirm"));
    let ask = DeleteRecords {
        topic: found.topic.name.clone(),
        partition: info.id.partition,
        before,
        before_ms,
        dry_run: !confirmed,
        forward: session.forward(),
    };
    let (left, _) = session.ask(service, &ask, Vec::new()).await?;
    let offsets = left.log_start.0.saturating_sub(left.was.0);
    if !confirmed {
        let what = format!("this would delete {} of {name} for ever", count(offsets, "offset"));
        return Err(WireError::bad_request(what).hint(format!("TRIM {name} {to} CONFIRM")).into());
    }
    let status = Status::ok().with("topic", ask.topic).with("partition", ask.partition);
    Ok(status.with("was", left.was).with("log_start", left.log_start).with("deleted", offsets))
}

/// The first offset that stays, or the time from which on records do.
fn place(text: &str) -> Result<(Option<Offset>, Option<i64>), WireError> {
    if text.eq_ignore_ascii_case("end") {
        // After everything, whatever clocks said.
        return Ok((None, Some(i64::MAX)));
    }
    let wrong = || {
        WireError::bad_request(format!("{text} is no offset and no time"))
            .hint("as in TRIM orders/0 500, TRIM orders/0 @-7d, TRIM orders/0 end")
    };
    match text.strip_prefix('@') {
        Some(time) => moment(time, clock::wall_ms()).map(|ms| (None, Some(ms))).ok_or_else(wrong),
        None => text.parse().map(|offset| (Some(Offset(offset)), None)).map_err(|_| wrong()),
    }
}
