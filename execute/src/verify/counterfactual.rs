//! What would have happened anyway, at one moment: the counterfactual's path, interpolated.

use jiff::Timestamp;
use proto::model::{CounterfactualPoint, Directive, ExpectedEffect};

use crate::moment::between;

/// The quantiles at `at` of the signal that a promise is about; before the first and after the last point, that point.
pub(super) fn otherwise(
    directive: &Directive,
    effect: &ExpectedEffect,
    at: Timestamp,
) -> Option<CounterfactualPoint> {
    let own = &directive.resource;
    let same = |other: &Option<_>| other.as_ref().unwrap_or(own) == effect.resource.as_ref().unwrap_or(own);
    let path =
        directive.counterfactual.iter().find(|one| one.signal == effect.signal && same(&one.resource))?;
    let after = between(directive.created_at, at);
    let next = path.points.iter().filter(|point| point.after >= after).min_by_key(|point| point.after);
    let before = path.points.iter().filter(|point| point.after <= after).max_by_key(|point| point.after);
    let (before, next) = match (before, next) {
        (None, None) => return None,
        (Some(only), None) | (None, Some(only)) => return Some(*only),
        (Some(before), Some(next)) => (before, next),
    };
    let span = next.after.saturating_sub(before.after).as_secs_f64();
    let share = if span > 0.0 { after.saturating_sub(before.after).as_secs_f64() / span } else { 0.0 };
    let mix = |from: f64, to: f64| from + (to - from) * share;
    Some(CounterfactualPoint {
        after,
        q10: mix(before.q10, next.q10),
        q50: mix(before.q50, next.q50),
        q90: mix(before.q90, next.q90),
    })
}
