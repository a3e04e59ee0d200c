use crate::context::Context;
use crate::exit::{self, Failure};
use crate::operate::{self, Operator, Rate};
use clap::Args;
use yak_protocol::message::{CancelMoves, ListMoves, Move, MovePartitions, PartitionName};

/// Move partitions to other brokers, or show what moves.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic move
  yak topic move orders/2 --to 4,2,3 --rate 20000000 --wait
  yak topic move orders/2 --cancel")]
pub struct MoveArgs {
    /// The partitions, as in orders/2; nothing = show what moves
    #[arg(value_name = "TOPIC/PARTITION")]
    partitions: Vec<String>,
    /// Who is to hold them, the preferred leader first
    #[arg(long, value_delimiter = ',', value_name = "BROKER,..", requires = "partitions")]
    to: Vec<String>,
    /// Let them go back; without partitions all that move
    #[arg(long, conflicts_with_all = ["to", "rate"])]
    cancel: bool,
    #[command(flatten)]
    copy: Rate,
    /// Change nothing, and show what would change
    #[arg(long)]
    dry_run: bool,
    /// Wait until it is through, and say what it waits for
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

pub(super) async fn run(args: MoveArgs, context: Context) -> anyhow::Result<()> {
    let names: Result<Vec<PartitionName>, Failure> =
        args.partitions.iter().map(|text| operate::partition(text)).collect();
    let partitions = names?;
    let dry_run = args.dry_run;
    let operator = Operator::reach(context).await?;
    let mut reply = if args.cancel {
        operator.ask(&CancelMoves { partitions, dry_run }).await?
    } else if args.to.is_empty() {
        if args.copy.rate.is_some() {
            return Err(Failure::new(exit::USAGE, "--rate needs --to: where do they move?").into());
        }
        operator.ask(&ListMoves { partitions }).await?
    } else {
        let to: Result<Vec<_>, Failure> = args.to.iter().map(|name| operator.broker(name)).collect();
        let to = to?;
        let there =
            |name: PartitionName| Move { topic: name.topic, partition: name.partition, replicas: to.clone() };
        let moves = partitions.into_iter().map(there).collect();
        operator.ask(&MovePartitions { moves, bytes_per_second: args.copy.rate, dry_run }).await?
    };
    if args.wait && !reply.moves.is_empty() {
        reply = operator.wait_for_moves(&reply.moves).await?;
    }
    operator.print_moves(&reply.moves, &reply)
}
