//! Objectives from OpenSLO text, tracked over made-up assessments.

use proto::model::{BudgetMeasure, Capacity, DataQuality, Quality, SignalGlance, openslo};

use super::super::objective::resolve;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn service() -> ResourceId {
    "service:shop/orders".parse().unwrap()
}

fn glance(name: &str, value: Option<f64>, quality: Quality, at: Timestamp) -> SignalGlance {
    SignalGlance { quality, ..SignalGlance::plain(name, value, at) }
}

fn seen(second: i64, signals: &[(&str, Option<f64>, Quality)]) -> Assessment {
    let data = DataQuality {
        quality: Quality::Good,
        reason: String::new(),
        since: at(second),
        sources_expected: 1,
        sources_seen: 1,
        last_good: None,
    };
    let glances = signals.iter().map(|(name, value, quality)| glance(name, *value, *quality, at(second)));
    Assessment {
        shard: service().shard(),
        resource: service(),
        at: at(second),
        sequence: 1,
        signals: glances.collect(),
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity::default(),
        outlook: None,
        data,
        interval: SECOND,
        budget_policies: Vec::new(),
    }
}

/// An assessment with 100 requests a second, of which this share is bad.
fn requests(second: i64, bad: f64) -> Assessment {
    seen(second, &[("load", Some(100.0), Quality::Good), ("bad_ratio", Some(bad), Quality::Good)])
}

const POLICY: &str =
    r#"{"steps":[{"at":0.8,"measures":["freeze-deployments"]}],"reset":{"stable_s":5,"approvals":1}}"#;

fn slo(annotations: &[(&str, &str)], window: &str, budgeting: &str, objectives: &str) -> String {
    let lines: String =
        annotations.iter().map(|(key, value)| format!("    homeostat.io/{key}: '{value}'\n")).collect();
    format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata:\n  name: orders\n  annotations:\n    homeostat.io/namespace: shop\n{lines}spec:\n  service: orders\n  timeWindow:\n{window}\n  budgetingMethod: {budgeting}\n{objectives}"
    )
}

const RATIO: &str = "  indicator:
    metadata:
      name: bad
      annotations:
        homeostat.io/weight-signal: load
    spec:
      ratioMetric:
        rawType: failure
        raw:
          metricSource:
            type: Homeostat
            spec:
              signal: bad_ratio
  objectives:
    - target: 0.9
";

const MINUTE: &str = "    - duration: 1m\n      isRolling: true";

fn spec(text: &str) -> ObjectiveSpec {
    resolve(&openslo::read(text).unwrap()).unwrap().remove(0)
}

fn live(text: &str) -> Live {
    Live::new(spec(text), service(), SECOND)
}

fn rolling() -> String {
    slo(&[("error-budget-policy", POLICY)], MINUTE, "Occurrences", RATIO)
}

#[test]
fn the_budget_is_that_of_the_whole_window_from_the_first_event_on() {
    let mut live = live(&rolling());
    live.observe(&requests(1, 1.0));
    // One second of sixty failed; six may.
    assert!((live.consumed().unwrap() - 1.0 / 6.0).abs() < 1e-9, "{:?}", live.consumed());
    for second in 2..=60 {
        live.observe(&requests(second, 0.0));
    }
    assert!((live.consumed().unwrap() - 1.0 / 6.0).abs() < 1e-9, "the rest of the window was good");
    live.observe(&requests(61, 0.0));
    assert_eq!(live.consumed(), Some(0.0), "the bad second has left the window");
}

#[test]
fn a_burned_budget_begins_its_measures_and_the_reset_ends_them() {
    let mut live = live(&rolling());
    let mut begun = Vec::new();
    for second in 1..=6 {
        begun.extend(live.observe(&requests(second, 1.0)).effects);
    }
    assert!(matches!(begun[..], [Effect::Begin { measure: BudgetMeasure::FreezeDeployments, .. }]));
    let state = live.policy_state().unwrap();
    assert!(state.wants(BudgetMeasure::FreezeDeployments).is_some() && state.known);
    let ended: Vec<_> = (7..=120).flat_map(|second| live.observe(&requests(second, 0.0)).effects).collect();
    assert!(ended.is_empty(), "nobody has approved: {:?}", live.policy_state().unwrap().waiting_for);
    assert!(live.waits_for_people());
    let approved = Event::Approved { who: "ada".to_owned(), until: None };
    let ended = live.told(at(121), approved);
    assert!(matches!(ended[..], [Effect::Undo { measure: BudgetMeasure::FreezeDeployments, .. }]));
}

#[test]
fn an_approval_that_has_run_out_does_not_count() {
    let mut live = live(&rolling());
    (1..=6).for_each(|second| _ = live.observe(&requests(second, 1.0)));
    live.told(at(7), Event::Approved { who: "ada".to_owned(), until: Some(at(30)) });
    let ended: Vec<_> = (8..=120).flat_map(|second| live.observe(&requests(second, 0.0)).effects).collect();
    assert!(ended.is_empty());
}

