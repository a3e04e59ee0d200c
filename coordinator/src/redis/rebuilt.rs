//! A journal that was made again from what the brokers know, put into a Redis that has lost its own.

use super::entry::{Kind, encode};
use super::link::{Link, Trouble};
use super::scripts::{self, Keys};
use super::survey::survey;
use super::{RedisLogError, Target};
use std::time::Duration;
use yak_core::cluster::{Record, State};

/// How long the Redis may take for one step.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many numbers of entries a term is given room for. A journal that is made again begins with a number that none
/// before it can have come to, so whoever remembers entries of the one that was lost takes this for its continuation.
const ENTRIES_PER_TERM: u64 = 1 << 20;

/// Puts a journal into a Redis that has none. Coordinators that stand by find it there, and one of them takes the
/// lease.
///
/// # Errors
/// When the Redis cannot be used, holds a journal, or somebody has its lease.
pub async fn write_journal(target: &Target, records: &[Record]) -> Result<(), RedisLogError> {
    let refused = |trouble: Trouble| RedisLogError::Refused(trouble.words());
    let mut link = Link::open(target, PATIENCE).await.map_err(refused)?;
    let survey = survey(&mut link, &target.to_string(), PATIENCE).await.map_err(refused)?;
    if let Some(refusal) = survey.refusal {
        return Err(RedisLogError::Refused(refusal));
    }
    let token = State::replay(records).coordinator_epoch().0;
    let sequence = token.saturating_mul(ENTRIES_PER_TERM);
    let (header, entry) = encode(Kind::Snapshot, sequence, token, 0, records)
        .map_err(|error| RedisLogError::Refused(format!("the journal cannot be encoded: {error}")))?;
    let (token, end) = (token.to_string(), header.to_string());
    let arguments = [token.as_bytes(), end.as_bytes(), &entry];
    let keys = Keys::new(&target.prefix);
    let answer = link.eval(scripts::BEGIN, &keys, &arguments, PATIENCE).await.map_err(refused)?;
    match answer.text(0).as_str() {
        "kept" => Ok(()),
        "held" => Err(RedisLogError::Refused(format!(
            "{} has the lease in redis at {target}: stop that coordinator first, if its journal is the one that is to \
             be replaced",
            answer.text(1)
        ))),
        _ => Err(RedisLogError::Refused(format!(
            "redis at {target} holds a journal, which may be all that is left; to give it up, keep a copy and run: \
             redis-cli DEL {}",
            keys.0.join(" ")
        ))),
    }
}
