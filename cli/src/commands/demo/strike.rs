//! Ends processes while records are published, and waits until everything goes on.

use super::layout::Coordinators;
use super::processes::{Place, Processes};
use super::publish::Publishing;
use super::{LOOK, RECOVERY_TIMEOUT, TOPIC};
use anyhow::{Context as _, bail};
use std::time::{Duration, Instant};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{CreateTopic, MetadataReply};
use yak_protocol::net::{Cluster, RequestError};

/// How a process is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// SIGSTOP, until others have taken over; it then wakes up in the belief that nothing has happened.
    Pause,
    /// Ctrl-C.
    Interrupt,
}

impl Fault {
    /// As people read it, in seven columns.
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Pause => "SIGSTOP",
            Self::Interrupt => "Ctrl-C ",
        }
    }
}

/// What that did.
pub struct Struck {
    /// The longest time without an acknowledgement.
    pub pause: Duration,
    /// The time until the next topic was made, where the active coordinator was ended, too.
    pub takeover: Option<Duration>,
}

/// Whom it hits, by index.
struct Victims {
    broker: usize,
    /// A coordinator of its own.
    coordinator: Option<usize>,
    /// The partitions that the broker leads and that records go to.
    led: Vec<u32>,
}

/// Ends the leader of the busiest partition (and the active coordinator, where there are others), waits until
/// publishing goes on, and starts them again.
///
/// # Errors
/// When something does not go on in time.
pub async fn strike(
    client: &Cluster,
    cluster: &mut Processes,
    publishing: &Publishing,
    how: Coordinators,
    fault: Fault,
) -> anyhow::Result<Struck> {
    let metadata = client.metadata(true).await?;
    let Victims { broker, coordinator, led } = choose(&metadata, cluster, publishing, how)?;
    // Only those that records go to can show that publishing goes on.
    let watched = if led.is_empty() { publishing.busiest() } else { led.clone() };

    let struck = Instant::now();
    if let Some(active) = coordinator {
        end(&mut cluster.coordinators[active], fault).await?;
    }
    end(&mut cluster.brokers[broker], fault).await?;
    let others = cluster.addresses().into_iter().enumerate().filter(|(index, _)| *index != broker);
    let others: Vec<String> = others.map(|(_, address)| address).collect();
    let takeover = async {
        if how == Coordinators::One {
            return Ok(None);
        }
        make_a_topic(client, &others).await?;
        Ok(Some(struck.elapsed()))
    };
    let ((), takeover) = tokio::try_join!(publishing.resumed(&watched, struck, RECOVERY_TIMEOUT), takeover)?;
    let pause = publishing.longest_pause(&watched, struck);

    let partitions: Vec<_> = led.iter().map(|partition| format!("{TOPIC}/{partition}")).collect();
    let leads = if led.is_empty() { "nothing".to_owned() } else { partitions.join(" ") };
    let active = coordinator.map(|index| format!("{} (active) and ", cluster.coordinators[index].name));
    let next = takeover.map(|time| format!("; next topic made after {:.0} ms", time.as_secs_f64() * 1000.0));
    println!(
        "{}   {}{}, leader of {leads}: longest pause in publishing {:.0} ms{}",
        fault.name(),
        active.unwrap_or_default(),
        cluster.brokers[broker].name,
        pause.as_secs_f64() * 1000.0,
        next.unwrap_or_default(),
    );
    if let Some(active) = coordinator {
        bring_back(&mut cluster.coordinators[active], fault).await?;
    }
    bring_back(&mut cluster.brokers[broker], fault).await?;
    Ok(Struck { pause, takeover })
}

async fn end(place: &mut Place, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::Kill => place.kill().await,
        Fault::Pause => place.pause(),
        Fault::Interrupt => place.interrupt().await,
    }
}

async fn bring_back(place: &mut Place, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::Kill | Fault::Interrupt => place.launch().await,
        Fault::Pause => place.resume(),
    }
}

/// The leader of the busiest partition; where brokers coordinate themselves, the one that is active.
fn choose(
    metadata: &MetadataReply,
    cluster: &Processes,
    publishing: &Publishing,
    how: Coordinators,
) -> anyhow::Result<Victims> {
    let topic = metadata.topics.iter().find(|topic| topic.name == TOPIC).context("the topic has vanished")?;
    let busiest = publishing.busiest();
    let leader_of = |partition: u32| {
        let mut of_topic = metadata.partitions.iter().filter(|info| info.id.topic == topic.id);
        of_topic.find(|info| info.id.partition.0 == partition).and_then(|info| info.leader)
    };
    let active = metadata.coordinator.as_str();
    let coordinator = match how {
        Coordinators::Three => {
            let found = cluster.coordinators.iter().position(|place| place.address == active);
            Some(
                found
                    .with_context(|| format!("the active coordinator, {active}, is none of our processes"))?,
            )
        }
        _ => None,
    };
    let broker = match how {
        Coordinators::Embedded | Coordinators::Redis => {
            let found = cluster.brokers.iter().position(|place| place.coordinator.as_deref() == Some(active));
            found.with_context(|| format!("the active coordinator, {active}, is in none of our processes"))?
        }
        Coordinators::One | Coordinators::Three => {
            let leader = busiest.first().and_then(|partition| leader_of(*partition));
            let leader = leader.context("the busiest partition has no leader")?;
            let address = address_of(metadata, leader).context("the leader is unknown")?;
            let found = cluster.brokers.iter().position(|place| place.address == address);
            found.context("the leader is none of our processes")?
        }
    };
    let is_it = |leader: BrokerId| address_of(metadata, leader) == Some(&cluster.brokers[broker].address);
    let led = busiest.into_iter().filter(|partition| leader_of(*partition).is_some_and(is_it)).collect();
    Ok(Victims { broker, coordinator, led })
}

fn address_of(metadata: &MetadataReply, id: BrokerId) -> Option<&str> {
    metadata.brokers.iter().find(|broker| broker.id == id).map(|broker| broker.address.as_str())
}

/// Makes a topic as soon as somebody coordinates; asks a broker at one of these addresses.
async fn make_a_topic(client: &Cluster, addresses: &[String]) -> anyhow::Result<()> {
    let deadline = Instant::now() + RECOVERY_TIMEOUT;
    let topic = format!("{TOPIC}-{:08x}", fastrand::u32(..));
    let create = CreateTopic { topic, partitions: Some(1), replicas: Some(1), ..CreateTopic::default() };
    for address in addresses.iter().cycle() {
        let answer = match client.connection_to(address).await {
            Ok(connection) => connection.request(&create, Vec::new()).await.map(drop),
            Err(error) => bail!("no topic can be made: {error}"),
        };
        match answer {
            Ok(()) => return Ok(()),
            // An attempt of before had been carried out.
            Err(RequestError::Refused(error)) if error.code == ErrorCode::TopicExists => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .context(format!("no topic could be made within {} s", RECOVERY_TIMEOUT.as_secs()));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
    bail!("there is no other broker to make a topic with")
}
