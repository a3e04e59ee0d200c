//! `SUB`: reads as a consumer would, and follows leaders as one.

use super::Outcome;
use crate::clock;
use crate::service::BrokerService;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Consume, ConsumeFrom, Consumed, Format, Offsets, OffsetsReply};
use yak_protocol::net::{CommandError, TextSession, find, may_pass};
use yak_protocol::text::{Command, Status, moment};

/// How many bytes of records one look asks for.
const LOOK_BYTES: u32 = 256 << 10;
/// How long a look for new records waits for the first one.
const FOLLOW_WAIT: Duration = Duration::from_millis(250);
/// How long a partition that nobody serves is waited for before the command gives up.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn subscribe(
    session: &mut TextSession,
    service: &BrokerService,
    command: &Command,
) -> Outcome {
    command.allow(&["from", "max"])?;
    let follow = command.flag("FOLLOW");
    if let Some(word) = command.words.iter().skip(1).find(|word| !word.eq_ignore_ascii_case("follow")) {
        return Err(WireError::bad_request(format!("SUB does not take {word}")).hint("HELP SUB").into());
    }
    let from = match command.option("from") {
        Some(text) => start(text)?,
        None if follow => Start::Latest,
        None => Start::Earliest,
    };
    let left = command.number("max")?.unwrap_or(u64::MAX);
    let wanted = command.word(0, "a topic")?;
    let found = find(session, service, command, wanted).await?;
    let alone = found.partitions.len() == 1;
    let mut reading = Reading {
        topic: found.topic.name,
        partitions: Vec::new(),
        left,
        count: 0,
        patient_until: Instant::now() + PATIENCE,
    };
    for info in &found.partitions {
        let partition = reading.begin(session, service, info.id.partition, from).await?;
        reading.partitions.push(partition);
    }
    reading.catch_up(session, service).await?;
    if follow {
        reading.follow(session, service).await?;
    }
    session.end().await?;
    let next =
        |at: &Position| (alone || at.next != at.begun).then(|| format!("{}:{}", at.partition, at.next));
    let next: Vec<String> = reading.partitions.iter().filter_map(next).collect();
    Ok(Status::ok().with("count", reading.count).with("next", next))
}

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Earliest,
    Latest,
    At(Offset),
    /// So many records before the end.
    Before(u64),
    /// In ms since 1970.
    Time(i64),
}

