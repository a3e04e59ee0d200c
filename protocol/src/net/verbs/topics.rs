//! Topics: which there are, making and deleting them.

use crate::error::{Action, ErrorCode, WireError};
use crate::ids::{LeaderEpoch, PartitionIndex};
use crate::message::{
    AlterTopic, AlterTopicReply, CreateTopic, CreateTopicReply, DeleteTopic, Metadata, MetadataReply,
    Offsets, PartitionInfo, SettingChange, TopicConfig, TopicInfo,
};
use crate::names::is_internal;
use crate::net::lines::{CommandError, TextSession};
use crate::net::service::Service;
use crate::text::{Command, Status, cluster, count};
use crate::topic_settings::{self, MIN_ISR, SETTINGS, TopicSetting};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long `CREATE` waits for the new partitions' leaders, and how often it looks.
const LEADERS_MAX: Duration = Duration::from_secs(10);
const LEADERS_LOOK: Duration = Duration::from_millis(10);

type Outcome = Result<Status, CommandError>;

/// A topic, with its partitions and where they are.
pub struct Found {
    /// The topic.
    pub topic: TopicInfo,
    /// Its partitions, or the one that was asked for.
    pub partitions: Vec<PartitionInfo>,
    /// Everything that was answered; its partitions are those above.
    pub known: MetadataReply,
}

/// `orders` or `orders/2`.
///
/// # Errors
/// `BAD_REQUEST`: what follows the slash is no number.
pub fn place(text: &str) -> Result<(&str, Option<PartitionIndex>), WireError> {
    let Some((topic, partition)) = text.split_once('/') else { return Ok((text, None)) };
    match partition.parse() {
        Ok(number) => Ok((topic, Some(PartitionIndex(number)))),
        Err(_) => {
            Err(WireError::bad_request(format!("{text}: {partition} is not the number of a partition"))
                .hint("as in orders/2: topic, slash, number"))
        }
    }
}

/// Finds `orders` or `orders/2`.
///
/// # Errors
/// `UNKNOWN_TOPIC` that names the nearest existing one and what to type next, `UNKNOWN_PARTITION`, or what
/// `metadata` was refused with.
pub async fn find<S: Service>(
    session: &mut TextSession,
    service: &S,
    command: &Command,
    text: &str,
) -> Result<Found, WireError> {
    let (name, partition) = place(text)?;
    let metadata = Metadata { topics: Some(vec![name.to_owned()]) };
    let (mut known, _) = session.ask(service, &metadata, Vec::new()).await?;
    let Some(topic) = known.topics.first().cloned() else {
        let nearest = known.unknown.into_iter().next().and_then(|unknown| unknown.nearest);
        let hint = match nearest {
            Some(near) => format!("did you mean {near}? CREATE {name}, or {} {near}", command.verb),
            None => format!("CREATE {name} makes it; TOPICS lists what there is"),
        };
        return Err(WireError::new(ErrorCode::UnknownTopic, name).hint(hint));
    };
    if let Some(wanted) = partition {
        known.partitions.retain(|info| info.id.partition == wanted);
    }
    known.partitions.sort_by_key(|info| info.id.partition);
    if known.partitions.is_empty() {
        let error = WireError::new(ErrorCode::UnknownPartition, text);
        let last = topic.partitions.saturating_sub(1);
        return Err(error.hint(format!("the partitions of {name} are 0 to {last}")));
    }
    Ok(Found { topic, partitions: known.partitions.clone(), known })
}

pub(super) async fn list<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    let all = command.flag("ALL");
    command.plain(usize::from(all))?;
    let (mut known, _) = session.ask(service, &Metadata::default(), Vec::new()).await?;
    if !all {
        known.topics.retain(|topic| !is_internal(&topic.name));
    }
    session.answer(&cluster::topics(&known)).await
}

pub(super) async fn show<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    command.plain(1)?;
    let Found { topic, partitions, .. } =
        find(session, service, command, command.word(0, "a topic")?).await?;
    session.table(&cluster::partitions(&partitions)).await?;
    session.end().await?;
    let status = Status::ok().with("topic", topic.name).with("id", topic.id);
    let status = status.with("partitions", topic.partitions).with("rf", topic.wanted_replicas);
    let with = |status: Status, setting: &TopicSetting| status.with(setting.name, setting.get(&topic.config));
    Ok(SETTINGS.iter().fold(status.with(MIN_ISR, topic.min_isr), with))
}

/// Makes a topic, and answers once its partitions can be used: what is typed next finds their leaders.
pub(super) async fn create<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    let create = wanted(command)?;
    let (made, _) = session.ask(service, &create, Vec::new()).await?;
    let epoch = led(session, service, &made.topic).await;
    let CreateTopicReply { topic, replicas, created } = made;
    let status = Status::ok().with("topic", topic.name).with("partitions", topic.partitions);
    let mut status = status.with("rf", replicas).with("epoch", epoch);
    if replicas < topic.wanted_replicas {
        // Filled up as brokers appear.
        status = status.with("wanted", topic.wanted_replicas);
    }
    Ok(if created { status } else { status.with("created", false) })
}

