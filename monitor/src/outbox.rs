//! What waits to be sent to Analyze, and what is sent but not acknowledged. Bounded: when Analyze cannot keep up, the
//! oldest tick that was not sent is dropped and counted, because newer data is worth more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use proto::model::{DataGap, Quality, Sample, SampleBatch, Shard, SignalDescriptor, SignalId, SignalKind};

use crate::roles::{ResourceRows, Row};
use crate::tally::Tally;

/// Rows of one batch: with a new signal of 2.2 KiB in each row it has 9 MB, under the 16 MiB that a message may have.
const ROWS_PER_BATCH: usize = 4_096;

/// Handles of one stream; about 150 MB at both ends. Beyond, signals of targets long gone are shed by a new stream.
const DICTIONARY_MAX: usize = 1_000_000;

/// How much is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows and gap records that wait.
    pub unsent_rows: usize,
    /// Batches that are sent and not acknowledged.
    pub unacknowledged: usize,
}

/// What is the same in all batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Which monitor.
    pub name: String,
}

/// Which tick: its number, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Counts up.
    pub number: u64,
    /// When it began; the time of all its rows.
    pub at: Timestamp,
    /// The scrape interval that the rows stand for.
    pub interval: Duration,
}

/// Rows on their way to Analyze.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    sender: Sender,
    unsent: BTreeMap<Key, Parcel>,
    unsent_rows: usize,
    unacknowledged: BTreeMap<u64, (Key, Parcel)>,
    handles: HashMap<SignalId, u32>,
    sequence: u64,
}

/// Tick, shard and interval: what one batch is about.
type Key = (u64, Shard, Duration);

#[derive(Debug)]
struct Parcel {
    at: Timestamp,
    rows: Vec<SignalRow>,
    gaps: Vec<DataGap>,
}

#[derive(Debug)]
struct SignalRow {
    signal: SignalId,
    kind: SignalKind,
    unit: &'static str,
    declared: bool,
    value: Option<f64>,
    quality: Quality,
}

impl Outbox {
    /// An empty one, for a first stream.
    #[must_use]
    pub fn new(sender: Sender, limits: Limits) -> Self {
        Self {
            limits,
            sender,
            unsent: BTreeMap::new(),
            unsent_rows: 0,
            unacknowledged: BTreeMap::new(),
            handles: HashMap::new(),
            sequence: 0,
        }
    }

    /// Takes the rows of one resource at one tick. What is dropped for it is counted in rows.
    pub fn push(&mut self, tick: Tick, declared: bool, resource: ResourceRows, dropped: &mut Tally) {
        let ResourceRows { resource, rows, gap } = resource;
        if rows.is_empty() && gap.is_none() {
            return;
        }
        let key = (tick.number, resource.shard(), tick.interval);
        let empty = || Parcel { at: tick.at, rows: Vec::new(), gaps: Vec::new() };
        let parcel = self.unsent.entry(key).or_insert_with(empty);
        self.unsent_rows += usize::from(gap.is_some());
        parcel.gaps.extend(gap);
        for Row { name, kind, unit, value, quality } in rows {
            match SignalId::new(resource.clone(), name) {
                Ok(signal) => {
                    parcel.rows.push(SignalRow { signal, kind, unit, declared, value, quality });
                    self.unsent_rows += 1;
                }
                Err(_) => dropped.count("signal_name"),
            }
        }
        self.shed(dropped);
    }

    /// The next batch, if there is one and the receiver may have it.
    pub fn next_batch(&mut self) -> Option<SampleBatch> {
        if self.unacknowledged.len() >= self.limits.unacknowledged {
            return None;
        }
        let mut entry = self.unsent.first_entry()?;
        let key = *entry.key();
        let parcel =
            if entry.get().rows.len() <= ROWS_PER_BATCH { entry.remove() } else { entry.get_mut().split() };
        self.unsent_rows -= parcel.weight();
        self.sequence += 1;
        let batch = self.batch(key, &parcel);
        self.unacknowledged.insert(self.sequence, (key, parcel));
        Some(batch)
    }

    /// The receiver has judged a batch; `false` if it was not waited for.
    pub fn acknowledge(&mut self, sequence: u64) -> bool {
        self.unacknowledged.remove(&sequence).is_some()
    }

    /// A new stream begins: nothing is introduced yet, and what was not acknowledged is sent again. The receiver refuses
    /// what it has judged already, by its time.
    pub fn reset(&mut self, dropped: &mut Tally) {
        for (_, (key, parcel)) in std::mem::take(&mut self.unacknowledged) {
            self.unsent_rows += parcel.weight();
            match self.unsent.get_mut(&key) {
                Some(waiting) => {
                    waiting.rows.extend(parcel.rows);
                    waiting.gaps.extend(parcel.gaps);
                }
                None => _ = self.unsent.insert(key, parcel),
            }
        }
        self.handles.clear();
        self.sequence = 0;
        self.shed(dropped);
    }

