//! What Analyze says about one resource at one moment.

use super::{
    budget::BudgetPolicyState,
    ids::{ResourceId, Shard, SignalId},
    sample::Quality,
    text::words,
    threshold::ThresholdState,
};
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// A signal at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalGlance {
    /// Signal name.
    pub name: String,
    /// `None` when unknown.
    pub value: Option<f64>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Expected value; `None` while learning.
    pub expected: Option<f64>,
    /// Band now.
    pub lower: Option<f64>,
    /// Band now.
    pub upper: Option<f64>,
    /// Robust scale of the residual.
    pub scale: Option<f64>,
    /// Where its threshold stands.
    pub threshold_state: ThresholdState,
    /// Whether the value is outside the band.
    pub deviating: bool,
    /// When it was measured.
    pub at: Timestamp,
    /// The last alert of the detectors, until its severity has faded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<SignalDeviation>,
}

impl SignalGlance {
    /// A value of which nothing else is known, good if it is there and unknown if not.
    pub fn plain(name: impl Into<String>, value: Option<f64>, at: Timestamp) -> Self {
        Self {
            name: name.into(),
            value,
            quality: if value.is_some() { Quality::Good } else { Quality::Unknown },
            expected: None,
            lower: None,
            upper: None,
            scale: None,
            threshold_state: ThresholdState::Learning,
            deviating: false,
            at,
            deviation: None,
        }
    }
}

words! {
    /// What of a signal a detector looks at.
    SignalView {
        /// Single values.
        Value = "value",
        /// The mean of a few.
        ShortMean = "short_mean",
        /// The mean of many.
        LongMean = "long_mean",
        /// How far values spread.
        Spread = "spread",
        /// What the season leaves unexplained.
        Season = "season",
        /// The level of what a baseline leaves unexplained.
        Level = "level",
    }
}

/// An alert of the detectors: the signal did what it never did before, in one view of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SignalDeviation {
    /// When the alert opened.
    pub opened_at: Timestamp,
    /// In which view.
    pub view: SignalView,
    /// How much it matters now, 0 to 1.
    pub severity: f64,
    /// Probability that it is no chance, 0 to 1.
    pub confidence: f64,
}

words! {
    /// Kinds of symptom.
    SymptomKind {
        /// The objective's budget burns too fast.
        Objective = "objective",
        /// Load nears what the ready replicas can take.
        Saturation = "saturation",
        /// Calls along an edge fail or hang.
        Dependency = "dependency",
        /// A learned threshold is crossed.
        Deviation = "deviation",
        /// Telemetry is missing.
        DataMissing = "data_missing",
    }
}

words! {
    /// Life of a symptom.
    SymptomState {
        /// Seen, not yet sure.
        Suspected = "suspected",
        /// Real.
        Open = "open",
        /// Over.
        Resolved = "resolved",
        /// It was nothing.
        Dismissed = "dismissed",
    }
}

words! {
    /// How bad, from objective impact and confidence.
    Severity {
        /// Look at it some day.
        Low = "low",
        /// Look at it today.
        Medium = "medium",
        /// Look at it now.
        High = "high",
        /// The objective is being lost.
        Critical = "critical",
    }
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SymptomEvidence {
    /// Signal name.
    pub signal: String,
    /// `None` when unknown.
    pub value: Option<f64>,
    /// Lower limit.
    pub lower: Option<f64>,
    /// Upper limit.
    pub upper: Option<f64>,
}

/// Deviations worth acting on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Symptom {
    /// Unique.
    pub id: String,
    /// What kind of trouble.
    pub kind: SymptomKind,
    /// Where it stands.
    pub state: SymptomState,
    /// How bad.
    pub severity: Severity,
    /// Probability that it is real.
    pub confidence: f64,
    /// First seen.
    pub suspected_at: Timestamp,
    /// Believed.
    pub opened_at: Option<Timestamp>,
    /// Resolved or dismissed.
    pub ended_at: Option<Timestamp>,
    /// For people.
    pub text: String,
    /// What it rests on.
    pub evidence: Vec<SymptomEvidence>,
    /// Id of the symptom, of a resource that this one calls, that explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_by: Option<String>,
    /// Share of the known resources that it may reach, 0 to 1.
    pub blast_radius_ratio: f64,
}

impl Symptom {
    /// Believed and not over.
    pub fn is_open(&self) -> bool {
        self.state == SymptomState::Open
    }
}

