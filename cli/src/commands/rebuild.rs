//! `yak coordinator rebuild`: a journal for coordinators that have lost theirs, from what the brokers know.

use super::metadata;
use crate::context::Context;
use crate::exit::{FAILURE, Failure, UNREACHABLE, USAGE};
use crate::{table, text};
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use yak_coordinator::Target;
use yak_core::cluster::{RebuildError, Rebuilt, Record, rebuild};
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{BrokerInfo, Recollect, RecollectReply};
use yak_protocol::net::{ConnectOptions, Connection};

/// How long one broker may take to tell what it knows.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Make the coordinators' journal again from what the brokers know.
#[derive(Args, Debug)]
#[command(after_long_help = "\
For when the data dirs of all coordinators are lost, or older than what the brokers have seen. Stop what is
left of the coordinators, leave the brokers running (they go on to publish and consume), and run this with any
broker's address. Then start one coordinator on the folder, where the brokers look for one. Others are started
on empty folders with --peers, and let in with `yak coordinator peers add`.

A Redis that has lost the journal gets it with --lease-backend. Coordinators that stand by go on from it, by
themselves.

Every broker that the cluster has is asked. One that is lost for good is named with --without; what it led
rests until enough of the other replicas have said how far they go (`yak why` says what is missing).

Examples:
  yak coordinator rebuild --data /var/lib/yak/coordinator-2 -b 10.0.0.1:9701 --dry-run
  yak coordinator rebuild --data /var/lib/yak/coordinator-2 -b 10.0.0.1:9701 --without b3
  yak coordinator rebuild --lease-backend redis://10.0.0.9 -b 10.0.0.1:9701")]
pub struct RebuildArgs {
    /// The folder to make; it must be empty or not exist
    #[arg(long, value_name = "DIR", required_unless_present = "lease_backend")]
    pub data: Option<PathBuf>,
    /// The Redis to put it into, as coordinators are told it; it must hold no journal
    #[arg(long, value_parser = metadata::redis, value_name = "URL", conflicts_with = "data")]
    pub lease_backend: Option<String>,
    /// Brokers, by name or number, that are lost for good
    #[arg(long, value_delimiter = ',', value_name = "BROKER,..")]
    pub without: Vec<String>,
    /// Say what would be made, and make nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Serialize)]
struct Told {
    cluster_id: String,
    coordinator_epoch: u64,
    brokers: Vec<String>,
    without: Vec<String>,
    topics: usize,
    partitions: usize,
    recovering: Vec<Resting>,
    /// The folder that was made.
    data: Option<String>,
    /// The Redis that it was put into.
    redis: Option<String>,
}

#[derive(Serialize)]
struct Resting {
    partition: String,
    why: String,
}

/// Asks the brokers and writes the journal.
///
/// # Errors
/// When a coordinator is still active, a broker does not answer, or the folder cannot be used.
pub async fn run(args: RebuildArgs, context: Context) -> anyhow::Result<()> {
    let place = Place::of(&args)?;
    let asked = tokio::select! {
        asked = ask_all(&context.global.brokers) => asked,
        () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
    };
    check_all_there(&asked, &args.without)?;
    let told = asked.told;
    if let Some((broker, coordinator)) =
        told.iter().find_map(|one| Some((&one.broker.name, one.coordinator.as_ref()?)))
    {
        return Err(Failure::new(
            FAILURE,
            format!(
                "broker {broker} has a session with the coordinator at {coordinator}: what is made again would be a \
                 second history; stop that coordinator first, if its journal is the one that is to be replaced"
            ),
        )
        .into());
    }
    let rebuilt = rebuild(&told).map_err(|error| refused(&error, &told))?;
    if !args.dry_run {
        place.write(&rebuilt.records).await?;
    }
    show(&rebuilt, &told, &place, args.dry_run, &context)
}

/// Where the journal goes.
enum Place {
    Folder(PathBuf),
    Redis(Target),
}

impl Place {
    fn of(args: &RebuildArgs) -> Result<Self, Failure> {
        match (&args.data, &args.lease_backend) {
            (Some(data), _) => refuse_used(data).map(|()| Self::Folder(data.clone())),
            (None, Some(url)) => metadata::target(url).map(Self::Redis),
            (None, None) => {
                Err(Failure::new(USAGE, "name a folder with --data, or a Redis with --lease-backend"))
            }
        }
    }

