//! Every setting of every process. It is the definitions of the command line that are read here, so that a new
//! flag is a setting with a variable and a key of the file the moment it exists.

use super::seeds::{self, Seed};
use clap::{Arg, ArgAction, Command};

/// Commands with settings, each a section of the file. What else they take is about one run.
pub const SECTIONS: [Section; 5] = [
    Section { name: GLOBAL, takes: Takes::Only(&["brokers", "output"]) },
    Section { name: "coordinator", takes: Takes::AllBut(&[]) },
    Section { name: "broker", takes: Takes::AllBut(&[]) },
    Section { name: "dev", takes: Takes::AllBut(&["clean"]) },
    Section { name: "produce", takes: Takes::Only(&["acks", "compression", "settings"]) },
];

/// The section of what every command takes; its keys stand above all sections.
pub const GLOBAL: &str = "";

/// A command with settings.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What is typed.
    pub name: &'static str,
    takes: Takes,
}

/// Which arguments of a command are settings, by their id.
#[derive(Clone, Copy, Debug)]
enum Takes {
    AllBut(&'static [&'static str]),
    Only(&'static [&'static str]),
}

impl Section {
    /// The section of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SECTIONS.into_iter().find(|section| section.name == name)
    }

    /// The names of the commands that have a section.
    pub fn commands() -> impl Iterator<Item = &'static str> {
        SECTIONS.iter().map(|section| section.name).filter(|name| *name != GLOBAL)
    }

    /// Whether the command runs until it is stopped.
    #[must_use]
    pub fn is_server(self) -> bool {
        matches!(self.name, "coordinator" | "broker" | "dev")
    }

    fn takes(self, arg: &Arg) -> bool {
        let id = arg.get_id().as_str();
        let named = arg.get_long().is_some() && !["help", "version", super::CONFIG_FILE].contains(&id);
        named
            && match self.takes {
                Takes::AllBut(others) => !others.contains(&id),
                Takes::Only(these) => these.contains(&id),
            }
    }

    /// Its settings, in the order of `--help`.
    #[must_use]
    pub fn settings(self, cli: &Command) -> Vec<Setting> {
        let command = if self.name == GLOBAL { Some(cli) } else { cli.find_subcommand(self.name) };
        let arguments = command.into_iter().flat_map(Command::get_arguments);
        arguments.filter(|arg| self.takes(arg)).map(|arg| Setting::new(self.name, arg)).collect()
    }
}

/// What a setting takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Yes or no.
    Switch,
    /// One value.
    Value,
    /// Values separated by commas; a list in the file.
    List,
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The command that has it.
    pub section: &'static str,
    /// Its name in the program.
    pub id: String,
    /// The flag without dashes; the key in the file, too.
    pub flag: String,
    /// What it takes.
    pub kind: Kind,
    /// The value when nobody says anything, if there is one.
    pub default: Option<String>,
    /// What it is, in one line.
    pub help: String,
    /// What stands for its value in `--help`.
    pub value_name: String,
    /// Values that it takes, if there are few.
    pub choices: Vec<String>,
    /// Whether a value may hold a password.
    pub secret: bool,
    /// Names that other systems gave it.
    pub seeds: Vec<&'static Seed>,
}

