//! DATA_MISSING: telemetry is absent or partial.

use proto::model::{DataQuality, Quality};

use super::View;
use crate::symptom::{Finding, Trouble};

/// Before data were ever good, a first answer is given four ticks.
const FIRST_STEP: f64 = 0.25;
/// What missing data may hide is not known: unknown counts as burning just above what is sustainable, partial as less.
const UNKNOWN_BURN: f64 = 1.5;
const PARTIAL_BURN: f64 = 0.5;

pub(super) fn find(view: &View<'_>) -> Finding {
    let DataQuality { quality, reason, since, last_good, .. } = view.data;
    let burn = match quality {
        Quality::Good => return Finding::Clear,
        Quality::Partial => PARTIAL_BURN,
        Quality::Unknown => UNKNOWN_BURN,
    };
    let level = match last_good {
        Some(_) => 1.0,
        None => {
            let ticks = view.at.duration_since(*since).as_secs_f64() / view.interval.as_secs_f64().max(1e-3);
            FIRST_STEP * (1.0 + ticks.max(0.0))
        }
    };
    let text = format!("data are {quality}: {reason}");
    Finding::Trouble(Trouble {
        level,
        burn,
        confidence: 1.0,
        text,
        evidence: view.evidence(&["load", "ready_replicas"]),
    })
}
