//! The line that says what became of a command.

use super::format::Format;
use super::value::Value;
use crate::error::WireError;
use std::fmt::Write;

/// A command that was done: `+OK pong`, or `+OK topic=orders offset=3`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Status {
    /// Nothing but that it is done.
    #[must_use]
    pub fn ok() -> Self {
        Self::default()
    }

    /// A few words: `+OK bye`.
    #[must_use]
    pub fn said(message: impl Into<String>) -> Self {
        Self { message: message.into(), fields: Vec::new() }
    }

    /// One more field, behind the earlier ones.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The line, without its end.
    #[must_use]
    pub fn line(&self, format: Format) -> String {
        if format == Format::Json {
            return self.json();
        }
        let mut line = "+OK".to_owned();
        if !self.message.is_empty() {
            line.push(' ');
            line.push_str(&one_line(&self.message));
        }
        for (name, value) in &self.fields {
            // Writing to a String cannot fail.
            let _ = write!(line, " {name}={}", value.field());
        }
        line
    }

    fn json(&self) -> String {
        let mut object = "{\"ok\":true".to_owned();
        if !self.message.is_empty() {
            let _ = write!(object, ",\"message\":{}", serde_json::Value::from(self.message.as_str()));
        }
        for (name, value) in &self.fields {
            let _ = write!(object, ",{}:{}", serde_json::Value::from(*name), value.json());
        }
        object.push('}');
        object
    }
}

/// A command that was refused: `-ERR NOT_LEADER leader=1 addr=127.0.0.1:9701 epoch=4 broker 2 does not
/// lead orders/2 | hint: ...`. Without the line's end.
#[must_use]
pub fn error_line(error: &WireError, format: Format) -> String {
    if format == Format::Json {
        // The serialized error begins with its own brace.
        let body = serde_json::to_string(error).unwrap_or_else(|_| "{}".to_owned());
        return format!("{{\"ok\":false,{}", body.trim_start_matches('{'));
    }
    let mut line = format!("-ERR {}", error.code.name());
    if let Some(hint) = &error.leader {
        let _ = write!(line, " leader={} addr={} epoch={}", hint.leader, hint.address, hint.leader_epoch);
    }
    let _ = write!(line, " {}", one_line(&error.message));
    let to_leader = error.leader.as_ref().map(|_| "connect there or set forward=on");
    if let Some(hint) = to_leader.or(error.hint.as_deref()) {
        let _ = write!(line, " | hint: {}", one_line(hint));
    }
    line
}

/// A message of several lines in one.
fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorCode, LeaderHint};
    use crate::ids::{BrokerId, LeaderEpoch};

    #[test]
    fn done() {
        assert_eq!(Status::ok().line(Format::Table), "+OK");
        assert_eq!(Status::said("pong").line(Format::Kv), "+OK pong");
        assert_eq!(Status::said("pong").line(Format::Json), r#"{"ok":true,"message":"pong"}"#);
        let status = Status::ok().with("topic", "orders").with("key", "two words").with("isr", vec![1u32, 2]);
        let status = status.with("durable", true).with("offset", None::<u64>);
        let line = "+OK topic=orders key=\"two words\" isr=1,2 durable=yes offset=-";
        assert_eq!(status.line(Format::Table), line);
        let json =
            r#"{"ok":true,"topic":"orders","key":"two words","isr":[1,2],"durable":true,"offset":null}"#;
        assert_eq!(status.line(Format::Json), json);
    }

    #[test]
    fn refused() {
        let error = WireError::new(ErrorCode::UnknownTopic, "ordrs\nand more").hint("did you mean orders?");
        let line = "-ERR UNKNOWN_TOPIC ordrs and more | hint: did you mean orders?";
        assert_eq!(error_line(&error, Format::Table), line);
        let leader = LeaderHint {
            leader: BrokerId(1),
            address: "127.0.0.1:9701".into(),
            leader_epoch: LeaderEpoch(4),
        };
        let error = WireError::new(ErrorCode::NotLeader, "broker 2 does not lead orders/2").leader(leader);
        let line = "-ERR NOT_LEADER leader=1 addr=127.0.0.1:9701 epoch=4 broker 2 does not lead orders/2 \
                    | hint: connect there or set forward=on";
        assert_eq!(error_line(&error, Format::Kv), line);
        let json: serde_json::Value =
            serde_json::from_str(&error_line(&error, Format::Json)).expect("an object");
        assert_eq!(
            (&json["ok"], &json["error"], &json["leader"]["leader"]),
            (&false.into(), &"NOT_LEADER".into(), &1.into())
        );
    }
}