fn start(text: &str) -> Result<Start, WireError> {
    let wrong = || {
        let hint = "from=earliest, latest, an offset, -10 (the last ten of each partition), @2026-11-20T20:31Z or @-15m";
        WireError::bad_request(format!("from={text} is no place to begin")).hint(hint)
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    Ok(match text.to_ascii_lowercase().as_str() {
        "earliest" => Start::Earliest,
        "latest" => Start::Latest,
        _ => match (text.strip_prefix('-'), text.strip_prefix('@')) {
            (Some(count), _) => Start::Before(number(count)?),
            (_, Some(time)) => Start::Time(moment(time, clock::wall_ms()).ok_or_else(wrong)?),
            _ => Start::At(Offset(number(text)?)),
        },
    })
}

impl Start {
    fn place(self, found: &OffsetsReply, name: &str) -> Result<Offset, WireError> {
        Ok(match self {
            Self::Earliest => found.log_start,
            Self::Latest => found.high_watermark,
            Self::Before(count) => Offset(found.high_watermark.0.saturating_sub(count)).max(found.log_start),
            Self::Time(_) => found.at.unwrap_or(found.high_watermark),
            Self::At(offset) if offset < found.log_start || offset > found.high_watermark => {
                let (start, end) = (found.log_start, found.high_watermark);
                let what = format!("offset {offset} is outside {name}, which holds {start} to {end}");
                let error = WireError::new(ErrorCode::OffsetOutOfRange, what);
                return Err(error.hint("from=earliest, or from=-10 for the last ten"));
            }
            Self::At(offset) => offset,
        })
    }
}

/// How far a partition has been shown.
struct Position {
    partition: PartitionIndex,
    begun: Offset,
    next: Offset,
    /// What was committed when the command began.
    end: Offset,
}

struct Reading {
    topic: String,
    partitions: Vec<Position>,
    /// How many records may still be shown.
    left: u64,
    count: u64,
    /// Until when errors that may pass are waited out.
    patient_until: Instant,
}

impl Reading {
    async fn begin(
        &mut self,
        session: &mut TextSession,
        service: &BrokerService,
        partition: PartitionIndex,
        from: Start,
    ) -> Result<Position, WireError> {
        let at_ms = match from {
            Start::Time(ms) => Some(ms),
            _ => None,
        };
        let topic = self.topic.clone();
        let asked =
            Offsets { topic, partition, at_ms, stale_ok: from != Start::Latest, forward: session.forward() };
        loop {
            match session.ask(service, &asked, Vec::new()).await {
                Ok((found, _)) => {
                    let begun = from.place(&found, &format!("{}/{partition}", self.topic))?;
                    return Ok(Position { partition, begun, next: begun, end: found.high_watermark });
                }
                Err(error) => self.bear(session, error).await?,
            }
        }
    }

    /// A consumer waits for a leader; whoever said `forward=off` wants to see who it is.
    async fn bear(&self, session: &TextSession, error: WireError) -> Result<(), WireError> {
        if !session.forward() || !may_pass(&error) || Instant::now() >= self.patient_until {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }

    fn consume(&self, session: &TextSession, wait: Duration, wanted: impl Fn(&Position) -> bool) -> Consume {
        let from = |at: &Position| ConsumeFrom {
            topic: self.topic.clone(),
            partition: at.partition,
            offset: at.next,
        };
        Consume {
            partitions: self.partitions.iter().filter(|at| wanted(at)).map(from).collect(),
            format: Format::Records,
            bytes_max: LOOK_BYTES,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0),
            forward: session.forward(),
        }
    }

    /// Everything that was committed when the command began, partition by partition.
    async fn catch_up(
        &mut self,
        session: &mut TextSession,
        service: &BrokerService,
    ) -> Result<(), CommandError> {
        for place in 0..self.partitions.len() {
            while self.left > 0 && self.partitions[place].next < self.partitions[place].end {
                let partition = self.partitions[place].partition;
                let consume = self.consume(session, Duration::ZERO, |at| at.partition == partition);
                let (reply, _) = session.ask(service, &consume, Vec::new()).await?;
                for consumed in reply.partitions {
                    self.show(session, consumed).await?;
                }
            }
        }
        Ok(())
    }

    /// New records as they are committed, until the peer has something to say.
    async fn follow(
        &mut self,
        session: &mut TextSession,
        service: &BrokerService,
    ) -> Result<(), CommandError> {
        let asker = session.asker();
        while self.left > 0 {
            let consume = self.consume(session, FOLLOW_WAIT, |_| true);
            let answer = tokio::select! {
                biased;
                _ = session.interrupted() => return Ok(()),
                answer = asker.ask(service, &consume, Vec::new()) => answer,
            };
            for consumed in answer?.0.partitions {
                self.show(session, consumed).await?;
            }
        }
        Ok(())
    }

    async fn show(&mut self, session: &mut TextSession, consumed: Consumed) -> Result<(), CommandError> {
        if let Some(error) = consumed.error {
            return Ok(self.bear(session, error).await?);
        }
        self.patient_until = Instant::now() + PATIENCE;
        let Some(at) = self.partitions.iter_mut().find(|at| at.partition == consumed.partition) else {
            return Ok(());
        };
        for record in &consumed.records {
            if self.left == 0 {
                return Ok(());
            }
            let offset = record.offset.unwrap_or(at.next);
            let time = record.timestamp_ms.unwrap_or_default();
            let (key, value) = (record.key.as_ref(), record.value.as_ref());
            let key = key.map(|key| key.as_slice());
            let value = value.map(|value| value.as_slice());
            session.message(&self.topic, at.partition, offset, time, key, value).await?;
            at.next = offset.next();
            self.count += 1;
            self.left -= 1;
        }
        at.next = at.next.max(consumed.next.unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::LeaderEpoch;

    #[test]
    fn where_to_begin() {
        let found = OffsetsReply {
            log_start: Offset(5),
            high_watermark: Offset(20),
            log_end: Offset(22),
            at: Some(Offset(9)),
            leader_epoch: LeaderEpoch(1),
        };
        let place = |text: &str| start(text).and_then(|start| start.place(&found, "orders/0"));
        for (text, offset) in [
            ("earliest", 5),
            ("LATEST", 20),
            ("7", 7),
            ("-3", 17),
            ("-100", 5),
            ("@1700000000000", 9),
            ("20", 20),
        ] {
            assert_eq!(place(text), Ok(Offset(offset)), "{text}");
        }
        for (text, code) in [
            ("4", ErrorCode::OffsetOutOfRange),
            ("21", ErrorCode::OffsetOutOfRange),
            ("", ErrorCode::BadRequest),
            ("first", ErrorCode::BadRequest),
            ("-x", ErrorCode::BadRequest),
            ("@noon", ErrorCode::BadRequest),
        ] {
            assert_eq!(place(text).expect_err(text).code, code, "{text}");
        }
    }
}
