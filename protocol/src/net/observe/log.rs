use super::Events;
use crate::net::limits::LOG_LINE_BYTES_MAX;
use std::fmt;
use std::sync::Arc;

/// How much a process says, part by part.
pub trait Levels: Send + Sync + 'static {
    /// The filter in use: `info,yak_broker=debug`.
    fn filter(&self) -> String;

    /// Lets `module` (`*` = all that is not named) say what is of this level or worse; returns the filter
    /// from now on.
    ///
    /// # Errors
    /// Why there is no such filter.
    fn set(&self, module: &str, level: &str) -> Result<String, String>;
}

/// The log of a process: its last lines, and how much of them there are. Clones share it.
#[derive(Clone)]
pub struct ProcessLog {
    /// The last lines; their kind is their level.
    pub(in crate::net) lines: Events,
    pub(in crate::net) levels: Arc<dyn Levels>,
}

impl ProcessLog {
    /// An empty one.
    #[must_use]
    pub fn new(levels: impl Levels) -> Self {
        Self { lines: Events::default(), levels: Arc::new(levels) }
    }

    /// Remembers a line, or as much of it as [`LOG_LINE_BYTES_MAX`] allows.
    pub fn note(&self, level: &'static str, mut text: String) {
        if text.len() > LOG_LINE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
            text.push_str(" ...");
        }
        self.lines.note(level, text);
    }
}

impl fmt::Debug for ProcessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessLog").field("filter", &self.levels.filter()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Levels for Fixed {
        fn filter(&self) -> String {
            "info".to_owned()
        }
        fn set(&self, _: &str, _: &str) -> Result<String, String> {
            Err("fixed".to_owned())
        }
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let log = ProcessLog::new(Fixed);
        log.note("info", "\u{e4}".repeat(LOG_LINE_BYTES_MAX));
        log.note("warn", "short".to_owned());
        let lines = log.lines.recent(2);
        assert!(lines[0].text.len() <= LOG_LINE_BYTES_MAX + 4 && lines[0].text.ends_with("\u{e4} ..."));
        assert_eq!((lines[1].kind, lines[1].text.as_str()), ("warn", "short"));
    }
}
