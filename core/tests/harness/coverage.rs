//! What has happened at least once: a simulation that never reaches a case does not test it.

use std::collections::BTreeMap;

/// Cases and how often they were met.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage(pub BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn hit(&mut self, case: &'static str) {
        *self.0.entry(case).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (case, count) in &other.0 {
            *self.0.entry(case).or_default() += count;
        }
    }

    pub fn count(&self, case: &str) -> u64 {
        self.0.get(case).copied().unwrap_or(0)
    }
}
