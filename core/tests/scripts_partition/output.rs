//! Effects in words.

use yak_core::partition::{DiskOp, Effect, View};
use yak_protocol::ids::{BrokerId, EpochStart, Offset};
use yak_protocol::message::{OpenAnswer, Opened};

fn epochs(history: &[EpochStart]) -> String {
    let entries: Vec<_> = history.iter().map(|entry| format!("{}@{}", entry.epoch, entry.start)).collect();
    entries.join(",")
}

fn ids(brokers: &[BrokerId]) -> String {
    let ids: Vec<_> = brokers.iter().map(ToString::to_string).collect();
    ids.join(",")
}

fn disk(op: &DiskOp) -> String {
    match op {
        DiskOp::Append { base, leader_epoch, rewrite } => {
            let rewrite = rewrite.as_ref().map_or(String::new(), |rewrite| {
                let dropped = &rewrite.dropped;
                let without =
                    if dropped.is_empty() { String::new() } else { format!(" without {dropped:?}") };
                format!(", time {}{without}", rewrite.time_ms)
            });
            format!("append at {base} in {leader_epoch:?}{rewrite}")
        }
        DiskOp::AppendPushed { base } => format!("append pushed at {base}"),
        DiskOp::Truncate { to } => format!("truncate to {to}"),
        DiskOp::Reset { start, epochs: history } => format!("reset to {start} [{}]", epochs(history)),
        DiskOp::MoveLogStart { to } => format!("move log start to {to}"),
        DiskOp::Promise { leader_epoch, leader } => format!("promise {leader_epoch:?} to {leader:?}"),
        DiskOp::StartEpoch(entry) => format!("start {:?} at {}", entry.epoch, entry.start),
    }
}

fn opened(opened: &Opened) -> String {
    let answer = match &opened.answer {
        OpenAnswer::Start => "start".to_owned(),
        OpenAnswer::Diverging { epoch, end } => format!("diverging {epoch:?} ends at {end}"),
        OpenAnswer::RestartAt { log_start, epochs: history } => {
            format!("restart at {log_start} [{}]", epochs(history))
        }
        OpenAnswer::Fenced { leader_epoch } => format!("fenced by {leader_epoch:?}"),
        OpenAnswer::UnknownEpoch => "unknown epoch".to_owned(),
        OpenAnswer::NotLeader => "not leader".to_owned(),
        OpenAnswer::StaleBrokerEpoch => "stale broker epoch".to_owned(),
    };
    format!("{:?} {answer}", opened.session)
}

fn firsts(firsts: &[(u32, Offset)]) -> String {
    firsts.iter().map(|(index, offset)| format!(", record {index} at {offset}")).collect()
}

/// One effect on one line.
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Disk(seq, op) => format!("disk {}: {}", seq.0, disk(op)),
        Effect::View(_) => unreachable!("views are shown as differences"),
        Effect::Answer { ticket, outcome: Ok(acked) } => format!(
            "answer {}: offset {} on {} replicas{} in {:?}{}",
            ticket.0,
            acked.offset.map_or("not remembered".into(), |offset| offset.to_string()),
            acked.replicas,
            if acked.durable { ", durable," } else { ", not durable," },
            acked.leader_epoch,
            firsts(&acked.firsts)
        ),
        Effect::Answer { ticket, outcome: Err(error) } => format!("answer {}: {error}", ticket.0),
        Effect::RebuildProducers { end, .. } => format!("rebuild producers to {end}"),
        Effect::Repair { leader, from, to } => format!("repair {from}-{to} from {leader:?}"),
        Effect::ReportDamage { damaged } => format!("report damage: {damaged}"),
        Effect::Opened(stream, answer) => format!("opened on stream {}: {}", stream.0, opened(answer)),
        Effect::Push { stream, follower, session, from, high_watermark, log_start } => format!(
            "push to {follower:?} on stream {} {session:?}: from {from}, hw {high_watermark}, start {log_start}",
            stream.0
        ),
        Effect::Propose(proposal) => {
            let isr: Vec<_> = proposal.isr.iter().map(|(id, epoch)| format!("{id:?}/{epoch:?}")).collect();
            let (term, record) = (proposal.leader_epoch, proposal.partition_epoch);
            format!("propose isr {} in {term:?} for {record:?}", isr.join(" "))
        }
        Effect::Open { leader, class, open } => format!(
            "open at {leader:?} {class:?}: {:?} {:?} {:?} end {} last {:?}",
            open.session, open.leader_epoch, open.broker_epoch, open.end, open.last_epoch
        ),
        Effect::Ack { leader, ack } => format!(
            "ack to {leader:?}: {:?} {:?} {:?} end {}",
            ack.session, ack.leader_epoch, ack.broker_epoch, ack.end
        ),
        Effect::Close { leader, session } => format!("close at {leader:?}: {session:?}"),
        Effect::Remove => "remove".to_owned(),
        Effect::Halt { reason } => format!("HALT: {reason}"),
    }
}

/// What changed for readers.
pub fn view(before: &View, after: &View) -> String {
    let fields = |view: &View| {
        let followers: Vec<_> = view
            .followers
            .iter()
            .map(|(id, end)| format!("{id}:{}", end.map_or("unseen".into(), |end| end.to_string())))
            .collect();
        [
            if view.leads { "leads".to_owned() } else { "does not lead".to_owned() },
            format!("leader {}", view.leader.map_or("none".into(), |leader| leader.to_string())),
            format!("{:?}", view.leader_epoch),
            format!("promised {:?}", view.promised),
            format!("{:?}", view.partition_epoch),
            format!("hw {}", view.high_watermark),
            if view.high_watermark_known { "hw known".to_owned() } else { "hw unknown".to_owned() },
            format!("start {}", view.log_start),
            format!("end {}", view.log_end),
            format!("synced {}", view.synced_end),
            format!("isr {}", ids(&view.isr)),
            format!("min {}", view.min_isr),
            format!("followers {}", followers.join(" ")),
            format!("trouble: {}", view.trouble.as_deref().unwrap_or("none")),
        ]
    };
    let changed: Vec<_> = fields(before)
        .into_iter()
        .zip(fields(after))
        .filter_map(|(before, after)| (before != after).then_some(after))
        .collect();
    if changed.is_empty() {
        return format!("view: last record on disk is of {:?}", after.last_epoch);
    }
    format!("view: {}", changed.join("; "))
}
