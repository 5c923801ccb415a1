//! DEVIATION: a learned threshold was crossed, for the worse, in three of four ticks, or the detectors gave an alert and the signal
//! is still outside what was usual before it; or the signals, each for itself as usual, are not together as they usually are.

use proto::model::{SignalDeviation, SignalGlance};

use super::{Apart, Judged, View, percent};
use crate::symptom::{Finding, SUSPECT_LEVEL, Trouble};

/// Crossings of the last four samples that open.
const CROSSINGS_TO_OPEN: u32 = 3;
/// Signals that a sentence names.
const TOLD_MAX: usize = 3;
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
    let Some(apart) = view.apart else { return alone(view) };
    let blamed: Vec<_> = apart.blamed.iter().map(|(name, _)| name.as_str()).collect();
    match alone(view) {
        Finding::Unknown => Finding::Unknown,
        // A limit that was crossed says more; who else is to blame is evidence beside it.
        Finding::Trouble(mut trouble) if trouble.level >= 1.0 => {
            let is_new = |name: &&str| trouble.evidence.iter().all(|evidence| evidence.signal != *name);
            let others: Vec<_> = blamed.into_iter().filter(is_new).collect();
            trouble.evidence.extend(view.evidence(&others));
            Finding::Trouble(trouble)
        }
        _ => Finding::Trouble(Trouble {
            level: 1.0,
            burn: view.burn(),
            confidence: apart.confidence,
            text: parted(apart),
            evidence: view.evidence(&blamed),
        }),
    }
}

/// One sentence for people.
fn parted(apart: &Apart) -> String {
    let shares: Vec<_> = apart
        .blamed
        .iter()
        .take(TOLD_MAX)
        .map(|(name, share)| format!("{name} ({} of it)", percent(*share)))
        .collect();
    format!("the signals are not as they usually are together: {}", shares.join(", "))
}

/// What the signals say one by one.
fn alone(view: &View<'_>) -> Finding {
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
    let names: Vec<_> = view
        .signals
        .iter()
        .filter(|judged| judged.crossings & 1 == 1)
        .map(|judged| judged.glance.name.as_str())
        .collect();
    Finding::Trouble(Trouble {
        level: if count >= CROSSINGS_TO_OPEN { 1.0 } else { SUSPECT_LEVEL },
        burn: view.burn(),
        confidence: f64::from(count.min(CROSSINGS_TO_OPEN)) / f64::from(CROSSINGS_TO_OPEN)
            * confidence(glance),
        text: told(glance),
        evidence: view.evidence(&names),
    })
}

/// How sure a crossing is: a limit is set so that chance hardly ever crosses it, an alert says how sure it is.
fn confidence(glance: &SignalGlance) -> f64 {
    match glance.deviation {
        Some(alert) if !glance.deviating => alert.confidence,
        _ => 1.0,
    }
}

/// One sentence for people.
fn told(glance: &SignalGlance) -> String {
    let SignalGlance { name, value, lower, upper, deviating, deviation, .. } = glance;
    let value = value.unwrap_or_default();
    match (deviating, upper, lower, deviation) {
        (true, Some(upper), ..) if value > *upper => {
            format!("{name} is {} and so above its learned limit {}", short(value), short(*upper))
        }
        (true, _, Some(lower), _) => {
            format!("{name} is {} and so below its learned limit {}", short(value), short(*lower))
        }
        (.., Some(SignalDeviation { opened_at, view, .. })) => {
            let view = view.as_str().replace('_', " ");
            format!("{name} is {}: its {view} has been as never before since {opened_at:.0}", short(value))
        }
        _ => format!("{name} is {} and so outside what was usual", short(value)),
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 9) };
    format!("{value:.*}", digits as usize)
}
