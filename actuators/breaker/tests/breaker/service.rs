//! The tower layer: rejections without the inner service, results recorded, dropped futures leave no permit behind.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use breaker::service::{BreakerLayer, CallError, Now};
use breaker::{Breaker, Outcome, Policy, State};
use tower::{Layer, Service, ServiceExt};

#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn now(&self) -> Now {
        let ms = Arc::clone(&self.0);
        Arc::new(move || Duration::from_millis(ms.load(Ordering::Relaxed)))
    }

    fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

type Judge = fn(&Result<bool, Infallible>) -> Outcome;

fn parts() -> (Arc<Breaker>, TestClock, BreakerLayer<Judge>) {
    let policy = Policy { half_open_permits: 1, open_wait_jitter: 0.0, ..Policy::default() };
    let breaker = Arc::new(Breaker::new(policy).expect("valid"));
    let clock = TestClock(Arc::default());
    let classify: Judge =
        |result| if matches!(result, Ok(true)) { Outcome::Success } else { Outcome::Failure };
    let layer = BreakerLayer::new(Arc::clone(&breaker), clock.now(), classify);
    (breaker, clock, layer)
}

/// Answers what it is asked; never ready once told so.
#[derive(Clone)]
struct Echo {
    is_ready: bool,
}

impl Service<bool> for Echo {
    type Response = bool;
    type Error = Infallible;
    type Future = std::future::Ready<Result<bool, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, answer: bool) -> Self::Future {
        ready(Ok(answer))
    }
}

#[tokio::test]
async fn opens_on_classified_answers_and_closes_after_a_good_probe() {
    let (breaker, clock, layer) = parts();
    let service = layer.layer(Echo { is_ready: true });
    while breaker.snapshot(Duration::ZERO).state == State::Closed {
        assert!(matches!(service.clone().oneshot(false).await, Ok(false)));
    }
    assert!(matches!(service.clone().oneshot(true).await, Err(CallError::Rejected(_))));
    clock.set(2_500);
    assert!(matches!(service.clone().oneshot(true).await, Ok(true)));
    assert_eq!(breaker.snapshot(Duration::from_millis(2_500)).state, State::Closed);
}

#[tokio::test]
async fn rejects_without_waiting_for_a_callee_that_is_never_ready() {
    let (breaker, _clock, layer) = parts();
    while breaker.snapshot(Duration::ZERO).state == State::Closed {
        let permit = breaker.try_acquire(Duration::ZERO).expect("closed");
        permit.record(Duration::ZERO, Outcome::Failure, Duration::ZERO);
    }
    let service = layer.layer(Echo { is_ready: false });
    assert!(matches!(service.oneshot(true).await, Err(CallError::Rejected(_))));
}

#[test]
fn a_dropped_call_and_a_polled_but_uncalled_service_hold_no_permit() {
    let (breaker, clock, layer) = parts();
    while breaker.snapshot(Duration::ZERO).state == State::Closed {
        let permit = breaker.try_acquire(Duration::ZERO).expect("closed");
        permit.record(Duration::ZERO, Outcome::Failure, Duration::ZERO);
    }
    clock.set(3_000);
    let mut service = layer.layer(tower::service_fn(|_: bool| pending::<Result<bool, Infallible>>()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    assert_eq!(breaker.snapshot(Duration::from_millis(3_000)).probes_in_flight, 0);
    let mut call = Box::pin(service.call(true));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(breaker.snapshot(Duration::from_millis(3_000)).probes_in_flight, 1);
    drop(call);
    assert_eq!(breaker.snapshot(Duration::from_millis(3_000)).probes_in_flight, 0);
}
