use std::fmt;
use std::str::FromStr;

/// How data and status lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Columns, for eyes.
    #[default]
    Table,
    /// `name=value name=value`, for `grep` and `cut`.
    Kv,
    /// One JSON object a line, for programs.
    Json,
}

impl Format {
    const NAMES: [(Self, &str); 3] = [(Self::Table, "table"), (Self::Kv, "kv"), (Self::Json, "json")];
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(format, _)| format == self).map_or("?", |(_, name)| name))
    }
}

/// A name that is no format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no format; there are table, kv and json")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let named = Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        named.map(|(format, _)| *format).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
