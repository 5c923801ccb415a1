//! Other people's breakers on the same machine in the same run, each with its defaults: a call that works, admitted and
//! recorded. Those of tower are measured as services, with ours as a service beside them.

use super::{Figure, LATENCY, middle, middle_of};
use breaker::{
    Breaker, Outcome, Policy,
    service::{BreakerLayer, Now},
};
use chassis::Context;
use failsafe::CircuitBreaker as _;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

/// Adds to each decision what others take for it, and our own layer beside tower's.
pub(super) fn beside(ctx: &Context, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let names = [("breaker_decision", 1), ("breaker_decision_2_threads", 2)];
    for (name, threads) in names {
        let peers = BTreeMap::from([
            ("failsafe".to_owned(), failsafe(ctx, threads)),
            ("recloser".to_owned(), recloser(ctx, threads)),
            ("tower-resilience".to_owned(), resilience(ctx, threads)?),
        ]);
        if threads == 1 {
            let share = ours(ctx)? / peers["tower-resilience"];
            figures.push(Figure::at_most("breaker_layer_over_tower_resilience", share, "ratio", 1.0));
        }
        if let Some(figure) = figures.iter_mut().find(|figure| figure.name == name) {
            figure.peers = peers;
        }
    }
    Ok(())
}

fn failsafe(ctx: &Context, threads: usize) -> f64 {
    let breaker = failsafe::Config::new().build();
    middle(ctx, threads, |_| {
        let _ = std::hint::black_box(breaker.call(|| Ok::<(), ()>(())).is_ok());
    })
}

fn recloser(ctx: &Context, threads: usize) -> f64 {
    let breaker = recloser::Recloser::custom().build();
    middle(ctx, threads, |_| {
        let _ = std::hint::black_box(breaker.call(|| Ok::<(), ()>(())).is_ok());
    })
}

fn resilience(ctx: &Context, threads: usize) -> anyhow::Result<f64> {
    let service = CircuitBreakerLayer::builder().build()?.layer(Always);
    Ok(middle_of(ctx, threads, || {
        let mut service = service.clone();
        move |_| drive(&mut service)
    }))
}

fn ours(ctx: &Context) -> anyhow::Result<f64> {
    let breaker = Arc::new(Breaker::new(Policy::default())?);
    // Both clocks are read per call; this one is as cheap as a counter, tower-resilience reads the system's.
    let time = AtomicU64::new(0);
    let now: Now = Arc::new(move || Duration::from_nanos(time.fetch_add(500, Ordering::Relaxed)) + LATENCY);
    let judge = |_: &Result<(), Infallible>| Outcome::Success;
    let service = BreakerLayer::new(breaker, now, judge).layer(Always);
    Ok(middle_of(ctx, 1, || {
        let mut service = service.clone();
        move |_| drive(&mut service)
    }))
}

/// Answers at once.
#[derive(Debug, Clone)]
struct Always;

impl Service<()> for Always {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// One call to its end. Only another thread's lock can make it wait.
fn drive<S: Service<()>>(service: &mut S) {
    let mut task = TaskContext::from_waker(Waker::noop());
    while service.poll_ready(&mut task).is_pending() {
        std::thread::yield_now();
    }
    let mut call = pin!(service.call(()));
    while std::hint::black_box(call.as_mut().poll(&mut task)).is_pending() {
        std::thread::yield_now();
    }
}
