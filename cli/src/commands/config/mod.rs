//! `yak config`: what a process is told by flags, variables and a file, without starting it.

mod check;
mod list;
mod show;

use crate::config::table::Section;
use crate::context::Context;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

/// Show what a process would be told by flags, variables and a file.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak config show broker --origin
  yak config show coordinator --config yak.toml -- --listen 127.0.0.1:9800
  yak config check --config yak.toml
  yak config list")]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with settings.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Show the values that a process would start with
    Show(show::ShowArgs),
    /// Check a file of settings
    Check(check::CheckArgs),
    /// List all settings: flag, variable, default
    List(list::ListArgs),
}

/// Runs one of them.
///
/// # Errors
/// When what a process would be told cannot be used.
pub fn run(args: ConfigArgs, context: &Context) -> anyhow::Result<()> {
    match args.command {
        ConfigCommand::Show(args) => show::run(&args, context),
        ConfigCommand::Check(args) => check::run(args, context),
        ConfigCommand::List(args) => list::run(&args, context),
    }
}

/// The commands that have settings.
fn processes() -> PossibleValuesParser {
    PossibleValuesParser::new(Section::commands())
}

/// Where settings stand that every command has.
const EVERY_COMMAND: &str = "every command";
