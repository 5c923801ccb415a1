//! Recorded calls played against policies: each sees the same calls at the same times, and what it does not admit is not answered.

use super::Row;
use anyhow::Context as _;
use breaker::sim::{Rule, Token, by_name};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fs::File,
    io::Read,
    path::Path,
    time::Duration,
};

/// The longest time that is played: a recording of years has a wrong unit.
const SECONDS_MAX: f64 = 4.0 * 365.0 * 86_400.0;
/// What a call takes when the recording does not say.
const LATENCY: Duration = Duration::from_millis(50);

/// One recorded call.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Call {
    /// Since the first.
    at: Duration,
    failed: bool,
    latency: Duration,
}

/// Plays the file against each policy.
pub(super) fn play(path: &Path, policies: &[String], seed: u64) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let calls = read(file).with_context(|| format!("cannot play {}", path.display()))?;
    let what = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let row = |policy: &String| {
        let rule = by_name(policy, seed)?;
        let (answered, openings) = against(rule, &calls);
        let share = answered as f64 / calls.len() as f64;
        Some(Row {
            policy: policy.clone(),
            what: format!("{what}, {} calls", calls.len()),
            first_seed: seed,
            seeds: 1,
            openings: Some(openings),
            answered: Some([share; 3]),
            ..Row::default()
        })
    };
    Ok(policies.iter().filter_map(row).collect())
}

/// How many calls were answered, and how often the policy opened.
fn against(mut rule: Box<dyn Rule>, calls: &[Call]) -> (u64, u64) {
    let mut in_flight: BTreeMap<usize, Token> = BTreeMap::new();
    let mut ends = BinaryHeap::new();
    let mut answered = 0;
    let mut settle = |rule: &mut dyn Rule,
                      in_flight: &mut BTreeMap<usize, Token>,
                      ends: &mut BinaryHeap<Reverse<(Duration, usize)>>,
                      now: Duration| {
        while let Some(Reverse((at, number))) = ends.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            ends.pop();
            if let Some(token) = in_flight.remove(&number) {
                let call = calls[number];
                rule.end(at, token, call.failed, call.latency);
                answered += u64::from(!call.failed);
            }
        }
    };
    for (number, call) in calls.iter().enumerate() {
        settle(rule.as_mut(), &mut in_flight, &mut ends, call.at);
        if let Some(token) = rule.admit(call.at) {
            in_flight.insert(number, token);
            ends.push(Reverse((call.at + call.latency, number)));
        }
    }
    settle(rule.as_mut(), &mut in_flight, &mut ends, Duration::MAX);
    (answered, rule.openings())
}

/// In order of time. A row that cannot be read is named: a recording with holes says nothing about runs of failures.
fn read(source: impl Read) -> anyhow::Result<Vec<Call>> {
    let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source);
    let header = rows.headers()?.clone();
    let column = |name: &str| header.iter().position(|title| title.eq_ignore_ascii_case(name));
    let at = column("timestamp").context("there is no column timestamp")?;
    let outcome = column("outcome").context("there is no column outcome")?;
    let latency = column("latency_ms");
    let mut calls: Vec<(f64, bool, Duration)> = Vec::new();
    for (index, row) in rows.records().enumerate() {
        let (row, line) = (row?, index + 2);
        let number = |column: usize| {
            row.get(column).and_then(|cell| cell.parse::<f64>().ok()).filter(|n| n.is_finite())
        };
        let at = number(at).with_context(|| format!("line {line}: the timestamp is no number of seconds"))?;
        let failed = match row.get(outcome).unwrap_or_default() {
            "success" | "caller_fault" => false,
            "failure" | "overload" => true,
            other => anyhow::bail!("line {line}: no outcome is called {other:?}"),
        };
        let took = match latency.filter(|column| row.get(*column).is_some_and(|cell| !cell.is_empty())) {
            None => LATENCY,
            Some(column) => number(column)
                .and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok())
                .filter(|took| took.as_secs_f64() <= SECONDS_MAX)
                .with_context(|| format!("line {line}: the latency is no number of milliseconds"))?,
        };
        calls.push((at, failed, took));
    }
    calls.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = calls.first().context("it holds no calls")?.0;
    let last = calls.last().map_or(first, |call| call.0);
    anyhow::ensure!(last - first <= SECONDS_MAX, "it spans more than four years: timestamps are in seconds");
    let call = |(at, failed, latency): (f64, bool, Duration)| {
        Ok(Call { at: Duration::try_from_secs_f64(at - first)?, failed, latency })
    };
    calls.into_iter().map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten calls a second: ten minutes of health, then as long an outage.
    fn outage() -> String {
        let rows = (0..12_000).map(|call| {
            let outcome = if call < 6_000 { "success" } else { "failure" };
            format!("{},{outcome},20\n", 1_700_000_000.0 + f64::from(call) / 10.0)
        });
        format!("timestamp,outcome,latency_ms\n{}", rows.collect::<String>())
    }

    #[test]
    fn a_recorded_outage_opens_ours_and_costs_no_answer() {
        let calls = read(outage().as_bytes()).unwrap();
        let (answered, opened) = against(by_name("homeostat", 1).unwrap(), &calls);
        assert_eq!((calls.len(), answered), (12_000, 6_000));
        assert!(opened >= 1);
    }

    #[test]
    fn rows_that_cannot_be_played_are_named() {
        let wrong = |text: &str| format!("{:#}", read(text.as_bytes()).unwrap_err());
        assert!(wrong("timestamp,outcome\n1,success\nNaN,success\n").contains("line 3"));
        assert!(wrong("timestamp,outcome\n1,maybe\n").contains("maybe"));
        assert!(wrong("timestamp,outcome\n").contains("no calls"));
        assert!(wrong("time,result\n").contains("timestamp"));
        assert!(wrong("timestamp,outcome\n0,success\n1e12,failure\n").contains("four years"));
        assert!(wrong("timestamp,outcome,latency_ms\n0,success,-5\n").contains("latency"));
    }
}
