//! `yak produce`: publishes lines, or the rows of a CSV file.

mod csv_rows;
mod deliveries;
mod input;
mod options;

pub(crate) use options::compression;

use crate::connect;
use crate::context::Context;
use crate::exit::Failure;
use clap::{Args, ValueEnum};
use deliveries::Deliveries;
use input::{Message, Source};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use yak_producer::{Event, ProduceError, Producer, ProducerRecord};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::PartitionIndex;

/// Publish lines of stdin or a file, or the rows of a CSV file.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  echo hello | yak produce greetings
  yak produce orders -K : -H source=shop -l orders.txt -z lz4
  yak produce customers --csv customers.csv --key-field id

Exit code 6 means that some records may or may not have been written; they are named on stderr.")]
pub struct ProduceArgs {
    /// The topic; made if it does not exist (unless the brokers were told not to)
    pub topic: String,
    /// Read messages from FILE instead of stdin
    #[arg(short = 'l', long, value_name = "FILE", conflicts_with = "csv")]
    pub lines: Option<PathBuf>,
    /// One message for each row of FILE, as a JSON object of its columns
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// The column whose value becomes the key
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub key_field: Option<String>,
    /// The column whose value becomes the message's id: a message that is published again under the same id is
    /// stored once (within the topic's dedupe_window_ms)
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub msg_id_field: Option<String>,
    /// Messages get the ids PREFIX-1, PREFIX-2 and so on, by their numbers in the input: the same input can be
    /// published again without storing anything twice
    #[arg(long, value_name = "PREFIX", conflicts_with = "msg_id_field")]
    pub msg_id: Option<String>,
    /// The key of every message
    #[arg(short, long, conflicts_with_all = ["key_delimiter", "key_field"])]
    pub key: Option<String>,
    /// Everything before DELIM is the message's key
    #[arg(short = 'K', long, value_name = "DELIM", conflicts_with = "csv")]
    pub key_delimiter: Option<String>,
    /// What ends a message; \\n, \\t, \\xNN are understood
    #[arg(short = 'D', long, value_name = "DELIM", default_value = "\\n", conflicts_with = "csv")]
    pub delimiter: String,
    /// This producer's name: another one that starts with it fences this one, whose messages are refused from then on
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A header, name=value or name:value; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = options::header)]
    pub headers: Vec<(String, String)>,
    /// The partition [default: by the key, or any without one]
    #[arg(short, long, value_name = "N")]
    pub partition: Option<u32>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = options::compression)]
    pub compression: yak_protocol::batch::Compression,
    /// How much must have happened before a message counts as delivered
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    pub acks: AcksArg,
    /// Send empty messages and keys as NULL
    #[arg(short = 'Z', long)]
    pub null: bool,
    /// Also write every message to stdout
    #[arg(short = 'T', long)]
    pub tee: bool,
    /// A setting of the producer: linger_ms, batch_bytes, buffer_bytes, in_flight_max,
    /// publish_timeout_ms, delivery_timeout_ms or idempotent
    #[arg(short = 'X', long = "setting", value_name = "NAME=VALUE", value_parser = options::setting)]
    pub settings: Vec<options::Setting>,
    /// No progress bar
    #[arg(long)]
    pub no_progress: bool,
}

/// How much must have happened before a message counts as delivered.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum AcksArg {
    /// Every in-sync replica has it, on disk by default
    All,
    /// The leader has it
    #[value(name = "1")]
    Leader,
    /// It was sent
    #[value(name = "0")]
    None,
}

impl From<AcksArg> for yak_protocol::message::Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::All => Self::All,
            AcksArg::Leader => Self::Leader,
            AcksArg::None => Self::None,
        }
    }
}

/// Publishes until the input ends.
///
/// # Errors
/// When the input cannot be read, the cluster cannot be reached, or a message was not acknowledged.
pub async fn run(args: ProduceArgs, context: Context) -> anyhow::Result<()> {
    let source = Source::open(&args, &context)?;
    let (cluster, _) = connect::reach(&context, connect::PATIENTLY).await?;
    let hook = Arc::new(|event: Event| match event {
        Event::Waiting { .. } => tracing::warn!("{event}"),
        Event::Resumed { .. } | Event::TopicMade { .. } => tracing::info!("{event}"),
    });
    let producer = Producer::new(cluster, options::producer_config(&args)?, hook);
    let mut deliveries = Deliveries::start(&args, &context, source.bytes());
    // Taking a message may wait for room, so Ctrl-C must reach past it.
    let outcome = tokio::select! {
        outcome = publish_all(&args, &context, &producer, source, &mut deliveries) => outcome,
        () = deliveries::a_moment_after(&context.shutdown) => Ok(()),
    };
    // What was sent before a failure or Ctrl-C has a moment for its outcome; a second Ctrl-C ends at once.
    let finished = deliveries.finish(producer, &context.shutdown).await;
    outcome?;
    finished?;
    if context.interrupted() {
        return Err(Failure::interrupted().into());
    }
    Ok(())
}

async fn publish_all(
    args: &ProduceArgs,
    context: &Context,
    producer: &Producer,
    mut source: Source,
    deliveries: &mut Deliveries,
) -> anyhow::Result<()> {
    let headers: Vec<(&str, &[u8])> =
        args.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    loop {
        let messages = tokio::select! {
            biased;
            () = context.shutdown.cancelled() => return Ok(()),
            messages = source.next() => messages,
        };
        let Some(messages) = messages else { return Ok(()) };
        let messages = messages?;
        if args.tee {
            input::tee(&messages, &args.delimiter)?;
        }
        for message in &messages {
            let numbered =
                args.msg_id.as_ref().map(|prefix| format!("{prefix}-{}", message.number).into_bytes());
            let msg_id = numbered.as_deref().or(message.msg_id.as_deref());
            let record = ProducerRecord { msg_id, ..record(args, message, &headers) };
            match producer.send(&args.topic, &record).await {
                Ok(delivery) => deliveries.sent(message, delivery).await,
                Err(error) if concerns_one_message(&error) => deliveries.refused(message, &error),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn record<'a>(
    args: &'a ProduceArgs,
    message: &'a Message,
    headers: &'a [(&'a str, &'a [u8])],
) -> ProducerRecord<'a> {
    let key = message.key.as_deref().or(args.key.as_deref().map(str::as_bytes));
    let empty_is_null = |bytes: &&[u8]| !(args.null && bytes.is_empty());
    ProducerRecord {
        partition: args.partition.map(PartitionIndex),
        key: key.filter(empty_is_null),
        value: Some(message.value.as_slice()).filter(empty_is_null),
        headers,
        timestamp_ms: None,
        msg_id: None,
    }
}

/// Whether the next message may fare better.
fn concerns_one_message(error: &ProduceError) -> bool {
    matches!(error.code(), Some(ErrorCode::BatchTooLarge | ErrorCode::BadBatch))
}

/// Whether a bar is drawn: for files, on a terminal, unless it was declined.
fn wants_bar(args: &ProduceArgs, context: &Context) -> bool {
    let file = args.lines.is_some() || args.csv.is_some();
    file && !args.no_progress && !context.global.quiet && std::io::stderr().is_terminal()
}
