//! What operators' commands share: asking for something once, and waiting until it has come about.

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{connect, table};
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, PartitionIndex};
use yak_protocol::message::{ListMoves, Message, MetadataReply, MoveState, MovesReply, PartitionName};
use yak_protocol::names::nearest;
use yak_protocol::net::{Cluster, RequestError};

/// How long one process may take to answer.
const ASK_MAX: Duration = Duration::from_secs(10);
/// How often is asked how far something is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// For how long may nobody answer while something is waited for.
const UNANSWERED_MAX: Duration = Duration::from_secs(60);

/// Why what was asked for was not done.
pub enum Missed {
    /// It was refused.
    Refused(WireError),
    /// Nobody answered; the last reason.
    Unanswered(String),
}

impl From<RequestError> for Missed {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refused) => Self::Refused(refused),
            other => Self::Unanswered(other.to_string()),
        }
    }
}

/// A cluster that an operator's command talks to.
pub struct Operator {
    /// The way there.
    pub cluster: Cluster,
    /// What it said of itself.
    pub metadata: Arc<MetadataReply>,
    context: Context,
}

impl Operator {
    /// Reaches the cluster.
    ///
    /// # Errors
    /// As [`connect::reach`].
    pub async fn reach(context: Context) -> anyhow::Result<Self> {
        let (cluster, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
        Ok(Self { cluster, metadata, context })
    }

    /// [`Self::ask_anybody`], with the exit codes of what operators do.
    ///
    /// # Errors
    /// The refusal, or that nobody answers.
    pub async fn ask<M: Message>(&self, message: &M) -> Result<M::Reply, Failure> {
        self.ask_anybody(message).await.map_err(|missed| match missed {
            Missed::Refused(error) => refused(&error),
            Missed::Unanswered(why) => {
                Failure::new(exit::UNREACHABLE, format!("nobody carries it out: {why}"))
            }
        })
    }

    /// Asks one process after the other until one answers. A refusal is an answer; so each request must be one
    /// that may be repeated.
    ///
    /// # Errors
    /// The refusal, or why the last one did not answer.
    pub async fn ask_anybody<M: Message>(&self, message: &M) -> Result<M::Reply, Missed> {
        let named = self.metadata.brokers.iter().map(|broker| broker.address.as_str());
        let bootstrap = self.cluster.bootstrap().iter().map(String::as_str);
        let mut addresses: VecDeque<String> =
            bootstrap.chain(named).chain(self.metadata.coordinators()).map(str::to_owned).collect();
        let mut asked = BTreeSet::new();
        let mut last = "nobody was asked".to_owned();
        while let Some(address) = addresses.pop_front() {
            if !asked.insert(address.clone()) {
                continue;
            }
            match self.ask_at(&address, message).await {
                Err(Missed::Refused(error)) if elsewhere(&error) => {
                    last = error.to_string();
                    error.coordinator.into_iter().for_each(|active| addresses.push_front(active));
                }
                Err(Missed::Unanswered(why)) => last = why,
                done => return done,
            }
        }
        Err(Missed::Unanswered(last))
    }

    async fn ask_at<M: Message>(&self, address: &str, message: &M) -> Result<M::Reply, Missed> {
        let connection = self.cluster.connection_to(address).await;
        let connection = connection.map_err(|error| Missed::Unanswered(error.to_string()))?;
        Ok(connection.start(message, Vec::new())?.within(ASK_MAX).await?.body)
    }

    /// As [`broker`].
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn broker(&self, name: &str) -> Result<BrokerId, Failure> {
        broker(name, &self.metadata)
    }

    /// Says on stderr how far it is.
    pub fn progress(&self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Asks somebody at a terminal for a line; `None` if nobody sits there.
    ///
    /// # Errors
    /// Ctrl-C, or when the terminal cannot be read.
    pub async fn typed(&self, question: &str) -> Result<Option<String>, Failure> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let _ = write!(std::io::stderr(), "{question}");
        let (answered, answer) = tokio::sync::oneshot::channel();
        // Not a task of the runtime: that would wait for the line when it ends.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = answered.send(std::io::stdin().read_line(&mut line).map(|_| line));
        });
        let line = tokio::select! {
            line = answer => line,
            () = self.context.shutdown.cancelled() => return Err(Failure::interrupted()),
        };
        match line {
            Ok(Ok(line)) => Ok(Some(line.trim().to_owned())),
            Ok(Err(error)) => Err(Failure::new(exit::FAILURE, format!("the answer cannot be read: {error}"))),
            Err(_) => Ok(None),
        }
    }

    /// Asks again and again until `ask` says that nothing is waited for; says what is, whenever that changes.
    /// `ask` only looks: what others decide meanwhile is not to be undone.
    ///
    /// # Errors
    /// What `ask` says, or Ctrl-C.
    pub async fn wait(
        &self,
        mut ask: impl AsyncFnMut() -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        let mut said = String::new();
        let mut unanswered: Option<Instant> = None;
        loop {
            let waits = match ask().await {
                Ok(None) => return Ok(()),
                Ok(Some(waits)) => {
                    unanswered = None;
                    waits
                }
                // Another coordinator takes over, and what was asked for goes on.
                Err(failure) if failure.code == exit::UNREACHABLE => {
                    if unanswered.get_or_insert_with(Instant::now).elapsed() > UNANSWERED_MAX {
                        return Err(failure);
                    }
                    failure.message
                }
                Err(failure) => return Err(failure),
            };
            if waits != said {
                self.progress(&waits);
                said = waits;
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = self.context.shutdown.cancelled() => return Err(Failure::interrupted()),
            }
        }
    }

    /// Waits until the moves of these partitions are through; how they stand then.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn wait_for_moves(&self, moves: &[MoveState]) -> Result<MovesReply, Failure> {
        let partitions: Vec<PartitionName> = moves
            .iter()
            .map(|moved| PartitionName { topic: moved.topic.clone(), partition: moved.partition })
            .collect();
        let ask = ListMoves { partitions };
        self.wait(async || {
            let waits: Vec<String> = self.ask(&ask).await?.moves.iter().filter_map(waiting).collect();
            Ok((!waits.is_empty()).then(|| waits.join("\n")))
        })
        .await?;
        self.ask(&ask).await
    }

    /// Prints how moves stand, as a table or as JSON.
    ///
    /// # Errors
    /// When stdout takes nothing.
    pub fn print_moves(&self, moves: &[MoveState], json: &impl Serialize) -> anyhow::Result<()> {
        let cells: Vec<Vec<String>> = moves
            .iter()
            .map(|moved| {
                vec![
                    format!("{}/{}", moved.topic, moved.partition),
                    list(&moved.from),
                    list(&moved.to),
                    list(&moved.isr),
                    moved.waits.clone().unwrap_or_else(|| "through".to_owned()),
                ]
            })
            .collect();
        Ok(table::print(&self.context, &["PARTITION", "FROM", "TO", "ISR", "STATUS"], &cells, json)?)
    }

    /// Prints one line, or JSON.
    ///
    /// # Errors
    /// When stdout takes nothing.
    pub fn print(&self, line: &str, json: &impl Serialize) -> anyhow::Result<()> {
        if self.context.json() {
            return Ok(table::print_json(json)?);
        }
        Ok(table::print_line(line)?)
    }

    /// Prints a table, or JSON.
    ///
    /// # Errors
    /// When stdout takes nothing.
    pub fn table(
        &self,
        headings: &[&str],
        rows: &[Vec<String>],
        json: &impl Serialize,
    ) -> anyhow::Result<()> {
        Ok(table::print(&self.context, headings, rows, json)?)
    }
}