    /// Whether the stream should be replaced, because its dictionary is full.
    #[must_use]
    pub fn wants_new_stream(&self) -> bool {
        self.handles.len() > DICTIONARY_MAX
    }

    /// Batches that are sent and not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Rows and gap records that wait.
    #[must_use]
    pub fn unsent_rows(&self) -> usize {
        self.unsent_rows
    }

    /// Drops whole ticks from the oldest on, until the rest fits.
    fn shed(&mut self, dropped: &mut Tally) {
        while self.unsent_rows > self.limits.unsent_rows {
            let Some((oldest, ..)) = self.unsent.first_key_value().map(|(key, _)| *key) else { return };
            while let Some(entry) = self.unsent.first_entry().filter(|entry| entry.key().0 == oldest) {
                let rows = entry.remove().weight();
                self.unsent_rows -= rows;
                dropped.add("outbox_full", rows as u64);
            }
        }
    }

    fn batch(&mut self, (_, shard, interval): Key, parcel: &Parcel) -> SampleBatch {
        let mut descriptors = Vec::new();
        let mut samples = Vec::with_capacity(parcel.rows.len());
        for SignalRow { signal, kind, unit, declared, value, quality } in &parcel.rows {
            let handle = match self.handles.get(signal) {
                Some(handle) => *handle,
                None => {
                    let handle = u32::try_from(self.handles.len()).unwrap_or(u32::MAX);
                    self.handles.insert(signal.clone(), handle);
                    let (signal, unit) = (signal.clone(), (*unit).to_owned());
                    descriptors.push(SignalDescriptor {
                        handle,
                        signal,
                        kind: *kind,
                        unit,
                        declared: *declared,
                    });
                    handle
                }
            };
            samples.push(Sample { handle, at: parcel.at, value: *value, quality: *quality });
        }
        SampleBatch {
            sequence: self.sequence,
            shard,
            sender: self.sender.name.clone(),
            descriptors,
            samples,
            interval,
            gaps: parcel.gaps.clone(),
        }
    }
}

impl Parcel {
    /// What it counts for: a gap record takes about as much as a row.
    fn weight(&self) -> usize {
        self.rows.len() + self.gaps.len()
    }

