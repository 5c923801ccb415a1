//! The breaker through its plain API: each state's promise, the modes, and generations.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use breaker::{
    Applied, Breaker, Mode, Outcome, PhaseKind, Policy, PolicyError, Rejection, State, TripReason,
};

const FAST: Duration = Duration::from_millis(5);

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn policy() -> Policy {
    Policy { minimum_calls: 4, open_wait_jitter: 0.0, half_open_permits: 3, ..Policy::default() }
}

fn breaker(policy: Policy) -> Breaker {
    Breaker::new(policy).expect("valid")
}

fn fail(breaker: &Breaker, now: Duration, times: usize) {
    for _ in 0..times {
        breaker.try_acquire(now).expect("admitted").record(now, Outcome::Failure, FAST);
    }
}

#[test]
fn opens_on_failures_and_says_when_to_retry() {
    let breaker = breaker(policy());
    fail(&breaker, at(100), 4);
    let rejection = breaker.try_acquire(at(600)).expect_err("open");
    assert_eq!(rejection, Rejection::Open { retry_after: at(1_500) });
    assert_eq!(breaker.snapshot(at(600)).last_trip, Some(TripReason::Failures));
}

#[test]
fn opens_on_slow_calls_that_succeed() {
    let breaker = breaker(policy());
    for _ in 0..4 {
        breaker.try_acquire(at(1)).expect("admitted").record(at(1), Outcome::Success, at(1_000));
    }
    assert_eq!(breaker.snapshot(at(1)).last_trip, Some(TripReason::SlowCalls));
}

#[test]
fn results_from_before_the_trip_do_not_count() {
    let breaker = breaker(policy());
    let early: Vec<_> = (0..50).map(|_| breaker.try_acquire(at(1)).expect("admitted")).collect();
    fail(&breaker, at(2), 4);
    let probe = breaker.try_acquire(at(5_000)).expect("half-open");
    for permit in early {
        permit.record(at(5_001), Outcome::Failure, FAST);
    }
    assert_eq!(breaker.snapshot(at(5_001)).state, State::HalfOpen);
    probe.record(at(5_002), Outcome::Success, FAST);
    breaker.try_acquire(at(5_003)).expect("admitted").record(at(5_003), Outcome::Success, FAST);
    assert_eq!(breaker.snapshot(at(5_004)).state, State::Closed);
}

#[test]
fn a_dropped_probe_gives_its_permit_back() {
    let breaker = breaker(policy());
    fail(&breaker, at(1), 4);
    let probes: Vec<_> = (0..3).map(|_| breaker.try_acquire(at(3_000)).expect("probe")).collect();
    assert!(probes.iter().all(breaker::Permit::is_probe));
    assert_eq!(breaker.try_acquire(at(3_000)).expect_err("all taken"), Rejection::ProbesTaken);
    drop(probes);
    assert!(breaker.try_acquire(at(3_000)).is_ok());
}

#[test]
fn probes_that_never_answer_reopen_after_their_lease() {
    let breaker = breaker(policy());
    fail(&breaker, at(1), 4);
    for _ in 0..3 {
        std::mem::forget(breaker.try_acquire(at(3_000)).expect("probe"));
    }
    assert_eq!(breaker.try_acquire(at(7_999)).expect_err("leased"), Rejection::ProbesTaken);
    let rejection = breaker.try_acquire(at(8_000)).expect_err("reopened");
    assert_eq!(rejection, Rejection::Open { retry_after: at(4_000) });
    assert!(breaker.try_acquire(at(12_000)).is_ok());
}

#[test]
fn waits_double_while_it_does_not_heal_and_start_over_after_a_healthy_window() {
    let breaker = breaker(policy());
    let mut waits = Vec::new();
    let mut now = at(1);
    fail(&breaker, now, 4);
    for _ in 0..6 {
        let wait = breaker.snapshot(now).retry_after.expect("open");
        waits.push(wait.as_secs());
        now += wait;
        fail(&breaker, now, 2);
    }
    assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
    now += Duration::from_secs(30);
    for _ in 0..2 {
        breaker.try_acquire(now).expect("probe").record(now, Outcome::Success, FAST);
    }
    now += Duration::from_secs(11);
    fail(&breaker, now, 4);
    assert_eq!(breaker.snapshot(now).retry_after, Some(at(2_000)));
}

