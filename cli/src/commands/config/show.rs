use crate::arguments::Cli;
use crate::commands::broker;
use crate::config::table::{GLOBAL, Kind, Section};
use crate::config::{self, Configured, Environment, Origin, Resolved, Stop};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::table;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _};
use serde::Serialize;
use std::ffi::OsString;

/// Show the values that a process would start with.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak config show
  yak config show broker --origin
  BROKER_ID=b2 yak config show broker --origin --config yak.toml -- --listen 127.0.0.1:9702")]
pub struct ShowArgs {
    /// Which process [default: all of them]
    #[arg(value_parser = super::processes())]
    process: Option<String>,
    /// Say who set each of them
    #[arg(long)]
    origin: bool,
    /// Print JSON (as --output json)
    #[arg(long)]
    json: bool,
    /// What would be typed after the process
    #[arg(last = true, value_name = "FLAGS", requires = "process")]
    flags: Vec<OsString>,
}

#[derive(Serialize)]
struct Shown {
    process: &'static str,
    settings: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// None = it has none, or one that only the process itself knows.
    value: Option<String>,
    /// The value for people: its default may be in words.
    #[serde(skip)]
    words: String,
    origin: Origin,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unheard: Vec<Origin>,
}

pub fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<()> {
    let wanted = Section::commands().filter(|name| args.process.as_ref().is_none_or(|wanted| wanted == name));
    let environment = Environment::of_process();
    let cli = config::prepare(Cli::command());
    let mut all = Vec::new();
    for process in wanted {
        let typed = typed(process, &args.flags, &context.configured);
        let told = match config::configure(&cli, &typed, &environment) {
            // What is published to is no setting, but has to be there.
            Err(Stop::Typed(error)) if error.kind() == ErrorKind::MissingRequiredArgument => {
                let mut typed = typed;
                let after = typed.iter().position(|word| word == process).map_or(typed.len(), |at| at + 1);
                typed.insert(after, "TOPIC".into());
                config::configure(&cli, &typed, &environment)
            }
            told => told,
        };
        match told {
            Ok(told) => all.push(shown(process, &told)),
            Err(Stop::Typed(error)) => error.exit(),
            Err(Stop::Refused(lines)) => return Err(Failure::new(exit::USAGE, lines.join("\n     ")).into()),
        }
    }
    if args.json || context.json() {
        return Ok(table::print_json(&all)?);
    }
    for (n, one) in all.iter().enumerate() {
        if args.process.is_none() {
            let gap = if n == 0 { "" } else { "\n" };
            table::print_line(&format!("{gap}yak {}", one.process))?;
        }
        print(one, args.origin, context)?;
    }
    Ok(())
}

/// What would be typed to start the process.
fn typed(process: &str, flags: &[OsString], own: &Configured) -> Vec<OsString> {
    let mut typed = vec![OsString::from("yak")];
    typed.extend(own.file.as_ref().map(|path| {
        let mut flag = OsString::from("--config=");
        flag.push(path);
        flag
    }));
    let global = own.settings.iter().filter(|one| one.setting.section == GLOBAL);
    for one in global.filter(|one| one.origin == Origin::CommandLine) {
        typed.push(format!("--{}={}", one.setting.flag, one.text()).into());
    }
    typed.push(process.into());
    typed.extend(flags.iter().cloned());
    typed
}

fn shown(process: &'static str, told: &Configured) -> Shown {
    let row = |one: &Resolved| {
        let value = value(one, &told.settings);
        let words = value.clone().filter(|value| !value.is_empty()).unwrap_or_else(|| "-".to_owned());
        let in_words = one.origin == Origin::Default && words.starts_with('(');
        Row {
            name: one.setting.flag.clone(),
            value: value.filter(|_| !in_words),
            words,
            origin: one.origin.clone(),
            unheard: one.unheard.clone(),
        }
    };
    Shown { process, settings: told.settings.iter().map(row).collect(), notes: told.notes.clone() }
}

/// The value as the process would have it; `None` = it has none.
fn value(one: &Resolved, all: &[Resolved]) -> Option<String> {
    let is_default = one.origin == Origin::Default;
    if is_default && (one.setting.section, one.setting.id.as_str()) == ("broker", "name") {
        let listen = all.iter().find(|other| other.setting.id == "listen").map(Resolved::text)?;
        let port = listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|port| *port != 0);
        // Port 0 is not known before it is bound.
        return port.map_or_else(|| one.setting.default.clone(), |port| Some(broker::default_name(port)));
    }
    match one.setting.kind {
        _ if one.values.is_empty() && is_default => None,
        Kind::Switch => Some(if is_yes(&one.text()) { "true" } else { "false" }.to_owned()),
        _ => Some(one.shown()),
    }
}

fn is_yes(text: &str) -> bool {
    // As clap's parser of such words has it; it has accepted this one.
    !matches!(text.to_ascii_lowercase().as_str(), "false" | "f" | "no" | "n" | "off" | "0")
}

fn print(shown: &Shown, with_origin: bool, context: &Context) -> anyhow::Result<()> {
    let row = |row: &Row| {
        let mut cells = vec![row.name.clone(), row.words.clone()];
        if with_origin {
            let unheard: Vec<_> = row.unheard.iter().map(ToString::to_string).collect();
            let over =
                if unheard.is_empty() { String::new() } else { format!(", over {}", unheard.join(", ")) };
            cells.push(format!("{}{over}", row.origin));
        }
        cells
    };
    let rows: Vec<_> = shown.settings.iter().map(row).collect();
    let headings: &[&str] = if with_origin { &["SETTING", "VALUE", "ORIGIN"] } else { &["SETTING", "VALUE"] };
    table::print(context, headings, &rows, &())?;
    for note in &shown.notes {
        tracing::warn!("{note}");
    }
    Ok(())
}
