//! DEVIATION: a learned threshold was crossed, for the worse, in three of four ticks.

use super::{Judged, View};
use crate::symptom::{Finding, SUSPECT_LEVEL, Trouble};

/// Crossings of the last four samples that open.
const CROSSINGS_TO_OPEN: u32 = 3;
/// What we or others steer moves on purpose; saturation looks after these.
const STEERED: [&str; 2] = ["ready_replicas", "utilisation"];
/// Of these, more is worse and less is better.
const WORSE_UPWARD: [&str; 4] = ["error_ratio", "late_ratio", "bad_ratio", "latency"];

/// Whether crossing the threshold is for the worse: to any side, except where one side is better.
#[must_use]
pub fn is_adverse(name: &str, is_above: bool) -> bool {
    !STEERED.contains(&name) && (is_above || !WORSE_UPWARD.iter().any(|prefix| name.starts_with(prefix)))
}

pub(super) fn find(view: &View<'_>) -> Finding {
    let known = view.signals.iter().filter(|judged| judged.glance.value.is_some());
    if known.clone().next().is_none() {
        return Finding::Unknown;
    }
    let crossings = |judged: &Judged| (judged.crossings & 0b1111).count_ones();
    let Some(worst) = known.max_by_key(|judged| (crossings(judged), judged.crossings & 1)) else {
        return Finding::Unknown;
    };
    let Judged { glance, .. } = worst;
    let (count, now) = (crossings(worst), worst.crossings & 1 == 1);
    if count == 0 {
        return Finding::Clear;
    }
    if !now {
        return Finding::Between;
    }
    let (value, upper, lower) = (glance.value.unwrap_or_default(), glance.upper, glance.lower);
    let (side, limit) = match upper {
        Some(upper) if value > upper => ("above", upper),
        _ => ("below", lower.unwrap_or_default()),
    };
    let names: Vec<_> = view
        .signals
        .iter()
        .filter(|judged| judged.crossings & 1 == 1)
        .map(|judged| judged.glance.name.as_str())
        .collect();
    Finding::Trouble(Trouble {
        level: if count >= CROSSINGS_TO_OPEN { 1.0 } else { SUSPECT_LEVEL },
        burn: view.burn(),
        confidence: f64::from(count.min(CROSSINGS_TO_OPEN)) / f64::from(CROSSINGS_TO_OPEN),
        text: format!("{} is {} and so {side} its learned limit {}", glance.name, short(value), short(limit)),
        evidence: view.evidence(&names),
    })
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 9) };
    format!("{value:.*}", digits as usize)
}
