//! The settings of a topic by name: what each takes, says and has as default. One table for everybody who sets,
//! shows or explains them.

use crate::defaults;
use crate::error::WireError;
use crate::message::{Cleanup, Durability, TopicConfig, TopicInfo, Validate};
use crate::names::nearest;

/// The setting that is not one of [`TopicConfig`]: the least ISR is part of each partition's record (rule R9).
pub const MIN_ISR: &str = "min_isr";

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct TopicSetting {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it means.
    pub meaning: &'static str,
    get: fn(&TopicConfig) -> String,
    set: fn(&mut TopicConfig, &str) -> Option<()>,
}

const MILLISECONDS: &str = "milliseconds, or a number with ms, s, m, h or d";
const MILLISECONDS_OR_NONE: &str = "milliseconds, or a number with ms, s, m, h or d; -1 = no limit";
const BYTES: &str = "bytes, or a number with k, m or g";
const BYTES_OR_NONE: &str = "bytes, or a number with k, m or g; -1 = no limit";

/// Every setting but [`MIN_ISR`], in the order in which they are shown.
pub const SETTINGS: &[TopicSetting] = &[
    TopicSetting {
        name: "durability",
        takes: "fsync or replicated",
        meaning: "when a record counts as kept; settled when the topic is made",
        get: |config| word(&DURABILITIES, config.durability),
        set: |config, text| pick(&DURABILITIES, text).map(|found| config.durability = found),
    },
    TopicSetting {
        name: "validate",
        takes: "header or deep",
        meaning: "how deeply batches are checked",
        get: |config| word(&VALIDATES, config.validate),
        set: |config, text| pick(&VALIDATES, text).map(|found| config.validate = found),
    },
    TopicSetting {
        name: "batch_bytes_max",
        takes: BYTES,
        meaning: "the largest batch",
        get: |config| config.batch_bytes_max.to_string(),
        set: |config, text| {
            bytes(text)
                .and_then(|value| u32::try_from(value).ok())
                .map(|value| config.batch_bytes_max = value)
        },
    },
    TopicSetting {
        name: "cleanup",
        takes: "delete, compact or both",
        meaning: "what becomes of old records; nothing is compacted yet, compact keeps all",
        get: |config| word(&CLEANUPS, config.cleanup),
        set: |config, text| pick(&CLEANUPS, text).map(|found| config.cleanup = found),
    },
    TopicSetting {
        name: "retention_ms",
        takes: MILLISECONDS_OR_NONE,
        meaning: "how old a segment's newest record gets",
        get: |config| config.retention_ms.to_string(),
        set: |config, text| or_none(text, millis).map(|value| config.retention_ms = value),
    },
    TopicSetting {
        name: "retention_bytes",
        takes: BYTES_OR_NONE,
        meaning: "how much a partition keeps",
        get: |config| config.retention_bytes.to_string(),
        set: |config, text| or_none(text, bytes).map(|value| config.retention_bytes = value),
    },
    TopicSetting {
        name: "segment_bytes",
        takes: BYTES,
        meaning: "the size at which a segment is closed",
        get: |config| config.segment_bytes.to_string(),
        set: |config, text| bytes(text).map(|value| config.segment_bytes = value),
    },
    TopicSetting {
        name: "segment_ms",
        takes: MILLISECONDS,
        meaning: "the age at which a segment is closed",
        get: |config| config.segment_ms.to_string(),
        set: |config, text| millis(text).map(|value| config.segment_ms = value),
    },
    TopicSetting {
        name: "delete_retention_ms",
        takes: MILLISECONDS,
        meaning: "how long compaction keeps a tombstone",
        get: |config| config.delete_retention_ms.to_string(),
        set: |config, text| millis(text).map(|value| config.delete_retention_ms = value),
    },
    TopicSetting {
        name: "min_compaction_lag_ms",
        takes: MILLISECONDS,
        meaning: "how old a record is before compaction may remove it",
        get: |config| config.min_compaction_lag_ms.to_string(),
        set: |config, text| millis(text).map(|value| config.min_compaction_lag_ms = value),
    },
    TopicSetting {
        name: "dedupe_window_ms",
        takes: MILLISECONDS,
        meaning: "for how long a repeated message id is recognised; 0 = never",
        get: |config| config.dedupe_window_ms.to_string(),
        set: |config, text| millis(text).map(|value| config.dedupe_window_ms = value),
    },
];

