//! What breakers tell the control plane of their edges, and what it advises.

use super::{
    directive::{BreakerOverride, BreakerSetting},
    ids::{Generation, ResourceId},
    text::words,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

words! {
    /// Where a breaker's machine stands, whatever its mode makes of it.
    BreakerPhase {
        /// Calls flow.
        Closed = "closed",
        /// None does.
        Open = "open",
        /// Some do, to find out.
        HalfOpen = "half_open",
    }
}

words! {
    /// What a breaker's evidence amounts to.
    BreakerVerdict {
        /// Nothing.
        Nominal = "nominal",
        /// Calls fail, or are slow, more than they use to.
        Degraded = "degraded",
        /// Hardly a call succeeds.
        Outage = "outage",
    }
}

words! {
    /// Whether an instance is to find out if the callee is back.
    BreakerProbing {
        /// As it pleases.
        Free = "free",
        /// Others do.
        Hold = "hold",
        /// Now.
        Now = "now",
    }
}

/// Which breaker: of an edge, of one of its methods, of one host of the callee.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BreakerKey {
    /// From whom to whom.
    pub edge: ResourceId,
    /// Empty: all methods together.
    pub method: String,
    /// Empty: the callee as a whole.
    pub host: String,
}

impl BreakerKey {
    /// All methods and hosts of an edge.
    pub fn of(edge: ResourceId) -> Self {
        Self { edge, method: String::new(), host: String::new() }
    }
}

impl fmt::Display for BreakerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.edge)?;
        if !self.method.is_empty() {
            write!(f, " {}", self.method)?;
        }
        if !self.host.is_empty() {
            write!(f, " at {}", self.host)?;
        }
        Ok(())
    }
}

/// What is normal on an edge, as a breaker learned it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakerBaseline {
    /// Of the numbers.
    pub format: u32,
    /// Finite; what they mean is the breaker's matter.
    pub numbers: Vec<f64>,
    /// Share of the calls that failed normally when it was told; 0 to 1.
    pub failure_ratio: f64,
}

/// One instance's breaker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakerReport {
    /// Which.
    #[serde(flatten)]
    pub key: BreakerKey,
    /// Where it stands.
    pub phase: BreakerPhase,
    /// What its evidence amounts to.
    pub verdict: BreakerVerdict,
    /// Log likelihood ratio of an outage; not below 0.
    pub outage_score: f64,
    /// What it needs to open by itself; not below 0.
    pub outage_threshold: f64,
    /// Whether probes of the present half-open phase were answered.
    pub probes_answered: bool,
    /// The policy in force, with the override in force.
    pub policy: BreakerSetting,
    /// Its generation.
    pub generation: Generation,
    /// Of the directive that set or cleared an override last.
    pub override_generation: Generation,
    /// Share of failures that is normal now.
    pub failure_baseline_ratio: f64,
    /// Calls per second.
    pub rate_per_second: f64,
    /// Share that shedding admits.
    pub admitted_ratio: f64,
    /// How often it opened, or would have.
    pub opened_total: u64,
    /// Calls that it would have rejected.
    pub would_reject_total: u64,
    /// Calls rejected, by reason.
    pub rejected_total: BTreeMap<String, u64>,
    /// Results, by outcome.
    pub results_total: BTreeMap<String, u64>,
    /// Probes without a result.
    pub probes_in_flight: u32,
    /// Probes that the present stage admits.
    pub probe_permits: u32,
    /// Whether it has learned what is normal.
    pub baseline_known: bool,
    /// Told now and then.
    #[serde(skip)]
    pub baseline: Option<BreakerBaseline>,
}

/// What the fleet tells one breaker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakerAdvice {
    /// Which.
    #[serde(flatten)]
    pub key: BreakerKey,
    /// It counts for so long.
    #[serde(skip)]
    pub valid: Duration,
    /// Evidence of an outage that others have.
    pub others_score: f64,
    /// How many others told of it.
    pub witnesses: u32,
    /// Whose turn it is.
    pub probing: BreakerProbing,
    /// Whether this host may be left out.
    pub may_eject: bool,
    /// For a breaker that has learned none.
    #[serde(skip)]
    pub baseline: Option<BreakerBaseline>,
    /// An override that the breaker has not heard of, and its generation.
    #[serde(skip)]
    pub told: Option<(BreakerOverride, Generation)>,
}

/// One breaker as it was heard of last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakerRecord {
    /// The actuator's `name/instance`.
    pub instance: String,
    /// What it told.
    #[serde(flatten)]
    pub report: BreakerReport,
    /// How long ago.
    #[serde(serialize_with = "millis", rename = "age_ms")]
    pub age: Duration,
    /// What it was told.
    pub advice: Option<BreakerAdvice>,
}

fn millis<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}
