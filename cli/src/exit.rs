//! Exit codes, and which error gets which.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use yak_consumer::{ConsumeError, GroupError};
use yak_producer::ProduceError;
use yak_protocol::error::ErrorCode;
use yak_protocol::net::ClusterError;

/// Something failed.
pub const FAILURE: u8 = 1;
/// The arguments make no sense.
pub const USAGE: u8 = 2;
/// A check found something wrong.
pub const CHECK_FAILED: u8 = 3;
/// The topic, partition or offset does not exist.
pub const NOT_FOUND: u8 = 4;
/// Whether records were written is not known.
pub const OUTCOME_UNKNOWN: u8 = 6;
/// No broker or coordinator could be reached.
pub const UNREACHABLE: u8 = 7;
/// Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// The table of exit codes as `--help` shows it.
pub const CODES_HELP: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong arguments
  3    a check found something wrong
  4    no such topic, partition or offset
  5    not allowed
  6    outcome unknown: records may or may not have been written
  7    no broker or coordinator could be reached
  130  Ctrl-C

Data goes to stdout, notes to stderr. YAK_LOG=debug (or any tracing filter) says more.";

/// An error that chose its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What was tried and found, and what to do next; empty = say nothing more.
    pub message: String,
}

impl Failure {
    /// An error with this exit code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The end by Ctrl-C, about which nothing is left to say.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(INTERRUPTED, "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Says what went wrong on stderr and returns the exit code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output has seen enough (`yak consume T | head`).
        return ExitCode::SUCCESS;
    }
    let text = format!("{error:#}");
    if !text.is_empty() {
        let hint = hint_of(error).map(|hint| format!("; {hint}")).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "yak: {text}{hint}");
    }
    ExitCode::from(code_of(error))
}

/// What a server said to do next.
fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| match cause.downcast_ref::<ClusterError>() {
        Some(ClusterError::Refused(refusal)) => refusal.hint.as_deref(),
        _ => None,
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// The exit code of an error: the first cause that has one decides.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(FAILURE)
}

fn code_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.code);
    }
    if let Some(error) = cause.downcast_ref::<ProduceError>() {
        return Some(match error {
            ProduceError::OutcomeUnknown { .. } => OUTCOME_UNKNOWN,
            _ => error.code().map_or(FAILURE, of_wire_code),
        });
    }
    if let Some(error) = cause.downcast_ref::<GroupError>() {
        return Some(match error {
            GroupError::Refused { error, .. } => of_wire_code(error.code),
            GroupError::Consume(error) => of_consume_error(error),
            GroupError::Commit { .. } => FAILURE,
        });
    }
    if let Some(error) = cause.downcast_ref::<ConsumeError>() {
        return Some(of_consume_error(error));
    }
    cause.downcast_ref::<ClusterError>().map(|error| match error {
        ClusterError::Refused(error) => of_wire_code(error.code),
        ClusterError::Timeout { .. } | ClusterError::Unreachable(_) => UNREACHABLE,
        ClusterError::OutcomeUnknown { .. } => OUTCOME_UNKNOWN,
        ClusterError::Encode(_) => FAILURE,
    })
}

fn of_consume_error(error: &ConsumeError) -> u8 {
    match error {
        ConsumeError::UnknownTopic { .. }
        | ConsumeError::UnknownPartition { .. }
        | ConsumeError::OutOfRange { .. } => NOT_FOUND,
        ConsumeError::Unreachable(_) => UNREACHABLE,
        _ => FAILURE,
    }
}

fn of_wire_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::UnknownTopic
        | ErrorCode::UnknownPartition
        | ErrorCode::UnknownGroup
        | ErrorCode::OffsetOutOfRange => NOT_FOUND,
        ErrorCode::IllegalTopicName => USAGE,
        ErrorCode::OutcomeUnknown => OUTCOME_UNKNOWN,
        _ => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_code_of_a_failure_survives_added_context() {
        let outcome: Result<(), _> = Err(Failure::new(NOT_FOUND, "no topic a"));
        let error = outcome.context("describing").expect_err("it failed");
        assert_eq!(code_of(&error), NOT_FOUND);
        assert_eq!(code_of(&anyhow::anyhow!("other")), FAILURE);
    }

    #[test]
    fn libraries_errors_have_their_codes() {
        let unknown = ProduceError::OutcomeUnknown { place: "a/0".into(), why: "lost".into() };
        assert_eq!(code_of(&anyhow::Error::from(unknown).context("line 3")), OUTCOME_UNKNOWN);
        let missing = ConsumeError::UnknownTopic { topic: "a".into(), nearest: None };
        assert_eq!(code_of(&missing.into()), NOT_FOUND);
        let refused = yak_protocol::error::WireError::new(ErrorCode::UnknownTopic, "no");
        assert_eq!(code_of(&ClusterError::Refused(refused).into()), NOT_FOUND);
        let nobody = ClusterError::Unreachable("refused".to_owned());
        assert_eq!(code_of(&nobody.into()), UNREACHABLE);
    }
}
