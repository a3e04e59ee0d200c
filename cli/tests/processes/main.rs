//! The binary as it is run: coordinators, brokers and clients as processes of their own, ended by
//! `kill -9`, halted by SIGSTOP, stopped by SIGTERM, and talked to through stdin, stdout and sockets.
//!
//! Every process dies with the test that started it, and its data with it.

mod harness;

mod by_hand;
mod capture;
mod client_commands;
mod clock;
mod coordinator_away;
mod dev;
mod exactly_once;
mod groups;
mod leaders;
mod netcat;
mod network_cut;
mod peers;
mod power;
mod rebuild;
mod rubbish;
mod settings;
mod start_up;
mod takeover;
