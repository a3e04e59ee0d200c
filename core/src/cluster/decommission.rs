//! A broker that goes for good: it drains, what it holds moves to others, and it is forgotten.

use super::moves::{Wish, check_rate};
use super::{Cluster, Effect, Link, Record, Step};
use serde::{Deserialize, Serialize};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, DataDirId};
use yak_protocol::message::{DecommissionBroker, DecommissionReply, PartitionInfo};
use yak_protocol::text::count;

/// How many partitions are on their way off a broker that goes at the same time. Each move is a new leader epoch
/// when it begins, and another replica that catches up.
const MOVES_AT_ONCE: usize = 32;

/// What a broker that goes was asked to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Decommission {
    /// How many partitions it held then.
    pub partitions: u32,
    /// The throttle of its moves.
    pub bytes_per_second: Option<u64>,
}

pub(super) fn gone(id: BrokerId) -> WireError {
    WireError::new(ErrorCode::Decommissioned, format!("broker {id} was decommissioned: it is gone for good"))
        .hint("stop its process; with an empty data dir it can join as a new broker")
}

impl Cluster {
    pub(super) fn decommission_broker(
        &mut self,
        request: DecommissionBroker,
        step: &mut Step,
    ) -> Result<DecommissionReply, WireError> {
        let id = request.broker_id;
        check_rate(request.bytes_per_second)?;
        if self.state.is_gone(id) && !request.cancel {
            return Ok(DecommissionReply {
                decommissioning: true,
                done: true,
                ..DecommissionReply::default()
            });
        }
        if self.state.is_gone(id) {
            return Err(gone(id));
        }
        let known = self.known_broker(id)?.decommission;
        if request.cancel {
            return Ok(self.stay(request, known, step));
        }
        let (wishes, stuck) = self.plan(id);
        if request.dry_run {
            let begun = self.moving_off(id).filter_map(|info| self.move_state(info.id));
            let mut moves: Vec<_> = begun.collect();
            moves.extend(self.carry_out(wishes, request.bytes_per_second, true, step).moves);
            let (left, of) = (self.held(id), known.map_or(self.held(id), |known| known.partitions));
            return Ok(DecommissionReply {
                decommissioning: known.is_some(),
                done: false,
                left,
                of,
                moves,
                stuck,
            });
        }
        let partitions = known.map_or(self.held(id), |known| known.partitions);
        let wanted = Decommission { partitions, bytes_per_second: request.bytes_per_second };
        if known != Some(wanted) {
            step.because(format!("broker {id} is decommissioned"));
            step.note(
                "decommission",
                format!("broker {id} is to go; it holds {}", count(partitions.into(), "partition")),
            );
            self.record(step, Record::Decommission { id, wanted: Some(wanted) });
            self.drain(Record::Drain { id, draining: true, requested: true }, step);
        }
        self.advance_decommissions(step);
        Ok(self.decommission_state(id))
    }

    /// It stays after all.
    fn stay(
        &mut self,
        request: DecommissionBroker,
        known: Option<Decommission>,
        step: &mut Step,
    ) -> DecommissionReply {
        let id = request.broker_id;
        let leaving = |info: &&PartitionInfo| {
            info.moving.as_ref().is_some_and(|moving| moving.from.contains(&id) && !moving.to.contains(&id))
        };
        let back = |info: &PartitionInfo| {
            info.moving.as_ref().map(|moving| Wish { id: info.id, to: moving.from.clone() })
        };
        let wishes: Vec<Wish> = match known {
            Some(_) => self.state.partitions().filter(leaving).filter_map(back).collect(),
            None => Vec::new(),
        };
        step.because(format!("broker {id} stays after all"));
        if known.is_some() && !request.dry_run {
            step.note("decommission", step.why.clone());
            self.record(step, Record::Decommission { id, wanted: None });
            self.drain(Record::Drain { id, draining: false, requested: false }, step);
        }
        let moves = self.carry_out(wishes, None, request.dry_run, step).moves;
        let mut reply = self.decommission_state(id);
        reply.moves = moves;
        reply
    }

    /// Where what the broker holds can go, and a reason for each partition that can go nowhere.
    fn plan(&self, id: BrokerId) -> (Vec<Wish>, Vec<String>) {
        let (mut wishes, mut stuck) = (Vec::new(), Vec::new());
        let mut placement = self.placement();
        placement.without(id);
        for info in self.state.partitions().filter(|info| info.target().contains(&id)) {
            let title = self.state.title(info.id);
            if info.recovering {
                stuck.push(format!("{title} waits for its metadata to be rebuilt"));
                continue;
            }
            let Some(next) = placement.next_replica(info.target(), &self.racks_beside(info, id)) else {
                stuck.push(format!("no broker left that does not hold {title}"));
                continue;
            };
            let put = |old: &BrokerId| if *old == id { next } else { *old };
            wishes.push(Wish { id: info.id, to: info.target().iter().map(put).collect() });
        }
        (wishes, stuck)
    }

