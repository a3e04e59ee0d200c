use super::message;
use crate::ids::BrokerId;
use serde::{Deserialize, Serialize};

/// Takes all leaderships from a broker, and lets it have none while others can lead; or ends that. Survives
/// restarts of the broker and of the coordinator. Brokers pass it on to the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drain {
    /// Which broker.
    pub broker_id: BrokerId,
    /// Whether it is to lead nothing from now on.
    #[serde(default = "yes")]
    pub draining: bool,
    /// Whether to change nothing, and to say how things stand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(Drain, "drain", Client, DrainReply);

fn yes() -> bool {
    true
}

/// What still depends on the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DrainReply {
    /// Whether it drains now: by request, or because it is stopping.
    pub draining: bool,
    /// How many partitions it leads, because no other in-sync replica can.
    pub leads: u32,
    /// How many partitions need it in the ISR to have `min_isr` members.
    pub needed: u32,
}
