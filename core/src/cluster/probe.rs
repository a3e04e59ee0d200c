//! A follower reports a silent leader; the coordinator asks the leader itself (rule R10), so that one
//! bad link between two brokers cannot flap leadership.

use super::liveness::{Link, ProbeUnderway};
use super::{Cluster, Effect, Now, Step};
use yak_protocol::error::WireError;
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{StreamSilent, StreamSilentReply};

impl Cluster {
    pub(super) fn stream_silent(
        &mut self,
        now: Now,
        report: &StreamSilent,
        step: &mut Step,
    ) -> Result<StreamSilentReply, WireError> {
        self.check_session(report.broker_id, report.broker_epoch)?;
        let leader = report.leader;
        // About a session that is over, or one whose absence is already known: nothing to find out.
        let current = self.check_session(leader, report.leader_broker_epoch).is_ok();
        if !current || !self.state.unfenced(leader) || report.broker_id == leader {
            return Ok(StreamSilentReply {});
        }
        let deadline = now + self.config.probe;
        let Some(session) = self.liveness.sessions.get_mut(&leader) else { return Ok(StreamSilentReply {}) };
        // Right after start a leader may simply not have come back yet; its first lease decides.
        if session.link == Link::Awaited {
            return Ok(StreamSilentReply {});
        }
        match &mut session.probe {
            Some(probe) => {
                probe.reporters.insert(report.broker_id);
            }
            None => {
                session.probe = Some(ProbeUnderway { deadline, reporters: [report.broker_id].into() });
                if let Link::Connected(connection) = session.link {
                    step.last.push(Effect::Probe(connection, leader));
                }
                let (reporter, silent_ms) = (report.broker_id, report.silent_ms);
                let text =
                    format!("broker {reporter} has not heard broker {leader} for {silent_ms} ms; probing it");
                step.note("probe", text);
            }
        }
        Ok(StreamSilentReply {})
    }

    /// The leader lives: no election. It shrinks the reporter out of its ISRs if it must (rule R8).
    pub(super) fn probe_answered(&mut self, now: Now, leader: BrokerId, step: &mut Step) {
        let Some(probe) = self.liveness.sessions.get_mut(&leader).and_then(|session| session.probe.take())
        else {
            return;
        };
        for follower in probe.reporters {
            self.liveness.broken_links.insert((follower, leader), now);
            let text =
                format!("the link from broker {follower} to broker {leader} is broken: both are alive");
            step.note("link", text);
        }
    }
}
