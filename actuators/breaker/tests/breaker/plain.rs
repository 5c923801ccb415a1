//! The breaker through its plain API: each state's promise, the modes, and generations.

use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use breaker::fleet::Advice;
use breaker::{
    Applied, Breaker, Cause, Mode, Outcome, PhaseKind, Policy, PolicyError, Priority, Rejection,
    ShadowReport, State, Verdict,
};

const FAST: Duration = Duration::from_millis(5);

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn policy() -> Policy {
    let open_wait = Duration::from_secs(2);
    Policy { open_wait, probe_share: 1e-6, open_wait_jitter: 0.0, half_open_permits: 4, ..Policy::default() }
}

fn breaker(policy: Policy) -> Breaker {
    Breaker::new(policy).expect("valid")
}

fn call(breaker: &Breaker, now: Duration, outcome: Outcome) -> Result<(), Rejection> {
    breaker.try_acquire(now).map(|permit| permit.record(now, outcome, FAST))
}

/// Fails calls until it opens; how many it took.
fn fail(breaker: &Breaker, now: Duration) -> usize {
    let opened = breaker.snapshot(now).opened_total;
    (1..1_000)
        .find(|_| {
            call(breaker, now, Outcome::Failure).expect("admitted");
            breaker.snapshot(now).opened_total > opened
        })
        .expect("it opens")
}

fn works(breaker: &Breaker, now: Duration, times: usize) {
    (0..times).for_each(|_| call(breaker, now, Outcome::Success).expect("admitted"));
}

#[test]
fn opens_after_a_handful_of_failures_without_a_minimum_of_calls_and_says_when_to_retry() {
    let breaker = breaker(policy());
    assert!(fail(&breaker, at(100)) <= 6);
    let rejection = breaker.try_acquire(at(600)).expect_err("open");
    assert_eq!(rejection, Rejection::Open { retry_after: at(1_500) });
    let told = breaker.transitions(0);
    let last = told.last().expect("told");
    assert_eq!((last.from, last.to, last.cause), (State::Closed, State::Open, Cause::Outage));
    assert!(last.evidence.score >= last.evidence.threshold);
}

#[test]
fn opens_on_calls_slower_than_declared_and_not_on_calls_slower_than_learned() {
    let declared = breaker(Policy { slow_call: Some(at(1_000)), ..policy() });
    let learned = breaker(policy());
    for step in 0..20_000 {
        for breaker in [&declared, &learned] {
            call(breaker, at(step * 10), Outcome::Success).expect("admitted");
        }
    }
    let now = at(300_000);
    works(&learned, now, 1);
    for _ in 0..100 {
        for breaker in [&declared, &learned] {
            if let Ok(permit) = breaker.try_acquire(now) {
                permit.record(now, Outcome::Success, at(1_000));
            }
        }
    }
    assert_eq!(declared.snapshot(now).state, State::Open);
    let snapshot = learned.snapshot(now);
    assert_eq!((snapshot.state, snapshot.verdict), (State::Closed, Verdict::Degraded));
    assert!(learned.transitions(0).iter().any(|told| told.cause == Cause::SlowCalls));
}

#[test]
fn the_callers_own_faults_and_given_up_calls_count_for_nothing() {
    let breaker = breaker(policy());
    for _ in 0..1_000 {
        call(&breaker, at(1), Outcome::CallerFault).expect("admitted");
        call(&breaker, at(1), Outcome::Cancelled).expect("admitted");
    }
    assert_eq!(breaker.snapshot(at(1)).evidence.score, 0.0);
}

#[test]
fn overload_is_shed_and_never_opens() {
    let breaker = breaker(policy());
    let mut admitted = 0;
    let mut refused = 0;
    for ms in 0..20_000 {
        // The callee works on 20 calls in each tenth of a second, of 100 that are asked for.
        if ms % 100 == 0 {
            admitted = 0;
        }
        if let Ok(permit) = breaker.try_acquire(at(ms)) {
            admitted += 1;
            let outcome = if admitted > 20 { Outcome::Overload } else { Outcome::Success };
            refused += u32::from(ms >= 10_000 && outcome == Outcome::Overload);
            permit.record(at(ms), outcome, FAST);
        }
    }
    let snapshot = breaker.snapshot(at(20_000));
    assert_eq!(snapshot.opened_total, 0);
    assert!(snapshot.rejected[Rejection::Shed.index()] > 10_000, "{snapshot:?}");
    assert!(refused < 1_000, "{refused} of 8000 that would be refused");
}

