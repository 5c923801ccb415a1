//! A decision and a result allocate nothing: counted by the allocator itself.

#![expect(
    unsafe_code,
    reason = "an allocator that counts is only to be had by implementing the unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use breaker::{Breaker, Outcome, Policy};

thread_local! {
    // Of this thread only: the test harness allocates beside it.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn calls_allocate_nothing_in_any_phase() {
    let breaker = Breaker::new(Policy::default()).expect("valid");
    let latency = Duration::from_millis(20);
    let before = ALLOCATIONS.get();
    for step in 0..400_000u64 {
        let now = Duration::from_micros(step * 500);
        // Health, errors here and there, outages, and a degradation.
        let failed = match step / 50_000 % 4 {
            1 => true,
            2 => step % 4 == 0,
            _ => step % 97 == 0,
        };
        if let Ok(permit) = breaker.try_acquire(now) {
            permit.record(now, if failed { Outcome::Failure } else { Outcome::Success }, latency);
        }
    }
    let allocations = ALLOCATIONS.get() - before;
    assert!(breaker.snapshot(Duration::from_secs(300)).opened_total > 1);
    assert_eq!(allocations, 0);
}
