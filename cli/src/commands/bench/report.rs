//! What was measured, for people and for programs.

use super::BenchArgs;
use super::target::Target;
use crate::text;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// What was measured with.
#[derive(Serialize)]
pub(super) struct Parameters {
    cluster: String,
    brokers: u32,
    size_bytes: usize,
    batch_bytes: usize,
    linger_ms: u64,
    producers: u32,
    acks: String,
    durability: String,
    partitions: u32,
    replicas: u32,
    compression: String,
}

impl Parameters {
    pub(super) fn new(args: &BenchArgs, target: &Target) -> Self {
        Self {
            cluster: target.describe(),
            brokers: target.brokers(),
            size_bytes: args.size,
            batch_bytes: args.batch,
            linger_ms: args.linger,
            producers: args.producers,
            acks: value_name(args.acks),
            durability: value_name(args.durability),
            partitions: args.partitions,
            replicas: target.replicas(args),
            compression: args.compression.to_string(),
        }
    }

    /// All of it on one line.
    pub(super) fn line(&self) -> String {
        format!(
            "yak bench: {}, {}, size {} B, batch {} B, linger {} ms, {}, acks {}, durability {}, {}, {}, compression {}",
            self.cluster,
            text::count(u64::from(self.brokers), "broker"),
            text::thousands(self.size_bytes as u64),
            text::thousands(self.batch_bytes as u64),
            self.linger_ms,
            text::count(u64::from(self.producers), "producer"),
            self.acks,
            self.durability,
            text::count(u64::from(self.partitions), "partition"),
            text::count(u64::from(self.replicas), "replica"),
            self.compression,
        )
    }
}

fn value_name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The outcome of one measurement.
#[derive(Serialize)]
pub(super) struct Report {
    mode: &'static str,
    pub(super) records: u64,
    pub(super) failed: u64,
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
    /// Of what the latencies are.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_of: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Percentiles>,
    /// The rate as a share of that of the first measurement in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_first: Option<f64>,
}

/// Latencies in microseconds.
#[derive(Serialize)]
struct Percentiles {
    samples: u64,
    p50: u64,
    p95: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Report {
    pub(super) fn new(mode: &'static str, records: u64, failed: u64, bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64().max(1e-9);
        Self {
            mode,
            records,
            failed,
            seconds,
            records_per_second: records as f64 / seconds,
            megabytes_per_second: bytes as f64 / seconds / 1e6,
            latency_of: None,
            latency_us: None,
            share_of_first: None,
        }
    }

    /// The same under another name.
    pub(super) fn named(mut self, mode: &'static str) -> Self {
        self.mode = mode;
        self
    }

    /// Compares the rate with that of `first`.
    pub(super) fn compared(mut self, first: &Self) -> Self {
        self.share_of_first = Some(self.records_per_second / first.records_per_second.max(1e-9));
        self
    }

    pub(super) fn with_latency(mut self, of: &'static str, latency: &Latency) -> Self {
        let at = |quantile| latency.0.value_at_quantile(quantile);
        self.latency_of = Some(of);
        self.latency_us = Some(Percentiles {
            samples: latency.0.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: latency.0.max(),
        });
        self
    }

    /// All of it on one line.
    pub(super) fn line(&self) -> String {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
        let rate = text::thousands(self.records_per_second.round() as u64);
        let mut line = format!(
            "{:<14} {} in {:.2} s: {rate} records/s, {:.1} MB/s",
            self.mode,
            text::count(self.records, "record"),
            self.seconds,
            self.megabytes_per_second
        );
        if let (Some(of), Some(latency)) = (self.latency_of, &self.latency_us) {
            let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
            line.push_str(&format!(
                "; {of} p50 {} ms, p95 {}, p99 {}, p99.9 {}, max {}",
                ms(latency.p50),
                ms(latency.p95),
                ms(latency.p99),
                ms(latency.p99_9),
                ms(latency.max)
            ));
        }
        if let Some(share) = self.share_of_first {
            line.push_str(&format!("; {:.1}% of the rate without", share * 100.0));
        }
        if self.failed > 0 {
            line.push_str(&format!("; {} FAILED", text::thousands(self.failed)));
        }
        line
    }
}

/// Latencies, in microseconds up to a minute, with three digits.
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 60_000_000, 3)?))
    }

    pub(super) fn add(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_rates_percentiles_and_stable_keys() {
        let mut latency = Latency::new().expect("legal bounds");
        for us in 1..=1000 {
            latency.add(Duration::from_micros(us * 1000));
        }
        let report = Report::new("produce", 1_000_000, 0, 100_000_000, Duration::from_secs(2))
            .with_latency("acknowledged after", &latency);
        let line = report.line();
        assert!(line.contains("1,000,000 records in 2.00 s: 500,000 records/s, 50.0 MB/s"), "{line}");
        assert!(line.contains("acknowledged after p50 500."), "{line}");
        let json = serde_json::to_value(&report).expect("it is JSON");
        assert_eq!(json["records_per_second"], 500_000.0);
        for key in ["samples", "p50", "p95", "p99", "p99_9", "max"] {
            assert!(json["latency_us"][key].is_u64(), "{key}");
        }
        let failed = Report::new("produce", 1, 3, 1, Duration::from_secs(1)).line();
        assert!(failed.contains("3 FAILED"), "{failed}");
    }
}
