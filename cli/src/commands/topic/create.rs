use crate::context::Context;
use crate::exit::{self, Failure};
use crate::text;
use crate::{connect, table};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};
use yak_protocol::message::{CreateTopic, CreateTopicReply, Durability, TopicConfig, Validate};
use yak_protocol::net::ClusterError;

/// How long making one topic may take.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// Make topics.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic create orders
  yak topic create orders payments -p 6 -r 3 --if-not-exists
  yak topic create clicks -c durability=replicated -c batch_bytes_max=4194304")]
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
    /// A setting: durability=fsync|replicated, min_isr=N, validate=header|deep, batch_bytes_max=BYTES
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<Setting>,
    /// A topic that exists already is fine
    #[arg(long)]
    if_not_exists: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Setting {
    MinIsr(u32),
    Durability(Durability),
    Validate(Validate),
    BatchBytesMax(u32),
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not name=value"))?;
    let number = || value.parse::<u32>().map_err(|_| format!("{name}={value} is not a number"));
    match (name, value) {
        ("min_isr", _) => number().map(Setting::MinIsr),
        ("batch_bytes_max", _) => number().map(Setting::BatchBytesMax),
        ("durability", "fsync") => Ok(Setting::Durability(Durability::Fsync)),
        ("durability", "replicated") => Ok(Setting::Durability(Durability::Replicated)),
        ("durability", _) => Err(format!("durability is fsync or replicated, not {value}")),
        ("validate", "header") => Ok(Setting::Validate(Validate::Header)),
        ("validate", "deep") => Ok(Setting::Validate(Validate::Deep)),
        ("validate", _) => Err(format!("validate is header or deep, not {value}")),
        _ => Err(format!(
            "there is no setting {name}; there are durability, min_isr, validate and batch_bytes_max"
        )),
    }
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
        for setting in &self.config {
            match *setting {
                Setting::MinIsr(min_isr) => request.min_isr = Some(min_isr),
                Setting::Durability(durability) => request.config.durability = durability,
                Setting::Validate(validate) => request.config.validate = validate,
                Setting::BatchBytesMax(bytes) => request.config.batch_bytes_max = bytes,
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
