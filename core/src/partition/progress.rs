//! What a leader knows of ONE follower.

use super::Now;
use super::event::StreamId;
use super::queue::pop_front_if;
use std::collections::VecDeque;
use std::time::Duration;
use yak_protocol::ids::{BrokerEpoch, Offset, SessionId};

/// After a push that could send nothing (the range is damaged here, say), how long until the next try.
const PUSH_RETRY: Duration = Duration::from_millis(500);

/// See the module. Made anew in every leader epoch (rule R5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Progress {
    /// The session with the coordinator in which it last opened.
    pub(super) broker_epoch: BrokerEpoch,
    /// The end of what it has on disk. `None` = not seen in this epoch.
    pub(super) acked: Option<Offset>,
    /// How far it is behind; `None` = it has everything there is.
    lag: Option<Lag>,
    /// Whether it has been behind for too long, as of the last look.
    pub(super) late: bool,
    /// The coordinator has refused it as a member: not proposed again before that time.
    pub(super) refused_until: Option<Now>,
    /// Its open session.
    session: Option<Session>,
}

/// When it was last caught up (rule R8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Lag {
    /// A time at which the leader's end was no more than what it has by now; the latest that is known.
    caught_up: Now,
    /// An end of the leader that it has yet to reach.
    sample: Option<Sample>,
    /// Whether it has been caught up at all; until then `caught_up` is a start for counting.
    ever: bool,
}

/// An end of the leader, and until when the leader had no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Sample {
    end: Offset,
    passed: Option<Now>,
}

/// An open session: what was pushed in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Session {
    stream: StreamId,
    id: SessionId,
    /// Where the next push starts.
    next: Offset,
    /// Sent and not acknowledged: end and size of each push.
    in_flight: VecDeque<(Offset, u64)>,
    in_flight_bytes: u64,
    /// A push that the shell has yet to confirm: whether it was for data.
    outstanding: Option<bool>,
    /// The high watermark and the log start that were sent last.
    sent: Option<(Offset, Offset)>,
    /// No data before this time.
    held_until: Option<Now>,
}

impl Progress {
    /// A follower that has not been seen yet.
    pub(super) fn unseen(now: Now) -> Self {
        Self {
            broker_epoch: BrokerEpoch::ZERO,
            acked: None,
            lag: Some(Lag { caught_up: now, sample: None, ever: false }),
            late: false,
            refused_until: None,
            session: None,
        }
    }

    /// It has opened, and its log agrees with the leader's up to `end`.
    pub(super) fn open(&mut self, stream: StreamId, id: SessionId, broker_epoch: BrokerEpoch, end: Offset) {
        self.broker_epoch = broker_epoch;
        self.acked = Some(end);
        self.session = Some(Session {
            stream,
            id,
            next: end,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            outstanding: None,
            sent: None,
            held_until: None,
        });
    }

    /// Whether a session is open.
    pub(super) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// The session is over; what it has acknowledged stays.
    pub(super) fn close(&mut self) {
        self.session = None;
    }

    /// Whether an open is a late one: it came on another stream than a session that was opened after it.
    pub(super) fn is_late(&self, stream: StreamId, id: SessionId, broker_epoch: BrokerEpoch) -> bool {
        let newer = |session: &Session| session.stream != stream && session.id > id;
        self.broker_epoch == broker_epoch && self.session.as_ref().is_some_and(newer)
    }

    /// Whether its session lives on that stream, and is that one if one is named.
    pub(super) fn lives_on(&self, stream: StreamId, id: Option<SessionId>) -> bool {
        self.session.as_ref().is_some_and(|s| s.stream == stream && id.is_none_or(|id| id == s.id))
    }

    /// It has synced up to `end`. The caller has checked that the session and all epochs are current.
    pub(super) fn ack(&mut self, end: Offset) {
        if self.acked.is_some_and(|acked| end <= acked) {
            return;
        }
        self.acked = Some(end);
        if let Some(session) = &mut self.session {
            while let Some((_, bytes)) = pop_front_if(&mut session.in_flight, |(sent, _)| *sent <= end) {
                session.in_flight_bytes -= bytes;
            }
        }
    }

    /// Notes how it stands against the leader's end at `now`.
    pub(super) fn observe(&mut self, leader_end: Offset, now: Now) {
        let Some(acked) = self.acked else { return };
        if acked >= leader_end {
            self.lag = None;
            return;
        }
        let lag = self.lag.get_or_insert(Lag { caught_up: now, sample: None, ever: true });
        if let Some(sample) = &mut lag.sample {
            if leader_end > sample.end {
                sample.passed.get_or_insert(now);
            }
            if acked < sample.end {
                return;
            }
            lag.caught_up = lag.caught_up.max(sample.passed.unwrap_or(now));
            lag.ever = true;
        }
        lag.sample = Some(Sample { end: leader_end, passed: None });
    }

    /// It has just joined the ISR: what it lagged before does not count against it.
    pub(super) fn forgive(&mut self, now: Now) {
        if let Some(lag) = &mut self.lag {
            lag.caught_up = now;
        }
    }

    /// When it will have been behind for too long; `None` while it has everything.
    pub(super) fn lag_deadline(&self, max: Duration) -> Option<Now> {
        self.lag.map(|lag| lag.caught_up + max)
    }

    /// For how long it has not been caught up; `None` while it has everything.
    pub(super) fn behind_for(&self, now: Now) -> Option<Duration> {
        self.lag.map(|lag| now.since(lag.caught_up))
    }

    /// Whether it was caught up not long ago.
    pub(super) fn is_near(&self, now: Now, max: Duration) -> bool {
        self.lag.is_none_or(|lag| lag.ever && now < lag.caught_up + max)
    }