const DURABILITIES: [(&str, Durability); 2] =
    [("fsync", Durability::Fsync), ("replicated", Durability::Replicated)];
const VALIDATES: [(&str, Validate); 2] = [("header", Validate::Header), ("deep", Validate::Deep)];
const CLEANUPS: [(&str, Cleanup); 3] =
    [("delete", Cleanup::Delete), ("compact", Cleanup::Compact), ("both", Cleanup::Both)];

fn word<T: PartialEq>(words: &[(&str, T)], value: T) -> String {
    words.iter().find(|(_, known)| *known == value).map(|(word, _)| (*word).to_owned()).unwrap_or_default()
}

fn pick<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        unit => {
            units.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)?
        }
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|value| i64::try_from(*value).is_ok())
}

fn millis(text: &str) -> Option<u64> {
    scaled(text, &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)])
}

fn bytes(text: &str) -> Option<u64> {
    scaled(
        text,
        &[
            ("k", 1 << 10),
            ("m", 1 << 20),
            ("g", 1 << 30),
            ("kib", 1 << 10),
            ("mib", 1 << 20),
            ("gib", 1 << 30),
        ],
    )
}

fn or_none(text: &str, read: fn(&str) -> Option<u64>) -> Option<i64> {
    if text == "-1" { Some(-1) } else { read(text).and_then(|value| i64::try_from(value).ok()) }
}

impl TopicSetting {
    /// Its value.
    #[must_use]
    pub fn get(&self, config: &TopicConfig) -> String {
        (self.get)(config)
    }

    /// Its default.
    #[must_use]
    pub fn default_value(&self) -> String {
        (self.get)(&TopicConfig::default())
    }

    /// Sets it; `None` = to its default.
    ///
    /// # Errors
    /// `BAD_REQUEST`, saying what it takes.
    pub fn set(&self, config: &mut TopicConfig, value: Option<&str>) -> Result<(), WireError> {
        let default;
        let text = match value {
            Some(text) => text,
            None => {
                default = self.default_value();
                &default
            }
        };
        (self.set)(config, text).ok_or_else(|| {
            WireError::bad_request(format!("{} takes {}, not {text:?}", self.name, self.takes))
        })
    }
}

/// The `min_isr` that the topic would have if nobody had said anything.
#[must_use]
pub fn min_isr_default(topic: &TopicInfo) -> u32 {
    let replicas = topic.wanted_replicas;
    match topic.config.durability {
        Durability::Fsync => defaults::min_isr(replicas),
        Durability::Replicated => defaults::min_isr(replicas).max(replicas.min(2)),
    }
}

/// The setting of that name.
///
/// # Errors
/// `BAD_REQUEST`, with the name that was probably meant, or all there are.
pub fn setting(name: &str) -> Result<&'static TopicSetting, WireError> {
    SETTINGS.iter().find(|known| known.name == name).ok_or_else(|| unknown(name))
}

/// Whether there is a setting of that name.
///
/// # Errors
/// As [`setting`]; [`MIN_ISR`] is one.
pub fn known(name: &str) -> Result<(), WireError> {
    if name == MIN_ISR { Ok(()) } else { setting(name).map(drop) }
}

fn unknown(name: &str) -> WireError {
    let all = || SETTINGS.iter().map(|known| known.name).chain([MIN_ISR]);
    let hint = match nearest(name, all()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", all().collect::<Vec<_>>().join(", ")),
    };
    WireError::bad_request(format!("a topic has no setting {name}")).hint(hint)
}