#[test]
fn what_is_unknown_is_neither_good_nor_a_reason() {
    let mut live = live(&rolling());
    live.observe(&requests(1, 0.0));
    live.observe(&seen(2, &[("load", None, Quality::Unknown)]));
    let tracked = live.tracked(at(2));
    assert_eq!(tracked.state.standing, ObjectiveStanding::Unknown);
    assert!(!tracked.policy.unwrap().known);
}

#[test]
fn dropped_series_leave_an_objective_incomplete_and_not_met() {
    let mut live = live(&rolling());
    live.observe(&seen(
        1,
        &[("load", Some(50.0), Quality::Partial), ("bad_ratio", Some(0.0), Quality::Good)],
    ));
    let tracked = live.tracked(at(1));
    assert!(tracked.incomplete && tracked.state.standing == ObjectiveStanding::Unknown);
    for second in 2..=150 {
        live.observe(&requests(second, 0.0));
    }
    assert!(!live.tracked(at(150)).incomplete, "it has left the window");
    assert_eq!(live.tracked(at(150)).state.standing, ObjectiveStanding::Met);
}

#[test]
fn a_calendar_window_begins_anew_with_its_period() {
    // 1,800,000,000 s is 2027-01-15 08:00:00 UTC.
    let window =
        "    - duration: 1d\n      calendar:\n        startTime: 2027-01-01 08:01:00\n        timeZone: UTC";
    let mut live = live(&slo(&[], window, "Occurrences", RATIO));
    live.observe(&requests(10, 1.0));
    assert!(live.consumed().unwrap() > 0.0);
    for second in 11..=62 {
        live.observe(&requests(second, 0.0));
    }
    assert_eq!(live.consumed(), Some(0.0));
    assert_eq!(live.tracked(at(62)).from, at(60));
}

#[test]
fn slices_are_judged_as_wholes() {
    let objectives = RATIO.replace(
        "    - target: 0.9\n",
        "    - target: 0.5\n      timeSliceTarget: 0.95\n      timeSliceWindow: 1m\n",
    );
    let window = "    - duration: 10m\n      isRolling: true";
    let mut live = live(&slo(&[], window, "Timeslices", &objectives));
    // The first minute has 10 % bad requests: it is bad; the second 1 %: it is good.
    (1..=60).for_each(|second| _ = live.observe(&requests(second, 0.1)));
    (61..=121).for_each(|second| _ = live.observe(&requests(second, 0.01)));
    let state = live.tracked(at(121)).state;
    assert!((state.total_events - 2.0).abs() < 1e-9, "{state:?}");
    // One bad minute; five of ten may be.
    assert!((state.budget_remaining_ratio.unwrap() - 0.8).abs() < 0.01, "{state:?}");
}

#[test]
fn parts_are_joined_and_an_unknown_part_leaves_the_whole_unknown() {
    let part = |signal: &str| {
        format!(
            "    - target: 0.9\n      indicator:\n        metadata:\n          name: {signal}\n          annotations:\n            homeostat.io/weight-signal: load\n        spec:\n          ratioMetric:\n            rawType: failure\n            raw:\n              metricSource:\n                type: Homeostat\n                spec:\n                  signal: {signal}\n"
        )
    };
    let objectives = format!("  objectives:\n{}{}", part("bad_ratio"), part("error_ratio"));
    let text = slo(&[("composite", "path"), ("target", "0.8")], MINUTE, "Occurrences", &objectives);
    let mut live = live(&text);
    let both = |second, error| {
        let signals = [("load", Some(100.0)), ("bad_ratio", Some(0.1)), ("error_ratio", error)];
        let signals: Vec<_> = signals.iter().map(|(name, value)| (*name, *value, Quality::Good)).collect();
        seen(second, &signals)
    };
    live.observe(&both(1, Some(0.2)));
    // 0.9 × 0.8 of a hundred requests are good.
    let state = live.tracked(at(1)).state;
    assert!((state.good_ratio.unwrap() - 0.72).abs() < 1e-9 && state.total_events == 100.0, "{state:?}");
    live.observe(&both(2, None));
    assert_eq!(live.tracked(at(2)).state.standing, ObjectiveStanding::Unknown);
}

/// Two shares of requests, each with a target of its own for slices of a minute.
const TWO: &str = "  objectives:
    - target: 0.9
      timeSliceTarget: 0.9
      timeSliceWindow: 1m
      indicator:
        metadata: { name: one, annotations: { homeostat.io/weight-signal: load } }
        spec: { ratioMetric: { rawType: failure, raw: { metricSource: { type: Homeostat, spec: { signal: bad_ratio } } } } }
    - target: 0.9
      timeSliceTarget: 0.5
      timeSliceWindow: 1m
      indicator:
        metadata: { name: other, annotations: { homeostat.io/weight-signal: load } }
        spec: { ratioMetric: { rawType: failure, raw: { metricSource: { type: Homeostat, spec: { signal: error_ratio } } } } }