    /// Starts a push if there is something to send and room for it: where it starts. `news` are the high watermark
    /// and the log start.
    pub(super) fn start_push(
        &mut self,
        written_end: Offset,
        news: (Offset, Offset),
        window_bytes: u64,
    ) -> Option<(StreamId, SessionId, Offset)> {
        let session = self.session.as_mut()?;
        let data = session.next < written_end;
        let due = if data {
            session.in_flight_bytes < window_bytes && session.held_until.is_none()
        } else {
            session.sent != Some(news)
        };
        if !due || session.outstanding.is_some() {
            return None;
        }
        assert!(session.next <= written_end, "only what is written is pushed");
        session.outstanding = Some(data);
        session.sent = Some(news);
        Some((session.stream, session.id, session.next))
    }

    /// The push is on its way up to `next`.
    pub(super) fn pushed(&mut self, next: Offset, bytes: u64, written_end: Offset, now: Now) {
        let acked = self.acked;
        let Some(session) = self.session.as_mut() else { return };
        let Some(data) = session.outstanding.take() else { return };
        assert!(session.next <= next && next <= written_end, "only what is written is pushed");
        if data && next == session.next {
            session.held_until = Some(now + PUSH_RETRY);
        }
        session.next = next;
        if bytes > 0 && acked.is_none_or(|acked| acked < next) {
            session.in_flight.push_back((next, bytes));
            session.in_flight_bytes += bytes;
        }
    }

    /// When a push that was held back is tried again.
    pub(super) fn push_deadline(&self) -> Option<Now> {
        self.session.as_ref().and_then(|session| session.held_until)
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Now) {
        self.refused_until = self.refused_until.filter(|until| *until > now);
        if let Some(session) = &mut self.session {
            session.held_until = session.held_until.filter(|until| *until > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_millis(100);
    const STREAM: StreamId = StreamId(1);

    fn opened(end: u64) -> Progress {
        let mut progress = Progress::unseen(Now(0));
        progress.open(STREAM, SessionId(1), BrokerEpoch(1), Offset(end));
        progress
    }

    fn lag_deadline(progress: &Progress) -> Option<u64> {
        progress.lag_deadline(LAG_MAX).map(|at| at.0)
    }

    #[test]
    fn a_follower_that_has_everything_has_no_deadline() {
        let mut follower = opened(10);
        follower.observe(Offset(10), Now(50));
        assert_eq!(lag_deadline(&follower), None);
        follower.observe(Offset(11), Now(1000));
        assert_eq!(lag_deadline(&follower), Some(1100), "it was caught up until the leader moved on");
    }

    #[test]
    fn caught_up_at_t_means_that_its_end_covers_the_leaders_end_at_t() {
        let mut follower = opened(10);
        follower.observe(Offset(10), Now(0));
        follower.observe(Offset(20), Now(10));
        follower.observe(Offset(30), Now(20));
        follower.ack(Offset(15));
        follower.observe(Offset(30), Now(60));
        assert_eq!(lag_deadline(&follower), Some(110), "moving is not catching up");
        follower.ack(Offset(20));
        follower.observe(Offset(40), Now(70));
        assert_eq!(lag_deadline(&follower), Some(120), "the leader had no more until t20");
        follower.observe(Offset(50), Now(80));
        follower.ack(Offset(40));
        follower.observe(Offset(50), Now(90));
        assert_eq!(lag_deadline(&follower), Some(180), "the leader had no more until t80");
        follower.ack(Offset(50));
        follower.observe(Offset(50), Now(95));
        assert_eq!(lag_deadline(&follower), None);
    }

    #[test]
    fn an_unseen_follower_lags_from_the_start_of_the_epoch() {
        let mut follower = Progress::unseen(Now(5));
        follower.observe(Offset(0), Now(50));
        assert_eq!(lag_deadline(&follower), Some(105));
    }

    #[test]
    fn one_push_at_a_time_within_the_window() {
        let mut follower = opened(0);
        let start = |follower: &mut Progress, end, hw| {
            follower.start_push(Offset(end), (Offset(hw), Offset(0)), 100).map(|(.., from)| from.0)
        };
        assert_eq!(start(&mut follower, 10, 0), Some(0));
        assert_eq!(start(&mut follower, 20, 0), None, "one is outstanding");
        follower.pushed(Offset(10), 100, Offset(20), Now(0));
        assert_eq!(start(&mut follower, 20, 0), None, "the window is full");
        follower.ack(Offset(10));
        assert_eq!(start(&mut follower, 20, 0), Some(10));
        follower.pushed(Offset(20), 60, Offset(20), Now(0));
        assert_eq!(start(&mut follower, 20, 0), None, "nothing new");
        assert_eq!(start(&mut follower, 20, 10), Some(20), "the high watermark moved");
    }

    #[test]
    fn an_acknowledgement_that_overtakes_its_push_frees_the_window() {
        let mut follower = opened(0);
        assert!(follower.start_push(Offset(10), (Offset(0), Offset(0)), 100).is_some());
        follower.ack(Offset(10));
        follower.pushed(Offset(10), 100, Offset(10), Now(0));
        assert!(follower.start_push(Offset(11), (Offset(0), Offset(0)), 100).is_some());
    }

    #[test]
    fn a_push_that_sent_nothing_is_tried_again_after_a_pause() {
        let mut follower = opened(0);
        assert!(follower.start_push(Offset(10), (Offset(0), Offset(0)), 100).is_some());
        follower.pushed(Offset(0), 0, Offset(10), Now(0));
        assert_eq!(follower.start_push(Offset(10), (Offset(0), Offset(0)), 100), None);
        let due = follower.push_deadline().unwrap();
        follower.tick(due);
        assert!(follower.start_push(Offset(10), (Offset(0), Offset(0)), 100).is_some());
    }
}
