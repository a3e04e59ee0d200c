//! A lease that its Redis keeps for too long: its clock was set back, and keys live until a time of day.
//!
//! Whoever holds a lease renews it every third of it, and then it lives for no longer than the whole of it. So one that
//! is seen to live longer all the time, for as long as it was asked for, is held by nobody: it is counted here, by a
//! clock that cannot be set.

use super::campaign::Look;
use super::link::{Link, Trouble};
use super::{Shared, scripts};
use crate::clock;
use yak_core::cluster::Now;

/// What a standby has seen of such a lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Overlong(Option<Seen>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    /// Whose lease, in which term.
    holder: String,
    /// Since when it has been seen to live too long.
    since: Now,
}

impl Overlong {
    /// Takes note of a look; whether the lease has been unrenewed for all of its time.
    fn outlasted(&mut self, look: &Look, now: Now) -> bool {
        let Some(lease_ms) = look.lease_ms.filter(|lease| look.left_ms.is_some_and(|left| left > *lease))
        else {
            self.0 = None;
            return false;
        };
        match &self.0 {
            Some(seen) if seen.holder == look.holder => now.0 >= seen.since.0.saturating_add(lease_ms),
            _ => {
                self.0 = Some(Seen { holder: look.holder.clone(), since: now });
                false
            }
        }
    }

    /// Ends the lease if it has outlived itself; whether it did.
    pub(super) async fn end(
        &mut self,
        look: &Look,
        shared: &Shared,
        link: &mut Link,
    ) -> Result<bool, Trouble> {
        if !self.outlasted(look, clock::now()) {
            return Ok(false);
        }
        let lease_ms = look.lease_ms.unwrap_or_default().to_string();
        let arguments = [look.holder.as_bytes(), lease_ms.as_bytes()];
        let answer = link.eval(scripts::LAPSE, &shared.keys, &arguments, shared.patience()).await?;
        let lapsed = answer.text(0) == "lapsed";
        if lapsed {
            tracing::warn!(
                redis = shared.host,
                holder = look.lease,
                "the clock of that Redis was set back: a lease that nobody renews is ended by this clock"
            );
        }
        Ok(lapsed)
    }

    /// Why a standby waits, if it is for such a lease.
    pub(super) fn trouble(&self, look: &Look, host: &str) -> Option<String> {
        self.0.as_ref().map(|_| {
            format!(
                "the clock of redis at {host} was set back: the lease of {} is waited for by this machine's clock",
                look.lease
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(holder: &str, left_ms: u64) -> Look {
        Look {
            lease: "a".to_owned(),
            holder: holder.to_owned(),
            left_ms: Some(left_ms),
            lease_ms: Some(3000),
            ..Look::default()
        }
    }

    #[test]
    fn only_a_lease_that_is_too_long_for_all_of_its_time_is_ended() {
        let mut overlong = Overlong::default();
        let far = 3_600_000;
        assert!(!overlong.outlasted(&look("7", far), Now(1000)));
        assert!(!overlong.outlasted(&look("7", far), Now(3999)));
        assert!(overlong.outlasted(&look("7", far), Now(4000)));
        // Renewed once: it counts anew.
        assert!(!overlong.outlasted(&look("7", 2900), Now(4100)));
        assert!(!overlong.outlasted(&look("7", far), Now(9000)));
        // Somebody else's, or the next term.
        assert!(!overlong.outlasted(&look("8", far), Now(13_000)));
        assert!(!overlong.outlasted(&look("8", far), Now(15_999)));
        // Nobody said for how long it was taken.
        assert!(!overlong.outlasted(&Look { lease_ms: None, ..look("8", far) }, Now(99_000)));
    }
}
