//! Offline detection: the engine that Analyze runs, on files. A row is judged by itself and the rows before it, so the first
//! rows of an output never change when rows are appended to the input.

pub mod multi;
pub mod output;
pub mod page;

use crate::offline::rows::{self, Refusal, Row, Rows};
use analyze::detect::{Judgement, Series, SeriesSettings};
use jiff::Timestamp;
use serde::Serialize;
use std::{fmt, io};

/// At most so many runs of refused rows are named; all rows are counted.
const NAMED_MAX: usize = 20;

/// One row with what is said of it. A refused row carries the judgement of silence: score 0, no band, no alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// As it stands in the file.
    pub row: Row,
    /// What is said of it, or why nothing is.
    pub verdict: Result<Judgement, Refusal>,
}

impl Judged {
    /// Time and value, when it was taken.
    pub fn sample(&self) -> Option<(Timestamp, f64)> {
        self.verdict.ok().and(self.row.sample.ok())
    }

    /// What is said of it; silence when it was refused.
    pub fn judgement(&self) -> Judgement {
        self.verdict.unwrap_or_default()
    }
}

/// Judges the rows of one series.
#[derive(Debug)]
pub struct Judge(Series);

impl Judge {
    /// One that knows nothing yet.
    pub fn new(settings: SeriesSettings) -> Self {
        Self(Series::new(settings))
    }

    /// Judges the next row.
    pub fn judge(&mut self, row: Row) -> Judged {
        let verdict = row.sample.and_then(|(at, value)| self.0.observe(at, value).ok_or(Refusal::NotLater));
        Judged { row, verdict }
    }
}

/// Rows that were refused for one reason, one line after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Line of the first in the file.
    pub line: u64,
    /// Line of the last.
    pub last_line: u64,
    /// How many.
    pub rows: u64,
    /// The rule that they broke.
    pub rule: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, last_line, rows, rule } = self;
        match rows {
            1 => write!(f, "line {line}: {rule}"),
            _ => write!(f, "lines {line} to {last_line} ({rows} rows): {rule}"),
        }
    }
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Tally {
    /// Rows read and written.
    pub rows: u64,
    /// Rows among them that were not judged.
    pub refused: u64,
    /// Where the first of those are.
    pub refusals: Vec<Refused>,
    /// Alerts opened.
    pub alerts: u64,
    /// Highest score of any row.
    pub highest_score: f64,
    /// Time of the first row judged.
    pub from: Option<Timestamp>,
    /// Time of the last row judged.
    pub to: Option<Timestamp>,
}

impl Tally {
    fn count(&mut self, judged: &Judged) {
        match (judged.verdict, judged.row.sample) {
            (Ok(judgement), Ok((at, _))) => self.judge(at, judgement.score, judgement.deviation),
            (Err(refusal), _) | (_, Err(refusal)) => {
                self.rows += 1;
                self.refuse(judged.row.line, refusal);
            }
        }
    }

    /// Counts a row that was judged.
    pub fn judge(&mut self, at: Timestamp, score: f64, deviation: bool) {
        self.rows += 1;
        self.from = self.from.or(Some(at));
        self.to = Some(at);
        self.alerts += u64::from(deviation);
        self.highest_score = self.highest_score.max(score);
    }

    /// Counts a refused row and names it, unless enough are named.
    pub fn refuse(&mut self, line: u64, refusal: Refusal) {
        self.refused += 1;
        let rule = refusal.rule();
        let room = self.refusals.len() < NAMED_MAX;
        match self.refusals.last_mut() {
            Some(span) if span.rule == rule && span.last_line + 1 == line => {
                span.last_line = line;
                span.rows += 1;
            }
            _ if room => self.refusals.push(Refused { line, last_line: line, rows: 1, rule }),
            _ => {}
        }
    }
}

/// A file that cannot be judged to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] rows::Error),
    /// The result cannot be written.
    #[error("cannot write the result")]
    Write(#[source] csv::Error),
}

/// Judges a whole file and writes each row as soon as it is judged. `see` gets every row, for a page.
///
/// # Errors
/// When the file cannot be read or the result cannot be written.
pub fn file(
    rows: &mut Rows<impl io::Read>,
    settings: SeriesSettings,
    out: impl io::Write,
    mut see: impl FnMut(&Judged),
) -> Result<Tally, Error> {
    let mut judge = Judge::new(settings);
    let mut tally = Tally::default();
    let mut out = output::Output::new(out).map_err(Error::Write)?;
    while let Some(row) = rows.next_row()? {
        let judged = judge.judge(row);
        tally.count(&judged);
        out.write(&judged).map_err(Error::Write)?;
        see(&judged);
    }
    out.finish().map_err(Error::Write)?;
    Ok(tally)
}

#[cfg(test)]
mod tests;
