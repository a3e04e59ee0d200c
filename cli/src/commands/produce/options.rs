//! Options of `yak produce` that need parsing.

use super::ProduceArgs;
use std::time::Duration;
use yak_producer::ProducerConfig;
use yak_protocol::batch::Compression;

/// `name=value` or `name:value`, whichever separator comes first.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(['=', ':']) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no header; write it as name=value or name:value")),
    }
}

pub(crate) fn compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|_| format!("{text:?} is no codec; there are none, gzip, snappy, lz4 and zstd"))
}

/// A setting of the producer.
#[derive(Clone, Debug)]
pub struct Setting {
    name: String,
    value: String,
}

pub(super) fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not name=value"))?;
    let setting = Setting { name: name.to_owned(), value: value.to_owned() };
    setting.apply(&mut ProducerConfig::default())?;
    Ok(setting)
}

impl Setting {
    fn apply(&self, config: &mut ProducerConfig) -> Result<(), String> {
        match self.name.as_str() {
            "linger_ms" => config.linger = self.duration()?,
            "batch_bytes" => config.batch_bytes = self.number()?,
            "buffer_bytes" => config.buffer_bytes = self.number()?,
            "in_flight_max" => config.in_flight_max = self.number()?,
            "publish_timeout_ms" => config.publish_timeout = self.duration()?,
            "delivery_timeout_ms" => config.delivery_timeout = self.duration()?,
            "idempotent" => config.idempotent = self.parse("true or false")?,
            other => {
                return Err(format!(
                    "there is no setting {other}; there are linger_ms, batch_bytes, buffer_bytes, in_flight_max, \
                     publish_timeout_ms, delivery_timeout_ms and idempotent"
                ));
            }
        }
        Ok(())
    }

    fn duration(&self) -> Result<Duration, String> {
        Ok(Duration::from_millis(self.parse("a number of milliseconds")?))
    }

    fn number(&self) -> Result<usize, String> {
        self.parse("a number")
    }

    fn parse<T: std::str::FromStr>(&self, what: &str) -> Result<T, String> {
        self.value.parse().map_err(|_| format!("{}={} is not {what}", self.name, self.value))
    }
}

/// The producer's configuration as the arguments say.
pub(super) fn producer_config(args: &ProduceArgs) -> anyhow::Result<ProducerConfig> {
    let mut config = ProducerConfig {
        client: format!("yak-produce/{}", env!("CARGO_PKG_VERSION")),
        name: args.name.clone(),
        acks: args.acks.into(),
        compression: args.compression,
        ..ProducerConfig::default()
    };
    for setting in &args.settings {
        setting.apply(&mut config).map_err(anyhow::Error::msg)?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_both_separators() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(header("a=b:c"), Ok(pair("a", "b:c")));
        assert_eq!(header("a:b=c"), Ok(pair("a", "b=c")));
        assert_eq!(header("a="), Ok(pair("a", "")));
        assert!(header("=b").is_err());
        assert!(header("ab").expect_err("no separator").contains("name=value"));
    }

    #[test]
    fn settings_are_checked_when_they_are_typed() {
        let mut config = ProducerConfig::default();
        setting("linger_ms=7").expect("legal").apply(&mut config).expect("legal");
        assert_eq!(config.linger, Duration::from_millis(7));
        assert!(setting("linger_ms=x").expect_err("no number").contains("milliseconds"));
        assert!(setting("lingers=1").expect_err("unknown").contains("linger_ms"));
        assert!(setting("linger_ms").is_err());
    }

    #[test]
    fn codecs() {
        assert_eq!(compression("zstd"), Ok(Compression::Zstd));
        assert!(compression("rar").expect_err("unknown").contains("snappy"));
    }
}
