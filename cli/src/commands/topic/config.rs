//! `yak topic config`: shows and changes what a topic is told.

use super::{find, known_everywhere};
use crate::context::Context;
use crate::operate::Operator;
use clap::{Args, Subcommand};
use serde::Serialize;
use yak_protocol::message::{AlterTopic, AlterTopicReply, SettingChange, TopicInfo};
use yak_protocol::topic_settings::{self, MIN_ISR, SETTINGS};

/// Show or change the settings of a topic.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic config get orders
  yak topic config set orders retention_ms=7d cleanup=both
  yak topic config set orders min_isr=1 --dry-run
  yak topic config reset orders retention_ms")]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Show every setting with its value, its default and where the value is from
    Get {
        /// Its name
        #[arg(value_name = "TOPIC")]
        topic: String,
        /// Which settings [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Change settings
    Set {
        /// Its name
        #[arg(value_name = "TOPIC")]
        topic: String,
        /// Settings, as in retention_ms=7d
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = pair)]
        settings: Vec<(String, String)>,
        /// Change nothing, and show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Give settings their defaults
    Reset {
        /// Its name
        #[arg(value_name = "TOPIC")]
        topic: String,
        /// Which settings
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Change nothing, and show what would change
        #[arg(long)]
        dry_run: bool,
    },
}

/// `name=value`, if there is such a setting.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not name=value"))?;
    topic_settings::known(name)
        .map_err(|error| format!("{}; {}", error.message, error.hint.unwrap_or_default()))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Serialize, PartialEq, Eq, Debug)]
struct Row {
    setting: &'static str,
    value: String,
    default: String,
    /// `topic`: it was set for this topic; `default`.
    origin: &'static str,
    takes: &'static str,
    meaning: &'static str,
}

pub(super) async fn run(args: ConfigArgs, context: Context) -> anyhow::Result<()> {
    let operator = Operator::reach(context).await?;
    let (topic, set, dry_run) = match args.command {
        ConfigCommand::Get { topic, names } => {
            for name in &names {
                topic_settings::known(name).map_err(super::usage)?;
            }
            let rows = rows(find(&operator.metadata, &topic)?, &names);
            return show(&operator, &rows);
        }
        ConfigCommand::Set { topic, settings, dry_run } => {
            let set = settings.into_iter().map(|(name, value)| SettingChange(name, Some(value)));
            (topic, set.collect(), dry_run)
        }
        ConfigCommand::Reset { topic, names, dry_run } => {
            for name in &names {
                topic_settings::known(name).map_err(super::usage)?;
            }
            (topic, names.into_iter().map(|name| SettingChange(name, None)).collect(), dry_run)
        }
    };
    find(&operator.metadata, &topic)?;
    let reply = operator.ask(&AlterTopic { topic, set, dry_run, ..AlterTopic::default() }).await?;
    changed(&operator, &reply, dry_run).await
}

/// Says what an alteration has changed, once every broker knows of it.
pub(super) async fn changed(
    operator: &Operator,
    reply: &AlterTopicReply,
    dry_run: bool,
) -> anyhow::Result<()> {
    if !dry_run && !reply.changed.is_empty() {
        known_everywhere(&operator.cluster, |known| known.topics.contains(&reply.topic)).await;
    }
    let (topic, verb) = (&reply.topic.name, if dry_run { "would become" } else { "is now" });
    if reply.changed.is_empty() {
        return operator.print(&format!("{topic}: nothing changes"), reply);
    }
    let value = |name: &String| match topic_settings::setting(name) {
        Ok(setting) => setting.get(&reply.topic.config),
        Err(_) if name == MIN_ISR => reply.topic.min_isr.to_string(),
        Err(_) => reply.topic.partitions.to_string(),
    };
    let line = |name: &String| format!("{topic}: {name} {verb} {}", value(name));
    let lines: Vec<String> = reply.changed.iter().map(line).collect();
    operator.print(&lines.join("\n"), reply)
}

fn rows(topic: &TopicInfo, names: &[String]) -> Vec<Row> {
    let origin = |value: &str, default: &str| if value == default { "default" } else { "topic" };
    let min_isr = topic.min_isr.to_string();
    let default = topic_settings::min_isr_default(topic).to_string();
    let first = Row {
        setting: MIN_ISR,
        origin: origin(&min_isr, &default),
        value: min_isr,
        default,
        takes: "a number of replicas",
        meaning: "how many replicas must be in sync before anything is acknowledged",
    };
    let others = SETTINGS.iter().map(|setting| {
        let (value, default) = (setting.get(&topic.config), setting.default_value());
        let origin = origin(&value, &default);
        Row { setting: setting.name, value, default, origin, takes: setting.takes, meaning: setting.meaning }
    });
    let wanted = |row: &Row| names.is_empty() || names.iter().any(|name| name == row.setting);
    [first].into_iter().chain(others).filter(wanted).collect()
}

fn show(operator: &Operator, rows: &[Row]) -> anyhow::Result<()> {
    let cells = |row: &Row| {
        vec![
            row.setting.to_owned(),
            row.value.clone(),
            row.default.clone(),
            row.origin.to_owned(),
            row.meaning.to_owned(),
        ]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    operator.table(&["SETTING", "VALUE", "DEFAULT", "ORIGIN", "MEANING"], &cells, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::TopicId;
    use yak_protocol::message::{KeySlots, TopicConfig};

    #[test]
    fn every_setting_has_a_row_and_an_origin() {
        let topic = TopicInfo {
            id: TopicId(1),
            name: "orders".to_owned(),
            partitions: 3,
            wanted_replicas: 3,
            min_isr: 1,
            config: TopicConfig { retention_ms: -1, ..TopicConfig::default() },
            key_slots: KeySlots::new(3),
        };
        let all = rows(&topic, &[]);
        assert_eq!(all.len(), SETTINGS.len() + 1);
        let set: Vec<_> = all.iter().filter(|row| row.origin == "topic").map(|row| row.setting).collect();
        assert_eq!(set, ["min_isr", "retention_ms"]);
        let one = rows(&topic, &["retention_ms".to_owned()]);
        assert_eq!(one.len(), 1);
        assert_eq!((one[0].value.as_str(), one[0].default.as_str()), ("-1", "604800000"));
    }

    #[test]
    fn pairs_name_a_setting() {
        assert_eq!(pair("retention_ms=7d"), Ok(("retention_ms".to_owned(), "7d".to_owned())));
        assert!(pair("retention_ms").is_err());
        assert!(pair("retention.ms=1").expect_err("unknown").contains("did you mean retention_ms?"));
    }
}