    async fn write(&self, records: &[Record]) -> anyhow::Result<()> {
        match self {
            Self::Folder(data) => Ok(yak_coordinator::quorum::write_journal(data, records)?),
            Self::Redis(target) => Ok(yak_coordinator::redis::write_journal(target, records).await?),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(data) => write!(f, "{}", data.display()),
            Self::Redis(target) => write!(f, "redis at {target}"),
        }
    }
}

fn refused(error: &RebuildError, told: &[RecollectReply]) -> Failure {
    let asked: Vec<&str> = told.iter().map(|one| one.broker.name.as_str()).collect();
    let hint = match error {
        RebuildError::NothingKnown => "; brokers that were not restarted know more: name them with -b",
        _ => "",
    };
    Failure::new(FAILURE, format!("{error} (asked: {}){hint}", asked.join(", ")))
}

/// A data dir that is there may be all that is left.
fn refuse_used(data: &Path) -> Result<(), Failure> {
    let foreign = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name() != "lost+found")
    };
    let used = std::fs::read_dir(data).is_ok_and(|mut entries| entries.any(foreign));
    if !used {
        return Ok(());
    }
    let data = data.display();
    Err(Failure::new(
        USAGE,
        format!("{data} is not empty: name a new folder with --data, and keep the old one"),
    ))
}

/// Who told what, and who said nothing.
struct Asked {
    /// Each process once.
    told: Vec<RecollectReply>,
    /// All that the newest copy of the metadata names.
    named: BTreeMap<BrokerId, BrokerInfo>,
    /// By address.
    silent: BTreeMap<String, String>,
}

impl Asked {
    fn answers(&self, id: BrokerId) -> bool {
        self.told.iter().any(|one| one.broker.broker_id == Some(id))
    }
}

/// Asks those that were named, and those that these name.
async fn ask_all(bootstrap: &[String]) -> Asked {
    let mut asked = Asked { told: Vec::new(), named: BTreeMap::new(), silent: BTreeMap::new() };
    let mut waiting: VecDeque<String> = bootstrap.iter().cloned().collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut newest = None;
    while let Some(address) = waiting.pop_front() {
        if !seen.insert(address.clone()) {
            continue;
        }
        match ask(&address).await {
            Ok(told) => {
                waiting.extend(told.leader_info.brokers.iter().map(|broker| broker.address.clone()));
                seen.insert(told.broker.advertise.clone());
                if newest < Some(told.leader_info.version) {
                    newest = Some(told.leader_info.version);
                    asked.named =
                        told.leader_info.brokers.iter().map(|broker| (broker.id, broker.clone())).collect();
                }
                let known = |one: &RecollectReply| one.broker.incarnation == told.broker.incarnation;
                if !asked.told.iter().any(known) {
                    asked.told.push(told);
                }
            }
            Err(why) => drop(asked.silent.insert(address, why)),
        }
    }
    asked
}

async fn ask(address: &str) -> Result<RecollectReply, String> {
    let answer = async {
        let connected = Connection::connect(address, &ConnectOptions::default()).await;
        let (connection, _pushes) = connected.map_err(|error| error.to_string())?;
        let answer = connection.request(&Recollect {}, Vec::new()).await;
        let told = answer.map(|answer| answer.body).map_err(|error| error.to_string())?;
        // With an empty disk it knows nothing, and has no number.
        let member = told.broker.cluster_id.is_some() && told.broker.broker_id.is_some();
        if member { Ok(told) } else { Err("it has never been part of a cluster".to_owned()) }
    };
    let limit = || format!("no answer within {} s", ANSWER_MAX.as_secs());
    tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or_else(|_| Err(limit()))
}