    /// Takes out as many rows as one batch may have, with the gaps, so that these come first.
    fn split(&mut self) -> Self {
        let rest = self.rows.split_off(ROWS_PER_BATCH);
        let rows = std::mem::replace(&mut self.rows, rest);
        Self { at: self.at, rows, gaps: std::mem::take(&mut self.gaps) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::at;

    fn outbox(unsent_rows: usize, unacknowledged: usize) -> Outbox {
        let sender = Sender { name: "test".to_owned() };
        Outbox::new(sender, Limits { unsent_rows, unacknowledged })
    }

    fn of(number: u64, second: i64, interval: u64) -> Tick {
        Tick { number, at: at(second), interval: Duration::from_secs(interval) }
    }

    fn push(outbox: &mut Outbox, tick: u64, resource: &str, rows: usize) -> u64 {
        let row = |i: usize| Row {
            name: format!("s{i}"),
            kind: SignalKind::Gauge,
            unit: "",
            value: Some(tick as f64),
            quality: Quality::Good,
        };
        let rows = ResourceRows {
            resource: resource.parse().unwrap(),
            rows: (0..rows).map(row).collect(),
            gap: None,
        };
        let mut dropped = Tally::default();
        outbox.push(of(tick, tick as i64, 1), true, rows, &mut dropped);
        dropped.get("outbox_full")
    }

    #[test]
    fn a_signal_is_introduced_once_per_stream() {
        let mut outbox = outbox(100, 10);
        push(&mut outbox, 1, "service:a/b", 2);
        push(&mut outbox, 2, "service:a/b", 3);
        let first = outbox.next_batch().unwrap();
        let second = outbox.next_batch().unwrap();
        assert_eq!([first.descriptors.len(), first.samples.len()], [2, 2]);
        assert_eq!([second.descriptors.len(), second.samples.len()], [1, 3]);
        assert_eq!((first.sequence, second.sequence), (1, 2));
        assert_eq!(second.descriptors[0].handle, 2);
        assert!(outbox.next_batch().is_none());
    }

    #[test]
    fn rows_that_stand_for_other_spans_are_other_batches() {
        let mut outbox = outbox(100, 10);
        for interval in [2, 1, 2] {
            let gap = None;
            let row = Row {
                name: "s".into(),
                kind: SignalKind::Gauge,
                unit: "",
                value: None,
                quality: Quality::Unknown,
            };
            let rows = ResourceRows { resource: "service:a/b".parse().unwrap(), rows: vec![row], gap };
            outbox.push(of(1, 0, interval), true, rows, &mut Tally::default());
        }
        let batches: Vec<_> = std::iter::from_fn(|| outbox.next_batch()).collect();
        let told: Vec<_> =
            batches.iter().map(|batch| (batch.interval.as_secs(), batch.samples.len())).collect();
        assert_eq!(told, [(1, 1), (2, 2)]);
    }

    #[test]
    fn the_window_of_unacknowledged_batches_holds() {
        let mut outbox = outbox(100, 2);
        (1..=3).for_each(|tick| _ = push(&mut outbox, tick, "service:a/b", 1));
        assert!(outbox.next_batch().is_some() && outbox.next_batch().is_some());
        assert!(outbox.next_batch().is_none());
        assert!(!outbox.acknowledge(9));
        assert!(outbox.acknowledge(2));
        assert_eq!(outbox.next_batch().unwrap().sequence, 3);
    }

    #[test]
    fn when_full_the_oldest_tick_goes_and_is_counted() {
        let mut outbox = outbox(10, 2);
        assert_eq!(push(&mut outbox, 1, "service:a/b", 4) + push(&mut outbox, 1, "service:a/c", 2), 0);
        assert_eq!(push(&mut outbox, 2, "service:a/b", 4), 0);
        assert_eq!(push(&mut outbox, 3, "service:a/b", 4), 6, "both shards of the oldest tick go");
        assert_eq!(outbox.next_batch().unwrap().samples[0].value, Some(2.0));
        assert_eq!(push(&mut outbox, 4, "service:a/b", 11), 15, "one tick too large for all goes as well");
        assert_eq!(outbox.unsent_rows(), 0);
    }

    #[test]
    fn a_new_stream_sends_again_what_was_not_acknowledged_and_introduces_anew() {
        let mut outbox = outbox(100, 10);
        push(&mut outbox, 1, "service:a/b", 2);
        push(&mut outbox, 2, "service:a/b", 2);
        let _ = (outbox.next_batch(), outbox.next_batch());
        assert!(outbox.acknowledge(1));
        outbox.reset(&mut Tally::default());
        let again = outbox.next_batch().unwrap();
        assert_eq!((again.sequence, again.descriptors.len(), again.samples[0].value), (1, 2, Some(2.0)));
    }

    #[test]
    fn gaps_without_rows_are_bounded_too() {
        let mut outbox = outbox(10, 2);
        let mut dropped = Tally::default();
        for number in 0..100 {
            let resource: proto::model::ResourceId = "host:a/b".parse().unwrap();
            let gap = DataGap {
                resource: resource.clone(),
                sources_expected: 1,
                sources_seen: 0,
                reason: "gone".into(),
            };
            let rows = ResourceRows { resource, rows: Vec::new(), gap: Some(gap) };
            outbox.push(of(number, 0, 1), false, rows, &mut dropped);
        }
        assert_eq!((outbox.unsent.len(), outbox.unsent_rows(), dropped.get("outbox_full")), (10, 10, 90));
        assert_eq!(outbox.next_batch().unwrap().gaps.len(), 1);
    }

    #[test]
    fn a_large_tick_is_split() {
        let mut outbox = outbox(100_000, 10);
        push(&mut outbox, 1, "service:a/b", ROWS_PER_BATCH + 1);
        let sizes = [outbox.next_batch().unwrap().samples.len(), outbox.next_batch().unwrap().samples.len()];
        assert_eq!(sizes, [ROWS_PER_BATCH, 1]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Send,
        Acknowledge(u64),
        Reset,
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens, every row is waiting, under way, acknowledged or counted as dropped; and the limits hold.
        #[test]
        fn no_row_is_lost_uncounted(steps in prop::collection::vec(prop_oneof![
            (1_usize..8).prop_map(Step::Push),
            Just(Step::Send),
            (1_u64..20).prop_map(Step::Acknowledge),
            Just(Step::Reset),
        ], 0..80)) {
            let mut outbox = outbox(20, 3);
            let (mut pushed, mut dropped, mut acknowledged) = (0, 0, 0);
            let mut under_way: BTreeMap<u64, usize> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(rows) => {
                        pushed += rows;
                        dropped += push(&mut outbox, number as u64 / 3, ["service:a/b", "service:a/c"][rows % 2], rows) as usize;
                    }
                    Step::Send => if let Some(batch) = outbox.next_batch() {
                        prop_assert!(under_way.insert(batch.sequence, batch.samples.len()).is_none());
                    },
                    Step::Acknowledge(sequence) => {
                        prop_assert_eq!(outbox.acknowledge(sequence), under_way.contains_key(&sequence));
                        acknowledged += under_way.remove(&sequence).unwrap_or(0);
                    }
                    Step::Reset => {
                        let mut tally = Tally::default();
                        outbox.reset(&mut tally);
                        under_way.clear();
                        dropped += tally.total() as usize;
                    }
                }
                prop_assert!(outbox.unsent_rows() <= 20 && outbox.unacknowledged() <= 3);
                let held = outbox.unsent_rows() + under_way.values().sum::<usize>();
                prop_assert_eq!(pushed, held + acknowledged + dropped);
            }
        }
    }
}