#[test]
fn jitter_differs_by_seed_repeats_with_it_and_only_shortens() {
    let wait = |seed| {
        let policy = Policy { open_wait_jitter: 0.5, ..policy() };
        let breaker = Breaker::with_seed(policy, seed).expect("valid");
        fail(&breaker, at(1), 4);
        breaker.snapshot(at(1)).retry_after.expect("open")
    };
    assert_eq!(wait(7), wait(7));
    assert_ne!(wait(7), wait(8));
    assert!((0..500).all(|seed| (at(1_000)..=at(2_000)).contains(&wait(seed))));
}

#[test]
fn metrics_only_admits_all_counts_what_it_would_reject_and_rejects_at_once_when_enforced() {
    let metrics_only = Policy { mode: Mode::MetricsOnly, ..policy() };
    let breaker = breaker(metrics_only);
    fail(&breaker, at(1), 4 + 6);
    let snapshot = breaker.snapshot(at(1));
    assert_eq!((snapshot.state, snapshot.phase), (State::MetricsOnly, PhaseKind::Open));
    assert_eq!((snapshot.would_reject_total, snapshot.rejected_total), (6, 0));
    breaker.set_policy(policy(), 1, at(2)).expect("newer");
    assert!(breaker.try_acquire(at(3)).is_err());
    assert_eq!(breaker.snapshot(at(3)).state, State::Open);
}

#[test]
fn metrics_only_does_what_enforce_does_on_the_same_calls() {
    let enforced = breaker(policy());
    let shadow = breaker(Policy { mode: Mode::MetricsOnly, ..policy() });
    for ms in (0..120_000u64).step_by(7) {
        let outcome = if ms / 20_000 % 2 == 1 && ms % 3 != 0 { Outcome::Failure } else { Outcome::Success };
        for breaker in [&enforced, &shadow] {
            if let Ok(permit) = breaker.try_acquire(at(ms)) {
                permit.record(at(ms), outcome, FAST);
            }
        }
    }
    let (enforced, shadow) = (enforced.snapshot(at(120_000)), shadow.snapshot(at(120_000)));
    assert!(enforced.rejected_total > 1_000);
    assert_eq!(enforced.rejected_total, shadow.would_reject_total);
    assert_eq!(enforced.opened_total, shadow.opened_total);
}

#[test]
fn disabled_admits_and_forgets_and_forced_open_is_left_through_probes() {
    let breaker = breaker(Policy { mode: Mode::Disabled, ..policy() });
    fail(&breaker, at(1), 100);
    assert_eq!(breaker.snapshot(at(1)).counts.calls, 0);
    breaker.set_policy(Policy { mode: Mode::ForcedOpen, ..policy() }, 1, at(2)).expect("newer");
    assert_eq!(breaker.try_acquire(at(9_999)).expect_err("forced"), Rejection::ForcedOpen);
    breaker.set_policy(policy(), 2, at(10_000)).expect("newer");
    assert!(breaker.try_acquire(at(10_000)).expect("probe").is_probe());
}

#[test]
fn refuses_an_older_generation_and_repeats_none() {
    let breaker = breaker(policy());
    assert_eq!(breaker.set_policy(policy(), 5, at(1)), Ok(Applied::Changed));
    let open = Policy { mode: Mode::ForcedOpen, ..policy() };
    assert_eq!(
        breaker.set_policy(open.clone(), 4, at(1)),
        Err(PolicyError::Stale { offered: 4, current: 5 })
    );
    assert_eq!(breaker.set_policy(open, 5, at(1)), Ok(Applied::Already));
    assert_eq!(breaker.snapshot(at(1)).state, State::Closed);
    let invalid = Policy { minimum_calls: 0, ..policy() };
    assert!(matches!(breaker.set_policy(invalid, 6, at(1)), Err(PolicyError::Invalid(_))));
    assert_eq!(breaker.policy(), (policy(), 5));
}

#[test]
fn threads_that_race_for_probes_get_no_more_than_the_permits() {
    const THREADS: usize = 8;
    for round in 0..200 {
        let breaker = Arc::new(breaker(policy()));
        fail(&breaker, at(1), 4);
        let barrier = Arc::new(Barrier::new(THREADS));
        let racers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (breaker, barrier) = (Arc::clone(&breaker), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    barrier.wait();
                    (0..4).filter_map(|_| breaker.try_acquire_owned(at(3_000)).ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        let held: Vec<_> = racers.into_iter().flat_map(|racer| racer.join().expect("no panic")).collect();
        assert_eq!(held.len(), 3, "round {round}");
    }
}