    /// The racks of the replicas that stay if one goes.
    pub(super) fn racks_beside(&self, info: &PartitionInfo, id: BrokerId) -> Vec<&str> {
        let others = info.target().iter().filter(|other| **other != id);
        others.filter_map(|other| Some(self.state.broker(*other)?.info.rack.as_str())).collect()
    }

    /// Moves what can move by now off brokers that go, and forgets those that hold nothing any more.
    pub(super) fn advance_decommissions(&mut self, step: &mut Step) {
        let leaving: Vec<(BrokerId, Decommission)> = self
            .state
            .brokers()
            .filter_map(|broker| broker.decommission.map(|wanted| (broker.info.id, wanted)))
            .collect();
        for (id, wanted) in leaving {
            step.because(format!("broker {id} is decommissioned"));
            let room = MOVES_AT_ONCE.saturating_sub(self.moving_off(id).count());
            let (mut wishes, _) = self.plan(id);
            wishes.truncate(room);
            self.carry_out(wishes, wanted.bytes_per_second, false, step);
            if self.held(id) == 0 {
                self.forget(id, step);
            }
        }
    }

    fn forget(&mut self, id: BrokerId, step: &mut Step) {
        step.note("decommission", format!("broker {id} holds nothing any more and is forgotten"));
        let Some(data_dir) = self.state.broker(id).map(|broker| broker.data_dir) else { return };
        self.record(step, Record::BrokerGone { id, data_dir });
        self.liveness.reports.retain(|(of, _), _| *of != id);
        if let Some(session) = self.liveness.sessions.remove(&id)
            && let Link::Connected(connection) = session.link
        {
            self.liveness.connections.remove(&connection);
            step.last.push(Effect::Close(connection, gone(id)));
        }
    }

    /// Whether the data dir is that of a broker that is gone.
    pub(super) fn check_not_gone(&self, data_dir: DataDirId) -> Result<(), WireError> {
        self.state.gone_by_data_dir(data_dir).map_or(Ok(()), |id| Err(gone(id)))
    }

    /// What is on its way off the broker.
    fn moving_off(&self, id: BrokerId) -> impl Iterator<Item = &PartitionInfo> {
        let leaves = move |info: &&PartitionInfo| info.replicas.contains(&id) && !info.target().contains(&id);
        self.state.partitions().filter(leaves)
    }

    fn held(&self, id: BrokerId) -> u32 {
        let held = self.state.partitions().filter(|info| info.replicas.contains(&id)).count();
        u32::try_from(held).unwrap_or(u32::MAX)
    }

    /// How far it is.
    fn decommission_state(&self, id: BrokerId) -> DecommissionReply {
        let Some(broker) = self.state.broker(id) else {
            let of = 0;
            return DecommissionReply {
                decommissioning: true,
                done: true,
                of,
                ..DecommissionReply::default()
            };
        };
        let moves = self.moving_off(id).filter_map(|info| self.move_state(info.id)).collect();
        let stuck = if broker.decommission.is_some() { self.plan(id).1 } else { Vec::new() };
        DecommissionReply {
            decommissioning: broker.decommission.is_some(),
            done: false,
            left: self.held(id),
            of: broker.decommission.map_or(0, |wanted| wanted.partitions),
            moves,
            stuck,
        }
    }

    /// What a broker that goes still waits for, in a sentence, for `WHY`; `None` if it is not to go.
    #[must_use]
    pub fn decommission_waits(&self, id: BrokerId) -> Option<String> {
        let wanted = self.state.broker(id)?.decommission?;
        let state = self.decommission_state(id);
        let of = count(wanted.partitions.into(), "partition");
        let mut text = format!("{} of {of} left", state.left);
        let waiting = state.moves.iter().filter_map(|moved| {
            moved.waits.as_ref().map(|waits| format!("{}/{} {waits}", moved.topic, moved.partition))
        });
        for reason in waiting.chain(state.stuck.iter().cloned()).take(REASONS_MAX) {
            text += "; ";
            text += &reason;
        }
        Some(text)
    }
}

/// How many reasons one sentence names.
const REASONS_MAX: usize = 3;
