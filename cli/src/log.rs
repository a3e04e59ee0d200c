//! Notes on stderr: time, level, sentence, fields. A server also remembers the last ones, for `LOG`.

use crate::arguments::Global;
use std::fmt::{Debug, Write as _};
use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};
use yak_protocol::net::{Levels, ListenerConfig, ProcessLog};

/// Of this process, as its subscriber is.
static REMEMBERED: OnceLock<ProcessLog> = OnceLock::new();

/// Starts logging to stderr. `YAK_LOG` (a tracing filter such as `debug` or `yak_broker=trace`) wins
/// over everything; otherwise servers say what happens, clients only notes to a person (`-v` for more)
/// and warnings to a pipe.
pub fn start(global: &Global, server: bool) {
    let person = std::io::stderr().is_terminal();
    let filter = match std::env::var("YAK_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        _ => default_filter(global, server || person).to_owned(),
    };
    let (layer, handle) = reload::Layer::new(EnvFilter::builder().parse_lossy(&filter));
    let remembered = server.then(|| {
        let levels = Filter { directives: Mutex::new(filter), handle };
        Remember(REMEMBERED.get_or_init(|| ProcessLog::new(levels)).clone())
    });
    let colour = person && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let shown = fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(global.verbose > 0);
    tracing_subscriber::registry().with(layer).with(shown).with(remembered).init();
}

/// The usual listener of a server: one that knows the log of the process.
#[must_use]
pub fn listener() -> ListenerConfig {
    ListenerConfig { log: REMEMBERED.get().cloned(), ..ListenerConfig::default() }
}

fn default_filter(global: &Global, notes: bool) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "error",
        // openraft tells every step of an election, and of each message to one who is silent that it was in vain;
        // what it amounts to is said by those who use it.
        (_, 0) if notes => "info,openraft=off",
        (_, 0) => "warn",
        (_, 1) => "info,yak=debug,openraft=warn",
        (_, 2) => "debug",
        _ => "trace",
    }
}

/// What is logged at all, and how that is changed.
struct Filter {
    directives: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Levels for Filter {
    fn filter(&self) -> String {
        self.directives.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, module: &str, level: &str) -> Result<String, String> {
        let mut directives = self.directives.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = with_level(&directives, module, level)?;
        let filter = EnvFilter::builder().parse(&wanted).map_err(|error| format!("{wanted}: {error}"))?;
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        tracing::info!(filter = wanted, "log levels were changed by hand");
        directives.clone_from(&wanted);
        Ok(wanted)
    }
}

/// The directives with those of the module replaced by this level.
fn with_level(directives: &str, module: &str, level: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = level.to_ascii_lowercase();
    if !LEVELS.contains(&level.as_str()) {
        return Err(format!("a level is one of {}, not {level}", LEVELS.join(", ")));
    }
    let of_path = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':');
    if module.is_empty() || (module != "*" && !module.chars().all(of_path)) {
        return Err(format!(
            "{module} is no module, such as yak_broker or yak_protocol::net; * is all others"
        ));
    }
    let others = directives.split(',').filter(|directive| match directive.split_once('=') {
        Some((name, _)) => name != module,
        None => module != "*" && *directive != module,
    });
    let own = if module == "*" { level } else { format!("{module}={level}") };
    Ok(others.map(str::to_owned).chain([own]).collect::<Vec<_>>().join(","))
}

/// Keeps what is logged.
struct Remember(ProcessLog);

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let meta = event.metadata();
        let level = match *meta.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        self.0.note(level, format!("{}: {}{}", meta.target(), said.sentence, said.fields));
    }
}

/// An event in words.
#[derive(Default)]
struct Said {
    sentence: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.sentence, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_replaces_that_of_the_same_module_only() {
        assert_eq!(with_level("info", "yak_broker", "DEBUG"), Ok("info,yak_broker=debug".to_owned()));
        let changed = with_level("info,yak_broker=debug,yak=warn", "yak_broker", "off");
        assert_eq!(changed, Ok("info,yak=warn,yak_broker=off".to_owned()));
        assert_eq!(with_level("info,yak=warn", "*", "error"), Ok("yak=warn,error".to_owned()));
        assert!(with_level("info", "yak", "loud").expect_err("no level").contains("off, error, warn"));
        assert!(with_level("info", "a=b,c", "info").expect_err("no module").contains("such as"));
    }
}
