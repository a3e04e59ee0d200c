//! What became of each message: counted, printed, and told at the end.

use super::input::Message;
use super::{ProduceArgs, wants_bar};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::text;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_producer::{Delivered, Delivery, ProduceError, Producer};

/// How many messages wait for their outcome, at most.
const WAITING_MAX: usize = 1 << 16;
/// How many failures are told one by one.
const TOLD_MAX: u64 = 10;

/// Waits for outcomes in the order of the messages.
pub(super) struct Deliveries {
    sender: Option<mpsc::Sender<Waiting>>,
    counting: Option<JoinHandle<anyhow::Result<Tally>>>,
    refused: Tally,
    noun: &'static str,
    started: Instant,
}

struct Waiting {
    number: u64,
    read: u64,
    delivery: Delivery,
}

/// How acknowledgements are shown.
enum Show {
    Nothing,
    Lines,
    Json,
}

#[derive(Default)]
struct Tally {
    acknowledged: u64,
    failed: u64,
    unknown: u64,
    first: Option<(u64, ProduceError)>,
}

impl Tally {
    fn failure(&mut self, noun: &str, number: u64, error: &ProduceError) {
        if error.is_outcome_unknown() {
            self.unknown += 1;
        } else {
            self.failed += 1;
        }
        if self.failed + self.unknown <= TOLD_MAX {
            tracing::error!("{noun} {number}: {error}");
        }
        // An unknown outcome is what the exit code will say, so it is the one to name.
        if self
            .first
            .as_ref()
            .is_none_or(|(_, first)| error.is_outcome_unknown() && !first.is_outcome_unknown())
        {
            self.first = Some((number, error.clone()));
        }
    }
}

impl Deliveries {
    pub(super) fn start(args: &ProduceArgs, context: &Context, bytes: Option<u64>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let noun = if args.csv.is_some() { "row" } else { "line" };
        let bar = wants_bar(args, context).then(|| bar(bytes));
        let show = if context.json() {
            Show::Json
        } else if io::stdout().is_terminal() && bar.is_none() && !context.global.quiet && !args.tee {
            Show::Lines
        } else {
            Show::Nothing
        };
        let counting = tokio::spawn(count(waiting, args.topic.clone(), noun, show, bar));
        let (sender, counting) = (Some(sender), Some(counting));
        Self { sender, counting, refused: Tally::default(), noun, started: Instant::now() }
    }

    /// A message is on its way.
    pub(super) async fn sent(&mut self, message: &Message, delivery: Delivery) {
        if let Some(sender) = &self.sender {
            // The receiver is gone only when stdout broke, which the end will tell.
            let _ = sender.send(Waiting { number: message.number, read: message.read, delivery }).await;
        }
    }

    /// A message was not even taken.
    pub(super) fn refused(&mut self, message: &Message, error: &ProduceError) {
        self.refused.failure(self.noun, message.number, error);
    }

    /// Waits for all outcomes, only for a moment more once `shutdown` asks to stop, and sums them up.
    pub(super) async fn finish(
        mut self,
        producer: Producer,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        self.sender = None;
        tokio::select! {
            () = producer.flush() => {}
            () = a_moment_after(shutdown) => {}
        }
        // What is still on its way is abandoned here, and counted as unknown.
        drop(producer);
        let Some(counting) = self.counting.take() else { return Ok(()) };
        let mut tally = counting.await??;
        tally.failed += self.refused.failed;
        let first = tally.first.or(self.refused.first);
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
        let rate = (tally.acknowledged as f64 / seconds) as u64;
        tracing::info!(
            "published {} in {seconds:.1} s ({}/s)",
            text::count(tally.acknowledged, "message"),
            text::thousands(rate)
        );
        let Some((number, error)) = first else { return Ok(()) };
        let all = tally.acknowledged + tally.failed + tally.unknown;
        let noun = self.noun;
        if tally.unknown > 0 {
            let count = text::count(tally.unknown, "message");
            let message =
                format!("{count} of {all} have an unknown outcome; the first is {noun} {number}: {error}");
            return Err(Failure::new(exit::OUTCOME_UNKNOWN, message).into());
        }
        let count = text::count(tally.failed, "message");
        Err(anyhow::Error::from(error)
            .context(format!("{count} of {all} failed; the first is {noun} {number}")))
    }
}

/// How long Ctrl-C waits for records that are on their way.
const INTERRUPTED_GRACE: Duration = Duration::from_secs(1);

/// Returns a moment after `shutdown` has asked to stop.
pub(super) async fn a_moment_after(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(INTERRUPTED_GRACE).await;
}

async fn count(
    mut waiting: mpsc::Receiver<Waiting>,
    topic: String,
    noun: &'static str,
    show: Show,
    bar: Option<ProgressBar>,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while let Some(Waiting { number, read, delivery }) = waiting.recv().await {
        match delivery.wait().await {
            Ok(delivered) => {
                tally.acknowledged += 1;
                print(&show, &topic, number, &delivered)?;
            }
            Err(error) => tally.failure(noun, number, &error),
        }
        if let Some(bar) = &bar {
            bar.set_position(read);
            if tally.acknowledged.is_multiple_of(1024) {
                bar.set_message(text::thousands(tally.acknowledged));
            }
        }
    }
    if let Some(bar) = bar {
        bar.set_message(text::thousands(tally.acknowledged));
        bar.finish();
    }
    Ok(tally)
}

fn print(show: &Show, topic: &str, number: u64, delivered: &Delivered) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match show {
        Show::Nothing => return Ok(()),
        Show::Lines => match delivered.offset {
            Some(offset) => writeln!(out, "partition {} offset {offset}", delivered.partition)?,
            None => writeln!(out, "partition {}", delivered.partition)?,
        },
        Show::Json => {
            let line = serde_json::json!({
                "topic": topic,
                "number": number,
                "partition": delivered.partition,
                "offset": delivered.offset,
                "replicas": delivered.replicas,
                "durable": delivered.durable,
            });
            writeln!(out, "{line}")?;
        }
    }
    out.flush()
}

/// A bar over the bytes of the input.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {percent}% {msg} messages, {binary_bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} messages, {elapsed}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