";

#[test]
fn each_part_of_a_slice_is_judged_by_its_own_target() {
    // Shares of bad of the two parts in all ticks of a slice, and whether the slice is bad.
    for (one, other, bad) in [(0.05, 0.4, 0.0), (0.2, 0.0, 1.0), (0.0, 0.6, 1.0), (0.0, 0.0, 0.0)] {
        let text = slo(&[("target", "0.9")], MINUTE, "Timeslices", TWO);
        let mut live = live(&text);
        for second in 0..=60 {
            live.observe(&seen(
                second,
                &[
                    ("load", Some(100.0), Quality::Good),
                    ("bad_ratio", Some(one), Quality::Good),
                    ("error_ratio", Some(other), Quality::Good),
                ],
            ));
        }
        let (sums, _) = live.window().unwrap();
        let near = (sums.total - 1.0).abs() < 1e-9 && (sums.bad - bad).abs() < 1e-9;
        assert!(near, "{one} and {other}: {sums:?}");
    }
}

#[test]
fn what_cannot_be_tracked_is_said_with_the_reason() {
    let other = RATIO.replace("type: Homeostat", "type: Datadog");
    let reason = observed::untracked(&spec(&slo(&[], MINUTE, "Occurrences", &other))).unwrap();
    assert!(reason.contains("Datadog"), "{reason}");
    let prometheus = RATIO
        .replace("type: Homeostat", "type: Prometheus")
        .replace("signal: bad_ratio", "query: sum(rate(x[5m]))");
    assert_eq!(observed::untracked(&spec(&slo(&[], MINUTE, "Occurrences", &prometheus))), None);
    let grouped = slo(&[("group-by", "tenant")], MINUTE, "Occurrences", RATIO);
    assert!(observed::untracked(&spec(&grouped)).unwrap().contains("tenant"));
    let grouped = slo(&[("group-by", "callee")], MINUTE, "Occurrences", RATIO);
    assert_eq!(observed::untracked(&spec(&grouped)), None);
}

#[test]
fn a_restart_goes_on_where_it_was_and_an_edit_keeps_the_events() {
    let mut live = live(&rolling());
    (1..=6).for_each(|second| _ = live.observe(&requests(second, 1.0)));
    let mut writer = Writer::default();
    live.save(&mut writer);
    let bytes = writer.into_bytes();
    let back = Live::load(spec(&rolling()), service(), &mut Reader::new(&bytes)).unwrap();
    assert_eq!((back.consumed(), back.standing()), (live.consumed(), live.standing()));
    let wider = rolling().replace("target: 0.9", "target: 0.5");
    let edited = Live::load(spec(&wider), service(), &mut Reader::new(&bytes)).unwrap();
    assert!((edited.consumed().unwrap() - 0.2).abs() < 1e-9, "6 s of 30 s: {:?}", edited.consumed());
    assert_eq!(live.clone().followed(spec(&wider)).consumed(), edited.consumed());
    for cut in [0, 7, bytes.len() / 2] {
        assert!(Live::load(spec(&rolling()), service(), &mut Reader::new(&bytes[..cut])).is_err());
    }
}

#[test]
fn what_was_recorded_stands_in_for_what_was_not_saved() {
    let mut live = live(&rolling());
    let sums = Sums { total: 3_000.0, bad: 300.0, known_s: 30.0 };
    live.remember(&[LiveSpan { from: at(0), width: Duration::from_secs(60), sums, incomplete: false }]);
    (31..=40).for_each(|second| _ = live.observe(&requests(second, 0.0)));
    assert!((live.consumed().unwrap() - 300.0 / (0.1 * 6_000.0)).abs() < 0.02, "{:?}", live.consumed());
}

#[test]
fn a_policy_that_was_taken_off_wants_nothing_and_says_so() {
    let mut live = live(&rolling());
    (1..=6).for_each(|second| _ = live.observe(&requests(second, 1.0)));
    assert_eq!(live.policy_state().unwrap().measures.len(), 1);
    let mut writer = Writer::default();
    live.save(&mut writer);
    let without = spec(&slo(&[], MINUTE, "Occurrences", RATIO));
    let bytes = writer.into_bytes();
    let loaded = Live::load(without.clone(), service(), &mut Reader::new(&bytes)).unwrap();
    for live in [live.followed(without), loaded] {
        let state = live.policy_state().unwrap();
        assert!(state.measures.is_empty() && state.known && state.refusal().is_none());
    }
}
