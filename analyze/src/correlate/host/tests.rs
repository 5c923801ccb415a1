//! Hosts on generated metrics: what is found, what is not, and how often chance is.

use super::super::generate::{self, DAY, Family, Fault, METRICS, Run};
use super::*;

const LEARN: usize = 8;

fn at(sample: usize) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + 60 * sample as i64).unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("m{index}")).collect()
}

/// Alerts by sample, with the metrics to blame.
fn alerts(run: &Run, settings: HostSettings) -> Vec<(usize, Vec<Blame>)> {
    let mut host = Host::new(settings, names(METRICS));
    let judged = run.rows.iter().enumerate().map(|(sample, row)| (sample, host.observe(at(sample), row)));
    judged.filter(|(_, judged)| judged.deviation).map(|(sample, judged)| (sample, judged.blamed)).collect()
}

#[test]
fn faults_of_several_metrics_are_found_and_blamed_on_them() {
    let (mut faults, mut found, mut blamed) = (0, 0, 0);
    for (family, seed) in [(Family::Seasonal, 11), (Family::Gappy, 13)] {
        let run = generate::run(family, seed, LEARN + 11, LEARN, 1.0);
        let alerts = alerts(&run, HostSettings::default());
        for fault in run.faults.iter().filter(|fault| fault.fault != Fault::Still) {
            faults += 1;
            let hit = alerts.iter().find(|(sample, _)| (fault.start..=fault.end + 5).contains(sample));
            found += usize::from(hit.is_some());
            blamed += usize::from(hit.is_some_and(|(_, blamed)| fault.metrics.contains(&blamed[0].metric)));
        }
    }
    assert!(found * 10 >= faults * 9, "{found} of {faults}");
    assert!(blamed * 10 >= found * 9, "{blamed} of {found} blamed rightly");
}

#[test]
fn chance_opens_no_more_alerts_than_the_budget_says() {
    // A budget of one in 4 days, so that a few weeks tell.
    let settings =
        HostSettings { false_alarm_every: Duration::from_secs(4 * 86_400), ..HostSettings::default() };
    let (mut days, mut opened) = (0, 0);
    for (seed, family) in Family::ALL.into_iter().enumerate() {
        let run = generate::run(family, 70 + seed as u64, LEARN + 8, LEARN, 0.0);
        opened += alerts(&run, settings).iter().filter(|(sample, _)| *sample >= LEARN * DAY).count();
        days += 8;
    }
    assert!(opened * 4 <= days * 3 / 2, "{opened} alerts in {days} days");
}

#[test]
fn later_samples_change_nothing_of_earlier_judgements() {
    let run = generate::run(Family::Gappy, 5, 6, 4, 0.5);
    let judge = |rows: &[[f64; METRICS]]| -> Vec<HostJudgement> {
        let mut host = Host::new(HostSettings::default(), names(METRICS));
        rows.iter().enumerate().map(|(sample, row)| host.observe(at(sample), row)).collect()
    };
    let (whole, part) = (judge(&run.rows), judge(&run.rows[..7_000]));
    assert!(part.iter().any(|judged| judged.score > 0.0), "it is warm");
    assert_eq!(whole[..7_000], part[..]);
}

#[test]
fn what_is_not_known_is_no_deviation() {
    let mut run = generate::run(Family::Seasonal, 6, LEARN + 1, LEARN, 0.0);
    // Half of the metrics are lost for two hours; then all of them.
    for row in &mut run.rows[LEARN * DAY..LEARN * DAY + 120] {
        row[..METRICS / 2].fill(f64::NAN);
    }
    for row in &mut run.rows[LEARN * DAY + 120..LEARN * DAY + 240] {
        row.fill(f64::NAN);
    }
    let opened = alerts(&run, HostSettings::default());
    assert!(
        opened.iter().all(|(sample, _)| *sample < LEARN * DAY || *sample > LEARN * DAY + 360),
        "{opened:?}"
    );
}

#[test]
fn hostile_values_and_times_are_borne() {
    let mut host = Host::new(HostSettings::default(), names(3));
    for sample in 0..2_000 {
        let value = [f64::MAX, f64::NAN, f64::NEG_INFINITY, 1e-300, -0.0, 7.0][sample % 6];
        let judged = host.observe(at(sample), &[value, -value, 1.0]);
        assert!(judged.score.is_finite() && judged.severity.is_finite(), "{judged:?}");
    }
    let judged = host.observe(at(10), &[0.0; 3]);
    assert_eq!(judged, HostJudgement::default(), "a time before the last is refused");
    assert!(host.observe(at(2_001), &[1.0]).score.is_finite(), "values are missing");
    assert!(!Host::new(HostSettings::default(), Vec::new()).observe(at(0), &[]).deviation);
}

#[test]
fn severity_outlives_the_score_and_fades() {
    let run = generate::run(Family::Seasonal, 11, LEARN + 4, LEARN, 1.0);
    let mut host = Host::new(HostSettings::default(), names(METRICS));
    let judged: Vec<_> =
        run.rows.iter().enumerate().map(|(sample, row)| host.observe(at(sample), row)).collect();
    let opened = judged.iter().rposition(|judged| judged.deviation && judged.score > 0.9).unwrap();
    assert!(judged[opened].score >= 0.5 && judged[opened].severity >= judged[opened].score);
    assert!(judged[opened..].iter().any(|judged| judged.severity < 0.1), "it ends");
    assert!(
        judged.windows(2).all(|pair| pair[1].severity >= pair[0].severity * 0.9),
        "it does not drop at once"
    );
}

#[test]
fn a_relative_change_of_a_hundred_millionth_is_no_alarm() {
    let mut host = Host::new(HostSettings::default(), names(4));
    for sample in 0..10 * DAY {
        let value = if sample > 9 * DAY { 5.0 * (1.0 + 1e-8) } else { 5.0 };
        assert!(!host.observe(at(sample), &[value; 4]).deviation, "{sample}");
    }
}
