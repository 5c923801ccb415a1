//! What chance is expected to bring to one channel of views, and the limit that keeps a budget of false alarms.

use super::latch::{BEATS, Latch};
use crate::learn::Records;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Records smaller than this teach nothing about the tail.
const LEARNED_MIN: f64 = 0.002;

/// Records of a channel, each event counted once. In how many records what is usual is worth, see there.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Tail<const SURE: u8> {
    records: Records<SURE>,
    events: Latch,
    samples: f64,
}

impl<const SURE: u8> Tail<SURE> {
    /// Takes in what was found; within the `silence` after an event, more of it is the same event. The samples of the warm-up are
    /// all records, and teach nothing about later ones.
    pub(crate) fn learn(&mut self, novelty: f64, silence: u32, warm_up: f64) {
        self.samples += 1.0;
        if !self.is_warm(warm_up) {
            return;
        }
        let event = self.events.pass(novelty, silence, BEATS);
        self.records.learn(self.samples, Some(event).filter(|event| *event > LEARNED_MIN));
    }

    /// The novelty that chance reaches once in `budget` samples.
    pub(crate) fn limit(&self, budget: f64) -> f64 {
        self.records.limit(self.samples, budget)
    }

    /// How often chance reaches `novelty` in `budget` samples.
    pub(crate) fn expected(&self, novelty: f64, budget: f64) -> f64 {
        self.records.expected(novelty, self.samples, budget)
    }

    /// Whether more than `warm_up` samples were seen, so that records mean something.
    pub(crate) fn is_warm(&self, warm_up: f64) -> bool {
        self.samples > warm_up
    }
}

impl<const SURE: u8> Stored for Tail<SURE> {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.records).put(&self.events).put(&self.samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { records: reader.get()?, events: reader.get()?, samples: reader.get()? })
    }
}