/// Nobody may be left out by accident.
fn check_all_there(asked: &Asked, without: &[String]) -> Result<(), Failure> {
    if asked.told.is_empty() {
        let silent: Vec<_> = asked.silent.iter().map(|(address, why)| format!("{address}: {why}")).collect();
        return Err(Failure::new(
            UNREACHABLE,
            format!("no broker tells what it knows ({}); name one that runs with -b", silent.join("; ")),
        ));
    }
    let given_up =
        |broker: &BrokerInfo| without.iter().any(|one| *one == broker.name || *one == broker.id.to_string());
    for name in without {
        let known =
            asked.named.values().find(|broker| *name == broker.name || *name == broker.id.to_string());
        match known {
            None => {
                return Err(Failure::new(USAGE, format!("--without {name}: the cluster has no such broker")));
            }
            Some(broker) if asked.answers(broker.id) => {
                return Err(Failure::new(
                    USAGE,
                    format!("--without {name}: that broker answers; stop it, or do not name it"),
                ));
            }
            Some(_) => {}
        }
    }
    let missing = asked.named.values().filter(|broker| !asked.answers(broker.id) && !given_up(broker));
    let missing: Vec<String> = missing
        .map(|broker| {
            let why = asked.silent.get(&broker.address).map_or("it was not asked", String::as_str);
            format!("{} at {} ({why})", broker.name, broker.address)
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        UNREACHABLE,
        format!(
            "{} must tell what it knows, too: start it and run this again, or name it with --without if it is lost for good",
            missing.join(", ")
        ),
    ))
}

fn show(
    rebuilt: &Rebuilt,
    told: &[RecollectReply],
    place: &Place,
    dry_run: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let state = rebuilt.state();
    let named =
        |id: &BrokerId| state.broker(*id).map_or_else(|| id.to_string(), |broker| broker.info.name.clone());
    let said = Told {
        cluster_id: state.cluster_id().to_string(),
        coordinator_epoch: state.coordinator_epoch().0,
        brokers: told.iter().map(|one| one.broker.name.clone()).collect(),
        without: rebuilt.missing.iter().map(named).collect(),
        topics: state.topics().count(),
        partitions: state.partitions().count(),
        recovering: rebuilt
            .recovering
            .iter()
            .map(|(id, why)| Resting { partition: state.title(*id), why: why.clone() })
            .collect(),
        data: matches!(place, Place::Folder(_) if !dry_run).then(|| place.to_string()),
        redis: match place {
            Place::Redis(target) if !dry_run => Some(target.masked_url()),
            _ => None,
        },
    };
    if context.json() {
        return Ok(table::print_json(&said)?);
    }
    table::print_line(&format!("cluster     {}", said.cluster_id))?;
    table::print_line(&format!("asked       {}", said.brokers.join(" ")))?;
    if !said.without.is_empty() {
        table::print_line(&format!("without     {}", said.without.join(" ")))?;
    }
    table::print_line(&format!("topics      {}", said.topics))?;
    let on = said.partitions - said.recovering.len();
    table::print_line(&format!(
        "partitions  {}, {on} of them go on as they are",
        text::thousands(said.partitions as u64)
    ))?;
    for resting in &said.recovering {
        table::print_line(&format!("rests       {}: {}", resting.partition, resting.why))?;
    }
    table::print_line(&match place {
        _ if dry_run => format!("journal     not written (--dry-run); it would be in {place}"),
        Place::Folder(data) => format!(
            "journal     {data}; start a coordinator where the brokers look for one: yak coordinator --data {data}",
            data = data.display()
        ),
        Place::Redis(_) => format!("journal     {place}; coordinators that stand by go on from it"),
    })?;
    Ok(())
}
