//! Coordinators take turns: this process stands by until its metadata log makes it the active one, serves for
//! a term, and stands by again when the term is over.

use crate::front::shutting_down;
use crate::history::History;
use crate::metalog::{AnyLog, MetaLog, Standing, Term};
use crate::server::{Ended, Input, SelfPortrait, Server};
use crate::{RunError, answers};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use yak_core::cluster::ClusterConfig;
use yak_protocol::net::Observer;

/// What a process keeps from one term to the next.
pub(crate) struct Turns {
    pub(crate) log: AnyLog,
    pub(crate) inputs: mpsc::UnboundedReceiver<Input>,
    pub(crate) portrait: Arc<SelfPortrait>,
    pub(crate) observer: Observer,
    pub(crate) history: History,
    /// What the machine is told at the beginning of each term.
    pub(crate) machine: ClusterConfig,
    pub(crate) standing: watch::Receiver<Standing>,
}

impl Turns {
    /// Runs until shutdown.
    ///
    /// # Errors
    /// When the log fails: what was decided may not be kept, so nothing more may be said.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) -> Result<(), RunError> {
        loop {
            let Some(term) = self.stand_by(shutdown).await? else {
                self.turn_away();
                return Ok(());
            };
            let (turns, ended) = Server::begin(self, &term).run(shutdown).await?;
            self = turns;
            match ended {
                Ended::Shutdown => {
                    self.turn_away();
                    self.log.resign().await;
                    return Ok(());
                }
                Ended::Deposed(why) => {
                    tracing::warn!("not active any more: {why}");
                    self.observer.events.note("deposed", format!("not active any more: {why}"));
                }
            }
        }
    }

    /// Waits for a term; whoever asks meanwhile is told where the active coordinator is. `None` = shutdown.
    async fn stand_by(&mut self, shutdown: &CancellationToken) -> Result<Option<Term>, RunError> {
        let Self { log, inputs, standing, portrait, .. } = self;
        let mut campaign = std::pin::pin!(log.campaign());
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                term = &mut campaign => return term.map(Some),
                Some(input) = inputs.recv() => refuse(input, portrait, &standing.borrow()),
            }
        }
    }

    /// What was queued and not begun is told so: it has had no effect.
    fn turn_away(&mut self) {
        self.inputs.close();
        while let Ok(input) = self.inputs.try_recv() {
            match input {
                Input::Asked { reply, .. } => reply.refuse(&shutting_down()),
                Input::Look(look) => look(Err(shutting_down())),
                Input::ProbeAnswered { .. } | Input::Closed { .. } => {}
            }
        }
    }
}

/// Answers on standby. Nothing is known of brokers then, so nothing is lost with the rest.
pub(crate) fn refuse(input: Input, portrait: &SelfPortrait, standing: &Standing) {
    match input {
        Input::Asked { ask, reply, .. } => answers::on_standby(*ask, reply, portrait, standing),
        Input::Look(look) => look(Err(answers::not_active(standing))),
        Input::ProbeAnswered { .. } | Input::Closed { .. } => {}
    }
}
