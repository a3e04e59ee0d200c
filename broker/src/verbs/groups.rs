//! Consumer groups: `GROUPS`, `GROUP`, `LAG`, `COMMIT`, `RESET`.

use super::Outcome;
use crate::clock;
use crate::service::BrokerService;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{
    CommitOffset, FetchedOffset, GroupCommit, GroupDescribe, GroupDescription, GroupFetch, GroupList,
    Offsets, OffsetsReply,
};
use yak_protocol::net::{TextSession, place};
use yak_protocol::text::{Command, Status, Table, Value, moment};

/// Every group.
pub(super) async fn list(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.plain(0)?;
    let (found, _) = session.ask(service, &GroupList { forward: session.forward() }, Vec::new()).await?;
    let mut table = Table::new(&["GROUP", "STATE", "MEMBERS", "GENERATION", "COORDINATOR"]);
    for group in found.groups {
        let (state, coordinator) = (group.state.to_string(), group.coordinator.into());
        table.push([
            Value::from(group.group),
            state.into(),
            group.members.into(),
            group.generation.0.into(),
            coordinator,
        ]);
    }
    let status = session.answer(&table).await?;
    Ok(if found.missing.is_empty() { status } else { status.with("missing", found.missing.join("; ")) })
}

/// The members of a group.
pub(super) async fn show(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.plain(1)?;
    let group = describe(session, service, command.word(0, "a group")?).await?;
    let mut table =
        Table::new(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "GENERATION", "HEARD MS", "READS", "GIVES UP"]);
    for member in &group.members {
        let list = |topics: &[yak_protocol::message::GroupTopic]| {
            let each = topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(move |partition| format!("{}/{partition}", topic.topic))
            });
            Value::from(each.collect::<Vec<_>>().join(","))
        };
        table.push([
            Value::from(member.member.as_str()),
            member.instance.clone().into(),
            member.client.as_str().into(),
            member.host.as_str().into(),
            member.generation.0.into(),
            member.heard_ms.into(),
            list(&member.assignment),
            list(&member.revoking),
        ]);
    }
    session.table(&table).await?;
    session.end().await?;
    let status = Status::ok().with("group", group.group).with("state", group.state.to_string());
    let status = status.with("generation", group.generation.0).with("assignor", group.assignor.name());
    let status = status.with("coordinator", group.coordinator.map(|hint| hint.leader));
    Ok(if group.why.is_empty() { status } else { status.with("why", group.why) })
}

/// How far a group is behind.
pub(super) async fn lag(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.plain(1)?;
    let group = describe(session, service, command.word(0, "a group")?).await?;
    let mut table = Table::new(&["PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG", "METADATA", "ERROR"]);
    let mut total = Some(0);
    for found in &group.offsets {
        let name = format!("{}/{}", found.topic, found.partition);
        let log = ask_log(session, service, &found.topic, found.partition, None).await;
        let lag = match (&log, found.offset) {
            (Ok(log), Some(offset)) => Some(log.high_watermark.distance_from(offset)),
            _ => None,
        };
        total = total.zip(lag).map(|(total, lag)| total + lag);
        table.push([
            Value::from(name),
            found.offset.into(),
            log.as_ref().ok().map(|log| log.high_watermark).into(),
            lag.into(),
            Some(found.metadata.clone()).filter(|text| !text.is_empty()).into(),
            log.err().map(|error| error.to_string()).into(),
        ]);
    }
    Ok(session.answer(&table).await?.with("lag", total))
}

/// Commits an offset for a group without members.
pub(super) async fn commit(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.allow(&["rewind", "metadata"])?;
    command.at_most(3)?;
    let group = command.word(0, "a group")?;
    let named = command.word(1, "a partition, as in orders/2")?;
    let (topic, Some(partition)) = place(named)? else {
        return Err(WireError::bad_request(format!("{named} names no partition"))
            .hint("as in orders/2")
            .into());
    };
    let text = command.word(2, "an offset")?;
    let offset = text.parse().map_err(|_| WireError::bad_request(format!("{text} is no offset")))?;
    let committed = CommitOffset {
        topic: topic.to_owned(),
        partition,
        offset: Offset(offset),
        metadata: command.option("metadata").unwrap_or_default().to_owned(),
        ..CommitOffset::default()
    };
    let rewind = command.switch("rewind")?.unwrap_or(false);
    write(session, service, group, vec![committed], rewind).await?;
    Ok(Status::ok().with("group", group).with("partition", named).with("offset", offset))
}

