//! `yak why`: what is wrong, and what to do about it.

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::operate::{self, Missed, Operator};
use clap::Args;
use yak_protocol::error::WireError;
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::{MetadataReply, Why};

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
    let operator = Operator::reach(context).await?;
    let why = asked(&args.about, &operator.metadata)?;
    let answer = operator.ask_anybody(&why).await.map_err(|missed| match missed {
        Missed::Refused(error) => refused(&error),
        Missed::Unanswered(why) => Failure::new(exit::UNREACHABLE, format!("nobody can say why: {why}")),
    })?;
    operator.print(&answer.text, &answer)
}

fn asked(about: &[String], metadata: &MetadataReply) -> Result<Why, Failure> {
    let why = Why { forward: true, ..Why::default() };
    match about {
        [] => Ok(why),
        [kind, name] if kind == "broker" => Ok(Why { broker: Some(operate::broker(name, metadata)?), ..why }),
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

fn refused(error: &WireError) -> Failure {
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::new(exit::NOT_FOUND, format!("{}{hint}", error.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::BrokerId;

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
