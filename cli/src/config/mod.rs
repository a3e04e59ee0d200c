//! What a process is told, and by whom: flags, variables, and a file, in this order (docs/CONFIG.md).
//!
//! What was typed is read first. What variables and the file say beside that is then put into words of the
//! command line, and the whole is read once more: so there is one place that knows values and what is wrong with
//! them, the definitions of the commands.

mod environment;
mod file;
mod pairs;
mod refusal;
mod resolve;
pub mod seeds;
pub mod table;
#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use file::File;
pub use resolve::{Origin, Resolved};

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use table::{GLOBAL, Kind, Section, Setting};
use yak_protocol::text::Sources;

/// The id of `--config`.
pub const CONFIG_FILE: &str = "config_file";
/// The variable that names the file.
pub const CONFIG_VARIABLE: &str = "YAK_CONFIG";

/// Why nothing is started.
#[derive(Debug)]
pub enum Stop {
    /// Clap says it: help, the version, or what was typed wrongly.
    Typed(clap::Error),
    /// What variables or the file say cannot be used: a line for each.
    Refused(Vec<String>),
}

/// What a command was told.
#[derive(Clone, Debug)]
pub struct Configured {
    /// All of it, as though it had been typed.
    pub matches: ArgMatches,
    /// The settings that every command has, and those of this one.
    pub settings: Vec<Resolved>,
    /// The file that some of them may be from.
    pub file: Option<PathBuf>,
    /// What is said about variables that do nothing.
    pub notes: Vec<String>,
}

impl Configured {
    /// Who set what, but for what nobody did: as `CONF` shows it.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let set = self.settings.iter().filter(|one| one.origin != Origin::Default);
        set.map(|one| (one.setting.id.clone(), one.origin.to_string())).collect()
    }

    /// Which settings of these were set by a variable or the file: what an error that repeats their values
    /// should be told with.
    #[must_use]
    pub fn explain(&self, error: &str) -> Option<String> {
        let elsewhere =
            |one: &&Resolved| matches!(one.origin, Origin::Environment { .. } | Origin::File { .. });
        let repeated = |one: &&Resolved| {
            let value = one.shown();
            value.len() > 2 && error.contains(&value)
        };
        let found = self.settings.iter().filter(elsewhere).filter(repeated);
        let found: Vec<_> =
            found.map(|one| format!("--{} is set by {}", one.setting.flag, one.origin)).collect();
        (!found.is_empty()).then(|| found.join(", "))
    }
}

/// The commands, with what every setting takes besides its flag.
#[must_use]
pub fn prepare(cli: Command) -> Command {
    let file = Arg::new(CONFIG_FILE)
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A file with settings (docs/CONFIG.md)")
        .help_heading("Global options");
    let mut cli = with_file(cli, &file);
    for section in table::SECTIONS {
        let settings = section.settings(&cli);
        let change = |command: Command| settings.iter().fold(command, with_seeds);
        cli = match section.name {
            GLOBAL => change(cli),
            name => cli.mut_subcommand(name, |command| with_footer(change(command), name)),
        };
    }
    cli
}

/// `--config` for a command and all below it, but for those that call something else so.
fn with_file(command: Command, file: &Arg) -> Command {
    let taken = command.get_arguments().any(|arg| arg.get_long() == file.get_long());
    let command = if taken { command } else { command.arg(file.clone()) };
    command.mut_subcommands(|below| with_file(below, file))
}

fn with_seeds(command: Command, setting: &Setting) -> Command {
    command.mut_arg(&setting.id, |arg| {
        // What a section has follows from one rule, which its footer says.
        let own = (setting.section == GLOBAL).then(|| setting.variable());
        let names = own.into_iter().chain(setting.seeds.iter().map(|seed| seed.name.to_owned()));
        let names: Vec<_> = names.collect();
        let help = arg.get_help().map(ToString::to_string).filter(|_| !names.is_empty());
        let arg = match help {
            Some(help) => arg.help(format!("{help} [env: {}]", names.join(", "))),
            None => arg,
        };
        if setting.kind != Kind::Switch {
            return arg;
        }
        // So that what the file switches on can be switched off.
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(BoolishValueParser::new())
            .value_name("true|false")
            .hide_default_value(true)
            .hide_possible_values(true)
    })
}

fn with_footer(command: Command, name: &str) -> Command {
    let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let prefix = name.to_ascii_uppercase();
    command.after_long_help(format!(
        "{examples}\n\nWhat is not typed is taken from variables (YAK_{prefix}_.. and the flag's name), then from \
         the file that\n--config or {CONFIG_VARIABLE} names (section [{name}]). `yak config show {name} --origin` \
         shows what counts."
    ))
}

