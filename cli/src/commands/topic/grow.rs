use super::config::changed;
use super::find;
use crate::context::Context;
use crate::operate::Operator;
use clap::Args;
use yak_protocol::message::AlterTopic;

/// Give a topic more partitions.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Every key stays in its partition: its records keep their order. The new partitions get records without a key.

Examples:
  yak topic grow orders -p 12 --dry-run
  yak topic grow orders -p 12")]
pub struct GrowArgs {
    /// Its name
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// How many partitions it is to have; more than now
    #[arg(short, long, value_name = "N")]
    partitions: u32,
    /// Change nothing, and show what would change
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: GrowArgs, context: Context) -> anyhow::Result<()> {
    let operator = Operator::reach(context).await?;
    find(&operator.metadata, &args.topic)?;
    let partitions = Some(args.partitions);
    let alter = AlterTopic { topic: args.topic, partitions, dry_run: args.dry_run, ..AlterTopic::default() };
    let reply = operator.ask(&alter).await?;
    changed(&operator, &reply, args.dry_run).await
}
