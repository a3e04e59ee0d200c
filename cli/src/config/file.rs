//! The file of settings: TOML, with a section for each command.

use super::table::{GLOBAL, Kind, Section, Setting};
use clap::Command;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use yak_protocol::names::nearest;

/// A file of settings, read and known to name only what there is.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it sets, from top to bottom.
    pub entries: Vec<Entry>,
}

/// A line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its section.
    pub section: &'static str,
    /// The id of the setting.
    pub id: String,
    /// Its values: one, but for a list.
    pub values: Vec<String>,
    /// Where the key stands, from 1.
    pub line: usize,
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub fn read(path: &Path, cli: &Command) -> Result<Self, Vec<String>> {
        let (file, wrong) = Self::look(path, cli);
        if wrong.is_empty() { Ok(file) } else { Err(wrong) }
    }

    /// What can be read of it, and everything that is wrong with the rest.
    #[must_use]
    pub fn look(path: &Path, cli: &Command) -> (Self, Vec<String>) {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text, cli),
            Err(error) => {
                let wrong = format!("cannot read the settings in {}: {error}", path.display());
                (Self { path: path.to_owned(), entries: Vec::new() }, vec![wrong])
            }
        }
    }

    fn parse(path: &Path, text: &str, cli: &Command) -> (Self, Vec<String>) {
        let mut reading = Reading { path, text, cli, entries: Vec::new(), wrong: Vec::new() };
        match DeTable::parse(text) {
            Ok(document) => reading.document(document.get_ref()),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                reading.refuse(at, error.message());
            }
        }
        let Reading { mut entries, mut wrong, .. } = reading;
        entries.sort_by_key(|entry| entry.line);
        wrong.sort();
        (Self { path: path.to_owned(), entries }, wrong.into_iter().map(|(_, what)| what).collect())
    }

    /// What it says about a setting.
    #[must_use]
    pub fn entry(&self, setting: &Setting) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.section == setting.section && entry.id == setting.id)
    }
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    cli: &'a Command,
    entries: Vec<Entry>,
    wrong: Vec<(usize, String)>,
}

impl Reading<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    fn refuse(&mut self, at: usize, what: &str) {
        let line = self.line(at);
        self.wrong.push((line, format!("{}:{line}: {what}", self.path.display())));
    }

    fn document(&mut self, document: &DeTable<'_>) {
        for (key, value) in document {
            let name: &str = key.get_ref();
            match (value.get_ref(), Section::named(name).filter(|section| section.name != GLOBAL)) {
                (DeValue::Table(table), Some(section)) => self.section(section, table),
                (DeValue::Table(_), None) => {
                    let names: Vec<_> = Section::commands().collect();
                    let near = nearest(name, names.iter().copied());
                    let near = near.map(|near| format!("; did you mean [{near}]?")).unwrap_or_default();
                    let what = format!("there is no section [{name}], only [{}]{near}", names.join("], ["));
                    self.refuse(key.span().start, &what);
                }
                (_, Some(_)) => {
                    self.refuse(key.span().start, &format!("{name} is a section: write [{name}]"));
                }
                (value, None) => {
                    let global = Section::named(GLOBAL).into_iter();
                    let settings = global.flat_map(|section| section.settings(self.cli)).collect::<Vec<_>>();
                    self.key(GLOBAL, &settings, name, key.span().start, value);
                }
            }
        }
    }

    fn section(&mut self, section: Section, table: &DeTable<'_>) {
        let settings = section.settings(self.cli);
        for (key, value) in table {
            self.key(section.name, &settings, key.get_ref(), key.span().start, value.get_ref());
        }
    }

    fn key(
        &mut self,
        section: &'static str,
        settings: &[Setting],
        name: &str,
        at: usize,
        value: &DeValue<'_>,
    ) {
        let flag = name.replace('_', "-");
        let Some(setting) = settings.iter().find(|setting| setting.flag == flag) else {
            let what = self.unknown(section, settings, name, &flag);
            return self.refuse(at, &what);
        };
        if self.entries.iter().any(|entry| entry.section == section && entry.id == setting.id) {
            return self.refuse(at, &format!("{flag} is set a second time"));
        }
        match values(setting, value) {
            Ok(values) => {
                let line = self.line(at);
                self.entries.push(Entry { section, id: setting.id.clone(), values, line });
            }
            Err(wanted) => {
                let found = value.type_str();
                self.refuse(at, &format!("{name} is {wanted}, not of type {found}: {}", setting.help));
            }
        }
    }

    fn unknown(&self, section: &str, settings: &[Setting], name: &str, flag: &str) -> String {
        let place =
            if section == GLOBAL { "above the sections".to_owned() } else { format!("in [{section}]") };
        let has = |other: &Section| other.settings(self.cli).iter().any(|setting| setting.flag == flag);
        let others: Vec<String> = super::table::SECTIONS
            .iter()
            .filter(|other| other.name != section && has(other))
            .map(|other| match other.name {
                GLOBAL => "above the sections".to_owned(),
                name => format!("in [{name}]"),
            })
            .collect();
        let hint = if !others.is_empty() {
            format!("it belongs {}", others.join(" or "))
        } else if let Some(near) = nearest(flag, settings.iter().map(|setting| setting.flag.as_str())) {
            format!("did you mean {near}?")
        } else {
            "`yak config list` shows those that there are".to_owned()
        };
        format!("there is no setting {name} {place}; {hint}")
    }
}

/// The values as text, or what is wanted instead.
fn values(setting: &Setting, value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    match (setting.kind, value) {
        (Kind::Switch, DeValue::Boolean(is)) => Ok(vec![is.to_string()]),
        (Kind::Switch, _) => Err("true or false"),
        (Kind::List, DeValue::Array(items)) if items.is_empty() => {
            Err("a list with something in it; leave it out for the default")
        }
        (Kind::List, DeValue::Array(items)) => {
            items.iter().map(|item| scalar(item.get_ref()).ok_or("a list of texts")).collect()
        }
        (Kind::List, other) => Ok(vec![scalar(other).ok_or("a list of texts")?]),
        (Kind::Value, other) => Ok(vec![scalar(other).ok_or("a text or a number")?]),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}