words! {
    /// How an objective stands.
    ObjectiveStanding {
        /// Within budget and not burning fast.
        Met = "met",
        /// Burning faster than sustainable.
        Burning = "burning",
        /// The window's budget is used up.
        Exhausted = "exhausted",
        /// Not enough data to say.
        Unknown = "unknown",
    }
}

/// The objective of a service, as tracked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectiveState {
    /// How it stands.
    pub standing: ObjectiveStanding,
    /// Share of good events promised.
    pub target_ratio: f64,
    /// Share of good events in the last tick with traffic.
    pub good_ratio: Option<f64>,
    /// Burn rate over the short window.
    pub burn_rate_short: Option<f64>,
    /// Burn rate over the long window.
    pub burn_rate_long: Option<f64>,
    /// Budget left in the window; may be negative.
    pub budget_remaining_ratio: Option<f64>,
    /// Events seen in the window.
    pub total_events: f64,
    /// Share of the window's time that is unknown.
    pub unknown_time_ratio: f64,
}

/// Load that one replica can take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Capacity {
    /// Requests per second and replica; `None` until learned.
    pub per_replica: Option<f64>,
    /// Lower end of its interval.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
    /// Samples behind it.
    pub samples: u64,
}

/// What the load may be at one moment to come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutlookPoint {
    /// After the newest sample.
    pub after: Duration,
    /// Requests per second, one for each level, never falling.
    pub values: Vec<f64>,
}

/// Share of late requests seen at one utilisation, while nothing queued from before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatePoint {
    /// Busy share, the middle of a narrow band.
    pub utilisation_ratio: f64,
    /// Requests seen there, old ones counting less.
    pub requests: f64,
    /// Of those, how many missed the objective.
    pub late: f64,
}

/// What planning looks ahead with: the load as quantiles, and how lateness grows with utilisation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// The last sample that it rests on. Older than the assessment while data is unknown.
    pub at: Timestamp,
    /// Probabilities of the quantiles, rising.
    pub levels: Vec<f64>,
    /// Nearest first.
    pub points: Vec<OutlookPoint>,
    /// Lowest utilisation first.
    pub late: Vec<LatePoint>,
    /// Share of the values that came which were at or below the 0.9 quantile of the nearest point; `None` until judged.
    pub coverage_ratio: Option<f64>,
}

/// How whole a resource's data is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataQuality {
    /// Of the resource as a whole.
    pub quality: Quality,
    /// Why not good; empty when good.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Scrape targets expected.
    pub sources_expected: u32,
    /// Scrape targets that answered.
    pub sources_seen: u32,
    /// When it was last good.
    pub last_good: Option<Timestamp>,
}

/// What is known about one resource at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// Which resource.
    pub resource: ResourceId,
    /// Its shard.
    #[serde(skip)]
    pub shard: Shard,
    /// Time of the newest samples in it.
    pub at: Timestamp,
    /// Counts up per resource.
    pub sequence: u64,
    /// Its signals.
    pub signals: Vec<SignalGlance>,
    /// Suspected, open, and lately ended.
    pub symptoms: Vec<Symptom>,
    /// `None` when nothing is promised.
    pub objective: Option<ObjectiveState>,
    /// What a replica can take.
    pub capacity: Capacity,
    /// What the load will be; `None` until that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Box<Outlook>>,
    /// How whole the data is.
    pub data: DataQuality,
    /// Scrape interval.
    #[serde(skip)]
    pub interval: Duration,
    /// Error-budget policies of the objectives about this resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budget_policies: Vec<BudgetPolicyState>,
}

impl Assessment {
    /// The signal of that name.
    pub fn signal(&self, name: &str) -> Option<&SignalGlance> {
        self.signals.iter().find(|signal| signal.name == name)
    }

    /// The signal's value, when it is known.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.signal(name).and_then(|signal| signal.value)
    }

    /// The open symptom of that kind.
    pub fn open_symptom(&self, kind: SymptomKind) -> Option<&Symptom> {
        self.symptoms.iter().find(|symptom| symptom.kind == kind && symptom.is_open())
    }
}

/// Learned state of one signal, for listings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearnedSignal {
    /// Which signal.
    pub signal: SignalId,
    /// Its unit.
    pub unit: String,
    /// Whether a declared Service names it.
    pub declared: bool,
    /// Value and band now.
    pub glance: SignalGlance,
    /// Samples learned from.
    pub samples: u64,
    /// Samples still wanted before the first threshold.
    pub warm_up_remaining: u64,
    /// Share of judged samples inside the band.
    pub coverage_ratio: f64,
    /// Version of the threshold in force; 0 when none.
    pub generation: u64,
    /// How it was learned.
    pub method: String,
}
