//! Counters that many threads add to without disturbing one another: each thread has a stripe of its own, as far as they
//! last, on cache lines of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More threads than this share stripes.
const STRIPES: usize = 8;

/// Two cache lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    worked: AtomicU64,
    before: AtomicU64,
    rejected: AtomicU64,
}

/// Striped counts of calls that worked and of calls that were rejected. They only ever grow.
#[derive(Debug, Default)]
pub(crate) struct Stripes {
    stripes: [Stripe; STRIPES],
}

impl Stripes {
    /// Counts a call that worked; the count of this stripe before.
    pub(crate) fn worked(&self) -> u64 {
        self.own().worked.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a call that worked but began before the suspicion.
    pub(crate) fn worked_before(&self) -> u64 {
        self.own().before.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn rejected(&self) {
        self.own().rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total_worked(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.worked.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn total_before(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.before.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn total_rejected(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.rejected.load(Ordering::Relaxed)).sum()
    }

    fn own(&self) -> &Stripe {
        &self.stripes[thread_number() % STRIPES]
    }
}

/// A small number per thread, given out in turn.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        number.get()
    })
}
