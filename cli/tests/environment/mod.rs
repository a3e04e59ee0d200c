//! What the binary under test is not told by whoever runs the tests.

use std::process::Command;

/// Variables of the systems before, which tell the binary something.
const SEEDS: [&str; 16] = [
    "BROKER_ID",
    "LEASE_TIME_SECONDS",
    "RENEW_INTERVAL_SECONDS",
    "DEFAULT_PARTITIONS",
    "LEASE_BACKEND",
    "BROKER_URLS",
    "BROKER_NODES",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_USERNAME",
    "REDIS_PASSWORD",
    "REDIS_CA",
    "FOLLOWER_URL",
    "FLASK_RUN_PORT",
    "PORT",
    "IDEMPOTENCE_EXPIRY_SECONDS",
];

/// Nothing that whoever runs the tests has set tells the binary anything.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("YAK_") || SEEDS.contains(&name)) {
            command.env_remove(name);
        }
    }
}
