//! Terms that follow each other: on the whole journal, on an old copy, and on one that was made again.

use super::{CLUSTER, World, everything_but_term, keep};
use crate::command::Command;
use crate::show;
use yak_core::cluster::{Cluster, rebuild};
use yak_protocol::message::{RecollectReply, RegisterBroker};

impl World {
    /// A coordinator that ends and starts again: once from the whole journal, once from a snapshot, and
    /// both lead to the same state.
    pub(super) fn recover(&mut self) -> Vec<String> {
        let before = self.cluster.state().clone();
        let snapshot = self.cluster.snapshot();
        let mut ignored = Vec::new();
        let from_snapshot = Cluster::recover(self.now, self.config.clone(), snapshot, &mut ignored);
        let mut effects = Vec::new();
        self.cluster = Cluster::recover(self.now, self.config.clone(), self.journal.clone(), &mut effects);
        assert_eq!(self.cluster, from_snapshot, "a snapshot leads elsewhere than the journal");
        assert_eq!(everything_but_term(self.cluster.state()), everything_but_term(&before));
        keep(&mut self.journal, &effects);
        show::effects(&effects, &self.names)
    }

    /// A coordinator that starts on an old copy of its journal.
    pub(super) fn rollback(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let records = command.number("records")?.ok_or("records=N says how many are forgotten")?;
        self.journal.truncate(self.journal.len().saturating_sub(records));
        let mut effects = Vec::new();
        self.cluster = Cluster::recover(self.now, self.config.clone(), self.journal.clone(), &mut effects);
        keep(&mut self.journal, &effects);
        Ok(show::effects(&effects, &self.names))
    }

    /// The journal is lost, and made again from what these brokers know: all that it said, since they were pushed
    /// everything. Their replicas are as the options say.
    pub(super) fn rebuild(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let leader_info = self.cluster.state().leader_info();
        let coordinator_epoch = self.cluster.state().coordinator_epoch();
        let mut told = Vec::new();
        for name in command.words.clone() {
            let replicas = self.reports(command)?;
            let broker = self.broker(name)?;
            let registration = broker.registration();
            let registration =
                RegisterBroker { cluster_id: Some(CLUSTER), coordinator_epoch, replicas, ..registration };
            let leader_info = leader_info.clone();
            told.push(RecollectReply { broker: registration, leader_info, coordinator: None });
        }
        let rebuilt = rebuild(&told).map_err(|error| error.to_string())?;
        let mut effects = Vec::new();
        self.journal = rebuilt.records.clone();
        self.cluster = Cluster::recover(self.now, self.config.clone(), rebuilt.records, &mut effects);
        keep(&mut self.journal, &effects);
        let resting = rebuilt
            .recovering
            .iter()
            .map(|(id, why)| format!("rests {}: {why}", self.cluster.state().title(*id)));
        Ok(resting.chain(show::effects(&effects, &self.names)).collect())
    }
}
