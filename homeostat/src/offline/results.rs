//! What `detect` wrote, or another detector in its form, read back for scoring.

use super::{files, rows::csv_reader, times};
use anyhow::Context as _;
use jiff::Timestamp;
use std::path::Path;

/// The judgements of one series, row by row.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// Times; none where the row had none.
    pub times: Vec<Option<Timestamp>>,
    /// Scores.
    pub scores: Vec<f64>,
    /// Severities; empty when there is no such column.
    pub severities: Vec<f64>,
    /// Rows in which an alert opened.
    pub alerts: Vec<bool>,
    /// Numbers of the blamed columns, most guilty first; empty when there is no such column.
    pub blamed: Vec<Vec<String>>,
}

impl Results {
    /// Reads a file with at least the columns `timestamp`, `score` and `deviation`.
    ///
    /// # Errors
    /// When it cannot be read, a column is missing, or a cell holds no number; the line is named.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut reader = csv_reader(files::open(path)?);
        let mut results = Self::default();
        results.fill(&mut reader).with_context(|| format!("{} is no result of `detect`", path.display()))?;
        Ok(results)
    }

    fn fill(&mut self, reader: &mut csv::Reader<impl std::io::Read>) -> anyhow::Result<()> {
        let mut record = csv::StringRecord::new();
        anyhow::ensure!(reader.read_record(&mut record)?, "it is empty");
        let header = record.clone();
        let named = |name: &str| header.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
        let wanted = |name: &str| named(name).with_context(|| format!("it has no column {name:?}"));
        let (time, score, deviation) = (wanted("timestamp")?, wanted("score")?, wanted("deviation")?);
        let (severity, blamed) = (named("severity"), named("blamed_columns"));
        while reader.read_record(&mut record)? {
            let line = record.position().map_or(0, csv::Position::line);
            let number = |cell: usize| -> anyhow::Result<f64> {
                let text = record.get(cell).unwrap_or_default().trim();
                let what = header.get(cell).unwrap_or_default();
                text.parse().with_context(|| format!("line {line}: {what} must be a number, not {text:?}"))
            };
            self.times.push(times::parse(record.get(time).unwrap_or_default()));
            self.scores.push(number(score)?);
            self.alerts.push(number(deviation)? > 0.0);
            if let Some(severity) = severity {
                self.severities.push(number(severity)?);
            }
            if let Some(blamed) = blamed {
                let names = record.get(blamed).unwrap_or_default().split_whitespace();
                self.blamed.push(names.map(str::to_owned).collect());
            }
        }
        Ok(())
    }
}
