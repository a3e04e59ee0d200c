//! Variables that the systems before this one were told by: each sets something here, or is answered.

use super::environment::Environment;
use super::resolve::Resolved;
use super::table::{GLOBAL, Section, masked};

/// A variable of one of the systems before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed {
    /// Its name.
    pub name: &'static str,
    /// What it does here.
    pub does: Does,
}

/// What a variable of before does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    /// It sets a setting (by its id) of these commands.
    Sets(&'static [&'static str], &'static str),
    /// It is a part of what `--lease-backend redis` means.
    Redis,
    /// It sets nothing; these commands say what to use instead.
    Answered(&'static [&'static str], &'static str),
}

const SERVERS: &[&str] = &["coordinator", "broker", "dev"];
const METADATA: &[&str] = &["coordinator", "broker"];
const CLIENTS: &[&str] = &[GLOBAL];

/// All of them.
pub const SEEDS: [Seed; 16] = [
    sets("BROKER_ID", &["broker"], "name"),
    sets("LEASE_TIME_SECONDS", METADATA, "lease_time_seconds"),
    sets("RENEW_INTERVAL_SECONDS", METADATA, "renew_interval_seconds"),
    sets("DEFAULT_PARTITIONS", METADATA, "default_partitions"),
    sets("LEASE_BACKEND", METADATA, "lease_backend"),
    sets("BROKER_URLS", CLIENTS, "brokers"),
    sets("BROKER_NODES", CLIENTS, "brokers"),
    Seed { name: "REDIS_HOST", does: Does::Redis },
    Seed { name: "REDIS_PORT", does: Does::Redis },
    Seed { name: "REDIS_USERNAME", does: Does::Redis },
    Seed { name: "REDIS_PASSWORD", does: Does::Redis },
    Seed { name: "REDIS_CA", does: Does::Redis },
    answered(
        "FOLLOWER_URL",
        SERVERS,
        "no broker is told its follower: start another `yak broker` with the same --coordinator, and topics get \
         their replicas there (--default-replicas of the coordinator, -r of `yak topic create`)",
    ),
    answered(
        "FLASK_RUN_PORT",
        &["broker"],
        "it will be the port of the HTTP API, which this version does not have; --listen sets where frames and \
         text are taken",
    ),
    answered(
        "PORT",
        &["broker"],
        "it will be the port of the HTTP API if FLASK_RUN_PORT does not name one, and this version has no HTTP \
         API; --listen sets where frames and text are taken",
    ),
    answered(
        "IDEMPOTENCE_EXPIRY_SECONDS",
        SERVERS,
        "each topic has its own window for a repeated msg_id, its dedupe_window_ms (10 minutes by default); and \
         producers are idempotent without a msg_id, which does not expire",
    ),
];

const fn sets(name: &'static str, commands: &'static [&'static str], id: &'static str) -> Seed {
    Seed { name, does: Does::Sets(commands, id) }
}

const fn answered(name: &'static str, commands: &'static [&'static str], instead: &'static str) -> Seed {
    Seed { name, does: Does::Answered(commands, instead) }
}

/// Those that set this setting, the strongest first.
pub fn setting(section: &'static str, id: &str) -> impl Iterator<Item = &'static Seed> {
    SEEDS.iter().filter(move |seed| match seed.does {
        Does::Sets(sections, setting) => setting == id && sections.contains(&section),
        _ => false,
    })
}

/// Whether the process is or holds a coordinator.
pub(super) fn holds_metadata(section: Section, resolved: &[Resolved]) -> bool {
    let embedded = |one: &Resolved| {
        one.setting.id == "coordinator" && one.values.iter().any(|value| value == "embedded")
    };
    match section.name {
        "broker" => resolved.iter().any(embedded),
        other => other == "coordinator",
    }
}

/// What a server says about variables that are set and do nothing, or not what one may expect.
pub(super) fn notes(section: Section, resolved: &[Resolved], environment: &Environment) -> Vec<String> {
    if !section.is_server() {
        return Vec::new();
    }
    let value = |id: &str| resolved.iter().find(|one| one.setting.id == id).map(Resolved::text);
    let holds = holds_metadata(section, resolved);
    let redis = value("lease_backend").is_some_and(|url| url.starts_with("redis"));
    let note = |seed: &Seed| {
        let name = seed.name;
        let said = environment.get(name)?;
        match seed.does {
            Does::Answered(sections, instead) if sections.contains(&section.name) => {
                Some(format!("{name}={} sets nothing: {instead}", masked(said)))
            }
            Does::Answered(..) => None,
            Does::Sets(CLIENTS, _) if section.name == "dev" => {
                Some(format!("{name} is for clients and sets nothing here: `yak dev` starts its own brokers"))
            }
            Does::Sets(CLIENTS, _) => Some(format!(
                "{name} is for clients and sets nothing here: brokers find each other through --coordinator"
            )),
            Does::Sets(sections, _) if !sections.contains(&section.name) => {
                // A name for a broker says nothing to a coordinator, and means no harm.
                (section.name == "dev").then(|| format!("{name} sets nothing: `yak dev` does not take it"))
            }
            Does::Sets(_, "name") => None,
            Does::Sets(_, id) if !holds => {
                let flag = id.replace('_', "-");
                Some(format!(
                    "{name} sets nothing: it is the coordinator's to know (`yak coordinator --{flag}`), or that of \
                     a broker with --coordinator embedded"
                ))
            }
            Does::Sets(..) => None,
            // The other three complete a Redis that is named elsewhere.
            Does::Redis if redis || !matches!(name, "REDIS_HOST" | "REDIS_PORT") => None,
            Does::Redis if holds => Some(format!(
                "{name} sets nothing: the metadata is kept by the coordinators themselves, and in that Redis with \
                 --lease-backend redis"
            )),
            Does::Redis => Some(format!(
                "{name} sets nothing: it is the coordinator's to know, or that of a broker with --coordinator \
                 embedded --lease-backend redis"
            )),
        }
    };
    SEEDS.iter().filter_map(note).collect()
}
