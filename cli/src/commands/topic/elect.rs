use crate::context::Context;
use crate::exit::{self, Failure};
use crate::operate::{self, Operator};
use clap::Args;
use yak_protocol::message::{Elect, ElectPreferred, PreferredElection};

/// Give the lead to another replica.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic elect orders/2 --to 3
  yak topic elect orders --preferred --dry-run
  yak topic elect orders/2 --unclean --dry-run
  yak topic elect orders/2 --unclean --confirm orders/2")]
pub struct ElectArgs {
    /// A partition, as in orders/2; with --preferred also a topic, or nothing for all topics
    #[arg(value_name = "TOPIC[/PARTITION]", required_unless_present = "preferred")]
    about: Option<String>,
    /// Who is to lead [default: the first of the replicas that may]
    #[arg(long, value_name = "BROKER")]
    to: Option<String>,
    /// Give the lead to the preferred leaders, the first of the replicas, wherever they are in sync
    #[arg(long, conflicts_with_all = ["to", "unclean"])]
    preferred: bool,
    /// Let somebody lead who may lack acknowledged records, because nobody who has them can: they are lost
    #[arg(long)]
    unclean: bool,
    /// For --unclean, the partition's name once more
    #[arg(long, value_name = "TOPIC/PARTITION", requires = "unclean")]
    confirm: Option<String>,
    /// Change nothing, and show what would change
    #[arg(long)]
    dry_run: bool,
    /// With --preferred, wait until all of them lead, and say who is waited for
    #[arg(long, requires = "preferred", conflicts_with = "dry_run")]
    wait: bool,
}

pub(super) async fn run(args: ElectArgs, context: Context) -> anyhow::Result<()> {
    if args.preferred {
        return preferred(args, context).await;
    }
    let about = args.about.unwrap_or_default();
    let name = operate::partition(&about)?;
    let operator = Operator::reach(context).await?;
    let to = args.to.as_deref().map(|name| operator.broker(name)).transpose()?;
    let mut elect = Elect {
        topic: name.topic,
        partition: name.partition,
        to,
        unclean: args.unclean,
        confirm: args.confirm,
        dry_run: args.dry_run,
    };
    if args.unclean && !args.dry_run && elect.confirm.is_none() {
        elect.confirm = confirmed(&operator, &elect, &about).await?;
    }
    let reply = operator.ask(&elect).await?;
    let (how, already) = match (args.dry_run, reply.moved) {
        (_, false) => ("leads", " already,"),
        (true, true) => ("would lead", ""),
        (false, true) => ("leads", ""),
    };
    let (leader, epoch) = (reply.leader, reply.leader_epoch);
    let mut line = format!("broker {leader} {how} {about}{already} in epoch {epoch}");
    if let Some(loss) = &reply.may_lose {
        line += &format!("\n{loss}");
    }
    operator.print(&line, &reply)
}

/// Says what may be lost, and asks for the partition's name; `None` if nothing can be.
async fn confirmed(operator: &Operator, elect: &Elect, about: &str) -> Result<Option<String>, Failure> {
    let would = operator.ask(&Elect { dry_run: true, ..elect.clone() }).await?;
    let Some(loss) = would.may_lose else { return Ok(None) };
    let question =
        format!("{loss}\nThat cannot be undone. Type {about} to let broker {} lead: ", would.leader);
    match operator.typed(&question).await? {
        Some(typed) if typed == about => Ok(Some(typed)),
        Some(typed) => {
            let what = format!("{typed:?} is not {about}, so nothing was changed");
            Err(Failure::new(exit::FAILURE, what))
        }
        None => {
            let what = format!("{loss}; nothing was changed; if that is to be, add --confirm {about}");
            Err(Failure::new(exit::USAGE, what))
        }
    }
}

async fn preferred(args: ElectArgs, context: Context) -> anyhow::Result<()> {
    let (topic, partition) = match args.about.as_deref() {
        None => (None, None),
        Some(about) if about.contains('/') => {
            let name = operate::partition(about)?;
            (Some(name.topic), Some(name.partition))
        }
        Some(topic) => (Some(topic.to_owned()), None),
    };
    if args.confirm.is_some() {
        return Err(Failure::new(exit::USAGE, "--confirm belongs to --unclean").into());
    }
    let operator = Operator::reach(context).await?;
    let ask = ElectPreferred { topic, partition, dry_run: args.dry_run };
    let mut reply = operator.ask(&ask).await?;
    if args.wait {
        all_lead(&operator, &ask, &mut reply.elections).await?;
    }
    let rows: Vec<Vec<String>> = reply
        .elections
        .iter()
        .map(|election| {
            let from = election.from.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let status = match (&election.waits, ask.dry_run) {
                (Some(waits), _) => waits.clone(),
                (None, true) => "would lead".to_owned(),
                (None, false) => format!("leads in epoch {}", election.leader_epoch),
            };
            vec![format!("{}/{}", election.topic, election.partition), from, election.to.to_string(), status]
        })
        .collect();
    operator.table(&["PARTITION", "FROM", "TO", "STATUS"], &rows, &reply)
}

/// Waits until those that may not lead yet do, and notes what became of each. The others are left alone: what
/// somebody decides about them meanwhile is not undone.
async fn all_lead(
    operator: &Operator,
    ask: &ElectPreferred,
    elections: &mut Vec<PreferredElection>,
) -> Result<(), Failure> {
    let look = ElectPreferred { dry_run: true, ..ask.clone() };
    operator
        .wait(async || {
            let now = operator.ask(&look).await?.elections;
            let mut all = Vec::with_capacity(elections.len());
            for election in elections.iter() {
                if election.waits.is_none() {
                    all.push(election.clone());
                    continue;
                }
                let partition = (&election.topic, election.partition);
                let now = now.iter().find(|other| (&other.topic, other.partition) == partition);
                match once_more(operator, election, now).await {
                    Ok(election) => all.push(election),
                    // Its topic was deleted.
                    Err(failure) if failure.code == exit::NOT_FOUND => {}
                    Err(failure) => return Err(failure),
                }
            }
            *elections = all;
            let waiting =
                |e: &PreferredElection| Some(format!("{}/{} {}", e.topic, e.partition, e.waits.as_ref()?));
            let waits: Vec<String> = elections.iter().filter_map(waiting).collect();
            Ok((!waits.is_empty()).then(|| waits.join("\n")))
        })
        .await
}

/// Asks for one that had to wait, if it need not any more. `now` is how it stands; `None` = it leads.
async fn once_more(
    operator: &Operator,
    before: &PreferredElection,
    now: Option<&PreferredElection>,
) -> Result<PreferredElection, Failure> {
    let (topic, partition) = (before.topic.clone(), before.partition);
    if let Some(now) = now {
        if now.waits.is_some() {
            return Ok(now.clone());
        }
        let ask = ElectPreferred { topic: Some(topic.clone()), partition: Some(partition), dry_run: false };
        if let Some(election) = operator.ask(&ask).await?.elections.pop() {
            return Ok(election);
        }
    }
    // Somebody else gave it the lead; this says in which epoch.
    let to = before.to;
    let look = Elect { topic, partition, to: Some(to), unclean: false, confirm: None, dry_run: true };
    let reply = operator.ask(&look).await?;
    let waits = reply.moved.then(|| format!("waits for broker {to} to lead"));
    Ok(PreferredElection { leader_epoch: reply.leader_epoch, waits, ..before.clone() })
}
