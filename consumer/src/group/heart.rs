//! The heartbeats: in a task of their own, so that slow processing is no death.

use super::GroupConfig;
use super::ask::{NoAnswer, Way};
use super::clock::now_ms;
use super::membership::{Membership, Verdict};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long to wait after nobody answered.
const PAUSE: Duration = Duration::from_millis(100);

/// What the heart and the consumer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: GroupConfig,
    pub(super) way: Way,
    membership: Mutex<Membership>,
    /// Something has changed that the consumer must look at.
    pub(super) news: Notify,
    /// The consumer has given something up: the coordinator is to hear of it now.
    pub(super) beat_now: Notify,
    trouble: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(config: GroupConfig, way: Way) -> Self {
        Self {
            config,
            way,
            membership: Mutex::new(Membership::new(new_name())),
            news: Notify::new(),
            beat_now: Notify::new(),
            trouble: Mutex::default(),
        }
    }

    pub(super) fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the coordinator does not answer, if it does not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

fn new_name() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}

/// Beats until it is over for good, or dropped.
pub(super) async fn beat(shared: Arc<Shared>) {
    loop {
        let request = shared.membership().heartbeat(&shared.config);
        let sent = now_ms();
        let pause = match shared.way.once(&request).await {
            Ok(reply) => {
                shared.way.learn(reply.coordinator.as_ref());
                shared.set_trouble(None);
                match shared.membership().answered(sent, reply) {
                    Verdict::After(pause) => pause,
                    _ => PAUSE,
                }
            }
            Err(NoAnswer::Refused(error)) => {
                shared.set_trouble(Some(error.to_string()));
                let verdict = shared.membership().refused(error, new_name());
                match verdict {
                    Verdict::After(pause) => pause,
                    Verdict::Again(why) => {
                        tracing::warn!("group {}: joins anew: {why}", shared.config.group);
                        Duration::ZERO
                    }
                    Verdict::Over(_) => {
                        shared.news.notify_one();
                        return;
                    }
                }
            }
            Err(NoAnswer::Lost(why)) => {
                shared.set_trouble(Some(why));
                PAUSE
            }
        };
        shared.news.notify_one();
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.beat_now.notified() => {}
        }
    }
}
