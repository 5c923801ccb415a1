//! Learning and judging allocate nothing per sample, once a signal is warm: counted by the allocator itself.

#![expect(
    unsafe_code,
    reason = "an allocator that counts is only to be had by implementing the unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use analyze::detect::generate::{Family, Generator};
use analyze::detect::{Series, SeriesSettings};
use analyze::engine::{Dictionary, Shard};
use analyze::learn::Settings;
use chassis::IdGenerator;
use jiff::Timestamp;
use proto::model::{Quality, ResourceId, Sample, SampleBatch, SignalDescriptor, SignalId, SignalKind};

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

/// Allocations of some work.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let done = work();
    (ALLOCATIONS.get() - before, done)
}

#[test]
fn detectors_of_a_warm_signal_allocate_nothing() {
    for family in Family::ALL {
        let mut series = Series::new(SeriesSettings::default());
        let samples: Vec<_> = Generator::new(family, 15.0, 7).take(60_000).collect();
        let (warm, measured) = samples.split_at(30_000);
        warm.iter().for_each(|(at, value)| _ = series.observe(*at, *value));
        let (allocations, ()) =
            counted(|| measured.iter().for_each(|(at, value)| _ = series.observe(*at, *value)));
        assert_eq!(allocations, 0, "{family:?}");
    }
}

const SIGNALS: u32 = 1_000;
const INTERVAL: Duration = Duration::from_secs(15);

fn batch(resource: &ResourceId, at: Timestamp, tick: u64, introduce: bool) -> SampleBatch {
    let descriptor = |handle| SignalDescriptor {
        handle,
        signal: SignalId::new(resource.clone(), format!("node_cpu_seconds_total{{cpu=\"{handle}\"}}"))
            .expect("a name that is valid"),
        kind: SignalKind::Rate,
        unit: String::new(),
        declared: false,
    };
    let value = |handle: u32| 100.0 + ((u64::from(handle) * 31 + tick * 7_919) % 1_013) as f64;
    let row = |handle| Sample { handle, at, value: Some(value(handle)), quality: Quality::Good };
    SampleBatch {
        sequence: tick,
        shard: resource.shard(),
        sender: "test".to_owned(),
        descriptors: if introduce { (0..SIGNALS).map(descriptor).collect() } else { Vec::new() },
        samples: (0..SIGNALS).map(row).collect(),
        interval: INTERVAL,
        gaps: Vec::new(),
    }
}

#[test]
fn a_batch_allocates_for_itself_and_not_for_its_samples() {
    let resource: ResourceId = "host:static/node@10.0.0.1:9100".parse().unwrap();
    let mut shard = Shard::new(resource.shard(), Settings::default());
    let (mut dictionary, mut ids) = (Dictionary::default(), IdGenerator::from_seed(1));
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let mut most = 0;
    for tick in 0..1_000 {
        let at = start + INTERVAL * u32::try_from(tick).unwrap();
        let batch = batch(&resource, at, tick, tick == 0);
        let (allocations, judged) = counted(|| shard.ingest(&mut dictionary, batch, at, &mut ids));
        assert_eq!(judged.accepted, SIGNALS);
        // A new version of a threshold has a name and a method to tell.
        if tick >= 500 && judged.thresholds.is_empty() {
            most = most.max(allocations);
        }
    }
    assert!(most <= 8, "{most} allocations in a batch of {SIGNALS} samples");
}
