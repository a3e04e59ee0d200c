//! The variables of a process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// The variables of a process. One that is set to nothing counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// Those that are set to something that is no text.
    no_text: BTreeSet<String>,
}

impl Environment {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_os(std::env::vars_os())
    }

    pub(super) fn from_os(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut all = Self::default();
        for (name, value) in variables {
            // All of ours have names that are text.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(all.values.insert(name, value)),
                Err(_) => drop(all.no_text.insert(name)),
            }
        }
        all
    }

    /// Whether a variable is set to something that is not UTF-8: nobody can say what was meant.
    #[must_use]
    pub fn is_no_text(&self, name: &str) -> bool {
        self.no_text.contains(name)
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names of all variables that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { values: variables.into_iter().collect(), no_text: BTreeSet::new() }
    }
}
