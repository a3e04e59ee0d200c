//! Every task of one broker, so that all of them can be dropped at once (a crash) or waited for.

use std::future::Future;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use yak_storage::FatalHook;

/// Spawns a broker's tasks. A task that panics takes its whole broker down: half a broker, whose
/// partition answers nobody while its heartbeats go on, is worse than none.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    crash: CancellationToken,
    fatal: FatalHook,
}

impl Tasks {
    pub(crate) fn new(crash: CancellationToken, fatal: FatalHook) -> Self {
        Self { tracker: TaskTracker::new(), crash, fatal }
    }

    /// Runs `future` until it ends or the broker crashes.
    pub(crate) fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = PanicGuard { name, fatal: self.fatal.clone() };
        let crash = self.crash.clone();
        self.tracker.spawn(async move {
            let _guard = guard;
            let _ = crash.run_until_cancelled_owned(future).await;
        });
    }

    /// Runs blocking work (disk) on the runtime's blocking threads.
    ///
    /// `None` = the work panicked (the fatal hook has been called) or the runtime stops.
    pub(crate) async fn blocking<F, T>(&self, name: &'static str, work: F) -> Option<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let guard = PanicGuard { name, fatal: self.fatal.clone() };
        let done = self.tracker.spawn_blocking(move || {
            let _guard = guard;
            work()
        });
        done.await.ok()
    }

    /// Drops every task at its next await.
    pub(crate) fn crash(&self) {
        self.crash.cancel();
    }

    /// Cancelled when the broker crashes.
    pub(crate) fn crash_token(&self) -> &CancellationToken {
        &self.crash
    }

    /// Waits until no task is left.
    pub(crate) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Lives in a task; dropped by unwinding, it knows that the task panicked.
struct PanicGuard {
    name: &'static str,
    fatal: FatalHook,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.fatal)(&format!("the task {} panicked", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn tasks() -> (Tasks, CancellationToken) {
        let crash = CancellationToken::new();
        let hook = crash.clone();
        (Tasks::new(crash.clone(), Arc::new(move |_: &str| hook.cancel())), crash)
    }

    #[tokio::test]
    async fn a_panic_in_one_task_drops_all_of_them() {
        let (tasks, crash) = tasks();
        tasks.spawn("waits", std::future::pending());
        tasks.spawn("panics", async { panic!("as the test wants") });
        tasks.finished().await;
        assert!(crash.is_cancelled());
    }

    #[tokio::test]
    async fn a_panic_in_blocking_work_drops_all_tasks() {
        let (tasks, crash) = tasks();
        tasks.spawn("waits", std::future::pending());
        let outcome: Option<()> = tasks.blocking("panics", || panic!("as the test wants")).await;
        assert!(outcome.is_none());
        tasks.finished().await;
        assert!(crash.is_cancelled());
    }
}
