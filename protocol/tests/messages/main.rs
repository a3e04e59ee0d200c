//! Every message kind: it survives its encoding, bears keys of newer versions, and misses only what it
//! cannot do without.

mod brokers;
mod check;
mod clients;
mod samples;
mod tree;
mod values;
