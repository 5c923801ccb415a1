//! What a run came to: pure arithmetic over its records, so that anybody can repeat it from the CSV files.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::load::{BadLine, Record};
use crate::topology::OBJECTIVE;

/// More than this share of the requests due in a second, failed or late, makes it a violating one.
const VIOLATING_SHARE: f64 = 0.01;

/// How many replicas of a managed service ran at one moment. One sample stands for one second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSample {
    /// Seconds after the start.
    pub at_s: u64,
    /// The service.
    pub service: String,
    /// Processes that ran.
    pub replicas: u32,
}

const HEADING: &str = "at_s,service,replicas";

/// Writes samples as CSV.
pub fn samples_to_csv(samples: &[ReplicaSample]) -> String {
    let line = |s: &ReplicaSample| format!("{},{},{}\n", s.at_s, s.service, s.replicas);
    std::iter::once(format!("{HEADING}\n")).chain(samples.iter().map(line)).collect()
}

/// Reads what [`samples_to_csv`] wrote.
pub fn samples_from_csv(text: &str) -> Result<Vec<ReplicaSample>, BadLine> {
    let parse = |line: &str| {
        let mut fields = line.split(',');
        Some(ReplicaSample {
            at_s: fields.next()?.parse().ok()?,
            service: fields.next()?.to_owned(),
            replicas: fields.next()?.parse().ok()?,
        })
    };
    let lines = text.lines().enumerate().filter(|(index, line)| *index > 0 && !line.is_empty());
    lines.map(|(index, line)| parse(line).ok_or(BadLine(index + 1, HEADING))).collect()
}

/// The figures of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Requests that were due.
    pub offered: u64,
    /// Answered without failure within the objective after their intended start.
    pub within_objective: u64,
    /// Answered without failure, but with less than the whole answer. May also be within the objective.
    pub degraded: u64,
    /// Not answered, or answered with a failure.
    pub failed: u64,
    /// Seconds in which more than 1 % of the requests due failed or came late.
    pub violating_seconds: u64,
    /// Seconds times running replicas of the managed services.
    pub replica_seconds: u64,
}

/// Computes the figures. A second in which nothing was due violates nothing. Requests due after `duration_s` are not
/// counted.
pub fn report(records: &[Record], samples: &[ReplicaSample], duration_s: u64) -> Report {
    let objective_us = u64::try_from(OBJECTIVE.as_micros()).expect("a quarter of a second fits");
    let due = records.iter().filter(|record| record.intended_ms / 1_000 < duration_s);
    let mut report = Report {
        offered: 0,
        within_objective: 0,
        degraded: 0,
        failed: 0,
        violating_seconds: 0,
        replica_seconds: samples.iter().filter(|s| s.at_s < duration_s).map(|s| u64::from(s.replicas)).sum(),
    };
    for record in due {
        let failed = record.failed();
        let within = !failed && record.latency_us <= objective_us;
        report.offered += 1;
        report.within_objective += u64::from(within);
        report.degraded += u64::from(!failed && record.degraded);
        report.failed += u64::from(failed);
    }
    report.violating_seconds = violating(records).range(..duration_s).count() as u64;
    report
}

/// The violating seconds, counted from the start.
pub fn violating(records: &[Record]) -> BTreeSet<u64> {
    let objective_us = u64::try_from(OBJECTIVE.as_micros()).expect("a quarter of a second fits");
    let mut seconds = BTreeMap::<u64, (u64, u64)>::new();
    for record in records {
        let (due, bad) = seconds.entry(record.intended_ms / 1_000).or_default();
        *due += 1;
        *bad += u64::from(record.failed() || record.latency_us > objective_us);
    }
    let violates = |(due, bad): &(u64, u64)| *bad as f64 > VIOLATING_SHARE * *due as f64;
    seconds.into_iter().filter(|(_, counts)| violates(counts)).map(|(second, _)| second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(intended_ms: u64, latency_ms: u64, status: u16, degraded: bool) -> Record {
        Record { intended_ms, latency_us: latency_ms * 1_000, status, degraded }
    }

    #[test]
    fn counts_each_request_for_what_it_is() {
        let records = [
            record(0, 250, 200, false),
            record(10, 251, 200, false),
            record(20, 10, 200, true),
            record(30, 10, 503, true),
            record(40, 5_000, 0, false),
        ];
        let report = report(&records, &[], 1);
        assert_eq!((report.offered, report.within_objective), (5, 2));
        assert_eq!((report.degraded, report.failed, report.violating_seconds), (1, 2, 1));
    }

    #[test]
    fn one_in_a_hundred_is_allowed_and_two_are_not() {
        let second = |start_ms: u64, bad: u64| {
            (0..100).map(move |n| record(start_ms + n, if n < bad { 300 } else { 20 }, 200, false))
        };
        let records: Vec<_> = second(0, 1).chain(second(1_000, 2)).chain(second(3_000, 0)).collect();
        assert_eq!(report(&records, &[], 10).violating_seconds, 1);
    }

    #[test]
    fn lateness_belongs_to_the_second_in_which_the_request_was_due() {
        let records = [record(999, 4_000, 200, false), record(1_000, 1, 200, false)];
        assert_eq!(report(&records, &[], 2).violating_seconds, 1);
    }

    #[test]
    fn replicas_are_summed_within_the_duration() {
        let sample = |at_s, replicas| ReplicaSample { at_s, service: "catalog".to_owned(), replicas };
        assert_eq!(report(&[], &[sample(0, 2), sample(1, 3), sample(2, 9)], 2).replica_seconds, 5);
    }
}
