//! The metadata log that this process was told to use.

use super::{Look, Lost, MetaLog, Standing, Term};
use crate::RunError;
use crate::quorum::Quorum;
use crate::redis::RedisLog;
use std::sync::Arc;
use tokio::sync::watch;
use yak_core::cluster::Record;

/// See the module.
pub(crate) enum AnyLog {
    Quorum(Box<Quorum>),
    Redis(Box<RedisLog>),
}

macro_rules! each {
    ($self:ident, $log:ident => $call:expr) => {
        match $self {
            Self::Quorum($log) => $call,
            Self::Redis($log) => $call,
        }
    };
}

impl MetaLog for AnyLog {
    async fn campaign(&mut self) -> Result<Term, RunError> {
        each!(self, log => log.campaign().await)
    }

    async fn append(&mut self, decisions: Vec<Vec<Record>>) -> Result<(), Lost> {
        each!(self, log => log.append(decisions).await)
    }

    fn held(&self) -> bool {
        each!(self, log => log.held())
    }

    async fn deposed(&mut self) -> Lost {
        each!(self, log => log.deposed().await)
    }

    async fn compact(&mut self, snapshot: impl FnOnce() -> Vec<Record> + Send) -> Result<(), Lost> {
        each!(self, log => log.compact(snapshot).await)
    }

    async fn resign(&mut self) {
        each!(self, log => log.resign().await);
    }

    fn standing(&self) -> watch::Receiver<Standing> {
        each!(self, log => log.standing())
    }

    fn look(&self) -> Arc<dyn Look> {
        each!(self, log => log.look())
    }
}
