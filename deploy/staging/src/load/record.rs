//! What became of each request, as a value and as a line of CSV.

use serde::{Deserialize, Serialize};

const HEADING: &str = "intended_ms,latency_us,status,degraded";

/// One request that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was due, in milliseconds after the start.
    pub intended_ms: u64,
    /// From then until its answer was complete, or until it was given up.
    pub latency_us: u64,
    /// The answer's status; 0 without an answer.
    pub status: u16,
    /// The answer said that it is not the whole one.
    pub degraded: bool,
}

/// A line that is not what the heading says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not {1}")]
pub struct BadLine(pub(crate) usize, pub(crate) &'static str);

impl Record {
    /// Without an answer, or answered with something other than success.
    pub fn failed(&self) -> bool {
        !(200..400).contains(&self.status)
    }
}

/// Writes records, in the order in which they were due.
pub fn to_csv(records: &[Record]) -> String {
    let mut text = format!("{HEADING}\n");
    for Record { intended_ms, latency_us, status, degraded } in records {
        text.push_str(&format!("{intended_ms},{latency_us},{status},{degraded}\n"));
    }
    text
}

/// Reads what [`to_csv`] wrote.
pub fn from_csv(text: &str) -> Result<Vec<Record>, BadLine> {
    let lines = text.lines().enumerate().filter(|(index, line)| *index > 0 && !line.is_empty());
    lines.map(|(index, line)| parse(line).ok_or(BadLine(index + 1, HEADING))).collect()
}

fn parse(line: &str) -> Option<Record> {
    let mut fields = line.split(',');
    let record = Record {
        intended_ms: fields.next()?.parse().ok()?,
        latency_us: fields.next()?.parse().ok()?,
        status: fields.next()?.parse().ok()?,
        degraded: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_reads_back_as_written() {
        let records = vec![
            Record { intended_ms: 12, latency_us: 80_123, status: 200, degraded: true },
            Record { intended_ms: 13, latency_us: 5_000_000, status: 0, degraded: false },
        ];
        assert_eq!(from_csv(&to_csv(&records)), Ok(records));
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(from_csv("h\n1,2,200,true\n1,2,200\n"), Err(BadLine(3, HEADING)));
    }
}
