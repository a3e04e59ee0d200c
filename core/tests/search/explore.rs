//! Breadth-first search over everything that a bounded adversary can do to one partition on three brokers.
//!
//! A move is something that an adversary decides; between moves the world does all that is ready, except
//! what the adversary holds back. The number of moves of each kind is bounded, which bounds the search.

use crate::harness::{Place, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use yak_core::cluster::Loss;
use yak_core::partition::Event;
use yak_protocol::defaults;
use yak_protocol::ids::BrokerId;
use yak_protocol::message::Acks;

/// What the adversary decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Move {
    Publish(BrokerId),
    /// Frames of replication streams from one broker to another wait, and go on.
    Hold(BrokerId, BrokerId),
    Release(BrokerId, BrokerId),
    /// A broker's disk does not sync, and goes on.
    HoldSync(BrokerId),
    ReleaseSync(BrokerId),
    /// What the coordinator says to a broker waits, and goes on.
    HoldNews(BrokerId),
    ReleaseNews(BrokerId),
    /// What a broker says to the coordinator waits, and goes on.
    HoldRequests(BrokerId),
    ReleaseRequests(BrokerId),
    PowerOff(BrokerId),
    Start(BrokerId),
    /// The coordinator sees a broker's connection break, though the broker lives.
    Fence(BrokerId),
    /// The broker comes back.
    Rejoin(BrokerId),
    /// Another coordinator takes over from one that lives on.
    TakeOver,
    /// A broker hears of it.
    Turn(BrokerId),
    /// The partition goes to other brokers, the leader's among those that it leaves; and back.
    Reassign,
    Cancel,
    /// The topic's `min_isr` becomes 1, or 2 again.
    MinIsr,
    /// The leader drops all that is committed.
    Trim(BrokerId),
    /// Nothing happens for so long that a follower which is not caught up is shrunk.
    Lag,
}

/// How many moves of each kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bounds {
    pub publishes: u8,
    pub holds: u8,
    pub crashes: u8,
    pub fences: u8,
    pub lags: u8,
    pub takeovers: u8,
    /// Moves and their cancellations.
    pub moves: u8,
    /// Other values of `min_isr`.
    pub min_isrs: u8,
    pub trims: u8,
}

/// A state on the frontier.
#[derive(Clone)]
pub struct State {
    pub world: World,
    pub left: Bounds,
    held: BTreeSet<Move>,
    away: BTreeSet<BrokerId>,
    /// How it was reached, for the report.
    pub path: Vec<Move>,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    pub states: usize,
    pub moves: usize,
    pub deepest: usize,
    /// Whether nothing was left to look at.
    pub complete: bool,
    /// The first violation, with the moves that lead to it.
    pub violation: Option<(String, Vec<Move>)>,
    pub reached: BTreeMap<&'static str, u64>,
}

impl State {
    pub fn new(world: World, left: Bounds) -> Self {
        Self { world, left, held: BTreeSet::new(), away: BTreeSet::new(), path: Vec::new() }
    }

    fn brokers(&self) -> Vec<BrokerId> {
        self.world.brokers.keys().copied().collect()
    }

    /// What the adversary can do here.
    pub fn moves(&self) -> Vec<Move> {
        let id = self.world.partition(0);
        let mut moves = Vec::new();
        for b in self.brokers() {
            let up = self.world.brokers[&b].process.is_some();
            if self.left.publishes > 0 && self.world.view(b, id).is_some_and(|v| v.leads) {
                moves.push(Move::Publish(b));
            }
            let committed = self.world.view(b, id).filter(|v| v.leads && v.high_watermark > v.log_start);
            if self.left.trims > 0 && committed.is_some() {
                moves.push(Move::Trim(b));
            }
            if up && self.left.crashes > 0 {
                moves.push(Move::PowerOff(b));
            }
            if !up {
                moves.push(Move::Start(b));
            }
            if up && self.left.fences > 0 && !self.away.contains(&b) && !self.world.is_fenced(b) {
                moves.push(Move::Fence(b));
            }
            if up && self.away.contains(&b) {
                moves.push(Move::Rejoin(b));
            }
            if up && self.world.is_behind(b) {
                moves.push(Move::Turn(b));
            }
            if self.left.holds > 0 {
                let others = self.brokers().into_iter().filter(|o| *o != b).map(|o| Move::Hold(b, o));
                let own = [Move::HoldSync(b), Move::HoldNews(b), Move::HoldRequests(b)];
                moves.extend(others.chain(own).filter(|m| !self.held.contains(m)));
            }
        }
        moves.extend(self.held.iter().map(|held| released(*held)));
        if self.left.lags > 0 {
            moves.push(Move::Lag);
        }
        if self.left.takeovers > 0 && self.world.deposed.is_none() {
            moves.push(Move::TakeOver);
        }
        if self.left.moves > 0 {
            let moving = self.world.record(id).is_some_and(|record| record.moving.is_some());
            moves.push(if moving { Move::Cancel } else { Move::Reassign });
        }
        if self.left.min_isrs > 0 {
            moves.push(Move::MinIsr);
        }
        moves
    }

