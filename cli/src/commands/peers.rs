//! `yak coordinator peers`: which coordinators make the quorum.

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{table, text};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use yak_protocol::defaults::{QUORUM_CATCH_UP, QUORUM_CHANGE};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{ChangePeers, ChangePeersReply, Message, Metadata};
use yak_protocol::net::{ClientOptions, Cluster, Connection, RequestError};

/// How long a coordinator may take to answer: it waits for a new one to catch up, and for a majority at each step.
const CHANGE_MAX: Duration = QUORUM_CATCH_UP.saturating_add(QUORUM_CHANGE.saturating_mul(5));
/// How long somebody who is active is looked for: an election may be under way.
const FIND_MAX: Duration = Duration::from_secs(5);
/// The pause after all have been asked in vain.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Show or change which coordinators make the quorum.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak coordinator peers list -b 10.0.0.1:9700
  yak coordinator peers add 10.0.0.4:9700 --dry-run
  yak coordinator peers replace 10.0.0.3:9700 10.0.0.4:9700
  yak coordinator peers remove coordinator-10.0.0.3:9700

-b takes any coordinator or broker. To add one that is in the quorum is no error, nor is a replacement that is
made already.")]
pub struct PeersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PeersCommand,
}

/// What to do with the quorum.
#[derive(Subcommand, Debug)]
pub enum PeersCommand {
    /// Show who is in it
    #[command(after_long_help = "\
Examples:
  yak coordinator peers list
  yak coordinator peers list -b 10.0.0.1:9700
  yak coordinator peers list --output json | jq -r '.voters[].address'")]
    List,
    /// Let another one in, which runs already, on an empty data dir
    #[command(after_long_help = "\
Examples:
  yak coordinator peers add 10.0.0.4:9700
  yak coordinator peers add 10.0.0.4:9700 --dry-run
  yak coordinator peers add 10.0.0.4:9700 -b 10.0.0.1:9700 --output json")]
    Add {
        /// Where it is reached
        #[arg(value_name = "HOST:PORT", value_parser = crate::address::reachable)]
        address: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Let one go
    #[command(after_long_help = "\
Examples:
  yak coordinator peers remove 10.0.0.3:9700
  yak coordinator peers remove coordinator-10.0.0.3:9700 --dry-run
  yak coordinator peers remove 10.0.0.3:9700 --force   # although too few of the others are heard")]
    Remove {
        /// Its address, name or number
        peer: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Put another one in the place of one, in one step
    #[command(after_long_help = "\
Examples:
  yak coordinator peers replace 10.0.0.3:9700 10.0.0.4:9700
  yak coordinator peers replace 10.0.0.3:9700 10.0.0.4:9700 --dry-run
  yak coordinator peers replace 10.0.0.3:9700 10.0.0.3:9700   # its data dir was emptied")]
    Replace {
        /// The address, name or number of the one to go
        old: String,
        /// Where the new one is reached
        #[arg(value_name = "HOST:PORT", value_parser = crate::address::reachable)]
        new: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// How a change is made.
#[derive(Args, Debug)]
pub struct How {
    /// Change nothing, and say what would be
    #[arg(long)]
    dry_run: bool,
    /// Do it even if too few of those that remain are heard now: the quorum may be lost
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Shown {
    changed: bool,
    dry_run: bool,
    voters: Vec<Voter>,
}

#[derive(Serialize)]
struct Voter {
    id: u64,
    name: String,
    address: String,
    state: &'static str,
}

/// Runs one of them.
///
/// # Errors
/// When nobody who could do it is reached, or it is refused.
pub async fn run(args: PeersArgs, context: Context) -> anyhow::Result<()> {
    let (request, done) = match args.command {
        PeersCommand::List => (ChangePeers::default(), String::new()),
        PeersCommand::Add { address, how } => {
            let done = format!("{address} is in the quorum");
            (ChangePeers { add: Some(address), ..how.request() }, done)
        }
        PeersCommand::Remove { peer, how } => {
            let done = format!("{peer} is not in the quorum");
            (ChangePeers { remove: Some(peer), ..how.request() }, done)
        }
        PeersCommand::Replace { old, new, how } => {
            let done = format!("{new} is in the quorum and {old} is not");
            (ChangePeers { add: Some(new), remove: Some(old), ..how.request() }, done)
        }
    };
    let reply = tokio::select! {
        reply = ask(&request, &context) => reply?,
        () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
    };
    let voters: Vec<Voter> = voters(&reply);
    if context.json() {
        return Ok(table::print_json(&Shown { changed: reply.changed, dry_run: request.dry_run, voters })?);
    }
    if !done.is_empty() {
        table::print_line(&match (reply.changed, request.dry_run) {
            (true, false) => done,
            (false, false) => format!("{done} already: nothing was changed"),
            (true, true) => format!("would be done, and then {done}; nothing was changed"),
            (false, true) => format!("{done} already: nothing would be changed"),
        })?;
    }
    let row = |voter: &Voter| {
        vec![voter.id.to_string(), voter.name.clone(), voter.address.clone(), voter.state.to_owned()]
    };
    let rows: Vec<_> = voters.iter().map(row).collect();
    table::print(&context, &["ID", "NAME", "ADDRESS", "STATE"], &rows, &())?;
    tracing::info!("{}", survives(voters.len()));
    Ok(())
}

impl How {
    fn request(&self) -> ChangePeers {
        ChangePeers { force: self.force, dry_run: self.dry_run, ..ChangePeers::default() }
    }
}

fn voters(reply: &ChangePeersReply) -> Vec<Voter> {
    let state = |id| match id {
        id if id == reply.active => "active",
        id if reply.silent.contains(&id) => "silent",
        _ => "follows",
    };
    let voter = |known: &yak_protocol::message::CoordinatorInfo| Voter {
        id: known.id.0,
        name: known.name.clone(),
        address: known.address.clone(),
        state: state(known.id),
    };
    let mut voters: Vec<_> = reply.voters.iter().map(voter).collect();
    voters.sort_by(|one, other| one.address.cmp(&other.address));
    voters
}

/// What a quorum of so many bears.
fn survives(voters: usize) -> String {
    let lost = voters.saturating_sub(1) / 2;
    let lost = if lost == 0 { "none".to_owned() } else { lost.to_string() };
    let even = if voters.is_multiple_of(2) { ", as with one less" } else { "" };
    format!("{}, of which {lost} may be lost{even}", text::count(voters as u64, "coordinator"))
}

/// Asks the active coordinator, wherever it is. Every change may be asked for twice.
async fn ask(request: &ChangePeers, context: &Context) -> Result<ChangePeersReply, Failure> {
    let cluster = Cluster::new(context.global.brokers.clone(), ClientOptions::default());
    let started = Instant::now();
    loop {
        let mut to_ask: VecDeque<String> = cluster.bootstrap().iter().cloned().collect();
        let mut asked: Vec<String> = Vec::new();
        let mut last = None;
        while let Some(address) = to_ask.pop_front() {
            if asked.contains(&address) {
                continue;
            }
            asked.push(address.clone());
            let answer = match cluster.connection_to(&address).await {
                Ok(connection) => ask_one(&connection, request).await,
                Err(error) => Err(NotHere::Elsewhere(Elsewhere::because(error))),
            };
            match answer {
                Ok(outcome) => return outcome.map_err(|error| refused(&error)),
                Err(NotHere::Unanswered(why)) => return Err(unknown(&address, &why)),
                Err(NotHere::Elsewhere(elsewhere)) => {
                    // Where it is said to be comes first. A broker that does not know names all of them.
                    let said = elsewhere.at.as_deref().unwrap_or_default();
                    for address in said.split(',').filter(|address| !address.is_empty()) {
                        to_ask.push_front(address.to_owned());
                    }
                    last = Some(elsewhere);
                }
            }
        }
        if started.elapsed() > FIND_MAX {
            let (why, hint) = last.map(|last| (last.why, last.hint)).unwrap_or_default();
            let next = hint.unwrap_or_else(|| "name a coordinator or broker that runs with -b".to_owned());
            let what =
                format!("no active coordinator is found by way of {}: {why}; {next}", asked.join(", "));
            return Err(Failure::new(exit::UNREACHABLE, what));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// This one is not who to ask.
struct Elsewhere {
    why: String,
    hint: Option<String>,
    /// Who is, or may be, as far as it knows: addresses with commas.
    at: Option<String>,
}

impl Elsewhere {
    fn because(why: impl ToString) -> Self {
        Self { why: why.to_string(), hint: None, at: None }
    }
}

/// Why there is no answer from this one.
enum NotHere {
    /// Nothing was changed by it.
    Elsewhere(Elsewhere),
    /// A change was sent, and whether it is made is not known.
    Unanswered(String),
}

async fn ask_one(
    connection: &Connection,
    request: &ChangePeers,
) -> Result<Result<ChangePeersReply, WireError>, NotHere> {
    let changes = !request.dry_run && (request.add.is_some() || request.remove.is_some());
    let answer = within(CHANGE_MAX, connection, request).await.map_err(|unanswered| match unanswered {
        Unanswered { sent: true, why } if changes => NotHere::Unanswered(why),
        Unanswered { why, .. } => NotHere::Elsewhere(Elsewhere::because(why)),
    })?;
    match answer {
        Ok(reply) => Ok(Ok(reply)),
        Err(error) if error.code == ErrorCode::NotActive => {
            let at = error.coordinator;
            Err(NotHere::Elsewhere(Elsewhere { why: error.message, hint: error.hint, at }))
        }
        Err(error) if error.code == ErrorCode::WrongProcess => {
            Err(NotHere::Elsewhere(ask_broker(connection).await))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Whom a broker names.
async fn ask_broker(connection: &Connection) -> Elsewhere {
    let metadata = Metadata { topics: Some(Vec::new()) };
    match within(FIND_MAX, connection, &metadata).await {
        Ok(Ok(reply)) => {
            let why = reply.coordinator_lost.unwrap_or_else(|| "brokers know of none".to_owned());
            let at = Some(reply.coordinator).filter(|address| !address.is_empty());
            Elsewhere { why, hint: None, at }
        }
        Ok(Err(error)) => Elsewhere { why: error.message, hint: error.hint, at: None },
        Err(unanswered) => Elsewhere::because(unanswered.why),
    }
}

/// It did not answer in time.
struct Unanswered {
    sent: bool,
    why: String,
}

async fn within<M: Message>(
    limit: Duration,
    connection: &Connection,
    message: &M,
) -> Result<Result<M::Reply, WireError>, Unanswered> {
    let pending = connection
        .start(message, Vec::new())
        .map_err(|error| Unanswered { sent: false, why: error.to_string() })?;
    match pending.within(limit).await {
        Ok(answer) => Ok(Ok(answer.body)),
        Err(RequestError::Refused(error)) => Ok(Err(error)),
        Err(error) => Err(Unanswered { sent: true, why: error.to_string() }),
    }
}

fn unknown(address: &str, why: &str) -> Failure {
    let what = format!(
        "the change was sent to {address} and not answered: {why}; it may be made or not, look with `yak \
         coordinator peers list`, and ask again"
    );
    Failure::new(exit::OUTCOME_UNKNOWN, what)
}

fn refused(error: &WireError) -> Failure {
    let code = match error.code {
        ErrorCode::Timeout | ErrorCode::NotReady => exit::UNREACHABLE,
        ErrorCode::OutcomeUnknown => exit::OUTCOME_UNKNOWN,
        ErrorCode::BadRequest => exit::USAGE,
        _ => exit::FAILURE,
    };
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::new(code, format!("{}{hint}", error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_quorum_bears_is_said() {
        assert_eq!(survives(1), "1 coordinator, of which none may be lost");
        assert_eq!(survives(3), "3 coordinators, of which 1 may be lost");
        assert_eq!(survives(4), "4 coordinators, of which 1 may be lost, as with one less");
        assert_eq!(survives(5), "5 coordinators, of which 2 may be lost");
    }
}
