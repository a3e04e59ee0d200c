//! What a process was told, and by whom.

use super::table::Table;
use std::collections::BTreeMap;

/// Which settings were given, by name, and where: `command line`, `environment LEASE_TIME_SECONDS`,
/// `/etc/yak.toml:3`. What is not in it has its
/// default.
pub type Sources = BTreeMap<String, String>;

/// The settings of a process in use, in the order in which they are shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings(Vec<Setting>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Setting {
    name: &'static str,
    value: String,
    source: String,
}

impl Settings {
    /// Adds one that can be given.
    pub fn given(&mut self, sources: &Sources, name: &'static str, value: impl ToString) {
        let source = sources.get(name).map_or("default", String::as_str);
        self.0.push(Setting { name, value: value.to_string(), source: source.to_owned() });
    }

    /// Adds one that only a program can change that starts the process' parts itself.
    pub fn by_program<T: PartialEq + ToString>(&mut self, name: &'static str, value: T, default: T) {
        let source = if value == default { "default" } else { "program" };
        self.0.push(Setting { name, value: value.to_string(), source: source.to_owned() });
    }

    /// Adds a limit that is compiled in.
    pub fn built_in(&mut self, name: &'static str, value: impl ToString) {
        self.0.push(Setting { name, value: value.to_string(), source: "built in".to_owned() });
    }

    /// Those whose name begins with `prefix`, in any case: name, value and source.
    #[must_use]
    pub fn table(&self, prefix: &str) -> Table {
        let mut table = Table::new(&["SETTING", "VALUE", "SOURCE"]);
        for Setting { name, value, source } in &self.0 {
            if name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)) {
                table.push([*name, value.as_str(), source.as_str()]);
            }
        }
        table
    }

    /// As the word `conf` answers: `name=value` lines.
    #[must_use]
    pub fn conf(&self) -> String {
        let line = |setting: &Setting| format!("{}={}", setting.name, setting.value);
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Format;

    #[test]
    fn each_has_a_source() {
        let mut settings = Settings::default();
        let sources = Sources::from([("listen".to_owned(), "command line".to_owned())]);
        settings.given(&sources, "listen", "127.0.0.1:9701");
        settings.given(&sources, "rack", "");
        settings.built_in("limit_bytes", 5);
        assert_eq!(settings.conf(), "listen=127.0.0.1:9701\nrack=\nlimit_bytes=5");
        let lines = [
            "setting=listen value=127.0.0.1:9701 source=\"command line\"",
            "setting=limit_bytes value=5 source=\"built in\"",
        ];
        assert_eq!(settings.table("LI").lines(Format::Kv), lines);
    }
}
