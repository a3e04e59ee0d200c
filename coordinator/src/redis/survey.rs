//! What a Redis promises: asked after every connect, because the promise of this log is no better.

use super::link::{Link, Trouble};
use crate::clock;
use redis::Value;
use std::collections::HashMap;
use std::time::Duration;
use yak_core::cluster::Now;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Survey {
    /// Software and version.
    pub version: String,
    /// What becomes of an acknowledged write.
    pub durability: Durability,
    /// Its settings, as it says them.
    pub settings: String,
    /// What weakens the promise, in words.
    pub warnings: Vec<String>,
    /// Why it must not be used at all.
    pub refusal: Option<String>,
    /// Not started later than then.
    pub started: Now,
    /// How long it takes to answer.
    pub ping: Duration,
}

/// What a Redis does before it answers a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durability {
    /// Syncs it.
    Synced,
    /// Less than that.
    Weaker,
    /// It does not let us ask.
    Unknown,
}

/// Asks all of it, within so long.
pub(super) async fn survey(link: &mut Link, host: &str, within: Duration) -> Result<Survey, Trouble> {
    let asked = std::time::Instant::now();
    let info: String = link.ask(redis::cmd("INFO").arg("everything"), within).await?;
    let ping = asked.elapsed();
    let now = clock::now();
    let mut settings = Vec::new();
    for name in ["appendonly", "appendfsync", "save", "maxmemory-policy"] {
        // One by one: several at once are understood from Redis 7 on only.
        match link.ask::<Value>(redis::cmd("CONFIG").arg("GET").arg(name), within).await {
            Ok(answer) => settings.push(setting(name, answer)),
            Err(Trouble::Refused(_)) => settings.push(None),
            Err(broken @ Trouble::Broken(_)) => return Err(broken),
        }
    }
    let [appendonly, appendfsync, save, policy] = <[_; 4]>::try_from(settings).expect("four were asked");
    Ok(judge(host, &parse_info(&info), [appendonly, appendfsync, save, policy], now, ping))
}

/// `CONFIG GET` answers a name and its value, as a list or as a map.
fn setting(name: &str, answer: Value) -> Option<String> {
    let mut values: HashMap<String, String> = redis::from_redis_value(answer).ok()?;
    values.remove(name)
}

fn parse_info(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn judge(
    host: &str,
    info: &HashMap<&str, &str>,
    [appendonly, appendfsync, save, policy]: [Option<String>; 4],
    now: Now,
    ping: Duration,
) -> Survey {
    let version = match (info.get("valkey_version"), info.get("redis_version")) {
        (Some(version), _) => format!("valkey {version}"),
        (None, Some(version)) => format!("redis {version}"),
        (None, None) => "unknown".to_owned(),
    };
    let mut warnings = Vec::new();
    let durability = match (appendonly.as_deref(), appendfsync.as_deref()) {
        (Some("yes"), Some("always")) => Durability::Synced,
        (Some("yes"), Some(sync)) => {
            warnings.push(format!(
                "redis at {host} has appendfsync {sync}: what it acknowledged in its last second or more can be \
                 lost when its machine fails; `CONFIG SET appendfsync always` mends that"
            ));
            Durability::Weaker
        }
        (Some(_), _) => {
            warnings.push(format!(
                "redis at {host} has appendonly no: everything since its last save can be lost when it fails; \
                 `CONFIG SET appendonly yes` and `CONFIG SET appendfsync always` mend that"
            ));
            Durability::Weaker
        }
        (None, _) => {
            warnings.push(format!(
                "redis at {host} does not say how durable it is (CONFIG GET is not allowed): appendonly yes and \
                 appendfsync always are needed, and nobody has checked that"
            ));
            Durability::Unknown
        }
    };
    let mut refusal = None;
    match policy.as_deref() {
        Some(policy) if policy.starts_with("allkeys-") => {
            refusal = Some(format!(
                "redis at {host} has maxmemory-policy {policy}: it may delete the journal to make room; set \
                 noeviction"
            ));
        }
        Some(policy) if policy.starts_with("volatile-") => warnings.push(format!(
            "redis at {host} has maxmemory-policy {policy}: it may delete leader_lease early to make room, and \
             the active coordinator changes then; noeviction is better"
        )),
        _ => {}
    }
    if info.get("role") == Some(&"slave") {
        let primary = info.get("master_host").copied().unwrap_or("another");
        refusal =
            Some(format!("redis at {host} is a read-only replica of {primary}; name the primary instead"));
    } else if info.get("connected_slaves").is_some_and(|count| *count != "0") {
        warnings.push(format!(
            "redis at {host} has replicas: one that is promoted can lack the last writes; the loss is noticed, \
             and no coordinator is active then until that is mended"
        ));
    }
    let uptime_ms = info.get("uptime_in_seconds").and_then(|s| s.parse::<u64>().ok()).unwrap_or(0) * 1000;
    let said = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let settings = format!(
        "appendonly {}, appendfsync {}, save {:?}, maxmemory-policy {}",
        said(appendonly),
        said(appendfsync),
        said(save),
        said(policy)
    );
    let started = Now(now.0.saturating_sub(uptime_ms));
    Survey { version, durability, settings, warnings, refusal, started, ping }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(info: &str, settings: [&str; 4]) -> Survey {
        let settings = settings.map(|text| (!text.is_empty()).then(|| text.to_owned()));
        judge("h:1", &parse_info(info), settings, Now(10_000), Duration::ZERO)
    }

    const PRIMARY: &str =
        "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:4\r\nrole:master\r\nconnected_slaves:0\r\n";

    #[test]
    fn the_full_promise_needs_no_warning() {
        let survey = judged(PRIMARY, ["yes", "always", "3600 1", "noeviction"]);
        assert_eq!((survey.durability, survey.warnings.len(), survey.refusal), (Durability::Synced, 0, None));
        assert_eq!((survey.version.as_str(), survey.started), ("redis 7.0.15", Now(6000)));
    }

    #[test]
    fn weaker_settings_are_named() {
        for (settings, durability, word) in [
            (["yes", "everysec", "", "noeviction"], Durability::Weaker, "appendfsync everysec"),
            (["no", "always", "", "noeviction"], Durability::Weaker, "appendonly no"),
            (["", "", "", ""], Durability::Unknown, "does not say"),
            (["yes", "always", "", "volatile-lru"], Durability::Synced, "volatile-lru"),
        ] {
            let survey = judged(PRIMARY, settings);
            assert_eq!((survey.durability, survey.refusal), (durability, None));
            assert!(survey.warnings.iter().any(|warning| warning.contains(word)), "{:?}", survey.warnings);
        }
    }

    #[test]
    fn what_may_delete_the_journal_or_cannot_write_it_is_refused() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let survey = judged(PRIMARY, ["yes", "always", "", policy]);
            assert!(survey.refusal.unwrap().contains(policy));
        }
        let replica = judged("role:slave\r\nmaster_host:other\r\n", ["yes", "always", "", "noeviction"]);
        assert!(replica.refusal.unwrap().contains("replica of other"));
    }

    #[test]
    fn another_server_says_its_own_name() {
        let info = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n";
        assert_eq!(judged(info, ["yes", "always", "", "noeviction"]).version, "valkey 8.1.0");
    }
}
