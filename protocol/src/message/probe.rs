use super::message;
use serde::{Deserialize, Serialize};

/// The coordinator asks a broker, on the broker's own control connection, whether it is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Probe {}
message!(Probe, "probe", Control, ProbeReply);

/// It is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProbeReply {}
