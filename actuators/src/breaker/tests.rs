//! The breaker actuator over real breakers.

use std::time::Duration;

use breaker::State;
use chassis::testing::ManualClock;
use execute::testing::{breaker as setting, edge, scale, start};

use super::*;

fn actuator() -> (BreakerActuator, Arc<Breaker>) {
    let breaker = Arc::new(Breaker::new(Policy::default()).unwrap());
    let breakers = BTreeMap::from([(edge(), breaker.clone())]);
    (BreakerActuator::new("pod-1", breakers, Arc::new(ManualClock::at(start()))).unwrap(), breaker)
}

fn generation(number: u64, mode: BreakerMode) -> Directive {
    Directive { generation: Generation(number), ..setting(mode) }
}

#[tokio::test]
async fn setting_reaches_the_breaker_with_its_generation() {
    let (actuator, breaker) = actuator();
    assert_eq!(actuator.last_generation(&edge(), DirectiveKind::SetBreaker), Generation(0));
    let modes = [
        (BreakerMode::ForcedOpen, State::ForcedOpen),
        (BreakerMode::MetricsOnly, State::MetricsOnly),
        (BreakerMode::Disabled, State::Disabled),
    ];
    for (number, (mode, state)) in (1..).zip(modes) {
        let outcome = actuator.apply(&generation(number, mode), false).await;
        assert_eq!(outcome, ApplyOutcome::applied(format!("is {mode}")));
        assert_eq!(breaker.snapshot(Duration::ZERO).state, state);
        assert_eq!(actuator.last_generation(&edge(), DirectiveKind::SetBreaker), Generation(number));
    }
    let (policy, _) = breaker.policy();
    assert_eq!(policy.slow_call, Some(Duration::from_millis(500)));
    assert_eq!(
        (policy.failure_ratio_to_open, policy.open_wait, policy.half_open_permits),
        (0.5, Duration::from_secs(2), 3)
    );
    assert_eq!(
        policy.false_opening_every,
        Policy::default().false_opening_every,
        "what a directive does not set stays"
    );
}

#[tokio::test]
async fn older_setting_and_unknown_edge_are_refused() {
    let (actuator, breaker) = actuator();
    actuator.apply(&generation(5, BreakerMode::Enforce), false).await;
    let elsewhere = ResourceId::edge("shop", "a", "b").unwrap();
    for directive in [
        generation(4, BreakerMode::Disabled),
        Directive { resource: elsewhere, ..generation(6, BreakerMode::Disabled) },
        scale(1, 2),
    ] {
        let outcome = actuator.apply(&directive, false).await;
        assert!(matches!(outcome, ApplyOutcome::Refused { .. }), "{outcome:?}");
    }
    assert_eq!(breaker.policy().1, 5);
}

#[tokio::test]
async fn dry_run_changes_nothing_and_finds_what_is_wrong() {
    let (actuator, breaker) = actuator();
    let before = breaker.policy();
    let outcome = actuator.apply(&generation(1, BreakerMode::ForcedOpen), true).await;
    assert_eq!(outcome, ApplyOutcome::applied("would be forced_open"));
    let Action::SetBreaker(good) = setting(BreakerMode::Enforce).action else { panic!("a setting") };
    let action = Action::SetBreaker(BreakerSetting { half_open_permits: 99, ..good });
    let wrong = actuator.apply(&Directive { action, ..generation(1, BreakerMode::Enforce) }, true).await;
    assert!(matches!(wrong, ApplyOutcome::Refused { .. }), "{wrong:?}");
    assert_eq!(breaker.policy(), before);
}

#[tokio::test]
async fn without_a_latency_limit_only_learned_slowness_counts_and_a_longer_wait_fits() {
    let Action::SetBreaker(limits) = setting(BreakerMode::Enforce).action else { panic!("a setting") };
    let open_wait = Duration::from_secs(600);
    let policy = adopted(Policy::default(), &BreakerSetting { slow_call: None, open_wait, ..limits });
    assert_eq!(policy.validate(), Ok(()));
    assert_eq!(policy.slow_call, None);
}

#[tokio::test]
async fn observation_tells_what_the_breaker_did() {
    let (actuator, _) = actuator();
    let seen = actuator.observe(&edge()).await;
    assert_eq!((seen[0].name.as_str(), seen[0].value), ("breaker_mode", 2.0));
    assert!(actuator.observe(&ResourceId::edge("shop", "a", "b").unwrap()).await.is_empty());
}
