//! A backtest's result as evidence about a policy.

use super::Place;
use anyhow::Context as _;
use jiff::Timestamp;
use proto::model::{EvidenceSource, EvidenceVerdict, StandingEvidence};
use serde::Deserialize;
use std::{io::Read, path::Path};

/// What `homeostat backtest --output json` prints, as far as judging needs it.
#[derive(Debug, Deserialize)]
struct Backtest {
    trace: String,
    /// Percentage that must be in time.
    slo: f64,
    policies: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    violation_ratio: f64,
    replica_hours: f64,
}

/// Reads a result as evidence about the service; `-` is standard input. Edges have no replicas to replay.
pub(super) fn read(file: &Path, places: &[Place], now: Timestamp) -> anyhow::Result<Vec<StandingEvidence>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    let backtest: Backtest = serde_json::from_str(&text).with_context(|| {
        format!("{} is not what `homeostat backtest --output json` prints", file.display())
    })?;
    let (verdict, text) = judge(&backtest)?;
    let mut subject = format!("{} {now}", backtest.trace);
    if subject.len() > StandingEvidence::SUBJECT_MOST {
        subject = now.to_string();
    }
    let services = places.iter().filter(|place| place.resource.edge_ends().is_none());
    let evidence = services.map(|place| StandingEvidence {
        policy: place.policy.clone(),
        resource: place.resource.clone(),
        source: EvidenceSource::Backtest,
        subject: subject.clone(),
        verdict,
        text: text.clone(),
        at: now,
    });
    Ok(evidence.collect())
}

/// In favour: the objective is met, or no policy kept it better; and none was both cheaper and better.
fn judge(backtest: &Backtest) -> anyhow::Result<(EvidenceVerdict, String)> {
    let ours = backtest.policies.iter().find(|row| row.name == "homeostat");
    let ours = ours.context("the backtest has no policy named homeostat")?;
    let others = || backtest.policies.iter().filter(|row| row.name != "homeostat");
    anyhow::ensure!(
        others().next().is_some(),
        "nothing was compared: run the backtest with --compare hpa:70"
    );
    let numbers = backtest.policies.iter().flat_map(|row| [row.violation_ratio, row.replica_hours]);
    anyhow::ensure!(
        numbers.chain([backtest.slo]).all(f64::is_finite),
        "the backtest holds what is no number"
    );
    let allowed = 1.0 - backtest.slo / 100.0;
    let better = others()
        .find(|row| row.violation_ratio < ours.violation_ratio && row.replica_hours < ours.replica_hours);
    let best = others().map(|row| row.violation_ratio).fold(f64::INFINITY, f64::min);
    let kept = ours.violation_ratio <= allowed || ours.violation_ratio <= best;
    let beside: Vec<_> = others()
        .map(|row| format!("{} {:.3} % for {:.0}", row.name, 100.0 * row.violation_ratio, row.replica_hours))
        .collect();
    let text = format!(
        "{:.3} % late of {:.3} % allowed, for {:.0} replica-hours; {}{}",
        100.0 * ours.violation_ratio,
        100.0 * allowed,
        ours.replica_hours,
        beside.join(", "),
        better.map_or_else(String::new, |row| format!("; {} is better and cheaper", row.name))
    );
    let verdict = if kept && better.is_none() { EvidenceVerdict::For } else { EvidenceVerdict::Against };
    Ok((verdict, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ours: (f64, f64), hpa: (f64, f64)) -> EvidenceVerdict {
        let row = |name: &str, (violation_ratio, replica_hours)| Row {
            name: name.to_owned(),
            violation_ratio,
            replica_hours,
        };
        let backtest = Backtest {
            trace: "t".to_owned(),
            slo: 99.9,
            policies: vec![row("homeostat", ours), row("hpa:70", hpa)],
        };
        judge(&backtest).unwrap().0
    }

    #[test]
    fn met_or_unbeaten_speaks_for_it_and_dominated_against() {
        assert_eq!(verdict((0.0005, 90.0), (0.0001, 100.0)), EvidenceVerdict::For);
        assert_eq!(verdict((0.01, 90.0), (0.02, 80.0)), EvidenceVerdict::For, "nobody kept it better");
        assert_eq!(verdict((0.01, 90.0), (0.002, 100.0)), EvidenceVerdict::Against, "missed");
        assert_eq!(verdict((0.0005, 90.0), (0.0001, 80.0)), EvidenceVerdict::Against, "dominated");
    }

    #[test]
    fn a_backtest_beside_nothing_is_no_evidence() {
        let alone = Row { name: "homeostat".to_owned(), violation_ratio: 0.0, replica_hours: 1.0 };
        let backtest = Backtest { trace: "t".to_owned(), slo: 99.9, policies: vec![alone] };
        assert!(judge(&backtest).is_err());
    }
}