#[test]
fn results_from_before_the_trip_do_not_count() {
    let breaker = breaker(policy());
    let early: Vec<_> = (0..50).map(|_| breaker.try_acquire(at(1)).expect("admitted")).collect();
    fail(&breaker, at(2));
    let probe = breaker.try_acquire(at(5_000)).expect("half-open");
    for permit in early {
        permit.record(at(5_001), Outcome::Failure, FAST);
    }
    assert_eq!(breaker.snapshot(at(5_001)).state, State::HalfOpen);
    assert_eq!(breaker.snapshot(at(5_001)).late_total, 50);
    probe.record(at(5_002), Outcome::Success, FAST);
    works(&breaker, at(5_003), 2 + 4);
    assert_eq!(breaker.snapshot(at(5_004)).state, State::Closed);
}

#[test]
fn probes_come_in_stages_of_one_two_four() {
    let breaker = breaker(policy());
    fail(&breaker, at(1));
    for stage in [1, 2, 4] {
        let probes: Vec<_> = (0..stage).map(|_| breaker.try_acquire(at(3_000)).expect("probe")).collect();
        assert!(probes.iter().all(breaker::Permit::is_probe));
        assert_eq!(breaker.try_acquire(at(3_000)).expect_err("all taken"), Rejection::ProbesTaken);
        probes.into_iter().for_each(|probe| probe.record(at(3_000), Outcome::Success, FAST));
    }
    assert_eq!(breaker.snapshot(at(3_000)).state, State::Closed);
}

#[test]
fn a_dropped_or_panicked_probe_gives_its_permit_back() {
    let breaker = breaker(policy());
    fail(&breaker, at(1));
    let probe = breaker.try_acquire(at(3_000)).expect("probe");
    assert_eq!(breaker.try_acquire(at(3_000)).expect_err("taken"), Rejection::ProbesTaken);
    drop(probe);
    let panicked = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _probe = breaker.try_acquire(at(3_000)).expect("probe");
                std::panic::resume_unwind(Box::new("on purpose"));
            })
            .join()
    });
    assert!(panicked.is_err());
    assert!(breaker.try_acquire(at(3_000)).is_ok());
}

#[test]
fn a_probe_that_never_answers_reopens_after_its_lease() {
    let breaker = breaker(policy());
    fail(&breaker, at(1));
    std::mem::forget(breaker.try_acquire(at(3_000)).expect("probe"));
    assert_eq!(breaker.try_acquire(at(7_999)).expect_err("leased"), Rejection::ProbesTaken);
    let rejection = breaker.try_acquire(at(8_000)).expect_err("reopened");
    assert_eq!(rejection, Rejection::Open { retry_after: at(4_000) });
    assert!(breaker.try_acquire(at(12_000)).is_ok());
}

#[test]
fn waits_double_while_it_does_not_heal_and_start_over_after_a_healthy_time() {
    let breaker = breaker(policy());
    let mut waits = Vec::new();
    let mut now = at(1);
    fail(&breaker, now);
    for _ in 0..6 {
        let wait = breaker.snapshot(now).retry_after.expect("open");
        waits.push(wait.as_secs());
        now += wait;
        fail(&breaker, now);
    }
    assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
    now += Duration::from_secs(30);
    works(&breaker, now, 1 + 2 + 4);
    now += Duration::from_secs(31);
    fail(&breaker, now);
    assert_eq!(breaker.snapshot(now).retry_after, Some(at(2_000)));
}

#[test]
fn where_probes_are_cheap_the_wait_stays_short() {
    let breaker = breaker(Policy { probe_share: 0.01, ..policy() });
    for ms in 0..5_000 {
        works(&breaker, at(ms * 2), 1);
    }
    let mut now = at(10_000);
    for _ in 0..6 {
        fail(&breaker, now);
        let wait = breaker.snapshot(now).retry_after.expect("open");
        assert!(wait <= at(8_000), "{wait:?}");
        now += wait;
    }
}

#[test]
fn jitter_differs_by_seed_repeats_with_it_and_only_shortens() {
    let wait = |seed| {
        let policy = Policy { open_wait_jitter: 0.5, ..policy() };
        let breaker = Breaker::with_seed(policy, seed).expect("valid");
        fail(&breaker, at(1));
        breaker.snapshot(at(1)).retry_after.expect("open")
    };
    assert_eq!(wait(7), wait(7));
    assert_ne!(wait(7), wait(8));
    assert!((0..500).all(|seed| (at(1_000)..=at(2_000)).contains(&wait(seed))));
}

#[test]
fn metrics_only_admits_all_counts_what_it_would_reject_and_rejects_at_once_when_enforced() {
    let breaker = breaker(Policy { mode: Mode::MetricsOnly, ..policy() });
    fail(&breaker, at(1));
    for _ in 0..6 {
        call(&breaker, at(1), Outcome::Failure).expect("admitted");
    }
    let snapshot = breaker.snapshot(at(1));
    assert_eq!((snapshot.state, snapshot.phase), (State::MetricsOnly, PhaseKind::Open));
    assert_eq!((snapshot.would_reject_total, snapshot.rejected_total), (6, 0));
    let report = breaker.shadow_report(at(1));
    assert_eq!((report.failures_spared, report.successes_lost), (6, 0));
    assert_eq!(report.wait_spared, FAST * 6);
    breaker.set_policy(policy(), 1, at(2)).expect("newer");
    assert!(breaker.try_acquire(at(3)).is_err());
    assert_eq!(breaker.snapshot(at(3)).state, State::Open);
}

