//! What goes wrong, and how it is put right again: used by scripts by name and by the simulation at random.

use super::broker::Broker;
use super::log::Batch;
use super::net::{Connection, Place, PublishRequest, Purpose};
use super::world::{Item, World};
use yak_core::partition::Sequence;
use yak_protocol::ids::{BrokerId, DataDirId, TopicPartition};
use yak_protocol::message::Acks;

impl World {
    /// Kills a broker: what was written stays if the machine goes on, else only what was synced.
    pub fn kill(&mut self, id: BrokerId) {
        let keep = self.brokers[&id].disk.unsynced();
        self.crash_broker(id, keep, true);
        self.settle();
    }

    /// Power fails at a broker: all that was not synced is gone.
    pub fn power_off(&mut self, id: BrokerId) {
        self.crash_broker(id, 0, false);
        self.settle();
    }

    /// Starts a broker and lets it register.
    pub fn start(&mut self, id: BrokerId) {
        self.start_broker(id);
        self.settle();
    }

    /// The disk is replaced by an empty one, while its broker is down.
    pub fn wipe(&mut self, id: BrokerId) {
        let fresh = self.fresh();
        let broker = self.broker(id);
        assert!(broker.process.is_none(), "a disk is replaced only while its broker is down");
        let mut new = Broker::new(id);
        new.disk.identity.data_dir = DataDirId(u128::from(id.0) << 32 | u128::from(fresh));
        new.skew = broker.skew;
        new.starts = broker.starts;
        new.tickets = broker.tickets;
        new.tainted = true;
        *broker = new;
        self.truth.forget_disk(id);
    }

    /// The disk is about to lose something, or just has.
    pub fn loses_data(&mut self, id: BrokerId) {
        self.broker(id).tainted = true;
        self.truth.disks_lost = true;
    }

    /// An old copy of the disk is put back, while its broker is down. `false` without one.
    pub fn restore_backup(&mut self, id: BrokerId) -> bool {
        let broker = self.broker(id);
        assert!(broker.process.is_none(), "a disk is replaced only while its broker is down");
        let Some(backup) = broker.backups.pop() else { return false };
        broker.disk = backup;
        broker.disk.crash(0);
        broker.tainted = true;
        broker.backups.clear();
        self.truth.forget_disk(id);
        true
    }

    /// Copies the disk as it is, for [`Self::restore_backup`].
    pub fn back_up(&mut self, id: BrokerId) {
        let broker = self.broker(id);
        let mut copy = broker.disk.clone();
        copy.crash(0);
        broker.backups.push(copy);
    }

    /// Nothing passes between two places.
    pub fn cut_both(&mut self, a: Place, b: Place) {
        self.net.cut(a, b);
        self.net.cut(b, a);
    }

    /// Cuts a broker off from everybody else, clients aside.
    pub fn isolate(&mut self, id: BrokerId) {
        let others: Vec<Place> =
            self.brokers.keys().filter(|o| **o != id).map(|o| Place::Broker(*o)).collect();
        for other in others.into_iter().chain([Place::Coordinator]) {
            self.cut_both(Place::Broker(id), other);
        }
    }

    /// Holds what travels from one broker's stream end to the other's.
    pub fn hold_streams(&mut self, from: BrokerId, to: BrokerId) {
        for class in [yak_core::partition::StreamClass::InSync, yak_core::partition::StreamClass::CatchUp] {
            self.net.hold(Place::Broker(from), Place::Broker(to), Some(Purpose::Stream(class)));
        }
    }

    pub fn release_streams(&mut self, from: BrokerId, to: BrokerId) {
        for class in [yak_core::partition::StreamClass::InSync, yak_core::partition::StreamClass::CatchUp] {
            self.net.release(Place::Broker(from), Place::Broker(to), Some(Purpose::Stream(class)));
        }
    }

    /// A script's publish, straight into a broker; returns the value.
    pub fn publish(&mut self, to: BrokerId, id: TopicPartition, acks: Acks) -> u64 {
        self.publish_stamped(to, id, acks, None)
    }

    pub fn publish_stamped(
        &mut self,
        to: BrokerId,
        id: TopicPartition,
        acks: Acks,
        sequence: Option<Sequence>,
    ) -> u64 {
        self.publish_named(to, id, acks, sequence, None)
    }

    /// A script's publish of one record, which may have an id.
    pub fn publish_named(
        &mut self,
        to: BrokerId,
        id: TopicPartition,
        acks: Acks,
        sequence: Option<Sequence>,
        name: Option<u128>,
    ) -> u64 {
        let (value, request) = (self.fresh(), self.fresh());
        let ids = name.map(|name| super::ids::published(std::iter::once(name)));
        let batch = Batch { base: 0, count: 1, epoch: 0, value, sequence, ids };
        let request = PublishRequest { id, request, batch, acks, timeout_ms: 10_000 };
        self.publish_arrives(to, None, request);
        self.check();
        self.settle();
        value
    }

