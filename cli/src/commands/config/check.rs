use crate::arguments::Cli;
use crate::config::table::{GLOBAL, SECTIONS};
use crate::config::{self, CONFIG_VARIABLE};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{table, text};
use clap::{Args, CommandFactory as _};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Check a file of settings.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak config check yak.toml
  yak config check --config yak.toml
  YAK_CONFIG=/etc/yak.toml yak config check --output json")]
pub struct CheckArgs {
    /// The file [default: what --config or YAK_CONFIG names]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    settings: BTreeMap<&'static str, usize>,
}

pub fn run(args: CheckArgs, context: &Context) -> anyhow::Result<()> {
    let Some(path) = args.file.or_else(|| context.configured.file.clone()) else {
        let what = format!("no file is named: `yak config check FILE`, --config FILE or {CONFIG_VARIABLE}");
        return Err(Failure::new(exit::USAGE, what).into());
    };
    let cli = config::prepare(Cli::command());
    let file = config::check(&cli, &path)
        .map_err(|wrong| Failure::new(exit::CHECK_FAILED, wrong.join("\n     ")))?;
    let mut settings = BTreeMap::new();
    for entry in &file.entries {
        let section = if entry.section == GLOBAL { super::EVERY_COMMAND } else { entry.section };
        *settings.entry(section).or_default() += 1;
    }
    let checked = Checked { file: path, settings };
    if context.json() {
        return Ok(table::print_json(&checked)?);
    }
    let order = SECTIONS.iter().map(|section| match section.name {
        GLOBAL => super::EVERY_COMMAND,
        name => name,
    });
    let counts: Vec<_> = order
        .filter_map(|name| {
            Some(format!("{} of {name}", text::count(*checked.settings.get(name)? as u64, "setting")))
        })
        .collect();
    let found = if counts.is_empty() { "nothing is set".to_owned() } else { counts.join(", ") };
    table::print_line(&format!("{}: ok, {found}", checked.file.display()))?;
    Ok(())
}
