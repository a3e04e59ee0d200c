//! What a broker answers: one request a file.

mod answer;
mod consume;
mod create_topic;
mod delete_records;
mod forward;
mod hello;
mod metadata;
mod offsets;
mod placing;
mod publish;
mod read_range;
mod reading;
mod recollect;
mod register_client;
mod to_coordinator;
mod why;

pub(crate) use answer::PublishAnswer;
pub(crate) use consume::consume;
pub(crate) use create_topic::{Creations, alter_topic, create_topic, delete_topic, ensure_groups_topic};
pub(crate) use delete_records::delete_records;
pub(crate) use forward::to as forward_to;
pub(crate) use hello::hello;
pub(crate) use metadata::metadata;
pub(crate) use offsets::offsets;
pub(crate) use publish::publish;
pub(crate) use read_range::read_range;
pub(crate) use reading::read as read_committed;
pub(crate) use recollect::recollect;
pub(crate) use register_client::{register_consumer, register_producer};
pub(crate) use to_coordinator::to_coordinator;
pub(crate) use why::why;
