//! Taking from a queue only what fits. (`VecDeque` can do it by itself from Rust 1.93 on.)

use std::collections::VecDeque;

/// Takes the first element if it fits.
pub(super) fn pop_front_if<T>(queue: &mut VecDeque<T>, fits: impl FnOnce(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(fits) { queue.pop_front() } else { None }
}

/// Takes the last element if it fits.
pub(super) fn pop_back_if<T>(queue: &mut VecDeque<T>, fits: impl FnOnce(&T) -> bool) -> Option<T> {
    if queue.back().is_some_and(fits) { queue.pop_back() } else { None }
}