fn wanted(command: &Command) -> Result<CreateTopic, WireError> {
    let settings = SETTINGS.iter().map(|setting| setting.name);
    let options: Vec<&str> = ["parts", "rf", MIN_ISR, "if_not_exists"].into_iter().chain(settings).collect();
    command.allow(&options)?;
    command.at_most(1)?;
    let mut config = TopicConfig::default();
    for setting in SETTINGS {
        if let Some(text) = command.option(setting.name) {
            setting.set(&mut config, Some(text))?;
        }
    }
    Ok(CreateTopic {
        topic: command.word(0, "a name for the topic")?.to_owned(),
        partitions: command.number("parts")?,
        replicas: command.number("rf")?,
        min_isr: command.number("min_isr")?,
        config,
        if_not_exists: command.switch("if_not_exists")?.unwrap_or(false),
        auto: false,
    })
}

/// Changes a topic, and says what has changed.
pub(super) async fn alter<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    let names = || SETTINGS.iter().map(|setting| setting.name).chain([MIN_ISR]);
    command.allow(&names().chain(["parts"]).collect::<Vec<_>>())?;
    let dry_run = command.flag("dry");
    command.at_most(if dry_run { 2 } else { 1 })?;
    let change = |name: &'static str| {
        let value = command.option(name)?;
        let value = (!value.eq_ignore_ascii_case("default")).then(|| value.to_owned());
        Some(SettingChange(name.to_owned(), value))
    };
    let alter = AlterTopic {
        topic: command.word(0, "a topic")?.to_owned(),
        set: names().filter_map(change).collect(),
        partitions: command.number("parts")?,
        dry_run,
    };
    find(session, service, command, &alter.topic).await?;
    let (AlterTopicReply { topic, changed }, _) = session.ask(service, &alter, Vec::new()).await?;
    let mut status = Status::ok().with("topic", topic.name);
    for name in names().chain(["partitions"]).filter(|name| changed.iter().any(|other| other == name)) {
        let number = if name == MIN_ISR { topic.min_isr } else { topic.partitions };
        let value =
            topic_settings::setting(name).map_or(number.to_string(), |known| known.get(&topic.config));
        status = status.with(name, value);
    }
    Ok(if dry_run { status.with("dry", true) } else { status })
}

/// Waits until every partition's leader leads, and returns the highest epoch among them; `None` when nobody
/// who is asked here could know, or it takes too long.
async fn led<S: Service>(session: &mut TextSession, service: &S, topic: &TopicInfo) -> Option<LeaderEpoch> {
    let deadline = Instant::now() + LEADERS_MAX;
    let mut highest = None;
    for partition in (0..topic.partitions).map(PartitionIndex) {
        let asked =
            Offsets { topic: topic.name.clone(), partition, at_ms: None, stale_ok: false, forward: true };
        loop {
            match session.ask(service, &asked, Vec::new()).await {
                Ok((offsets, _)) => {
                    highest = highest.max(Some(offsets.leader_epoch));
                    break;
                }
                // The coordinator knows the epoch without asking anybody.
                Err(error) if error.code == ErrorCode::WrongProcess => {
                    let metadata = Metadata { topics: Some(vec![topic.name.clone()]) };
                    let (known, _) = session.ask(service, &metadata, Vec::new()).await.ok()?;
                    return known.partitions.iter().map(|info| info.leader_epoch).max();
                }
                // A leader that has not heard of the topic yet will in a moment.
                Err(error) if Instant::now() < deadline && may_pass(&error) => sleep(LEADERS_LOOK).await,
                Err(_) => return None,
            }
        }
    }
    highest
}

/// Whether a broker that is asked about a topic which certainly exists may answer otherwise in a moment.
#[must_use]
pub fn may_pass(error: &WireError) -> bool {
    let unheard = matches!(error.code, ErrorCode::UnknownTopic | ErrorCode::UnknownPartition);
    unheard || matches!(error.code.action(), Action::Retry | Action::Refresh)
}

/// Deletes a topic; the word `CONFIRM` keeps a slip of the hand from it.
pub(super) async fn delete<S: Service>(session: &mut TextSession, service: &S, command: &Command) -> Outcome {
    command.allow(&[])?;
    let name = command.word(0, "a topic and CONFIRM")?;
    let Found { topic, .. } = find(session, service, command, place(name)?.0).await?;
    if name != topic.name {
        return Err(WireError::bad_request("topics are deleted as a whole")
            .hint(format!("DROP {} CONFIRM", topic.name))
            .into());
    }
    if command.words.get(1).is_none_or(|word| !word.eq_ignore_ascii_case("confirm"))
        || command.words.len() > 2
    {
        let partitions = count(topic.partitions.into(), "partition");
        let what = format!("this would delete {name} with its {partitions} for ever");
        return Err(WireError::bad_request(what).hint(format!("DROP {name} CONFIRM")).into());
    }
    let (gone, _) = session.ask(service, &DeleteTopic { topic: topic.name }, Vec::new()).await?;
    Ok(Status::ok().with("topic", name).with("id", gone.topic_id).with("deleted", true))
}
