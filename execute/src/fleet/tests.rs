//! The pool by itself.

use super::*;
use crate::testing::{actuator, breaker, edge, start};
use proto::model::{Action, BreakerMode, BreakerVerdict};

const SECOND: Duration = Duration::from_secs(1);

fn moment(seconds: f64) -> Moment {
    let monotonic = Duration::from_secs_f64(seconds);
    Moment { wall: start() + monotonic, monotonic }
}

fn name(number: usize) -> ActuatorKey {
    ActuatorKey::of(&actuator("breaker", &format!("pod-{number}")))
}

pub(crate) fn report() -> BreakerReport {
    let Action::SetBreaker(policy) = breaker(BreakerMode::Enforce).action else { panic!("a setting") };
    BreakerReport {
        key: BreakerKey::of(edge()),
        phase: BreakerPhase::Closed,
        verdict: BreakerVerdict::Nominal,
        outage_score: 0.0,
        outage_threshold: 20.0,
        probes_answered: false,
        policy,
        generation: Generation(1),
        override_generation: Generation(0),
        failure_baseline_ratio: 0.01,
        rate_per_second: 1.0,
        admitted_ratio: 1.0,
        opened_total: 0,
        would_reject_total: 0,
        rejected_total: BTreeMap::new(),
        results_total: BTreeMap::new(),
        probes_in_flight: 0,
        probe_permits: 1,
        baseline_known: true,
        baseline: None,
    }
}

fn tell(fleet: &mut Fleet, number: usize, report: BreakerReport, at: f64) -> BreakerAdvice {
    fleet.tell(&name(number), vec![report], moment(at)).remove(0)
}

fn baseline(failure_ratio: f64) -> BreakerBaseline {
    BreakerBaseline { format: 1, numbers: vec![failure_ratio], failure_ratio }
}

#[test]
fn others_are_heard_only_when_several_agree_and_only_for_as_long_as_they_speak() {
    let mut fleet = Fleet::default();
    let ill = || BreakerReport { outage_score: 1e6, ..report() };
    assert_eq!(tell(&mut fleet, 1, report(), 0.0).others_score, 0.0);
    tell(&mut fleet, 2, ill(), 0.3);
    assert_eq!(tell(&mut fleet, 1, report(), 0.6).others_score, 0.0, "one sick client moves nobody");
    tell(&mut fleet, 3, ill(), 0.7);
    tell(&mut fleet, 4, ill(), 0.7);
    let advice = tell(&mut fleet, 1, report(), 1.0);
    assert!(advice.others_score > 0.0 && advice.others_score < 20.0, "never enough by itself: {advice:?}");
    assert_eq!(advice.witnesses, 3);
    let later = tell(&mut fleet, 1, report(), 5.0);
    assert_eq!((later.others_score, later.witnesses), (0.0, 0), "they have said nothing for seconds");
}

#[test]
fn a_lone_instance_probes_as_it_pleases_and_of_many_few_are_invited() {
    let mut fleet = Fleet::default();
    let open = || BreakerReport { phase: BreakerPhase::Open, opened_total: 1, ..report() };
    assert_eq!(tell(&mut fleet, 1, open(), 0.0).probing, BreakerProbing::Free);
    for number in 2..=40 {
        tell(&mut fleet, number, open(), 0.1);
    }
    let advice: Vec<_> = (1..=40).map(|number| tell(&mut fleet, number, open(), 2.1).probing).collect();
    let invited = advice.iter().filter(|one| **one == BreakerProbing::Now).count();
    assert!((1..=8).contains(&invited), "{advice:?}");
    assert!(advice.iter().all(|one| *one != BreakerProbing::Free), "the others wait: {advice:?}");
}

#[test]
fn what_is_normal_is_the_word_of_the_middle_and_goes_to_those_who_do_not_know() {
    let mut fleet = Fleet::default();
    for (number, ratio) in [(1, 0.02), (2, 0.9), (3, 0.03)] {
        let known = BreakerReport { baseline: Some(baseline(ratio)), ..report() };
        assert_eq!(tell(&mut fleet, number, known, 0.0).baseline, None, "it knows");
    }
    let fresh = || BreakerReport { baseline_known: false, ..report() };
    assert_eq!(tell(&mut fleet, 4, fresh(), 0.1).baseline, Some(baseline(0.03)));
    assert_eq!(tell(&mut fleet, 4, fresh(), 0.2).baseline, None, "once is enough for a while");
    assert_eq!(fleet.to_save(SECOND), [(BreakerKey::of(edge()), baseline(0.03))]);
    assert!(fleet.to_save(2 * SECOND).is_empty(), "it is saved once");
    fleet.not_saved(&BreakerKey::of(edge()));
    assert_eq!(fleet.to_save(2 * SECOND).len(), 1, "unless it was not");
}

