//! Numbers about a process, named as Prometheus names them.

use super::table::Table;
use std::fmt;
use std::time::Duration;

/// Which way a number goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MetricKind {
    /// Only up, from 0 at the start of the process; its name ends in `_total`.
    Counter,
    /// Up and down.
    Gauge,
}

/// A number's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measured {
    /// A count, bytes, an offset; 0 and 1 for no and yes.
    Whole(u64),
    /// Seconds, to the microsecond.
    Seconds(Duration),
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Seconds(value) => write!(f, "{}.{:06}", value.as_secs(), value.subsec_micros()),
        }
    }
}

impl From<u64> for Measured {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Measured {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<u32> for Measured {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<bool> for Measured {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<Duration> for Measured {
    fn from(value: Duration) -> Self {
        Self::Seconds(value)
    }
}

/// One number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Its name: `yak_requests_total`.
    pub name: &'static str,
    /// What it counts, in one line.
    pub about: &'static str,
    /// Which way it goes.
    pub kind: MetricKind,
    /// What it is about, if there are several of that name: label and value.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Measured,
}

impl Metric {
    /// Name and labels: `yak_partition_log_end{topic="orders",partition="0"}`.
    #[must_use]
    pub fn key(&self) -> String {
        if self.labels.is_empty() {
            return self.name.to_owned();
        }
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let label = |(name, value): &(&str, String)| format!("{name}=\"{}\"", escape(value));
        format!("{}{{{}}}", self.name, self.labels.iter().map(label).collect::<Vec<_>>().join(","))
    }
}

/// The numbers of a process at one moment, in the order in which they are shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics(Vec<Metric>);

impl Metrics {
    /// Adds a counter.
    pub fn counter(&mut self, name: &'static str, about: &'static str, value: impl Into<Measured>) {
        self.add(MetricKind::Counter, name, about, Vec::new(), value);
    }

    /// Adds a gauge.
    pub fn gauge(&mut self, name: &'static str, about: &'static str, value: impl Into<Measured>) {
        self.add(MetricKind::Gauge, name, about, Vec::new(), value);
    }

    /// Adds one of several numbers of that name; those of one name are to be added one after the other.
    pub fn add(
        &mut self,
        kind: MetricKind,
        name: &'static str,
        about: &'static str,
        labels: Vec<(&'static str, String)>,
        value: impl Into<Measured>,
    ) {
        self.0.push(Metric { name, about, kind, labels, value: value.into() });
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Metric] {
        &self.0
    }

    /// Those whose name begins with `prefix`, in any case; the `yak_` before it may be left out.
    #[must_use]
    pub fn table(&self, prefix: &str) -> Table {
        let mut table = Table::new(&["METRIC", "VALUE", "KIND", "WHAT IT COUNTS"]);
        let begins = |name: &str| name.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
        for metric in &self.0 {
            if begins(metric.name) || metric.name.strip_prefix("yak_").is_some_and(begins) {
                let kind = match metric.kind {
                    MetricKind::Counter => "counter",
                    MetricKind::Gauge => "gauge",
                };
                table.push([
                    metric.key(),
                    metric.value.to_string(),
                    kind.to_owned(),
                    metric.about.to_owned(),
                ]);
            }
        }
        table
    }

    /// As the word `mntr` answers: `key<TAB>value` lines.
    #[must_use]
    pub fn mntr(&self) -> String {
        let line = |metric: &Metric| format!("{}\t{}", metric.key(), metric.value);
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Format;

    #[test]
    fn named_as_prometheus_names_them() {
        let mut metrics = Metrics::default();
        metrics.counter("yak_requests_total", "requests", 3_u64);
        let labels = vec![("topic", "a\"b".to_owned()), ("partition", "0".to_owned())];
        metrics.add(MetricKind::Gauge, "yak_partition_log_end", "where it ends", labels, 7_u64);
        metrics.gauge("yak_uptime_seconds", "uptime", Duration::from_micros(1_500_000));
        let lines = [
            "yak_requests_total\t3",
            "yak_partition_log_end{topic=\"a\\\"b\",partition=\"0\"}\t7",
            "yak_uptime_seconds\t1.500000",
        ];
        assert_eq!(metrics.mntr(), lines.join("\n"));
        assert_eq!(metrics.table("").len(), 3);
        for prefix in ["partition", "yak_partition", "YAK_PART"] {
            assert_eq!(metrics.table(prefix).len(), 1, "{prefix}");
        }
        assert_eq!(
            metrics.table("uptime").lines(Format::Kv),
            ["metric=yak_uptime_seconds value=1.500000 kind=gauge what_it_counts=uptime"]
        );
    }
}