/// Moves a group without members within a topic.
pub(super) async fn reset(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.allow(&["to"])?;
    command.at_most(3)?;
    let (group, topic) = (command.word(0, "a group")?, command.word(1, "a topic")?);
    let Some(to) = command.option("to") else {
        let error = WireError::bad_request("RESET needs to=");
        return Err(error.hint("to=start, to=end, to=<offset>, to=+<n>, to=-<n> or to=@<time>").into());
    };
    let dry = command.flag("DRYRUN");
    if !dry && command.words.len() > 2 {
        return Err(WireError::bad_request(format!("RESET does not take {}", command.words[2])).into());
    }
    let found = yak_protocol::net::find(session, service, command, topic).await?;
    let known = fetch(session, service, group).await?;
    let mut table = Table::new(&["PARTITION", "BEFORE", "AFTER"]);
    let mut wanted = Vec::new();
    for info in &found.partitions {
        let partition = info.id.partition;
        let same = |known: &&FetchedOffset| known.topic == found.topic.name && known.partition == partition;
        let before = known.iter().find(same).and_then(|known| known.offset);
        let at_ms = match to.strip_prefix('@') {
            Some(time) => Some(moment(time, clock::wall_ms()).ok_or_else(|| nowhere(to))?),
            None => None,
        };
        let log = ask_log(session, service, &found.topic.name, partition, at_ms).await?;
        let after = target(to, before, &log)?;
        table.push([Value::from(partition), before.into(), after.into()]);
        let topic = found.topic.name.clone();
        wanted.push(CommitOffset { topic, partition, offset: after, ..CommitOffset::default() });
    }
    if !dry {
        write(session, service, group, wanted, true).await?;
    }
    let status = session.answer(&table).await?;
    Ok(if dry { status.with("dryrun", true) } else { status })
}

fn nowhere(to: &str) -> WireError {
    WireError::bad_request(format!("to={to} is no place to go"))
        .hint("to=start, to=end, to=<offset>, to=+<n>, to=-<n> or to=@<time>")
}

fn target(to: &str, before: Option<Offset>, log: &OffsetsReply) -> Result<Offset, WireError> {
    let by = |digits: &str| digits.parse::<i64>().map_err(|_| nowhere(to));
    let from = || before.ok_or_else(|| WireError::bad_request("nothing is committed there to move from"));
    let offset = match to {
        "start" | "earliest" => log.log_start,
        "end" | "latest" => log.high_watermark,
        _ if to.starts_with('@') => log.at.unwrap_or(log.high_watermark),
        _ if to.starts_with(['+', '-']) => Offset(from()?.0.saturating_add_signed(by(to)?)),
        _ => Offset(to.parse().map_err(|_| nowhere(to))?),
    };
    if (log.log_start..=log.high_watermark).contains(&offset) {
        return Ok(offset);
    }
    let what = format!(
        "offset {offset} is outside of the log, which has {} to {}",
        log.log_start, log.high_watermark
    );
    Err(WireError::new(ErrorCode::OffsetOutOfRange, what))
}

async fn describe(
    session: &mut TextSession,
    service: &BrokerService,
    group: &str,
) -> Result<GroupDescription, WireError> {
    let asked = GroupDescribe { group: group.to_owned(), forward: session.forward() };
    session.ask(service, &asked, Vec::new()).await.map(|(group, _)| group)
}

async fn fetch(
    session: &mut TextSession,
    service: &BrokerService,
    group: &str,
) -> Result<Vec<FetchedOffset>, WireError> {
    let forward = session.forward();
    let asked = GroupFetch { group: group.to_owned(), forward, ..GroupFetch::default() };
    session.ask(service, &asked, Vec::new()).await.map(|(found, _)| found.offsets)
}

async fn ask_log(
    session: &mut TextSession,
    service: &BrokerService,
    topic: &str,
    partition: PartitionIndex,
    at_ms: Option<i64>,
) -> Result<OffsetsReply, WireError> {
    let forward = session.forward();
    let asked = Offsets { topic: topic.to_owned(), partition, at_ms, stale_ok: false, forward };
    session.ask(service, &asked, Vec::new()).await.map(|(log, _)| log)
}

async fn write(
    session: &mut TextSession,
    service: &BrokerService,
    group: &str,
    offsets: Vec<CommitOffset>,
    rewind: bool,
) -> Result<(), WireError> {
    let forward = session.forward();
    let commit = GroupCommit { group: group.to_owned(), offsets, rewind, forward, ..GroupCommit::default() };
    let (reply, _) = session.ask(service, &commit, Vec::new()).await?;
    reply.results.into_iter().find_map(|result| result.error).map_or(Ok(()), Err)
}
