//! Rows under headings.

use super::escape::{escaped, undotted};
use super::format::Format;
use super::value::Value;

/// Data in rows: aligned columns, `name=value` pairs or JSON objects.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table with these headings, by custom in upper case: `LEADER EPOCH`. In `kv` and `json` they are
    /// the names: `leader_epoch`.
    #[must_use]
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more row. What it has too few is absent, what it has too many is left out.
    #[must_use]
    pub fn row<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.push(values);
        self
    }

    /// See [`Self::row`].
    pub fn push<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) {
        let mut row: Vec<Value> = values.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), Value::None);
        self.rows.push(row);
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, without their ends, as they travel. The heading of a table without rows is a line, too.
    #[must_use]
    pub fn lines(&self, format: Format) -> Vec<String> {
        match format {
            Format::Table => self.columned(),
            Format::Kv => self.rows.iter().map(|row| undotted(&self.pairs(row))).collect(),
            Format::Json => self.rows.iter().map(|row| self.object(row)).collect(),
        }
    }

    fn name(column: &str) -> String {
        column.to_ascii_lowercase().replace([' ', '-'], "_")
    }

    fn pairs(&self, row: &[Value]) -> String {
        let pair = |(column, value): (&&str, &Value)| format!("{}={}", Self::name(column), value.field());
        self.columns.iter().zip(row).map(pair).collect::<Vec<_>>().join(" ")
    }

    fn object(&self, row: &[Value]) -> String {
        let pair = |(column, value): (&&str, &Value)| {
            format!("{}:{}", serde_json::Value::from(Self::name(column)), value.json())
        };
        format!("{{{}}}", self.columns.iter().zip(row).map(pair).collect::<Vec<_>>().join(","))
    }

    fn columned(&self) -> Vec<String> {
        let heading = self.columns.iter().map(|column| (*column).to_owned()).collect();
        let rows = self.rows.iter().map(|row| {
            row.iter().map(|value| escaped(value.to_string().as_bytes())).collect::<Vec<String>>()
        });
        let cells: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
        let mut widths = vec![0; self.columns.len()];
        for row in &cells {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &Vec<String>| {
            let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            undotted(padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        cells.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new(&["PARTITION", "LEADER EPOCH", "ISR"])
            .row([Value::from(0u32), 12u32.into(), vec![1u32, 2].into()])
            .row([Value::from(10u32), Value::None])
    }

    #[test]
    fn three_ways() {
        let lines =
            ["PARTITION  LEADER EPOCH  ISR", "0          12            1,2", "10         -             -"];
        assert_eq!(table().lines(Format::Table), lines);
        let lines = ["partition=0 leader_epoch=12 isr=1,2", "partition=10 leader_epoch=- isr=-"];
        assert_eq!(table().lines(Format::Kv), lines);
        let lines = [
            r#"{"partition":0,"leader_epoch":12,"isr":[1,2]}"#,
            r#"{"partition":10,"leader_epoch":null,"isr":null}"#,
        ];
        assert_eq!(table().lines(Format::Json), lines);
    }

    #[test]
    fn no_cell_can_end_the_data_or_begin_a_line() {
        let table = Table::new(&["NAME"]).row([".", "a\nb"]).row(["a\nb"]);
        assert_eq!(table.lines(Format::Table), ["NAME", "..", r"a\x0ab"]);
        assert_eq!(table.lines(Format::Kv), ["name=.", r#"name="a\x0ab""#]);
    }
}
