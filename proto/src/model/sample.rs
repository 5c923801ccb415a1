//! Samples in columns, as Monitor sends them to Analyze.

use super::{
    ids::{ResourceId, Shard, SignalId},
    text::words,
};
use jiff::Timestamp;
use std::time::Duration;

words! {
    /// How far a value can be trusted.
    Quality {
        /// Every expected source contributed.
        Good = "good",
        /// Some expected sources are missing.
        Partial = "partial",
        /// There is no value.
        Unknown = "unknown",
    }
}

words! {
    /// What the number of a signal means.
    SignalKind {
        /// A level.
        Gauge = "gauge",
        /// Per second.
        Rate = "rate",
        /// 0 to 1.
        Ratio = "ratio",
        /// A quantile in the signal's unit.
        Quantile = "quantile",
    }
}

/// Introduces a signal on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalDescriptor {
    /// Names the signal in later rows of the same stream.
    pub handle: u32,
    /// The signal.
    pub signal: SignalId,
    /// What its number means.
    pub kind: SignalKind,
    /// Unit, for example `seconds`.
    pub unit: String,
    /// Whether a declared Service names it.
    pub declared: bool,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Which signal, by its descriptor's handle.
    pub handle: u32,
    /// When it was measured.
    pub at: Timestamp,
    /// The value; `None` when unknown. Always finite.
    pub value: Option<f64>,
    /// How far it can be trusted; `Unknown` exactly when `value` is `None`.
    pub quality: Quality,
}

/// Why a resource's data is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataGap {
    /// Which resource.
    pub resource: ResourceId,
    /// Scrape targets that should have contributed.
    pub sources_expected: u32,
    /// Those that did.
    pub sources_seen: u32,
    /// For people.
    pub reason: String,
}

/// Rows of one shard for one tick.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleBatch {
    /// Counts up from 1 on each stream.
    pub sequence: u64,
    /// Shard of every row.
    pub shard: Shard,
    /// Which monitor.
    pub sender: String,
    /// Signals new to this stream.
    pub descriptors: Vec<SignalDescriptor>,
    /// Rows.
    pub samples: Vec<Sample>,
    /// Scrape interval.
    pub interval: Duration,
    /// Resources whose data is not whole.
    pub gaps: Vec<DataGap>,
}

/// Answer to one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestAck {
    /// The batch.
    pub sequence: u64,
    /// Rows refused.
    pub refused: u32,
    /// First reason.
    pub reason: String,
}
