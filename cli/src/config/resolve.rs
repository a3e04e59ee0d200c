//! Which of those who set something is heard: flag, our variable, the variable of before, file, default.

use super::environment::Environment;
use super::file::File;
use super::table::{Kind, Section, Setting};
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Who set something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// It was typed.
    CommandLine,
    /// A variable of the environment.
    Environment {
        /// Which.
        variable: String,
    },
    /// The file of settings.
    File {
        /// Which.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
    },
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting with the value that counts.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Which.
    pub setting: Setting,
    /// Its values; none = there is none. Those of the command line as clap split them.
    pub values: Vec<String>,
    /// Who set it.
    pub origin: Origin,
    /// Who set it as well and is not heard.
    pub unheard: Vec<Origin>,
}

impl Resolved {
    /// The value in one line; empty = there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.values.join(",")
    }

    /// The value as it may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        // Its default is no secret, and may be in words.
        if self.origin == Origin::Default { self.text() } else { self.setting.shown(&self.text()) }
    }

    /// What was written, and where: for errors.
    #[must_use]
    pub fn said(&self) -> String {
        let (value, flag) = (self.shown(), &self.setting.flag);
        match &self.origin {
            Origin::CommandLine => format!("--{flag} {value}"),
            Origin::Environment { variable } => format!("{variable}={value}"),
            Origin::File { .. } => format!("{}: {flag} = {value}", self.origin),
            Origin::Default => format!("{flag} {value}"),
        }
    }

    /// The arguments that say the same.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let flag = &self.setting.flag;
        match (self.setting.kind, &self.origin) {
            (_, Origin::CommandLine | Origin::Default) => Vec::new(),
            (Kind::Switch, _) => vec![format!("--{flag}={}", self.text())],
            _ => self.values.iter().map(|value| format!("--{flag}={value}")).collect(),
        }
    }
}

/// The settings of a section: what was typed is in `typed`.
pub fn resolve(
    settings: Vec<Setting>,
    typed: &ArgMatches,
    environment: &Environment,
    file: Option<&File>,
) -> Vec<Resolved> {
    settings.into_iter().map(|setting| one(setting, typed, environment, file)).collect()
}

fn one(setting: Setting, typed: &ArgMatches, environment: &Environment, file: Option<&File>) -> Resolved {
    let mut set = Vec::new();
    if typed.value_source(&setting.id) == Some(ValueSource::CommandLine) {
        let raw = typed.get_raw(&setting.id).into_iter().flatten();
        let raw = raw.map(|value| value.to_string_lossy().into_owned());
        set.push((Origin::CommandLine, raw.collect()));
    }
    let seeds = setting.seeds.iter().map(|seed| seed.name.to_owned());
    for variable in std::iter::once(setting.variable()).chain(seeds) {
        if let Some(value) = environment.get(&variable) {
            set.push((Origin::Environment { variable }, split(&setting, value)));
        }
    }
    if let Some((file, entry)) = file.and_then(|file| Some((file, file.entry(&setting)?))) {
        set.push((Origin::File { path: file.path.clone(), line: entry.line }, entry.values.clone()));
    }
    let mut set = set.into_iter();
    let (origin, values) = set.next().unwrap_or((Origin::Default, Vec::new()));
    Resolved { setting, values, origin, unheard: set.map(|(origin, _)| origin).collect() }
}

fn split(setting: &Setting, value: &str) -> Vec<String> {
    match setting.kind {
        Kind::List => value.split(',').map(|part| part.trim().to_owned()).collect(),
        Kind::Switch | Kind::Value => vec![value.to_owned()],
    }
}

/// Variables with our prefix that set nothing, but nearly do.
pub fn misspelt(environment: &Environment, settings: &[Setting]) -> Vec<String> {
    let known: Vec<String> = settings.iter().map(Setting::variable).collect();
    let ours = Section::commands().map(|name| format!("YAK_{}_", name.to_ascii_uppercase()));
    let ours: Vec<String> = ours.collect();
    let strange = environment.names().filter(|name| {
        ours.iter().any(|prefix| name.starts_with(prefix)) && !known.iter().any(|known| known == name)
    });
    let note = |name: &str| {
        // Others may use the prefix, too, such as whoever lists services in variables.
        let near = yak_protocol::names::nearest(name, known.iter().map(String::as_str))?;
        Some(format!("{name} sets nothing; did you mean {near}?"))
    };
    strange.filter_map(note).collect()
}
