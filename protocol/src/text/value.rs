use super::escape::quoted_value;
use crate::ids;
use std::fmt;

/// A value of a status line or of a table's cell: text for people, typed for JSON.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// There is none: `-`, and `null` in JSON.
    None,
    /// A text.
    Text(String),
    /// A whole number.
    Number(i128),
    /// `yes` or `no`, and a boolean in JSON.
    Flag(bool),
    /// Several: joined by commas, and an array in JSON.
    List(Vec<Value>),
}

impl Value {
    /// As the value of a field of a line, quoted if it has to be.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::Number(_) | Self::Flag(_) | Self::None => self.to_string(),
            Self::Text(_) | Self::List(_) => quoted_value(&self.to_string()),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::None => serde_json::Value::Null,
            Self::Text(text) => text.as_str().into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                // No reader of JSON is exact out there.
                _ => number.to_string().into(),
            },
            Self::List(values) => values.iter().map(Self::json).collect(),
        }
    }
}

/// Unquoted, for columns.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::List(values) if values.is_empty() => f.write_str("-"),
            Self::List(values) => {
                let values: Vec<_> = values.iter().map(Self::to_string).collect();
                f.write_str(&values.join(","))
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        // No usize is wider than an i128.
        Self::Number(number as i128)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value> + Clone> From<&[T]> for Value {
    fn from(values: &[T]) -> Self {
        Self::List(values.iter().cloned().map(Into::into).collect())
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        }
    )+};
}
numbers!(u8, u16, u32, u64, i16, i32, i64);

macro_rules! ids {
    ($($id:ident),+) => {$(
        impl From<ids::$id> for Value {
            fn from(id: ids::$id) -> Self {
                id.0.into()
            }
        }
    )+};
}
ids!(
    BrokerId,
    BrokerEpoch,
    LeaderEpoch,
    PartitionEpoch,
    CoordinatorEpoch,
    MetadataVersion,
    PartitionIndex,
    SessionId,
    Offset,
    ProducerId,
    ProducerEpoch
);

macro_rules! uuids {
    ($($id:ident),+) => {$(
        impl From<ids::$id> for Value {
            fn from(id: ids::$id) -> Self {
                Self::Text(id.to_string())
            }
        }
    )+};
}
uuids!(ClusterId, TopicId, DataDirId, Incarnation, TopicPartition);