    /// The state after a move.
    pub fn after(&self, next: Move) -> Self {
        let mut state = self.clone();
        state.path.push(next);
        state.make(next);
        state
    }

    fn make(&mut self, next: Move) {
        let id = self.world.partition(0);
        let world = &mut self.world;
        match next {
            Move::Publish(b) => {
                self.left.publishes -= 1;
                world.publish(b, id, Acks::All);
            }
            Move::Hold(from, to) => world.hold_streams(from, to),
            Move::Release(from, to) => world.release_streams(from, to),
            Move::HoldSync(b) => world.broker(b).hold_sync = true,
            Move::ReleaseSync(b) => world.broker(b).hold_sync = false,
            Move::HoldNews(b) => world.net.hold(Place::Coordinator, Place::Broker(b), None),
            Move::ReleaseNews(b) => world.net.release(Place::Coordinator, Place::Broker(b), None),
            Move::HoldRequests(b) => world.net.hold(Place::Broker(b), Place::Coordinator, None),
            Move::ReleaseRequests(b) => world.net.release(Place::Broker(b), Place::Coordinator, None),
            Move::PowerOff(b) => {
                self.left.crashes -= 1;
                self.away.remove(&b);
                world.power_off(b);
            }
            Move::Start(b) => world.start(b),
            Move::Fence(b) => {
                self.left.fences -= 1;
                self.away.insert(b);
                world.lose_session(b, Loss::PeerClosed);
            }
            Move::Rejoin(b) => {
                self.away.remove(&b);
                world.rejoin(b);
            }
            Move::TakeOver => {
                self.left.takeovers -= 1;
                world.take_over();
            }
            Move::Turn(b) => world.turn(b),
            Move::Reassign => {
                self.left.moves -= 1;
                let here = world.record(id).map(|record| record.replicas.clone()).unwrap_or_default();
                let others = world.brokers.keys().copied().filter(|b| !here.contains(b));
                let stay = here.iter().copied().skip(1);
                let to: Vec<BrokerId> = others.chain(stay).take(here.len()).collect();
                world.move_to(id, &to);
            }
            Move::Cancel => {
                self.left.moves -= 1;
                world.cancel_move(id);
            }
            Move::MinIsr => {
                self.left.min_isrs -= 1;
                let now = world.topic_min_isr();
                world.set_min_isr(3 - now);
            }
            Move::Trim(b) => {
                self.left.trims -= 1;
                let to = world.view(b, id).map(|view| view.high_watermark).unwrap_or_default();
                world.step_replica(b, id, Event::Trim { to }, Vec::new());
            }
            Move::Lag => {
                self.left.lags -= 1;
                world.pass(defaults::REPLICA_LAG_MAX + Duration::from_millis(1));
            }
        }
        match next {
            Move::Hold(..) | Move::HoldSync(_) | Move::HoldNews(_) | Move::HoldRequests(_) => {
                self.left.holds -= 1;
                self.held.insert(next);
            }
            _ => {
                self.held.retain(|held| released(*held) != next);
            }
        }
        self.world.settle();
    }

    fn key(&self) -> (u64, Bounds, BTreeSet<Move>, BTreeSet<BrokerId>) {
        (self.world.fingerprint(), self.left, self.held.clone(), self.away.clone())
    }
}

fn released(held: Move) -> Move {
    match held {
        Move::Hold(from, to) => Move::Release(from, to),
        Move::HoldSync(b) => Move::ReleaseSync(b),
        Move::HoldNews(b) => Move::ReleaseNews(b),
        Move::HoldRequests(b) => Move::ReleaseRequests(b),
        other => other,
    }
}

/// Looks at up to `states_max` states, nearest first, and stops at the first violation.
pub fn search(start: State, states_max: usize) -> Found {
    let mut found = Found { states: 1, ..Found::default() };
    let mut visited = BTreeSet::from([start.key()]);
    let mut frontier = VecDeque::from([start]);
    while let Some(state) = frontier.pop_front() {
        for next in state.moves() {
            found.moves += 1;
            let after = state.after(next);
            for (case, count) in &after.world.coverage.0 {
                let known = found.reached.entry(case).or_default();
                *known = (*known).max(*count);
            }
            if let Some(violation) = after.world.truth.violations.first() {
                found.violation = Some((format!("{}: {}", violation.invariant, violation.text), after.path));
                return found;
            }
            if !visited.insert(after.key()) {
                continue;
            }
            found.states += 1;
            found.deepest = found.deepest.max(after.path.len());
            if found.states >= states_max {
                return found;
            }
            frontier.push_back(after);
        }
    }
    found.complete = true;
    found
}