    /// Delivers the first message between two places that has arrived, held or not, and what follows from it.
    pub fn deliver_one(&mut self, from: Place, to: Place) {
        let joins = |c: &Connection| (c.from == from && c.to == to) || (c.to == from && c.from == to);
        let first = self.net.connections().find_map(|(id, c)| {
            let direction = (id, c.from == from);
            (joins(c) && self.net.queue(direction).next().is_some()).then_some(direction)
        });
        if let Some(direction) = first {
            self.perform(Item::Deliver(direction));
        }
        self.settle();
    }

    /// Lets a broker that was cut off be heard again.
    pub fn put_back(&mut self, id: BrokerId) {
        self.net.heal();
        self.rejoin(id);
    }

    /// Ends all faults, and waits for a minute of simulated time until everything is whole.
    pub fn mend(&mut self) -> Result<(), String> {
        self.net.release_all();
        self.net.heal();
        self.end_deposed();
        self.linger_ms = 0;
        if self.coordinator.cluster.is_none() {
            self.start_coordinator();
        }
        for id in self.brokers.keys().copied().collect::<Vec<_>>() {
            let broker = self.broker(id);
            (broker.hold_write, broker.hold_sync, broker.frozen) = (false, false, false);
            if broker.process.is_none() {
                self.start_broker(id);
            }
            self.settle();
            self.rejoin(id);
        }
        for _ in 0..600 {
            self.advance(100);
            if self.is_whole() {
                return Ok(());
            }
        }
        Err(format!("not whole a minute after all faults\n{}", self.describe()))
    }

    /// Whether a disk has damage that nobody has come across yet.
    pub fn is_rotten(&self) -> bool {
        let logs = self.brokers.values().flat_map(|b| b.disk.partitions().filter_map(|id| b.disk.live(id)));
        logs.into_iter().any(|log| !log.latent.is_empty())
    }

    /// Whether every broker is alive, unfenced, and knows all that the coordinator knows.
    pub fn is_informed(&self) -> bool {
        let Some(cluster) = self.coordinator.cluster.as_ref() else { return false };
        let version = cluster.state().version();
        self.brokers.values().all(|broker| {
            let process = broker.process.as_ref();
            process.is_some_and(|p| p.registered && !p.fenced && p.version == version)
        })
    }

    /// Whether everything is as it should be without faults.
    pub fn is_whole(&self) -> bool {
        self.partitions.iter().all(|id| self.is_partition_whole(*id))
    }

    fn is_partition_whole(&self, id: TopicPartition) -> bool {
        let Some(record) = self.record(id) else { return false };
        let Some(leader) = record.leader else { return false };
        let leads = self.view(leader, id).is_some_and(|v| v.leads && v.leader_epoch == record.leader_epoch);
        let mut members = record.replicas.clone();
        members.sort_unstable();
        let end = self.brokers[&leader].disk.live(id).map(|l| (l.end(), l.digest_at(l.end())));
        leads
            && record.moving.is_none()
            && members == record.isr
            && record.replicas.iter().all(|r| {
                let broker = &self.brokers[r];
                let log = broker.disk.durable(id).map(|l| (l.end(), l.digest_at(l.end())));
                let undamaged = broker.disk.durable(id).is_none_or(|l| l.damaged.is_empty());
                log == end
                    && undamaged
                    && self.view(*r, id).is_some_and(|v| v.high_watermark.0 == v.log_end.0)
            })
    }

    /// The state in a few lines, for a failed assertion.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for id in &self.partitions {
            text +=
                &format!("{id:?}: {:?}\n  committed {}\n", self.record(*id), self.truth.committed_end(*id));
            for (broker, state) in &self.brokers {
                let ends = |l: Option<&super::log::Log>| l.map(|l| (l.start(), l.end(), l.epochs().to_vec()));
                text += &format!(
                    "  {broker:?} {} epoch {:?} granted {:?} durable {:?} live end {:?} space {:?}\n    {:?}\n",
                    if state.process.is_none() {
                        "down"
                    } else if state.frozen {
                        "frozen"
                    } else {
                        "up"
                    },
                    self.broker_epoch(*broker),
                    self.granted(*broker),
                    ends(state.disk.durable(*id)),
                    state.disk.live(*id).map(|l| l.end()),
                    state.disk.space,
                    self.view(*broker, *id),
                );
            }
        }
        text + &format!(
            "fenced: {:?}, cuts {}\n",
            self.brokers.keys().filter(|b| self.is_fenced(**b)).collect::<Vec<_>>(),
            self.net.cuts()
        )
    }
}