#[test]
fn metrics_only_does_what_enforce_does_on_the_same_calls() {
    let enforced = breaker(policy());
    let shadow = breaker(Policy { mode: Mode::MetricsOnly, ..policy() });
    for ms in (0..120_000u64).step_by(7) {
        let outcome = if ms / 20_000 % 2 == 1 { Outcome::Failure } else { Outcome::Success };
        for breaker in [&enforced, &shadow] {
            let _ = call(breaker, at(ms), outcome);
        }
    }
    let report = shadow.shadow_report(at(120_000));
    let (enforced, shadow) = (enforced.snapshot(at(120_000)), shadow.snapshot(at(120_000)));
    assert!(enforced.rejected_total > 1_000);
    assert_eq!(enforced.rejected_total, shadow.would_reject_total);
    assert_eq!(enforced.opened_total, shadow.opened_total);
    assert_eq!(report.failures_spared + report.successes_lost, report.would_reject);
    assert_eq!(report.offered, 120_000 / 7 + 1);
}

#[test]
fn metrics_only_tells_what_a_trial_would_leave_out_and_that_its_end_is_a_guess() {
    let breaker = breaker(Policy { mode: Mode::MetricsOnly, ..policy() });
    let mut now = at(1);
    let mut go_on = |calls: u64, fails: u64| {
        for number in 0..calls {
            now += at(20);
            let outcome = if number * 7 % 100 < fails { Outcome::Failure } else { Outcome::Success };
            call(&breaker, now, outcome).expect("all are admitted");
        }
        now
    };
    go_on(60_000, 1);
    assert_eq!(breaker.shadow_report(at(1_200_001)), ShadowReport { offered: 60_000, ..Default::default() });
    let ended = go_on(3_000, 30);
    let report = breaker.shadow_report(ended);
    assert!(report.tried > 20 && report.would_reject == report.tried, "{report:?}");
    assert!(report.trials_unknown > 0 && report.relieved == 0, "{report:?}");
    assert_eq!(report.failures_spared + report.successes_lost, report.tried);
    let causes: Vec<_> = breaker.transitions(0).iter().map(|told| told.cause).collect();
    assert!(causes.contains(&Cause::SheddingUnknown), "{causes:?}");
    assert!(!causes.contains(&Cause::SheddingHelps) && !causes.contains(&Cause::SheddingIsUseless));
    // It found out nothing, so enforcing does not wait for the next turn of a trial.
    let before = breaker.snapshot(ended).transitions_total;
    breaker.set_policy(policy(), 1, ended).expect("newer");
    for number in 1..100u64 {
        let outcome = if number % 3 == 0 { Outcome::Failure } else { Outcome::Success };
        let _ = call(&breaker, ended + at(number * 20), outcome);
    }
    assert!(breaker.transitions(before).iter().any(|told| told.cause == Cause::TrialBegan));
}

#[test]
fn disabled_admits_and_forgets_and_forced_open_is_left_through_probes() {
    let breaker = breaker(Policy { mode: Mode::Disabled, ..policy() });
    for _ in 0..100 {
        call(&breaker, at(1), Outcome::Failure).expect("admitted");
    }
    assert_eq!(breaker.snapshot(at(1)).evidence.score, 0.0);
    breaker.set_policy(Policy { mode: Mode::ForcedOpen, ..policy() }, 1, at(2)).expect("newer");
    assert_eq!(breaker.try_acquire(at(9_999)).expect_err("forced"), Rejection::ForcedOpen);
    breaker.set_policy(policy(), 2, at(10_000)).expect("newer");
    assert!(breaker.try_acquire(at(10_000)).expect("probe").is_probe());
}

#[test]
fn a_persons_word_stands_over_the_policy_until_it_ends() {
    let breaker = breaker(policy());
    breaker.set_override(Mode::ForcedOpen, at(5_000), at(1));
    assert_eq!(breaker.try_acquire(at(2)).expect_err("forced"), Rejection::ForcedOpen);
    breaker.set_policy(policy(), 1, at(3)).expect("newer");
    assert_eq!(breaker.try_acquire(at(4_999)).expect_err("forced"), Rejection::ForcedOpen);
    assert!(breaker.try_acquire(at(5_000)).is_ok());
    breaker.set_override(Mode::Disabled, at(90_000), at(6_000));
    for _ in 0..50 {
        call(&breaker, at(6_001), Outcome::Failure).expect("admitted");
    }
    breaker.clear_override(at(6_002));
    fail(&breaker, at(6_003));
}

