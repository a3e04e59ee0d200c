use super::config::pair;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::text;
use crate::{connect, table};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};
use yak_protocol::message::{CreateTopic, CreateTopicReply, TopicConfig};
use yak_protocol::net::ClusterError;
use yak_protocol::topic_settings::{self, MIN_ISR};

/// How long making one topic may take.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// Make topics.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic create orders
  yak topic create orders payments -p 6 -r 3 --if-not-exists
  yak topic create clicks -c durability=replicated -c batch_bytes_max=4m
  yak topic create events -c retention_ms=30d -c retention_bytes=10g")]
pub struct CreateArgs {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// How many partitions [default: as the coordinator says, 3]
    #[arg(short, long, value_name = "N")]
    partitions: Option<u32>,
    /// How many replicas of each [default: as the coordinator says, 3, if there are as many brokers]
    #[arg(short, long, alias = "replication-factor", value_name = "N")]
    replicas: Option<u32>,
    /// A setting, as in retention_ms=7d; `yak topic config get` shows them all
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// A topic that exists already is fine
    #[arg(long)]
    if_not_exists: bool,
}

/// `name=value`, if the setting can have that value.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text)?;
    if name == MIN_ISR {
        value.parse::<u32>().map_err(|_| format!("{text} is not a number"))?;
    } else {
        let mut config = TopicConfig::default();
        let set = topic_settings::setting(&name).and_then(|known| known.set(&mut config, Some(&value)));
        set.map_err(|error| error.message)?;
    }
    Ok((name, value))
}

impl CreateArgs {
    fn request(&self, topic: &str) -> CreateTopic {
        let mut request = CreateTopic {
            topic: topic.to_owned(),
            partitions: self.partitions,
            replicas: self.replicas,
            min_isr: None,
            config: TopicConfig::default(),
            if_not_exists: self.if_not_exists,
            auto: false,
        };
        for (name, value) in &self.config {
            if name == MIN_ISR {
                request.min_isr = value.parse().ok();
            } else if let Ok(known) = topic_settings::setting(name) {
                // It was checked when the arguments were read.
                let _ = known.set(&mut request.config, Some(value));
            }
        }
        request
    }
}

#[derive(Serialize)]
struct Row {
    topic: String,
    status: String,
    created: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(args: CreateArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, _) = connect::reach(&context, connect::BRIEFLY).await?;
    let mut rows = Vec::new();
    let mut failure: Option<anyhow::Error> = None;
    for topic in &args.topics {
        let request = args.request(topic);
        let deadline = Instant::now() + CREATE_TIMEOUT;
        let outcome = tokio::select! {
            outcome = cluster.request_any(&request, Vec::new(), deadline.into()) => outcome,
            () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
        };
        rows.push(match outcome {
            Ok(answer) => {
                let id = answer.body.topic.id;
                super::known_everywhere(&cluster, |known| known.topics.iter().any(|topic| topic.id == id))
                    .await;
                made(topic, &answer.body)
            }
            Err(error) => {
                let row = refused(topic, &error);
                failure.get_or_insert_with(|| error.into());
                row
            }
        });
    }
    let cells: Vec<_> = rows.iter().map(|row| vec![row.topic.clone(), row.status.clone()]).collect();
    table::print(&context, &["TOPIC", "STATUS"], &cells, &rows)?;
    match failure {
        None => Ok(()),
        // The table has said it; only the exit code is left.
        Some(error) => Err(Failure::new(exit::code_of(&error), "").into()),
    }
}

fn made(topic: &str, made: &CreateTopicReply) -> Row {
    let (partitions, replicas, wanted) = (made.topic.partitions, made.replicas, made.topic.wanted_replicas);
    let verb = if made.created { "made" } else { "exists" };
    let fewer = if replicas < wanted {
        format!(" of {wanted} wanted (more as brokers appear)")
    } else {
        String::new()
    };
    Row {
        topic: topic.to_owned(),
        status: format!(
            "{verb}: {}, {}{fewer}",
            text::count(partitions.into(), "partition"),
            text::count(replicas.into(), "replica")
        ),
        created: made.created,
        partitions: Some(partitions),
        replicas: Some(replicas),
        error: None,
    }
}

fn refused(topic: &str, error: &ClusterError) -> Row {
    let hint = match error {
        ClusterError::Refused(refusal) => {
            refusal.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default()
        }
        _ => String::new(),
    };
    Row {
        topic: topic.to_owned(),
        status: format!("{error}{hint}"),
        created: false,
        partitions: None,
        replicas: None,
        error: Some(error.code().name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::message::{Durability, Validate};

    #[test]
    fn settings_become_the_request() {
        let args = CreateArgs {
            topics: vec!["a".to_owned()],
            partitions: Some(2),
            replicas: None,
            config: ["min_isr=1", "durability=replicated", "validate=deep", "batch_bytes_max=9"]
                .map(|text| setting(text).expect(text))
                .to_vec(),
            if_not_exists: true,
        };
        let request = args.request("a");
        assert_eq!(request.min_isr, Some(1));
        assert_eq!(
            request.config,
            TopicConfig {
                durability: Durability::Replicated,
                validate: Validate::Deep,
                batch_bytes_max: 9,
                ..TopicConfig::default()
            }
        );
        assert!(request.if_not_exists && !request.auto);
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        assert!(setting("durability=paper").expect_err("unknown").contains("replicated"));
        assert!(setting("colour=red").expect_err("unknown").contains("min_isr"));
        assert!(setting("min_isr=x").is_err());
        assert!(setting("min_isr").is_err());
    }
}
