//! Offline detection on many metrics of one host: one judgement per moment, and which metrics are to blame.

use super::{Tally, output::share};
use crate::offline::{
    metrics::{Moment, Moments},
    rows::Refusal,
};
use analyze::correlate::{Host, HostJudgement, HostSettings};
use jiff::Timestamp;
use std::io;

/// Columns, in order: those of a single series, and who is to blame, most guilty first, by name and by number from 1.
pub const HEADER: [&str; 10] = [
    "timestamp",
    "value",
    "score",
    "severity",
    "expected",
    "lower",
    "upper",
    "deviation",
    "blamed",
    "blamed_columns",
];

/// One moment with what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// As it stands in the file.
    pub moment: Moment,
    /// What is said of it, or why nothing is.
    pub verdict: Result<HostJudgement, Refusal>,
}

/// Judges a whole file and writes each row as soon as it is judged. `see` gets every moment, for a page.
///
/// # Errors
/// When the file cannot be read or the result cannot be written.
pub fn file(
    moments: &mut Moments<impl io::Read>,
    settings: HostSettings,
    out: impl io::Write,
    mut see: impl FnMut(&Judged),
) -> Result<Tally, super::Error> {
    let names = moments.names().to_vec();
    let mut host = Host::new(settings, names.clone());
    let mut last: Option<Timestamp> = None;
    let mut tally = Tally::default();
    let mut out = csv::WriterBuilder::new().buffer_capacity(1 << 16).from_writer(out);
    out.write_record(HEADER).map_err(super::Error::Write)?;
    while let Some(moment) = moments.next_moment()? {
        let verdict = match &moment.values {
            Err(refusal) => Err(*refusal),
            Ok((at, _)) if last.is_some_and(|last| *at <= last) => Err(Refusal::NotLater),
            Ok((at, values)) => {
                last = Some(*at);
                Ok(host.observe(*at, values))
            }
        };
        let judged = Judged { moment, verdict };
        count(&mut tally, &judged);
        write(&mut out, &names, &judged).map_err(super::Error::Write)?;
        see(&judged);
    }
    out.flush().map_err(|error| super::Error::Write(error.into()))?;
    Ok(tally)
}

fn count(tally: &mut Tally, judged: &Judged) {
    match (&judged.verdict, &judged.moment.values) {
        (Ok(judgement), Ok((at, _))) => tally.judge(*at, judgement.score, judgement.deviation),
        (Err(refusal), _) | (_, Err(refusal)) => {
            tally.rows += 1;
            tally.refuse(judged.moment.line, *refusal);
        }
    }
}

fn write<W: io::Write>(out: &mut csv::Writer<W>, names: &[String], judged: &Judged) -> csv::Result<()> {
    let silence = HostJudgement::default();
    let judgement = judged.verdict.as_ref().unwrap_or(&silence);
    let blamed: Vec<&str> =
        judgement.blamed.iter().filter_map(|blame| names.get(blame.metric)).map(String::as_str).collect();
    let numbers: Vec<String> = judgement.blamed.iter().map(|blame| (blame.metric + 1).to_string()).collect();
    let severity = (share(judgement.severity) * 1e6).round() / 1e6;
    out.write_record([
        judged.moment.timestamp.as_str(),
        "",
        &share(judgement.score).to_string(),
        &severity.to_string(),
        "",
        "",
        "",
        if judgement.deviation { "1" } else { "0" },
        &blamed.join(" "),
        &numbers.join(" "),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn judged(text: &str) -> (String, Tally) {
        let mut moments = Moments::open(text.as_bytes(), Duration::from_secs(60)).unwrap();
        let mut out = Vec::new();
        let tally = file(&mut moments, HostSettings::default(), &mut out, |_| {}).unwrap();
        (String::from_utf8(out).unwrap(), tally)
    }

    fn host(rows: usize) -> String {
        let row = |k: usize| format!("{},{},{}\n", k % 7, (k * k) % 11, (k * 31) % 13);
        (0..rows).map(row).collect()
    }

    #[test]
    fn every_moment_stays_and_a_repeated_one_has_score_0() {
        let (out, tally) = judged("timestamp,a,b\n60,1,2\n60,3,4\nnever,1,1\n120,,5\n");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], HEADER.join(","));
        assert_eq!(lines[2], "60,,0,0,,,,0,,");
        assert_eq!((lines.len(), tally.rows, tally.refused), (5, 4, 2));
    }

    #[test]
    fn the_first_rows_of_the_output_are_the_output_of_the_first_rows() {
        let text = host(2000);
        let (whole, _) = judged(&text);
        for rows in [1, 777, 1999] {
            let head: String = text.lines().take(rows).map(|line| format!("{line}\n")).collect();
            let (part, _) = judged(&head);
            assert_eq!(part.lines().collect::<Vec<_>>(), whole.lines().take(rows + 1).collect::<Vec<_>>());
        }
    }
}
