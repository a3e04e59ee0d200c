//! `yak broker drain|decommission|replace`: what operators do with brokers.

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::operate::{self, Operator, Rate};
use clap::Args;
use yak_protocol::message::{
    DecommissionBroker, DecommissionReply, Drain, DrainReply, ListMoves, ReplaceBroker,
};
use yak_protocol::text::count;

/// Take all leaderships from a broker, or let it lead again.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak broker drain 3 --wait
  yak broker drain broker-b --dry-run
  yak broker drain 3 --cancel")]
pub struct DrainArgs {
    /// Its number or name
    #[arg(value_name = "BROKER")]
    broker: String,
    /// Let it lead again
    #[arg(long)]
    cancel: bool,
    /// Change nothing, and show what depends on it
    #[arg(long)]
    dry_run: bool,
    /// Wait until nothing depends on it: then it may stop
    #[arg(long, conflicts_with_all = ["dry_run", "cancel"])]
    wait: bool,
}

/// Take a broker out of the cluster: it drains, what it holds moves to others, and it is forgotten.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak broker decommission 3 --dry-run
  yak broker decommission 3 --rate 20000000 --wait
  yak broker decommission 3 --cancel")]
pub struct DecommissionArgs {
    /// Its number or name
    #[arg(value_name = "BROKER")]
    broker: String,
    /// Let it stay after all
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    copy: Rate,
    /// Change nothing, and show what would move where
    #[arg(long)]
    dry_run: bool,
    /// Wait until it is gone, and say what that waits for
    #[arg(long, conflicts_with_all = ["dry_run", "cancel"])]
    wait: bool,
}

/// Put another broker in the place of a dead one.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak broker replace 3 --by 4 --wait
  yak broker replace broker-c --by broker-d --dry-run
  yak broker replace 3 --by 4 --rate 20000000")]
pub struct ReplaceArgs {
    /// The dead one's number or name
    #[arg(value_name = "BROKER")]
    dead: String,
    /// The one in its place
    #[arg(long, value_name = "BROKER")]
    by: String,
    #[command(flatten)]
    copy: Rate,
    /// Change nothing, and show what would move
    #[arg(long)]
    dry_run: bool,
    /// Wait until everything has been copied, and say what that waits for
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

pub(super) async fn drain(args: DrainArgs, context: Context) -> anyhow::Result<()> {
    let operator = Operator::reach(context).await?;
    let broker_id = operator.broker(&args.broker)?;
    let ask = Drain { broker_id, draining: !args.cancel, dry_run: args.dry_run };
    let mut reply = operator.ask(&ask).await?;
    if args.wait {
        let look = Drain { dry_run: true, ..ask };
        operator
            .wait(async || {
                reply = operator.ask(&look).await?;
                let DrainReply { draining, leads, needed } = reply;
                if !draining {
                    let what = format!("broker {broker_id} does not drain any more");
                    return Err(cancelled(&what, &format!("yak broker drain {broker_id}")));
                }
                let depends = leads > 0 || needed > 0;
                Ok(depends.then(|| {
                    let leads = count(leads.into(), "partition");
                    format!("broker {broker_id} leads {leads} and is needed in sync by {needed}")
                }))
            })
            .await?;
    }
    let DrainReply { draining, leads, needed } = reply;
    let line = format!(
        "broker {broker_id} {}; it leads {} and is needed in sync by {needed}",
        match (args.dry_run, args.cancel, draining) {
            (true, false, _) => "would drain",
            (true, true, _) => "would not drain",
            (false, _, true) => "drains",
            (false, _, false) => "does not drain",
        },
        count(leads.into(), "partition"),
    );
    operator.print(&line, &reply)
}

pub(super) async fn decommission(args: DecommissionArgs, context: Context) -> anyhow::Result<()> {
    let operator = Operator::reach(context).await?;
    let broker_id = operator.broker(&args.broker)?;
    let ask = DecommissionBroker {
        broker_id,
        cancel: args.cancel,
        bytes_per_second: args.copy.rate,
        dry_run: args.dry_run,
    };
    let mut reply = operator.ask(&ask).await?;
    if args.wait {
        let look = DecommissionBroker { dry_run: true, ..ask };
        operator
            .wait(async || {
                reply = operator.ask(&look).await?;
                if !reply.done && !reply.decommissioning {
                    let what =
                        format!("broker {broker_id} is not to go any more, and holds what it holds now");
                    return Err(cancelled(&what, &format!("yak broker decommission {broker_id}")));
                }
                Ok((!reply.done).then(|| progress(&reply)))
            })
            .await?;
    }
    let line = match (reply.done, reply.decommissioning) {
        (true, _) => format!("broker {broker_id} is gone; its process may be stopped"),
        (false, true) => progress(&reply),
        (false, false) if args.dry_run && !args.cancel => {
            format!("broker {broker_id} holds {}", count(reply.left.into(), "partition"))
        }
        (false, false) => format!("broker {broker_id} stays"),
    };
    let mut lines = vec![line];
    if args.dry_run {
        let there = |moved: &yak_protocol::message::MoveState| {
            let how = if moved.changed { "would move" } else { "moves" };
            format!("{}/{} {how} to {}", moved.topic, moved.partition, operate::list(&moved.to))
        };
        lines.extend(reply.moves.iter().map(there));
        if !reply.decommissioning {
            lines.extend(reply.stuck.iter().cloned());
        }
    }
    operator.print(&lines.join("\n"), &reply)
}

/// Somebody has taken back what was waited for.
fn cancelled(what: &str, again: &str) -> Failure {
    let text = format!("{what}: somebody has cancelled that while it was waited for; `{again}` begins anew");
    Failure::new(exit::FAILURE, text)
}

/// How many reasons a line of progress names.
const REASONS_MAX: usize = 3;

fn progress(reply: &DecommissionReply) -> String {
    let begun = reply.moves.iter().filter(|moved| !moved.changed);
    let waits = begun.filter_map(operate::waiting).chain(reply.stuck.iter().cloned());
    let mut waits: Vec<String> = waits.collect();
    let more = waits.len().saturating_sub(REASONS_MAX);
    waits.truncate(REASONS_MAX);
    waits.extend((more > 0).then(|| format!("and {more} more")));
    let head = format!("{} of {} left", reply.left, count(reply.of.into(), "partition"));
    [head].into_iter().chain(waits).collect::<Vec<_>>().join("; ")
}

pub(super) async fn replace(args: ReplaceArgs, context: Context) -> anyhow::Result<()> {
    let operator = Operator::reach(context).await?;
    let (dead, by) = (operator.broker(&args.dead)?, operator.broker(&args.by)?);
    let ask = ReplaceBroker { dead, by, bytes_per_second: args.copy.rate, dry_run: args.dry_run };
    let mut reply = operator.ask(&ask).await?;
    if args.wait {
        // Those that an earlier command has begun, too.
        let mut moves = operator.ask(&ListMoves::default()).await?.moves;
        moves.retain(|moved| moved.from.contains(&dead));
        if !moves.is_empty() {
            reply = operator.wait_for_moves(&moves).await?;
        }
    }
    operator.print_moves(&reply.moves, &reply)
}