/// Whether each setting has a value that it can have.
///
/// # Errors
/// `BAD_REQUEST`, naming the bound.
pub fn check(config: &TopicConfig) -> Result<(), WireError> {
    let refuse = |what: String| Err(WireError::bad_request(what));
    let (bytes_max, most) = (config.batch_bytes_max, defaults::FRAME_BYTES_MAX);
    if !(1..=most).contains(&bytes_max) {
        return refuse(format!("batch_bytes_max must be 1 to {most}, not {bytes_max}"));
    }
    for (name, value) in [("retention_ms", config.retention_ms), ("retention_bytes", config.retention_bytes)]
    {
        if value < -1 {
            return refuse(format!("{name} must be 0 or more, or -1 for no limit, not {value}"));
        }
    }
    let (segment, least, most) =
        (config.segment_bytes, defaults::SEGMENT_BYTES_MIN, defaults::SEGMENT_BYTES_MAX);
    if !(least..=most).contains(&segment) {
        return refuse(format!("segment_bytes must be {least} to {most}, not {segment}"));
    }
    if config.segment_ms == 0 {
        return refuse("segment_ms must be at least 1, not 0".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_shows_what_it_was_set_to() {
        for setting in SETTINGS {
            let mut config = TopicConfig::default();
            let value = match setting.takes {
                takes if takes.contains(" or ") && !takes.contains("number") => {
                    takes.rsplit(' ').next().expect("words").to_owned()
                }
                _ => "4321".to_owned(),
            };
            setting.set(&mut config, Some(&value)).expect(setting.name);
            assert_eq!(setting.get(&config), value, "{}", setting.name);
            assert_ne!(config, TopicConfig::default(), "{}", setting.name);
            setting.set(&mut config, None).expect("the default is legal");
            assert_eq!(config, TopicConfig::default(), "{}", setting.name);
        }
    }

    #[test]
    fn units_are_understood_and_nonsense_is_not() {
        assert_eq!(millis("7d"), Some(604_800_000));
        assert_eq!(millis("250"), Some(250));
        assert_eq!(bytes("2G"), Some(2 << 30));
        assert_eq!(bytes("1KiB"), Some(1024));
        for wrong in ["", "d", "-2", "1.5h", "1 h", "99999999999999999999", "9223372036854775807d", "+1"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
        let mut config = TopicConfig::default();
        let retention = setting("retention_ms").expect("there");
        retention.set(&mut config, Some("-1")).expect("no limit");
        assert_eq!(config.retention_ms, -1);
        let refusal = retention.set(&mut config, Some("-2")).expect_err("no such limit");
        assert!(refusal.message.contains("-1 = no limit"), "{refusal}");
    }

    #[test]
    fn what_is_near_a_setting_is_named() {
        let hint = |name| setting(name).expect_err("unknown").hint.unwrap_or_default();
        assert!(hint("retention.ms").contains("retention_ms"));
        assert!(hint("min_irs").contains("min_isr"));
        assert!(hint("colour").contains("dedupe_window_ms"));
        assert!(known(MIN_ISR).is_ok() && known("validate").is_ok());
    }

    #[test]
    fn values_are_bounded() {
        let with = |change: fn(&mut TopicConfig)| {
            let mut config = TopicConfig::default();
            change(&mut config);
            check(&config).map_err(|error| error.message)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|config| config.retention_ms = -1), Ok(()));
        assert!(with(|config| config.batch_bytes_max = 0).is_err());
        assert!(with(|config| config.retention_bytes = -2).is_err());
        assert!(with(|config| config.segment_bytes = 10).is_err());
        assert!(with(|config| config.segment_bytes = 1 << 40).is_err());
        assert!(with(|config| config.segment_ms = 0).is_err());
    }
}