/// The number of a broker that is named by number or name.
///
/// # Errors
/// When there is none of that name.
pub fn broker(name: &str, metadata: &MetadataReply) -> Result<BrokerId, Failure> {
    if let Ok(id) = name.parse() {
        return Ok(BrokerId(id));
    }
    let named = metadata.brokers.iter().find(|broker| broker.name == name);
    named.map(|broker| broker.id).ok_or_else(|| {
        let near = nearest(name, metadata.brokers.iter().map(|broker| broker.name.as_str()));
        let hint = near.map_or_else(
            || "; `yak broker list` shows those that exist".to_owned(),
            |near| format!("; did you mean {near}?"),
        );
        Failure::new(exit::NOT_FOUND, format!("there is no broker {name}{hint}"))
    })
}

/// How fast what moves is copied.
#[derive(Args, Debug)]
pub struct Rate {
    /// How many bytes a second each leader sends to brokers that catch up [default: as many as it can]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
}

/// What a move waits for, with the partition's name.
pub fn waiting(moved: &MoveState) -> Option<String> {
    moved.waits.as_ref().map(|waits| format!("{}/{} {waits}", moved.topic, moved.partition))
}

/// Numbers in a row: `1,2`.
pub fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The partition that `orders/2` names.
///
/// # Errors
/// When it names none.
pub fn partition(text: &str) -> Result<PartitionName, Failure> {
    let parsed = text.split_once('/').and_then(|(topic, partition)| Some((topic, partition.parse().ok()?)));
    let (topic, partition) = parsed.ok_or_else(|| {
        Failure::new(exit::USAGE, format!("{text} names no partition; name one as in orders/2"))
    })?;
    Ok(PartitionName { topic: topic.to_owned(), partition: PartitionIndex(partition) })
}

/// Whether another process may be able to answer.
fn elsewhere(error: &WireError) -> bool {
    matches!(
        error.code,
        ErrorCode::NotActive
            | ErrorCode::NotReady
            | ErrorCode::CoordinatorUnavailable
            | ErrorCode::ShuttingDown
            | ErrorCode::OutcomeUnknown
    )
}

fn refused(error: &WireError) -> Failure {
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    let code = match error.code {
        ErrorCode::UnknownTopic | ErrorCode::UnknownPartition => exit::NOT_FOUND,
        ErrorCode::BadRequest => exit::USAGE,
        _ => exit::FAILURE,
    };
    Failure::new(code, format!("{}{hint}", error.message))
}
