//! Partitions on their way to other brokers (rule R18).

use super::requested::refused;
use super::{Cluster, Step, list};
use std::collections::BTreeSet;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, TopicPartition};
use yak_protocol::message::{
    CancelMoves, ListMoves, MovePartitions, MoveState, MovesReply, Moving, PartitionInfo, PartitionName,
    ReplaceBroker,
};

fn bad(message: String, hint: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::BadRequest, message).hint(hint)
}

/// Refuses a throttle that lets nothing through.
pub(super) fn check_rate(bytes_per_second: Option<u64>) -> Result<(), WireError> {
    if bytes_per_second == Some(0) {
        let what = "with bytes_per_second 0 nothing would ever arrive".to_owned();
        return Err(bad(what, "name at least 1, or leave it out: then it is not throttled"));
    }
    Ok(())
}

/// Where a partition is to go.
pub(super) struct Wish {
    pub id: TopicPartition,
    pub to: Vec<BrokerId>,
}

/// R18: the record with the move begun. It goes on from where an earlier move started, whose replicas stay if
/// they count for something.
fn begin(info: &mut PartitionInfo, to: Vec<BrokerId>, bytes_per_second: Option<u64>) {
    let from = info.moving.take().map_or_else(|| info.replicas.clone(), |moving| moving.from);
    let mut replicas = from.clone();
    let counts = info.replicas.iter().filter(|id| info.isr.contains(id) || info.elr.contains(id));
    for id in to.iter().chain(counts) {
        if !replicas.contains(id) {
            replicas.push(*id);
        }
    }
    info.replicas = replicas;
    info.moving = Some(Moving { from, to, bytes_per_second });
}

impl Cluster {
    pub(super) fn move_partitions(
        &mut self,
        request: &MovePartitions,
        step: &mut Step,
    ) -> Result<MovesReply, WireError> {
        check_rate(request.bytes_per_second)?;
        let mut wishes = Vec::with_capacity(request.moves.len());
        for wanted in &request.moves {
            let info = self.state.find(&wanted.topic, wanted.partition)?;
            self.check_target(info, &wanted.replicas)?;
            if wishes.iter().any(|wish: &Wish| wish.id == info.id) {
                let title = self.state.title(info.id);
                return Err(bad(format!("{title} is named twice"), "name each partition once"));
            }
            wishes.push(Wish { id: info.id, to: wanted.replicas.clone() });
        }
        step.because("moved by request");
        Ok(self.carry_out(wishes, request.bytes_per_second, request.dry_run, step))
    }

    /// A move that goes back is a move to where it came from.
    pub(super) fn cancel_moves(
        &mut self,
        request: &CancelMoves,
        step: &mut Step,
    ) -> Result<MovesReply, WireError> {
        let mut wishes = Vec::new();
        for id in self.named(&request.partitions)? {
            let Some(info) = self.state.partition(id) else { continue };
            self.check_decidable(info)?;
            let to = info.moving.as_ref().map_or_else(|| info.replicas.clone(), |moving| moving.from.clone());
            wishes.push(Wish { id, to });
        }
        step.because("its move is cancelled");
        Ok(self.carry_out(wishes, None, request.dry_run, step))
    }

    pub(super) fn list_moves(&self, request: &ListMoves) -> Result<MovesReply, WireError> {
        let ids = self.named(&request.partitions)?;
        Ok(MovesReply { moves: ids.into_iter().filter_map(|id| self.move_state(id)).collect() })
    }

    pub(super) fn replace_broker(
        &mut self,
        request: ReplaceBroker,
        step: &mut Step,
    ) -> Result<MovesReply, WireError> {
        let ReplaceBroker { dead, by, bytes_per_second, dry_run } = request;
        check_rate(bytes_per_second)?;
        self.known_broker(dead)?;
        self.known_broker(by)?;
        if self.state.unfenced(dead) {
            let hint = format!("`yak broker decommission {dead}` moves everything off a living broker");
            return Err(refused(format!("broker {dead} is alive"), hint));
        }
        let held = |info: &&PartitionInfo| info.target().contains(&dead);
        let held: Vec<TopicPartition> = self.state.partitions().filter(held).map(|info| info.id).collect();
        let mut wishes = Vec::with_capacity(held.len());
        let mut placement = self.placement();
        for id in held {
            let Some(info) = self.state.partition(id) else { continue };
            // What it holds already goes to somebody else.
            let next = if info.target().contains(&by) {
                placement.next_replica(info.target(), &self.racks_beside(info, dead))
            } else {
                Some(by)
            };
            let Some(next) = next else {
                let title = self.state.title(id);
                let what = format!("broker {by} holds {title} already, and no broker is left that does not");
                return Err(refused(what, "start another broker, and name that one"));
            };
            let put = |id: &BrokerId| if *id == dead { next } else { *id };
            let to: Vec<BrokerId> = info.target().iter().map(put).collect();
            self.check_target(info, &to)?;
            wishes.push(Wish { id, to });
        }
        step.because(format!("broker {by} takes the place of broker {dead}"));
        Ok(self.carry_out(wishes, bytes_per_second, dry_run, step))
    }

