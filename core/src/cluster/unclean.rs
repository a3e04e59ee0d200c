//! The election that R10 forbids, on an operator's word: somebody leads who may lack acknowledged records.

use super::recovered::LEAP;
use super::requested::refused;
use super::{Cluster, Step, list};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, LeaderEpoch, Offset};
use yak_protocol::message::{Elect, ElectReply, PartitionInfo, ReplicaReport};

impl Cluster {
    pub(super) fn elect_unclean(
        &mut self,
        request: &Elect,
        old: &PartitionInfo,
        step: &mut Step,
    ) -> Result<ElectReply, WireError> {
        let title = self.state.title(old.id);
        let leader = old.leader.filter(|leader| !old.recovering && request.to.is_none_or(|to| to == *leader));
        if let Some(leader) = leader {
            let leader_epoch = old.leader_epoch;
            return Ok(ElectReply { leader, leader_epoch, ..ElectReply::default() });
        }
        if let Some(able) = self.candidate(old).filter(|_| !old.recovering) {
            let what = format!("broker {able} has every acknowledged record of {title} and may lead");
            return Err(refused(what, format!("nothing need be lost: ELECT {title}")));
        }
        let (to, may_lose) = self.least_loss(old, request.to)?;
        let reply = |leader_epoch, moved| ElectReply {
            leader: to,
            leader_epoch,
            moved,
            may_lose: Some(may_lose.clone()),
        };
        if request.dry_run {
            let by = if old.recovering { LEAP } else { 1 };
            return Ok(reply(LeaderEpoch(old.leader_epoch.0 + by), true));
        }
        if request.confirm.as_deref() != Some(title.as_str()) {
            let what = match &request.confirm {
                Some(other) => format!("{other:?} was confirmed, and this is about {title}"),
                None => format!("{may_lose}; that needs the partition's name as confirmation"),
            };
            return Err(WireError::new(ErrorCode::BadRequest, what).hint(format!("confirm {title}")));
        }
        step.because(format!("an unclean election asked for by hand: {may_lose}"));
        step.note("unclean", format!("{title}: {}", step.why));
        if old.recovering {
            self.lead_again(old, to, vec![to], true, step);
        } else {
            self.revise_one(step, old.id, |_, info| {
                info.isr = vec![to];
                info.elr.clear();
                info.leader = Some(to);
                info.unclean = Some(old.leader_epoch.next());
            });
        }
        let new = self.state.partition(old.id).map_or(old.leader_epoch, |info| info.leader_epoch);
        Ok(reply(new, true))
    }

    /// The live replica with the longest log, by its newest epoch and then its end; and what may be lost.
    fn least_loss(
        &self,
        info: &PartitionInfo,
        wanted: Option<BrokerId>,
    ) -> Result<(BrokerId, String), WireError> {
        let title = self.state.title(info.id);
        let mut live = Vec::new();
        for id in info
            .replicas
            .iter()
            .copied()
            .filter(|id| self.state.unfenced(*id) && !self.state.halted(*id, info.id))
        {
            // What was said before nobody led may have grown since.
            let report = self.liveness.reports.get(&(id, info.id)).copied();
            let Some(report) = report.filter(|report| report.leader_epoch >= info.leader_epoch) else {
                let what = format!("broker {id} has yet to say how far its copy of {title} goes");
                return Err(WireError::new(ErrorCode::NotReady, what).hint("ask again in a second"));
            };
            live.push((id, report));
        }
        let order = |report: &ReplicaReport| (!report.damaged, report.last_epoch, report.log_end);
        let best = match wanted {
            Some(to) => live.iter().find(|(id, _)| *id == to),
            // The first of the replicas among equals.
            None => live.iter().rev().max_by_key(|(_, report)| order(report)),
        };
        let Some((to, report)) = best.copied() else {
            let what = match wanted {
                Some(to) => format!("broker {to} holds no live replica of {title}"),
                None => format!("no replica of {title} is alive"),
            };
            let hint = format!("its replicas are on brokers {}; start one of them", list(&info.replicas));
            return Err(refused(what, hint));
        };
        Ok((to, self.loss(info, to, &report)))
    }

    /// What is lost if the broker leads, as far as anybody knows.
    fn loss(&self, info: &PartitionInfo, to: BrokerId, report: &ReplicaReport) -> String {
        let said = info.replicas.iter().filter_map(|id| Some((*id, self.last_report(*id, info)?)));
        let others: Vec<(BrokerId, ReplicaReport)> = said.filter(|(id, _)| *id != to).collect();
        let committed = others.iter().map(|(_, other)| other.high_watermark).max().unwrap_or(Offset::ZERO);
        let longest = others.iter().map(|(_, other)| other.log_end).max().unwrap_or(Offset::ZERO);
        let end = report.log_end;
        let mut text = format!("broker {to} has the records of {} below {end}", self.state.title(info.id));
        if committed > end {
            text += &format!("; those from there to {committed} were acknowledged and are lost");
        } else if longest > end {
            text += &format!("; others were last known to reach {longest}, and some of that may be lost");
        }
        let mut members: Vec<BrokerId> = info.isr.iter().chain(&info.elr).copied().collect();
        members.sort_unstable();
        match members.as_slice() {
            [] if committed.max(longest) <= end => text += "; nobody was known to have more",
            [] => {}
            [one] => text += &format!("; what broker {one} took since it was last heard of is lost, too"),
            many => {
                let many = list(many);
                text += &format!("; what brokers {many} took since they were last heard of is lost, too");
            }
        }
        text
    }

    /// What the broker last said of its replica, alive or not.
    fn last_report(&self, id: BrokerId, info: &PartitionInfo) -> Option<ReplicaReport> {
        let registered =
            || self.state.broker(id)?.reported.iter().find(|report| report.id == info.id).copied();
        self.liveness.reports.get(&(id, info.id)).copied().or_else(registered)
    }
}
