use crate::error::{ErrorCode, WireError};
use crate::names::nearest;

/// What a command may do, so that a listener can allow a part of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// Looks and changes nothing.
    Read,
    /// Changes records or topics.
    Write,
    /// Interferes with the process, other people's connections or the cluster.
    Admin,
}

/// A command that a process knows, as `HELP` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verb {
    /// Its name, in upper case. No name of an HTTP method is one.
    pub name: &'static str,
    /// What is typed: `PUB <topic> [key=..] -- text to the end of the line`.
    pub usage: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What it may do.
    pub access: Access,
}

impl Verb {
    /// A command of a table.
    #[must_use]
    pub const fn new(name: &'static str, usage: &'static str, about: &'static str, access: Access) -> Self {
        Self { name, usage, about, access }
    }
}

/// Nobody knows this verb: names the one that was meant.
#[must_use]
pub fn unknown_verb<'a>(verb: &str, known: impl IntoIterator<Item = &'a str>) -> WireError {
    let error = WireError::new(ErrorCode::UnknownKind, format!("there is no command {verb}"));
    match nearest(verb, known) {
        Some(meant) => error.hint(format!("did you mean {meant}? HELP lists all of them")),
        None => error.hint("HELP lists all of them"),
    }
}