    /// Begins the moves, or says what beginning them would change.
    pub(super) fn carry_out(
        &mut self,
        wishes: Vec<Wish>,
        bytes_per_second: Option<u64>,
        dry_run: bool,
        step: &mut Step,
    ) -> MovesReply {
        let mut moves = Vec::with_capacity(wishes.len());
        for Wish { id, to } in wishes {
            let Some(old) = self.state.partition(id).cloned() else { continue };
            let same = match &old.moving {
                Some(moving) => moving.to == to && moving.bytes_per_second == bytes_per_second,
                None => old.replicas == to,
            };
            let mut state = if same {
                self.move_state(id)
            } else if dry_run {
                let mut new = old.clone();
                begin(&mut new, to, bytes_per_second);
                self.finish_move(&old, &mut new);
                Some(self.state_of(&new, Some(&old)))
            } else {
                let text = format!("{} moves to brokers {}: {}", self.state.title(id), list(&to), step.why);
                step.note("move", text);
                self.revise_one(step, id, |_, info| begin(info, to, bytes_per_second));
                self.state.partition(id).map(|new| self.state_of(new, Some(&old)))
            };
            if let Some(state) = &mut state {
                state.changed = !same;
            }
            moves.extend(state);
        }
        MovesReply { moves }
    }

    /// R18: once nobody who counts is missed, the old replicas go, in one record with the leader's change.
    pub(super) fn finish_move(&self, old: &PartitionInfo, info: &mut PartitionInfo) {
        if !self.is_through(info) || self.gives_up(old, info) {
            return;
        }
        let Some(moving) = info.moving.take() else { return };
        let stays = |id: &BrokerId| moving.to.contains(id);
        info.isr.retain(stays);
        info.elr.retain(stays);
        info.leader = info.leader.filter(stays);
        info.replicas = moving.to;
    }

    /// Whether the partition moves, and nothing is left to wait for.
    pub(super) fn is_through(&self, info: &PartitionInfo) -> bool {
        info.moving.is_some() && self.unfinished(info).is_none()
    }

    /// I13: whether somebody who counted in the record before would go with it and not be made up for. Whatever
    /// it is that he counts for nothing any more, lost data say, is a record of its own.
    fn gives_up(&self, old: &PartitionInfo, info: &PartitionInfo) -> bool {
        let target = info.target();
        let staying = info.isr.iter().filter(|id| target.contains(id)).count();
        let counted = old.isr.iter().chain(&old.elr).any(|id| !target.contains(id));
        self.config.rules.r18_add_before_remove() && counted && staying < info.min_isr as usize
    }

    /// What a move waits for; `None` = nothing.
    fn unfinished(&self, info: &PartitionInfo) -> Option<String> {
        let target = info.target();
        let staying: Vec<BrokerId> = info.isr.iter().copied().filter(|id| target.contains(id)).collect();
        if !self.config.rules.r18_add_before_remove() {
            return staying.is_empty().then(|| "nobody of its new replicas is in sync".to_owned());
        }
        let missing: Vec<BrokerId> = info.adding().filter(|id| !info.isr.contains(id)).collect();
        if !missing.is_empty() {
            return Some(self.waiting_for(&missing, info));
        }
        let missed = info.isr.iter().chain(&info.elr).any(|id| !target.contains(id));
        if missed && staying.len() < info.min_isr as usize {
            let (target, staying, least) = (list(target), list(&staying), info.min_isr);
            return Some(format!(
                "waits until {least} of the brokers {target} are in sync; now it is {staying}"
            ));
        }
        None
    }

    fn waiting_for(&self, missing: &[BrokerId], info: &PartitionInfo) -> String {
        let fenced: Vec<BrokerId> = missing.iter().copied().filter(|id| !self.state.unfenced(*id)).collect();
        let (noun, list_of) = (if missing.len() == 1 { "broker" } else { "brokers" }, list(missing));
        let mut text = format!("waits for {noun} {list_of} to be in sync");
        if info.leader.is_none() {
            text += "; nobody leads, so nobody can catch up";
        } else if !fenced.is_empty() {
            text += &format!("; fenced: {}", list(&fenced));
        }
        if let Some(rate) = info.moving.as_ref().and_then(|moving| moving.bytes_per_second) {
            text += &format!("; each leader sends {rate} bytes a second");
        }
        text
    }

