//! Whole clusters in one process, on port 0: a coordinator, brokers, and a client that speaks frames.

mod harness;

mod chaos;
mod coordinator_away;
mod damage;
mod fencing;
mod followers;
mod full_disk;
mod groups;
mod halted;
mod identity;
mod ids;
mod keeping;
mod moves;
mod power_cut;
mod publishing;
mod reading;
mod rebuilt;
mod replication;
mod silent_links;
mod stopping;
mod topics;
mod typing;
mod unclean;
mod unknown_topics;
mod why;
