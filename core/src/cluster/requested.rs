//! What people ask for by hand: another leader, a broker that leads nothing.

use super::{Cluster, Record, Step};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{Drain, DrainReply, Elect, ElectReply, PartitionInfo};

pub(super) fn refused(message: String, hint: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::NotApplied, message).hint(hint)
}

impl Cluster {
    /// R10: another in-sync replica leads, or the first of the replicas that may if none is named.
    pub(super) fn elect_by_request(
        &mut self,
        request: &Elect,
        step: &mut Step,
    ) -> Result<ElectReply, WireError> {
        let old = self.state.find(&request.topic, request.partition)?.clone();
        let title = self.state.title(old.id);
        if request.unclean {
            return self.elect_unclean(request, &old, step);
        }
        if old.recovering {
            let what = format!("{title} waits for its metadata to be rebuilt, so nobody may lead");
            return Err(WireError::new(ErrorCode::Recovering, what).hint(format!("WHY {title} says how")));
        }
        let to = match request.to {
            Some(to) if old.leader == Some(to) => to,
            Some(to) => {
                self.check_may_lead(&old, to)?;
                to
            }
            None => self.candidate(&old).filter(|to| old.isr.contains(to)).ok_or_else(|| {
                let what =
                    format!("{title}: nobody may lead now, any other broker may lack acknowledged records");
                WireError::new(ErrorCode::NoLeader, what).hint(format!("WHY {title} says what is missing"))
            })?,
        };
        if request.dry_run {
            let moved = old.leader != Some(to);
            let leader_epoch = if moved { old.leader_epoch.next() } else { old.leader_epoch };
            return Ok(ElectReply { leader: to, leader_epoch, moved, may_lose: None });
        }
        step.because("asked for by hand");
        self.revise_one(step, old.id, |_, info| info.leader = Some(to));
        let new = self.state.find(&request.topic, request.partition)?;
        assert!(
            new.isr == old.isr && new.elr == old.elr,
            "an election by hand changes who is in sync: {new:?}"
        );
        assert_eq!(new.leader, Some(to), "somebody else was elected");
        let moved = new.leader != old.leader;
        Ok(ElectReply { leader: to, leader_epoch: new.leader_epoch, moved, may_lose: None })
    }

    /// Why the broker may not lead the partition, if it may not.
    fn check_may_lead(&self, info: &PartitionInfo, id: BrokerId) -> Result<(), WireError> {
        let title = self.state.title(info.id);
        if !info.replicas.contains(&id) {
            let replicas: Vec<_> = info.replicas.iter().map(ToString::to_string).collect();
            let what = format!("broker {id} holds no replica of {title}");
            return Err(refused(what, format!("its replicas are on brokers {}", replicas.join(", "))));
        }
        if !self.state.unfenced(id) {
            let what = format!("broker {id} is fenced and may not lead {title}");
            return Err(refused(what, format!("WHY broker {id} says why; start it, or name another one")));
        }
        if !info.isr.contains(&id) {
            let what = format!(
                "broker {id} is not in sync: it may lack acknowledged records of {title}, which would be lost"
            );
            return Err(refused(
                what,
                format!("wait until it is in the ISR; WHY {title} says what it lacks"),
            ));
        }
        let stays = |id: &BrokerId| self.state.unfenced(*id) && !self.state.draining(*id);
        if self.state.draining(id) && info.isr.iter().any(stays) {
            let what = format!("broker {id} drains: it would hand {title} over again at once");
            return Err(refused(what, format!("UNDRAIN {id} first, or name another one")));
        }
        Ok(())
    }

    /// The broker leads nothing while others can, until the opposite is asked for.
    pub(super) fn drain_by_request(
        &mut self,
        request: Drain,
        step: &mut Step,
    ) -> Result<DrainReply, WireError> {
        let id = request.broker_id;
        let broker = self.known_broker(id)?;
        let stops = self.liveness.sessions.get(&id).is_some_and(|session| session.draining);
        let draining = request.draining || stops;
        if broker.decommission.is_some() && !request.draining {
            let what = format!("broker {id} is decommissioned, so it drains");
            return Err(refused(what, format!("`yak broker decommission {id} --cancel` lets it stay")));
        }
        if request.dry_run {
            let draining = broker.info.draining;
            let (leads, needed) = self.dependence(id);
            return Ok(DrainReply { draining, leads, needed });
        }
        if broker.drain_requested != request.draining || broker.info.draining != draining {
            let requested = request.draining;
            step.because(format!(
                "broker {id} {} by request",
                if requested { "drains" } else { "no longer drains" }
            ));
            self.drain(Record::Drain { id, draining, requested }, step);
        }
        let (leads, needed) = self.dependence(id);
        Ok(DrainReply { draining, leads, needed })
    }

    /// How many partitions the broker leads, and how many need it in their ISR.
    pub(super) fn dependence(&self, id: BrokerId) -> (u32, u32) {
        let (mut leads, mut needed) = (0, 0);
        for info in self.state.partitions() {
            leads += u32::from(info.leader == Some(id));
            needed += u32::from(info.isr.contains(&id) && info.isr.len() <= info.min_isr as usize);
        }
        (leads, needed)
    }
}
