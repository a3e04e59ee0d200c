use crate::arguments::Cli;
use crate::config;
use crate::config::table::{GLOBAL, Setting};
use crate::context::Context;
use crate::table;
use clap::{Args, CommandFactory as _};
use serde::Serialize;

/// List all settings: flag, variable, default.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak config list
  yak config list broker
  yak config list --output json | jq -r '.[].variable'")]
pub struct ListArgs {
    /// Of which process [default: all of them]
    #[arg(value_parser = super::processes())]
    process: Option<String>,
}

#[derive(Serialize)]
struct Row {
    process: Option<&'static str>,
    flag: String,
    variable: String,
    also: Vec<&'static str>,
    default: Option<String>,
    choices: Vec<String>,
    help: String,
}

pub fn run(args: &ListArgs, context: &Context) -> anyhow::Result<()> {
    let cli = config::prepare(Cli::command());
    let wanted = |setting: &Setting| {
        args.process.as_ref().is_none_or(|process| setting.section == GLOBAL || setting.section == process)
    };
    let rows: Vec<Row> = config::all_settings(&cli).into_iter().filter(wanted).map(row).collect();
    let cells: Vec<_> = rows.iter().map(cells).collect();
    Ok(table::print(context, &["PROCESS", "FLAG", "VARIABLE", "ALSO", "DEFAULT"], &cells, &rows)?)
}

fn row(setting: Setting) -> Row {
    Row {
        process: (setting.section != GLOBAL).then_some(setting.section),
        variable: setting.variable(),
        also: setting.seeds.iter().map(|seed| seed.name).collect(),
        flag: format!("--{}", setting.flag),
        default: setting.default,
        choices: setting.choices,
        help: setting.help,
    }
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.process.unwrap_or("any").to_owned(),
        row.flag.clone(),
        row.variable.clone(),
        if row.also.is_empty() { "-".to_owned() } else { row.also.join(", ") },
        row.default.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
