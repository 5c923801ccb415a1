//! Random schedules of callers that succeed, fail, hang, vanish and race: the machine keeps its promises in all of them.

use std::time::Duration;

use breaker::{Breaker, Mode, Outcome, Permit, PhaseKind, Policy};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Acquire,
    /// Ends the n-th call in flight.
    Finish(usize, Outcome, u64),
    Drop(usize),
    /// The n-th call hangs for ever.
    Forget(usize),
    Adopt(Mode),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        2 => Just(Outcome::Success),
        3 => Just(Outcome::Failure),
        1 => Just(Outcome::CallerFault),
        1 => Just(Outcome::Overload),
        1 => Just(Outcome::Cancelled),
    ];
    prop_oneof![
        4 => (0u64..3_000).prop_map(Step::Wait),
        10 => Just(Step::Acquire),
        10 => (any::<usize>(), outcome, 0u64..2_000).prop_map(|(n, o, ms)| Step::Finish(n, o, ms)),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Forget),
        1 => prop_oneof![Just(Mode::Enforce), Just(Mode::MetricsOnly)].prop_map(Step::Adopt),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (1u32..9, 0.05f64..=1.0, 1u64..4_000, 1u64..3_000).prop_map(
        |(half_open_permits, failure_ratio_to_open, wait_ms, ttl_ms)| Policy {
            half_open_permits,
            failure_ratio_to_open,
            open_wait: Duration::from_millis(wait_ms),
            permit_ttl: Duration::from_millis(ttl_ms),
            // Whatever fails opens soon, so that short schedules see all phases.
            prior_failure_ratio: 0.001,
            ..Policy::default()
        },
    )
}

/// One run of a schedule and what must hold after each step.
struct Run {
    policy: Policy,
    now: Duration,
    generation: u64,
    mode: Mode,
    /// When the running wait ends, as told when it began.
    open_until: Option<Duration>,
}

impl Run {
    fn new(policy: Policy) -> Self {
        Self { policy, now: Duration::ZERO, generation: 0, mode: Mode::Enforce, open_until: None }
    }

    fn acquire<'a>(&self, breaker: &'a Breaker) -> Option<Permit<&'a Breaker>> {
        let would_reject = breaker.shadow_report(self.now).would_reject;
        let permit = breaker.try_acquire(self.now).ok();
        let shadow = breaker.shadow_report(self.now).would_reject > would_reject;
        if self.open_until.is_some_and(|until| self.now < until) {
            let admitted = permit.is_some() && !shadow;
            assert!(!admitted, "admitted at {:?}, open until {:?}", self.now, self.open_until);
        }
        assert!(self.mode == Mode::Enforce || permit.is_some(), "metrics-only admits all");
        permit
    }

    fn check(&mut self, breaker: &Breaker) {
        let snapshot = breaker.snapshot(self.now);
        assert!(snapshot.probes_in_flight <= self.policy.half_open_permits);
        let opened = snapshot.phase == PhaseKind::Open;
        if !opened {
            self.open_until = None;
        } else if self.open_until.is_none() {
            self.open_until = snapshot.retry_after.map(|wait| self.now + wait);
            let wait = snapshot.retry_after.expect("open phases have a wait");
            assert!(wait <= self.policy.open_wait_max);
        }
    }

    /// From wherever it stands, healthy calls close it within one lease and one wait.
    fn heals(&mut self, breaker: &Breaker) {
        self.now += self.policy.permit_ttl;
        let _ = breaker.try_acquire(self.now);
        self.now += self.policy.open_wait_max;
        let mut admitted = 0;
        for _ in 0..10_000 {
            if breaker.snapshot(self.now).phase == PhaseKind::Closed {
                break;
            }
            let permit = breaker.try_acquire(self.now).expect("must admit after lease and wait");
            permit.record(self.now, Outcome::Success, Duration::ZERO);
            admitted += 1;
        }
        assert!(admitted <= 4 * self.policy.half_open_permits, "{admitted}");
        assert_eq!(breaker.snapshot(self.now).phase, PhaseKind::Closed);
    }
}

proptest! {
    // PROPTEST_CASES=1000000 plays a million schedules: a minute or two in a release build.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn never_stuck_never_too_many_probes_never_early(
        policy in policy(),
        steps in prop::collection::vec(step(), 1..120),
        seed: u64,
    ) {
        let breaker = Breaker::with_seed(policy.clone(), seed).expect("valid");
        let mut run = Run::new(policy);
        let mut calls = Vec::new();
        for step in steps {
            match step {
                Step::Wait(ms) => run.now += Duration::from_millis(ms),
                Step::Acquire => calls.extend(run.acquire(&breaker)),
                Step::Finish(n, outcome, ms) if !calls.is_empty() => {
                    let permit: Permit<&Breaker> = calls.swap_remove(n % calls.len());
                    permit.record(run.now, outcome, Duration::from_millis(ms));
                }
                Step::Drop(n) if !calls.is_empty() => drop(calls.swap_remove(n % calls.len())),
                Step::Forget(n) if !calls.is_empty() => std::mem::forget(calls.swap_remove(n % calls.len())),
                Step::Finish(..) | Step::Drop(_) | Step::Forget(_) => {}
                Step::Adopt(mode) => {
                    run.generation += 1;
                    run.mode = mode;
                    let policy = Policy { mode, ..run.policy.clone() };
                    breaker.set_policy(policy, run.generation, run.now).expect("newer");
                }
            }
            run.check(&breaker);
        }
        calls.into_iter().for_each(std::mem::forget);
        run.heals(&breaker);
    }
}