#[test]
fn refuses_an_older_generation_and_repeats_none() {
    let breaker = breaker(policy());
    assert_eq!(breaker.set_policy(policy(), 5, at(1)), Ok(Applied::Changed));
    let open = Policy { mode: Mode::ForcedOpen, ..policy() };
    let stale = PolicyError::Stale { offered: 4, current: 5 };
    assert_eq!(breaker.set_policy(open.clone(), 4, at(1)), Err(stale));
    assert_eq!(breaker.set_policy(open, 5, at(1)), Ok(Applied::Already));
    assert_eq!(breaker.snapshot(at(1)).state, State::Closed);
    let invalid = Policy { probe_share: 0.0, ..policy() };
    assert!(matches!(breaker.set_policy(invalid, 6, at(1)), Err(PolicyError::Invalid(_))));
    assert_eq!(breaker.policy(), (policy(), 5));
}

#[test]
fn what_is_learned_can_be_shared_and_nonsense_cannot() {
    let taught = breaker(policy());
    let mut failures = 0;
    for ms in 0..200_000u64 {
        let failed = ms % 20 == 7;
        failures += u32::from(failed);
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        call(&taught, at(ms * 10), outcome).expect("admitted");
    }
    let now = at(2_000_000);
    assert!(failures > 1_000 && taught.snapshot(now).opened_total == 0);
    let numbers = taught.export_baseline(now);
    let fresh = breaker(policy());
    assert!(fresh.import_baseline(&numbers[1..], now).is_err());
    fresh.import_baseline(&numbers, now).expect("exported");
    works(&fresh, now + at(1_000), 2);
    let (old, new) = (taught.snapshot(now), fresh.snapshot(now + at(2_000)));
    assert!((old.baseline_ratio - 0.05).abs() < 0.01, "{old:?}");
    assert!((new.baseline_ratio / old.baseline_ratio - 1.0).abs() < 0.2, "{new:?}");
}

#[test]
fn what_others_see_stands_in_for_own_failures_but_never_for_all_of_them() {
    let needs = |score: f64| {
        let breaker = breaker(policy());
        works(&breaker, at(1), 20);
        breaker.advise(Advice::OthersSee { score, until: at(60_000) }, at(500));
        fail(&breaker, at(500))
    };
    let (alone, helped) = (needs(0.0), needs(1e9));
    assert!(helped < alone && helped >= 2, "{helped} with others, {alone} alone");
    assert_eq!(needs(f64::NAN), alone);
    let breaker = breaker(policy());
    breaker.advise(Advice::OthersSee { score: 1e9, until: at(60_000) }, at(1));
    works(&breaker, at(2), 500);
    assert_eq!(breaker.snapshot(at(600)).state, State::Closed, "its own calls work");
}

#[test]
fn the_listener_hears_each_transition_once_and_may_ask_the_breaker() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&heard);
    let breaker = breaker(policy())
        .with_listener(move |told| into.lock().expect("not poisoned").push((told.number, told.cause)));
    fail(&breaker, at(1));
    works(&breaker, at(3_000), 1 + 2 + 4);
    let heard = heard.lock().expect("not poisoned").clone();
    assert_eq!(heard, [(1, Cause::Outage), (2, Cause::WaitOver), (3, Cause::ProbesPassed)]);
}

#[test]
fn the_concurrency_limit_holds_and_comes_back_by_drop() {
    let limit = breaker::LimitPolicy { floor: 1, initial: 10, ceiling: 10 };
    let breaker = breaker(Policy { limit: Some(limit), ..policy() });
    let held: Vec<_> = std::iter::from_fn(|| breaker.try_acquire(at(1)).ok()).collect();
    assert!((5..=10).contains(&held.len()), "{}", held.len());
    assert_eq!(breaker.try_acquire(at(1)).expect_err("full"), Rejection::Limit);
    assert!(breaker.try_acquire_as(at(1), Priority::Critical).is_ok());
    drop(held);
    assert!(breaker.try_acquire(at(1)).is_ok());
}

#[test]
fn threads_that_race_for_probes_get_no_more_than_the_stage() {
    const THREADS: usize = 8;
    for round in 0..200 {
        let breaker = Arc::new(breaker(policy()));
        fail(&breaker, at(1));
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
        assert_eq!(held.len(), 1, "round {round}");
    }
}

#[test]
fn calls_recorded_by_many_threads_are_all_counted() {
    const THREADS: u64 = 8;
    let breaker = Arc::new(breaker(Policy { mode: Mode::MetricsOnly, ..policy() }));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                (0..10_000).for_each(|_| call(&breaker, at(1), Outcome::Success).expect("admitted"))
            });
        }
    });
    assert_eq!(breaker.shadow_report(at(1)).offered, THREADS * 10_000);
}