impl Setting {
    fn new(section: &'static str, arg: &Arg) -> Self {
        let kind = match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            _ if is_switch(arg) => Kind::Switch,
            ArgAction::Append => Kind::List,
            _ if arg.get_value_delimiter().is_some() => Kind::List,
            _ => Kind::Value,
        };
        let id = arg.get_id().as_str();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (help, said) = split_default(&help);
        let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match kind {
            Kind::Switch => Some("false".to_owned()),
            _ if !values.is_empty() => Some(values.join(",")),
            _ => said.map(|said| format!("({said})")),
        };
        let names = arg.get_value_names().unwrap_or_default();
        let choices = match kind {
            Kind::Switch => Vec::new(),
            _ => arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        };
        Self {
            section,
            id: id.to_owned(),
            flag: arg.get_long().unwrap_or(id).to_owned(),
            kind,
            default,
            help,
            value_name: names.first().map(ToString::to_string).unwrap_or_default(),
            choices,
            secret: id == "lease_backend"
                || ["password", "secret", "token"].iter().any(|word| id.contains(word)),
            seeds: seeds::setting(section, id).collect(),
        }
    }

    /// Its variable in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = match self.section {
            GLOBAL => self.flag.clone(),
            section => format!("{section}_{}", self.flag),
        };
        format!("YAK_{}", name.replace('-', "_").to_ascii_uppercase())
    }

    /// The flag as it is typed.
    #[must_use]
    pub fn usage(&self) -> String {
        match self.kind {
            Kind::Switch => format!("--{}", self.flag),
            _ => format!("--{} <{}>", self.flag, self.value_name),
        }
    }

    /// The value as it may be shown.
    #[must_use]
    pub fn shown(&self, value: &str) -> String {
        match self.secret {
            // What is neither a URL nor a word may be all password.
            true if !value.contains("://") && !value.chars().all(|letter| letter.is_ascii_lowercase()) => {
                "***".to_owned()
            }
            true => masked(value),
            false if value.contains("://") || self.value_name.starts_with("HOST") => masked(value),
            false => value.to_owned(),
        }
    }
}

/// A flag that [`super::prepare`] lets take `=false`.
fn is_switch(arg: &Arg) -> bool {
    arg.is_require_equals_set() && arg.get_default_values().iter().any(|value| value == "false")
}

/// What a help text says in `[default: ..]`, which clap cannot know, apart from the rest.
fn split_default(help: &str) -> (String, Option<String>) {
    let help = help.split(" [env: ").next().unwrap_or_default();
    match help.split_once(" [default: ") {
        Some((what, default)) => (what.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (help.to_owned(), None),
    }
}

/// Options of URLs that are no secrets.
const OPEN: [&str; 2] = ["prefix", "ca"];

/// What somebody wrote, as it may be shown: without what stands before an `@`, and without the options of a URL but
/// for those that are known to be no secrets. Of a list, all before the last `@`: a password may hold a comma.
#[must_use]
pub fn masked(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('@') => (format!("{scheme}://"), rest),
        _ => (String::new(), value),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    match rest.split_once(['?', '#']) {
        Some((host, options)) if !scheme.is_empty() => {
            let option = |option: &str| match option.split_once('=') {
                Some((name, _)) if OPEN.contains(&name) => option.to_owned(),
                Some((name, _)) => format!("{name}=***"),
                None => "***".to_owned(),
            };
            let options: Vec<_> = options.split('&').map(option).collect();
            format!("{scheme}{host}?{}", options.join("&"))
        }
        _ => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(masked("redis"), "redis");
        assert_eq!(masked("redis://h:1/2?prefix=p"), "redis://h:1/2?prefix=p");
        assert_eq!(masked("redis://u:hunter2@h:1"), "redis://***@h:1");
        assert_eq!(masked("redis://u:p@hunter2@h:1"), "redis://***@h:1");
        assert_eq!(masked("u:hunter2@h"), "***@h");
        assert_eq!(masked("http://u:hun,ter2@h,http://u:hunter2@k:1"), "http://***@k:1");
        assert_eq!(
            masked("redis://h/0?password=hunter2&prefix=p&x#y=hunter2"),
            "redis://h/0?password=***&prefix=p&x#y=***"
        );
        assert_eq!(masked("127.0.0.1:9700,[::1]:9701"), "127.0.0.1:9700,[::1]:9701");
    }

    #[test]
    fn a_default_in_words_is_found() {
        assert_eq!(split_default("Its name [default: by host]"), ("Its name".into(), Some("by host".into())));
        assert_eq!(split_default("Its name [env: A, B]"), ("Its name".into(), None));
        assert_eq!(split_default("Its name"), ("Its name".into(), None));
    }
}
