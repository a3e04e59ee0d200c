use super::message;
use crate::ids::{BrokerId, ClusterId};
use serde::{Deserialize, Serialize};

/// Optional first request: agrees on a version and says who is there. Absent means version 1.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// The highest protocol version that the sender speaks.
    #[serde(default)]
    pub version: u8,
    /// The sender's own name for itself, for logs: `yak-producer/0.1.0`.
    #[serde(default)]
    pub client: String,
}
message!(Hello, "hello", Client, HelloReply);

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HelloReply {
    /// The version that both speak.
    pub version: u8,
    /// `coordinator` or `broker`.
    pub process: String,
    /// The software's version.
    pub software: String,
    /// The cluster, once it is known.
    #[serde(default)]
    pub cluster_id: Option<ClusterId>,
    /// The broker's number, once it has one.
    #[serde(default)]
    pub broker_id: Option<BrokerId>,
    /// The longest frame that this listener takes, in bytes.
    pub max_frame_bytes: u32,
    /// Whether the listener answers beyond loopback without authentication (`--insecure`).
    #[serde(default)]
    pub insecure: bool,
    /// Whether the process can do its job, and why not: the health answer.
    #[serde(default)]
    pub unhealthy: Option<String>,
}
