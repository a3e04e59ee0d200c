//! `yak why`: what is wrong, and what to do about it.

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{connect, table};
use clap::Args;
use std::time::Duration;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, PartitionIndex};
use yak_protocol::message::{MetadataReply, Why, WhyReply};
use yak_protocol::names::nearest;
use yak_protocol::net::{Cluster, RequestError};

/// How long one process may take to answer: it asks others.
const ASK_MAX: Duration = Duration::from_secs(10);

/// Say what is wrong and what to do: with a partition, a topic, a broker, or the whole cluster.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak why
  yak why orders/2
  yak why broker 3
  yak why orders --output json | jq '.causes[].cause'")]
pub struct WhyArgs {
    /// A topic, topic/partition, or `broker` and its number or name; nothing = the whole cluster
    #[arg(num_args = 0..=2, value_name = "TOPIC[/PARTITION] | broker BROKER")]
    about: Vec<String>,
}

/// Asks, and prints what is answered.
///
/// # Errors
/// When the cluster cannot be reached, or what is asked about does not exist.
pub async fn run(args: WhyArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let why = asked(&args.about, &metadata)?;
    let answer = ask(&cluster, &metadata, &why).await?;
    if context.json() {
        return Ok(table::print_json(&answer)?);
    }
    Ok(table::print_line(&answer.text)?)
}

fn asked(about: &[String], metadata: &MetadataReply) -> Result<Why, Failure> {
    let why = Why { forward: true, ..Why::default() };
    match about {
        [] => Ok(why),
        [kind, name] if kind == "broker" => Ok(Why { broker: Some(broker(name, metadata)?), ..why }),
        [place] => match place.split_once('/') {
            None => Ok(Why { topic: Some(place.clone()), ..why }),
            Some((topic, partition)) => {
                let wrong = |_| {
                    Failure::new(
                        exit::USAGE,
                        format!("{place}: {partition} is not the number of a partition"),
                    )
                };
                let partition = Some(PartitionIndex(partition.parse().map_err(wrong)?));
                Ok(Why { topic: Some(topic.to_owned()), partition, ..why })
            }
        },
        [first, ..] => Err(Failure::new(
            exit::USAGE,
            format!("{first}: only `broker` has a second word, as in `yak why broker 3`"),
        )),
    }
}

fn broker(name: &str, metadata: &MetadataReply) -> Result<BrokerId, Failure> {
    if let Ok(id) = name.parse() {
        return Ok(BrokerId(id));
    }
    let named = metadata.brokers.iter().find(|broker| broker.name == name);
    named.map(|broker| broker.id).ok_or_else(|| {
        let near = nearest(name, metadata.brokers.iter().map(|broker| broker.name.as_str()));
        let hint = near.map_or_else(
            || "; `yak broker list` shows those that exist".to_owned(),
            |near| format!("; did you mean {near}?"),
        );
        Failure::new(exit::NOT_FOUND, format!("there is no broker {name}{hint}"))
    })
}

/// Asks one process after the other until one answers: the given addresses, then what the metadata names.
async fn ask(cluster: &Cluster, metadata: &MetadataReply, why: &Why) -> Result<WhyReply, Failure> {
    let named = metadata.brokers.iter().map(|broker| broker.address.as_str()).chain(metadata.coordinators());
    let mut last = "nobody was asked".to_owned();
    for address in cluster.bootstrap().iter().map(String::as_str).chain(named) {
        let connection = match cluster.connection_to(address).await {
            Ok(connection) => connection,
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        let pending = match connection.start(why, Vec::new()) {
            Ok(pending) => pending,
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        match pending.within(ASK_MAX).await {
            Ok(answer) => return Ok(answer.body),
            Err(RequestError::Refused(error))
                if !matches!(error.code, ErrorCode::NotReady | ErrorCode::NotActive) =>
            {
                return Err(refused(&error));
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(Failure::new(exit::UNREACHABLE, format!("nobody can say why: {last}")))
}

fn refused(error: &WireError) -> Failure {
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::new(exit::NOT_FOUND, format!("{}{hint}", error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_asked() {
        let ask = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            asked(&words, &MetadataReply::default())
        };
        let everything = ask(&[]).expect("nothing is named");
        assert_eq!(everything, Why { forward: true, ..Why::default() });
        let partition = ask(&["orders/2"]).expect("a partition");
        assert_eq!(
            (partition.topic.as_deref(), partition.partition),
            (Some("orders"), Some(PartitionIndex(2)))
        );
        assert_eq!(ask(&["broker", "3"]).expect("a broker").broker, Some(BrokerId(3)));
        assert_eq!(ask(&["broker"]).expect("a topic of that name").topic.as_deref(), Some("broker"));
        for wrong in [&["orders/two"][..], &["orders", "2"], &["broker", "three"]] {
            assert!(ask(wrong).is_err(), "{wrong:?}");
        }
    }
}
