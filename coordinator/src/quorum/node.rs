//! What the parts of a coordinator of a quorum share.

use super::config::QuorumConfig;
use super::lease::Lease;
use super::links::Links;
use super::log_store::LogStore;
use super::machine::Machine;
use super::types::{Member, Metrics, Raft};
use crate::metalog::Standing;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use yak_core::cluster::Record;
use yak_protocol::ids::ClusterId;
use yak_protocol::message::CoordinatorInfo;

/// A running coordinator of a quorum.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) config: QuorumConfig,
    pub(crate) raft: Raft,
    pub(crate) store: LogStore,
    pub(crate) machine: Machine,
    pub(crate) links: std::sync::Arc<Links>,
    pub(crate) lease: std::sync::Arc<Lease>,
    pub(crate) standing: watch::Sender<Standing>,
    /// Why there is no quorum yet.
    pub(crate) waits_for: Mutex<Option<String>>,
    /// A single coordinator's journal that is not in the log yet.
    pub(crate) journal: Mutex<Option<Vec<Record>>>,
    /// One change of the quorum at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) over: CancellationToken,
}

impl Node {
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow().clone()
    }

    pub(crate) fn member(&self) -> Member {
        Member { name: self.config.name.clone(), address: self.config.address.clone() }
    }

    pub(crate) fn info(&self) -> CoordinatorInfo {
        super::convert::info(self.id, &self.member())
    }

    pub(crate) fn cluster_id(&self) -> ClusterId {
        self.machine.cluster_id().unwrap_or_default()
    }

    /// Whether this one leads the log, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.state.is_leader() && metrics.running_state.is_ok()
    }

    /// Whether it leads the log, and a majority has said so within `limit`.
    pub(crate) fn leads_within(&self, limit: Duration) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.state.is_leader()
            && metrics.running_state.is_ok()
            && self
                .lease
                .unacknowledged(self.id, metrics.membership_config.membership())
                .is_some_and(|silence| silence < limit)
    }

    pub(crate) fn say_what_it_waits_for(&self, what: Option<String>) {
        let mut waits_for = self.waits_for.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *waits_for != what {
            if let Some(what) = &what {
                tracing::info!("{what}");
            }
            *waits_for = what;
        }
    }

    /// What somebody types to let `address` in, at the coordinator `at`.
    pub(crate) fn how_to_add(address: &str, at: &str) -> String {
        format!("yak coordinator peers add {address} -b {at}")
    }
}
