//! `OFFSETS`: what the leaders say.

use super::Outcome;
use crate::clock;
use crate::service::BrokerService;
use yak_protocol::error::WireError;
use yak_protocol::message::Offsets;
use yak_protocol::net::{TextSession, find};
use yak_protocol::text::{Command, Table, Value, moment};

pub(super) async fn offsets(
    session: &mut TextSession,
    service: &BrokerService,
    command: &Command,
) -> Outcome {
    command.allow(&["at"])?;
    command.at_most(1)?;
    let at_ms = match command.option("at") {
        None => None,
        Some(text) => {
            let time = moment(text.trim_start_matches('@'), clock::wall_ms());
            let wrong = || {
                WireError::bad_request(format!("at={text} is no time"))
                    .hint("at=@2026-11-20T20:31Z, or at=@-15m")
            };
            Some(time.ok_or_else(wrong)?)
        }
    };
    let found = find(session, service, command, command.word(0, "a topic")?).await?;
    let mut table = Table::new(&[
        "PARTITION",
        "LEADER",
        "EPOCH",
        "LOG START",
        "HIGH WATERMARK",
        "LOG END",
        "AT",
        "ERROR",
    ]);
    for info in &found.partitions {
        let (topic, partition) = (found.topic.name.clone(), info.id.partition);
        let asked = Offsets { topic, partition, at_ms, stale_ok: false, forward: session.forward() };
        let mut row = vec![Value::from(partition), info.leader.into()];
        match session.ask(service, &asked, Vec::new()).await {
            Ok((found, _)) => row.extend([
                found.leader_epoch.into(),
                found.log_start.into(),
                found.high_watermark.into(),
                found.log_end.into(),
                found.at.into(),
                Value::None,
            ]),
            // One partition of many: the others are shown all the same.
            Err(error) if found.partitions.len() > 1 => {
                row.extend([info.leader_epoch.into(), Value::None, Value::None, Value::None, Value::None]);
                row.push(error.to_string().into());
            }
            Err(error) => return Err(error.into()),
        }
        table.push(row);
    }
    session.answer(&table).await
}
