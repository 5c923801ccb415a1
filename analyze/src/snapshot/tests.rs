//! A shard that was saved and restored decides as if nothing had happened.

use std::time::Duration;

use chassis::IdGenerator;
use proptest::prelude::*;
use proto::model::{
    Assessment, Objective, Quality, ResourceId, Sample, SampleBatch, SignalDescriptor, SignalId, SignalKind,
};

use super::*;
use crate::engine::{Dictionary, Promise};
use crate::learn::Settings;

const NAMES: [&str; 5] = ["load", "ready_replicas", "utilisation", "bad_ratio", "error_ratio"];

fn resource() -> ResourceId {
    "service:staging/catalog".parse().unwrap()
}

fn shard() -> Shard {
    Shard::new(
        resource().shard(),
        Settings { threshold_interval: Duration::from_secs(100), ..Settings::default() },
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn batch(second: i64, values: [Option<f64>; 5], introduce: bool) -> SampleBatch {
    let descriptor = |(handle, name): (u32, &&str)| SignalDescriptor {
        handle,
        signal: SignalId::new(resource(), *name).unwrap(),
        kind: SignalKind::Gauge,
        unit: "unit".to_owned(),
        declared: true,
    };
    let quality = |value: Option<f64>| if value.is_some() { Quality::Good } else { Quality::Unknown };
    let row = |(handle, value): (u32, Option<f64>)| Sample {
        handle,
        at: at(second),
        value,
        quality: quality(value),
    };
    SampleBatch {
        sequence: 1,
        shard: resource().shard(),
        sender: "test".to_owned(),
        descriptors: if introduce { (0..).zip(&NAMES).map(descriptor).collect() } else { Vec::new() },
        samples: (0..).zip(values).map(row).collect(),
        interval: Duration::from_secs(1),
        gaps: Vec::new(),
    }
}

/// Runs ticks through a shard on a stream of their own.
fn run(shard: &mut Shard, ids: &mut IdGenerator, from: i64, ticks: &[[Option<f64>; 5]]) -> Vec<Assessment> {
    let mut dictionary = Dictionary::default();
    let mut all = Vec::new();
    for (i, values) in ticks.iter().enumerate() {
        let second = from + i as i64;
        let judged = shard.ingest(&mut dictionary, batch(second, *values, i == 0), at(second), ids);
        assert!(judged.refused.is_empty(), "{:?}", judged.refused);
        all.extend(judged.assessments);
    }
    all
}

fn declared() -> Shard {
    let mut shard = shard();
    let objective = Objective { target_ratio: 0.99, latency_bound: None, window: Duration::from_secs(3_600) };
    shard.declare(&resource(), Promise { objective: Some(objective), allowed: Some(0.01) }, at(0));
    shard
}

fn restored(saved: &[Block], now: Timestamp) -> Shard {
    let mut again = shard();
    for block in saved {
        restore(&mut again, FORMAT, &block.body, now).unwrap();
    }
    again
}

fn tick() -> impl Strategy<Value = [Option<f64>; 5]> {
    let load = prop_oneof![9 => (50.0..150.0_f64).prop_map(Some), 1 => (0.0..900.0_f64).prop_map(Some), 1 => Just(None)];
    let share = || prop_oneof![9 => (0.0..0.02_f64).prop_map(Some), 1 => (0.0..1.0_f64).prop_map(Some), 1 => Just(None)];
    (load, 1_u8..4, prop::option::weighted(0.95, 0.3..0.95_f64), share(), share())
        .prop_map(|(load, ready, busy, bad, errors)| [load, Some(f64::from(ready)), busy, bad, errors])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_after_a_restore_are_identical(
        before in prop::collection::vec(tick(), 1..250),
        after in prop::collection::vec(tick(), 1..80),
    ) {
        let (mut original, mut ids) = (declared(), IdGenerator::from_seed(3));
        run(&mut original, &mut ids, 0, &before);
        let now = before.len() as i64;
        let mut again = restored(&changed(&mut original).unwrap(), at(now));
        let mut same_ids = ids.clone();
        let expect = run(&mut original, &mut ids, now, &after);
        prop_assert_eq!(run(&mut again, &mut same_ids, now, &after), expect);
    }

    #[test]
    fn damaged_bytes_are_refused(cut in 0_usize..4_000, flip in 0_usize..4_000, bits in 1_u8..) {
        let (mut original, mut ids) = (declared(), IdGenerator::from_seed(3));
        run(&mut original, &mut ids, 0, &[[Some(100.0), Some(2.0), Some(0.5), Some(0.0), Some(0.0)]; 70]);
        let body = changed(&mut original).unwrap().remove(0).body;
        prop_assert!(restore(&mut shard(), FORMAT, &body[..cut.min(body.len() - 1)], at(0)).is_err());
        let mut bent = body;
        let place = flip % bent.len();
        bent[place] ^= bits;
        prop_assert!(restore(&mut shard(), FORMAT, &bent, at(0)).is_err());
    }
}

#[test]
fn another_format_is_ignored() {
    let mut fresh = shard();
    assert_eq!(restore(&mut fresh, FORMAT + 1, &[], at(0)), Err(Error::Format(FORMAT + 1)));
    assert_eq!(fresh.sizes().0, 0);
}

#[test]
fn only_changed_blocks_are_written() {
    let (mut original, mut ids) = (declared(), IdGenerator::from_seed(3));
    run(&mut original, &mut ids, 0, &[[Some(100.0); 5]]);
    assert_eq!(changed(&mut original).unwrap().len(), 1);
    assert!(changed(&mut original).unwrap().is_empty());
    original.mark_changed(0);
    assert_eq!(changed(&mut original).unwrap().len(), 1, "what could not be saved is still to be saved");
}

#[test]
fn what_was_learned_before_restoring_is_kept_where_it_is_more() {
    let (mut original, mut ids) = (declared(), IdGenerator::from_seed(3));
    run(&mut original, &mut ids, 0, &[[Some(100.0), Some(2.0), Some(0.5), Some(0.0), Some(0.0)]; 100]);
    let saved = changed(&mut original).unwrap();
    let samples = |shard: &Shard| shard.list("", "", 1)[0].samples;
    let mut young = declared();
    run(&mut young, &mut ids, 200, &[[Some(100.0); 5]; 5]);
    restore(&mut young, FORMAT, &saved[0].body, at(210)).unwrap();
    assert_eq!(samples(&young), 100);
    assert_eq!(run(&mut young, &mut ids, 211, &[[Some(100.0); 5]]).len(), 1, "its stream goes on");
    let mut old = declared();
    run(&mut old, &mut ids, 200, &[[Some(100.0); 5]; 150]);
    restore(&mut old, FORMAT, &saved[0].body, at(400)).unwrap();
    assert_eq!(samples(&old), 150);
}

#[test]
fn a_signal_takes_less_than_two_kibibytes_hot_and_little_more_than_two_saved() {
    let (mut original, mut ids) = (declared(), IdGenerator::from_seed(3));
    let noisy: Vec<_> = (0..5_000).map(|_| std::array::from_fn(|_| Some(1.0 + ids.unit_f64()))).collect();
    run(&mut original, &mut ids, 0, &noisy);
    let (signals, _) = original.block(0);
    for signal in signals {
        let mut writer = Writer::default();
        // The keeper of its seasons is for declared signals only.
        let mut signal = signal.clone();
        signal.seasons = None;
        signal.save(&mut writer);
        let bytes = writer.into_bytes().len();
        assert!(bytes < 2_200, "{bytes} bytes saved");
    }
    assert!(size_of::<Signal>() < 2 * 1024, "{} bytes hot", size_of::<Signal>());
}
