//! What a decision of the breaker costs, on one thread and on two, and whether that grows with the traffic in its window.

#[cfg(feature = "bench-peers")]
mod peers;

use super::Figure;
use breaker::{Breaker, Outcome, Policy};
use chassis::Context;
use std::time::Duration;

/// Calls per measurement, long enough for a clock's reading to cost nothing.
const CALLS: u64 = 1_000_000;
/// Measurements; the middle one counts.
const REPEATS: usize = 15;
const LATENCY: Duration = Duration::from_millis(20);

/// Admission and result of one call together.
pub(super) fn decision(ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let breaker = Breaker::new(Policy::default())?;
    let one = middle(ctx, 1, |step| call(&breaker, Duration::from_micros(step)));
    let failing = Breaker::new(Policy::default())?;
    let fails = middle(ctx, 1, |step| {
        let now = Duration::from_micros(step);
        if let Ok(permit) = std::hint::black_box(&failing).try_acquire(now) {
            let outcome = if step % 100 == 0 { Outcome::Failure } else { Outcome::Success };
            permit.record(now, outcome, LATENCY);
        }
    });
    let shared = Breaker::new(Policy::default())?;
    let two = middle(ctx, 2, |step| call(&shared, Duration::from_micros(step)));
    let open = opened()?;
    let rejected = middle(ctx, 1, |_| {
        let _ = std::hint::black_box(open.try_acquire(Duration::from_millis(1)).is_err());
    });
    // A window of ten seconds with 100 calls in it, and with a million.
    let (quiet, busy) = (Breaker::new(Policy::default())?, Breaker::new(Policy::default())?);
    let sparse = middle(ctx, 1, |step| call(&quiet, Duration::from_millis(100 * step)));
    let dense = middle(ctx, 1, |step| call(&busy, Duration::from_micros(10 * step)));
    #[cfg_attr(
        not(feature = "bench-peers"),
        expect(unused_mut, reason = "peers are added where they are built")
    )]
    let mut figures = vec![
        Figure::at_most("breaker_decision", one, "ns", 50.0),
        Figure::at_most("breaker_decision_2_threads", two, "ns", 100.0),
        Figure::at_most("breaker_decision_1_percent_failing", fails, "ns", 50.0),
        Figure::at_most("breaker_rejection", rejected, "ns", 50.0),
        Figure::at_most("breaker_cost_1e6_over_1e2_calls", dense / sparse, "ratio", 1.2),
    ];
    #[cfg(feature = "bench-peers")]
    peers::beside(ctx, &mut figures)?;
    Ok(figures)
}

fn call(breaker: &Breaker, now: Duration) {
    if let Ok(permit) = std::hint::black_box(breaker).try_acquire(now) {
        permit.record(now, Outcome::Success, LATENCY);
    }
}

fn opened() -> anyhow::Result<Breaker> {
    let breaker = Breaker::new(Policy::default())?;
    while let Ok(permit) = breaker.try_acquire(Duration::ZERO) {
        permit.record(Duration::ZERO, Outcome::Failure, LATENCY);
    }
    Ok(breaker)
}

/// Nanoseconds per call of each thread, the middle of several measurements.
fn middle(ctx: &Context, threads: usize, call: impl Fn(u64) + Sync) -> f64 {
    middle_of(ctx, threads, || &call)
}

/// As [`middle`], where each thread makes what it calls with.
fn middle_of<F: FnMut(u64)>(ctx: &Context, threads: usize, make: impl Fn() -> F + Sync) -> f64 {
    let mut measured: Vec<f64> = (0..REPEATS as u64)
        .map(|repeat| {
            let began = ctx.clock.monotonic();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (repeat * CALLS..(repeat + 1) * CALLS).for_each(make()));
                }
            });
            (ctx.clock.monotonic() - began).as_nanos() as f64 / CALLS as f64
        })
        .collect();
    measured.sort_by(f64::total_cmp);
    measured[REPEATS / 2]
}