#[test]
fn the_first_instance_after_a_restart_gets_what_knowledge_kept() {
    let mut fleet = Fleet::default();
    let fresh = BreakerReport { baseline_known: false, ..report() };
    let unknown = fleet.unknown(std::slice::from_ref(&fresh), SECOND);
    assert_eq!(unknown, [BreakerKey::of(edge())]);
    assert!(fleet.unknown(std::slice::from_ref(&fresh), 2 * SECOND).is_empty(), "it was just asked");
    assert_eq!(fleet.unknown(std::slice::from_ref(&fresh), 7 * SECOND).len(), 1, "and did not answer");
    fleet.stored(&unknown[0], Stored { baseline: Some(baseline(0.2)), told: None });
    assert!(fleet.unknown(std::slice::from_ref(&fresh), 60 * SECOND).is_empty());
    assert_eq!(tell(&mut fleet, 1, fresh, 7.0).baseline, Some(baseline(0.2)));
    assert!(fleet.to_save(8 * SECOND).is_empty(), "nobody has learned anything new");
}

#[test]
fn a_newcomer_hears_of_the_override_that_stands_and_of_its_end() {
    let mut fleet = Fleet::default();
    let until = start() + 60 * SECOND;
    let word = BreakerOverride::Set { mode: BreakerMode::Disabled, until };
    let told = |word, generation| {
        let policy = BreakerSetting { told: word, ..report().policy };
        BreakerReport { policy, override_generation: Generation(generation), ..report() }
    };
    tell(&mut fleet, 1, told(Some(word), 3), 0.0);
    assert_eq!(tell(&mut fleet, 2, report(), 0.1).told, Some((word, Generation(3))));
    assert_eq!(tell(&mut fleet, 1, told(Some(word), 3), 0.2).told, None, "it knows");
    assert_eq!(tell(&mut fleet, 2, report(), 61.0).told, None, "it is over");
    tell(&mut fleet, 1, told(None, 4), 1.0);
    let late = tell(&mut fleet, 2, told(Some(word), 3), 1.1);
    assert_eq!(late.told, Some((BreakerOverride::Cleared, Generation(4))));
}

#[test]
fn a_host_may_be_left_out_when_its_callers_agree_and_never_all() {
    let mut fleet = Fleet::default();
    let of = |host: &str, score: f64| BreakerReport {
        key: BreakerKey { host: host.to_owned(), ..BreakerKey::of(edge()) },
        outage_score: score,
        ..report()
    };
    let mut all = |ill: &[&str], at: f64| -> Vec<bool> {
        let word =
            || ["a", "b", "c"].map(|host| of(host, if ill.contains(&host) { 30.0 } else { 0.0 })).to_vec();
        (1..=3).for_each(|number| drop(fleet.tell(&name(number), word(), moment(at))));
        // Nobody is asked again and again within one round.
        fleet.tell(&name(1), word(), moment(at + 0.25)).into_iter().map(|one| one.may_eject).collect()
    };
    assert_eq!(all(&["b"], 0.0), [false, true, false]);
    assert_eq!(all(&["a", "b"], 0.5), [false; 3], "too many: the fault lies elsewhere");
    assert_eq!(all(&["a", "b", "c"], 1.0), [false; 3]);
}

#[test]
fn who_is_silent_or_forgotten_is_neither_listed_nor_kept() {
    let mut fleet = Fleet::default();
    tell(&mut fleet, 1, report(), 0.0);
    tell(&mut fleet, 2, report(), 2.0);
    let listed = |fleet: &Fleet, at| fleet.list(Some(&edge()), SECOND * at).len();
    assert_eq!((listed(&fleet, 2), listed(&fleet, 4), fleet.len()), (2, 1, 2));
    fleet.forget(&name(2));
    assert_eq!(listed(&fleet, 2), 1);
    tell(&mut fleet, 3, report(), 20.0);
    assert_eq!(fleet.len(), 1, "the silent are swept");
    assert_eq!(fleet.policy(&edge()), Some(report().policy));
    assert_eq!(fleet.policy(&ResourceId::edge("shop", "a", "b").unwrap()), None);
}