/// Reads what was typed, the variables and the file.
///
/// # Errors
/// When one of them cannot be used, or help is wanted.
pub fn configure(cli: &Command, typed: &[OsString], environment: &Environment) -> Result<Configured, Stop> {
    let first = cli.clone().try_get_matches_from(typed).map_err(|error| refusal::typed(cli, error))?;
    let path = file_named(&first, environment);
    let file = match &path {
        // What looks at files and lists settings works with a broken file, too.
        Some(_) if looks_at_files(&first) => None,
        Some(path) => Some(File::read(path, cli).map_err(Stop::Refused)?),
        None => None,
    };
    let (innermost, section) = innermost(&first);
    let sections = Section::named(GLOBAL).into_iter().chain(section);
    let mut settings: Vec<Setting> = sections.flat_map(|section| section.settings(cli)).collect();
    if section.is_some_and(Section::is_server) {
        // Where clients start sets nothing in a server, and so is not read there.
        settings.iter_mut().filter(|one| one.section == GLOBAL).for_each(|one| one.seeds.clear());
    }
    readable(&settings, section, environment).map_err(Stop::Refused)?;
    let mut settings = resolve::resolve(settings, innermost, environment, file.as_ref());

    let matches = again(cli, typed, &settings).map_err(|error| refusal::refused(&settings, &error))?;
    for one in settings.iter_mut().filter(|one| one.origin == Origin::Default) {
        one.values = one.setting.default.iter().cloned().collect();
    }
    let mut notes = Vec::new();
    if let Some(section) = section {
        if let Some(wrong) = pairs::lease(section, &settings) {
            return Err(Stop::Refused(vec![wrong]));
        }
        notes.extend(seeds::notes(section, &settings, environment));
        notes.extend(resolve::misspelt(environment, &all_settings(cli)));
    }
    Ok(Configured { matches, settings, file: path, notes })
}

/// Refuses variables of these settings that are no text.
fn readable(
    settings: &[Setting],
    section: Option<Section>,
    environment: &Environment,
) -> Result<(), Vec<String>> {
    let own = settings.iter().flat_map(|one| {
        std::iter::once(one.variable()).chain(one.seeds.iter().map(|seed| seed.name.to_owned()))
    });
    let redis = seeds::SEEDS.iter().filter(|seed| seed.does == seeds::Does::Redis);
    let redis = redis.filter(|_| section.is_some_and(Section::is_server)).map(|seed| seed.name.to_owned());
    let all = own.chain(redis).chain([CONFIG_VARIABLE.to_owned()]);
    let wrong: Vec<_> = all.filter(|name| environment.is_no_text(name)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.iter().map(|name| format!("{name} cannot be used: its value is not UTF-8")).collect())
}

/// Whether a variable of this name tells some command of this program something.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    name.starts_with("YAK_") || seeds::SEEDS.iter().any(|seed| seed.name == name)
}

/// Every setting of every command.
#[must_use]
pub fn all_settings(cli: &Command) -> Vec<Setting> {
    table::SECTIONS.iter().flat_map(|section| section.settings(cli)).collect()
}

/// Checks every value of a file, each by itself and then those of a section together.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(cli: &Command, path: &Path) -> Result<File, Vec<String>> {
    let (file, mut wrong) = File::look(path, cli);
    let nobody = Environment::default();
    for section in table::SECTIONS {
        let command = if section.name == GLOBAL { "cluster" } else { section.name };
        let mut typed = vec![OsString::from("yak"), command.into()];
        typed.extend((section.name == GLOBAL).then(|| "info".into()));
        typed.extend((section.name == "produce").then(|| "topic".into()));
        let Ok(first) = cli.clone().try_get_matches_from(&typed) else { continue };
        let (typed_matches, _) = innermost(&first);
        let settings = resolve::resolve(section.settings(cli), typed_matches, &nobody, Some(&file));
        let mut alone_wrong = false;
        let subsets = settings.iter().map(std::slice::from_ref).chain([&settings[..]]);
        for subset in subsets {
            let together = subset.len() > 1;
            if together && alone_wrong {
                continue;
            }
            if let Err(error) = again(cli, &typed, subset)
                && let Stop::Refused(said) = refusal::refused(subset, &error)
            {
                alone_wrong = true;
                wrong.extend(said);
            }
        }
        if !alone_wrong {
            wrong.extend(pairs::lease(section, &settings));
        }
    }
    if wrong.is_empty() { Ok(file) } else { Err(wrong) }
}

/// Reads what was typed together with what is set elsewhere.
fn again(cli: &Command, typed: &[OsString], settings: &[Resolved]) -> Result<ArgMatches, clap::Error> {
    let arguments = |global: bool| {
        let these = settings.iter().filter(move |one| (one.setting.section == GLOBAL) == global);
        these.flat_map(Resolved::arguments).map(OsString::from).collect::<Vec<_>>()
    };
    let mut all = typed.to_vec();
    // What follows `--` are no flags.
    let end = all.iter().position(|word| word == "--").unwrap_or(all.len());
    all.splice(end..end, arguments(false));
    let start = all.len().min(1);
    all.splice(start..start, arguments(true));
    cli.clone().try_get_matches_from(all)
}

/// What the last of the commands was told, and its section, if it has one.
fn innermost(matches: &ArgMatches) -> (&ArgMatches, Option<Section>) {
    let Some((name, first)) = matches.subcommand() else { return (matches, None) };
    let mut last = first;
    while let Some((_, next)) = last.subcommand() {
        last = next;
    }
    // `yak broker list` is no broker.
    let section = Section::named(name).filter(|_| std::ptr::eq(first, last));
    (last, section)
}

/// `yak config check` and `yak config list`.
fn looks_at_files(matches: &ArgMatches) -> bool {
    let Some(("config", config)) = matches.subcommand() else { return false };
    matches!(config.subcommand_name(), Some("check" | "list"))
}

/// The file that the innermost `--config` names, or else the variable.
fn file_named(matches: &ArgMatches, environment: &Environment) -> Option<PathBuf> {
    let mut found = None;
    let mut level = Some(matches);
    while let Some(matches) = level {
        // A command that calls something else so has no such id.
        if let Ok(Some(path)) = matches.try_get_one::<PathBuf>(CONFIG_FILE) {
            found = Some(path.clone());
        }
        level = matches.subcommand().map(|(_, inner)| inner);
    }
    found.or_else(|| environment.get(CONFIG_VARIABLE).map(PathBuf::from))
}
