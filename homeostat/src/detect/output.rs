//! The result of detection as CSV: `timestamp,value,score,severity,expected,lower,upper,deviation`, a row for every row.

use super::Judged;
use serde::{Serialize, Serializer};
use std::io;

/// Columns, in order.
pub const HEADER: [&str; 8] =
    ["timestamp", "value", "score", "severity", "expected", "lower", "upper", "deviation"];
/// Digits of expected values and limits: more than any reading has, so that the band is not rounded into its values.
const SIGNIFICANT: usize = 9;

/// Writes judged rows.
#[derive(Debug)]
pub struct Output<W: io::Write>(csv::Writer<W>);

/// One line, as it is written.
#[derive(Debug, Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    value: &'a str,
    score: f64,
    severity: f64,
    #[serde(serialize_with = "short")]
    expected: Option<f64>,
    #[serde(serialize_with = "short")]
    lower: Option<f64>,
    #[serde(serialize_with = "short")]
    upper: Option<f64>,
    deviation: u8,
}

impl<W: io::Write> Output<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: W) -> csv::Result<Self> {
        let mut out = csv::WriterBuilder::new().has_headers(false).buffer_capacity(1 << 16).from_writer(out);
        out.write_record(HEADER)?;
        Ok(Self(out))
    }

    /// Writes one row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, judged: &Judged) -> csv::Result<()> {
        let judgement = judged.judgement();
        self.0.serialize(Line {
            timestamp: &judged.row.timestamp,
            value: &judged.row.value,
            // Not rounded: the order of high scores is what a threshold is chosen by.
            score: share(judgement.score),
            severity: (share(judgement.severity) * 1e6).round() / 1e6,
            expected: judgement.expected,
            lower: judgement.lower,
            upper: judgement.upper,
            deviation: u8::from(judgement.deviation),
        })
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> csv::Result<()> {
        Ok(self.0.flush()?)
    }
}

/// What the contract promises of scores, whatever the engine says.
pub(super) fn share(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn short<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value.filter(|value| value.is_finite()) {
        None => serializer.serialize_none(),
        Some(value) => serializer.serialize_f64(significant(value)),
    }
}

/// Rounded to the digits that mean something.
fn significant(value: f64) -> f64 {
    format!("{value:.*e}", SIGNIFICANT - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_short_and_scores_exact() {
        assert_eq!(significant(73.967_322_071_234_5), 73.967_322_1);
        assert_eq!(significant(0.1 + 0.2), 0.3);
        assert_eq!(significant(-1e300), -1e300);
        assert_eq!(share(f64::NAN), 0.0);
        assert_eq!(share(0.999_999_999_999_9), 0.999_999_999_999_9);
    }
}