    /// How a partition's move stands.
    pub(super) fn move_state(&self, id: TopicPartition) -> Option<MoveState> {
        self.state.partition(id).map(|info| self.state_of(info, None))
    }

    /// The same for a record; `before` says from where, if it has arrived.
    fn state_of(&self, info: &PartitionInfo, before: Option<&PartitionInfo>) -> MoveState {
        let origin = |old: &PartitionInfo| {
            old.moving.as_ref().map_or_else(|| old.replicas.clone(), |moving| moving.from.clone())
        };
        MoveState {
            topic: self.state.topic(info.id.topic).map(|topic| topic.name.clone()).unwrap_or_default(),
            partition: info.id.partition,
            from: origin(before.unwrap_or(info)),
            to: info.target().to_vec(),
            replicas: info.replicas.clone(),
            isr: info.isr.clone(),
            leader: info.leader,
            bytes_per_second: info.moving.as_ref().and_then(|moving| moving.bytes_per_second),
            changed: false,
            waits: info.moving.as_ref().and_then(|_| self.unfinished(info)),
        }
    }

    /// Why a partition's move is not through yet, for `WHY`; `None` if nothing moves.
    #[must_use]
    pub fn move_waits(&self, id: TopicPartition) -> Option<String> {
        self.state.partition(id).filter(|info| info.moving.is_some()).and_then(|info| self.unfinished(info))
    }

    /// The partitions of these names; without any, all that are on their way.
    fn named(&self, names: &[PartitionName]) -> Result<BTreeSet<TopicPartition>, WireError> {
        if names.is_empty() {
            let moving = self.state.partitions().filter(|info| info.moving.is_some());
            return Ok(moving.map(|info| info.id).collect());
        }
        names.iter().map(|name| Ok(self.state.find(&name.topic, name.partition)?.id)).collect()
    }

    fn check_decidable(&self, info: &PartitionInfo) -> Result<(), WireError> {
        if info.recovering {
            let title = self.state.title(info.id);
            let what = format!("{title} waits for its metadata to be rebuilt, so it cannot move");
            return Err(WireError::new(ErrorCode::Recovering, what));
        }
        Ok(())
    }

    /// Whether the partition may go there.
    fn check_target(&self, info: &PartitionInfo, to: &[BrokerId]) -> Result<(), WireError> {
        self.check_decidable(info)?;
        let title = self.state.title(info.id);
        let distinct: BTreeSet<&BrokerId> = to.iter().collect();
        if distinct.len() < to.len() {
            return Err(bad(format!("{title}: a broker is named twice in {}", list(to)), "name each once"));
        }
        let wanted = self.state.topic(info.id.topic).map_or(0, |topic| topic.wanted_replicas as usize);
        let (least, most) = (info.target().len().min(wanted), info.target().len().max(wanted));
        if !(least..=most).contains(&to.len()) {
            let what = format!("{title} has {} replicas, {} are named", info.target().len(), to.len());
            let least = if least == most { format!("{most}") } else { format!("{least} to {most}") };
            return Err(bad(what, format!("a move keeps the number of replicas: name {least}")));
        }
        for id in to {
            self.known_broker(*id)?;
            if info.replicas.contains(id) {
                continue;
            }
            if !self.state.unfenced(*id) {
                let hint = format!("WHY broker {id} says why; start it, or name another one");
                return Err(refused(format!("broker {id} is fenced and cannot take {title}"), hint));
            }
            if self.state.draining(*id) {
                let hint = format!("UNDRAIN {id} first, or name another one");
                return Err(refused(format!("broker {id} drains and takes nothing new"), hint));
            }
        }
        Ok(())
    }

    /// Refuses a number that no broker has.
    pub(super) fn known_broker(&self, id: BrokerId) -> Result<&super::Broker, WireError> {
        self.state.broker(id).ok_or_else(|| {
            let known: Vec<BrokerId> = self.state.brokers().map(|broker| broker.info.id).collect();
            let hint = match known.as_slice() {
                [] => "no broker has registered yet".to_owned(),
                known => format!("there are brokers {}", list(known).replace(',', ", ")),
            };
            bad(format!("there is no broker {id}"), hint)
        })
    }
}
