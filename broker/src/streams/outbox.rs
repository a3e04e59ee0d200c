//! What is to be said in the next frame of a stream; filled by partitions, emptied by the stream's task.

use std::sync::Mutex;
use tokio::sync::Notify;

/// Collects until taken. Filling it wakes the one task that takes.
#[derive(Default)]
pub(super) struct Outbox<T> {
    items: Mutex<T>,
    wake: Notify,
}

impl<T: Default> Outbox<T> {
    /// Adds to what is to be said.
    pub(super) fn add<R>(&self, add: impl FnOnce(&mut T) -> R) -> R {
        let result = add(&mut self.items.lock().expect("nobody panics while holding an outbox"));
        self.wake.notify_one();
        result
    }

    /// Asks about what there is so far.
    pub(super) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.items.lock().expect("nobody panics while holding an outbox"))
    }

    /// Everything so far.
    pub(super) fn take(&self) -> T {
        std::mem::take(&mut *self.items.lock().expect("nobody panics while holding an outbox"))
    }

    /// Returns when something was added since the last return.
    pub(super) async fn filled(&self) {
        self.wake.notified().await;
    }
}
