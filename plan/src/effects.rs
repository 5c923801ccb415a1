//! What a change promises, and what would happen without it: promises are judged against both.

use crate::data::{interval, value};
use jiff::Timestamp;
use proto::model::{Assessment, Counterfactual, CounterfactualPoint, ExpectedEffect, Objective, ResourceId};
use std::time::Duration;

/// Within 30 s a directive is delivered or planned again: the world that it was planned for is gone by then.
pub const EXPIRY: Duration = Duration::from_secs(30);
/// A person needs minutes to read and decide, and advice that is renewed more often is noise.
pub const EXPIRY_FOR_PEOPLE: Duration = Duration::from_secs(5 * 60);
/// An actuator reports within 15 s, half of the expiry, so that one retry fits.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(15);
/// Replicas start within a few seconds and two of three scrapes after that must show the effect.
const VERIFY_MIN: Duration = Duration::from_secs(10);
/// So many scrapes make a verdict that one odd sample does not turn.
const VERIFY_INTERVALS: u32 = 5;
/// 10 % and 90 % quantile of a normal distribution.
const Z90: f64 = 1.281_551_6;
/// Chance alone exceeds the mean by three standard deviations once in 700 scrapes.
const CHANCE_DEVIATIONS: f64 = 3.0;
/// Points of a counterfactual path: enough to see its widening.
const POINTS: u32 = 4;

/// From application until the promise is judged.
pub fn verify_window(interval: Duration) -> Duration {
    interval.saturating_mul(VERIFY_INTERVALS).max(VERIFY_MIN)
}

/// The share of bad events that is still within the objective, seen in one scrape: the budget and what chance adds to it at
/// this load. `None` when nothing is promised.
pub fn allowed_bad_ratio(objective: Option<Objective>, seen: &Assessment) -> Option<f64> {
    let budget = 1.0 - objective?.target_ratio;
    let events = (value(seen, "load").unwrap_or(0.0) * interval(seen).as_secs_f64()).max(1.0);
    let chance = CHANCE_DEVIATIONS * (budget * (1.0 - budget) / events).sqrt();
    Some((budget + chance).clamp(0.0, 1.0)).filter(|allowed| allowed.is_finite())
}

/// The signal stays as it is, with an uncertainty that grows with the square root of time. Shares stay within 0 and 1.
pub fn persistence(resource: Option<&ResourceId>, seen: &Assessment, signal: &str) -> Option<Counterfactual> {
    let glance = seen.signal(signal)?;
    let value = value(seen, signal)?;
    let scale = glance.scale.filter(|scale| scale.is_finite()).unwrap_or(0.0).abs();
    let per_interval = 1.0 / interval(seen).as_secs_f64();
    path(resource, signal, "persistence", verify_window(interval(seen)), |after| {
        let half = Z90 * scale * (after.as_secs_f64() * per_interval).sqrt();
        (bounded(signal, value - half), bounded(signal, value), bounded(signal, value + half))
    })
}

/// A service short of capacity does not stay as it is: at least the surplus goes bad, and at worst everything does, as its
/// queues grow.
pub fn overload(
    resource: Option<&ResourceId>,
    seen: &Assessment,
    signal: &str,
    surplus: f64,
) -> Option<Counterfactual> {
    let value = value(seen, signal)?;
    let surplus = if surplus.is_finite() { surplus.clamp(0.0, 1.0) } else { 0.0 };
    path(resource, signal, "overload", verify_window(interval(seen)), |_| {
        (bounded(signal, value.min(surplus)), bounded(signal, value.max(surplus)), 1.0)
    })
}

/// A dependency that fails does not stay as it was in the tick in which it began: at worst every answer that needs it is bad.
/// `needing`: share of the answers that do.
pub fn failing(resource: Option<&ResourceId>, seen: &Assessment, needing: f64) -> Option<Counterfactual> {
    let mut path = persistence(resource, seen, "bad_ratio")?;
    let needing = if needing.is_finite() { needing.clamp(0.0, 1.0) } else { 1.0 };
    path.points.iter_mut().for_each(|point| point.q90 = point.q90.max(needing));
    path.method = "failing dependency".to_owned();
    Some(path)
}

fn path(
    resource: Option<&ResourceId>,
    signal: &str,
    method: &str,
    window: Duration,
    at: impl Fn(Duration) -> (f64, f64, f64),
) -> Option<Counterfactual> {
    let point = |step: u32| {
        let after = window * step / POINTS;
        let (q10, q50, q90) = at(after);
        CounterfactualPoint { after, q10, q50, q90 }
    };
    let points: Vec<_> = (1..=POINTS).map(point).collect();
    let sound =
        |p: &CounterfactualPoint| p.q10.is_finite() && p.q90.is_finite() && p.q10 <= p.q50 && p.q50 <= p.q90;
    points.iter().all(sound).then(|| Counterfactual {
        resource: resource.cloned(),
        signal: signal.to_owned(),
        method: method.to_owned(),
        points,
    })
}

fn bounded(signal: &str, value: f64) -> f64 {
    if signal.ends_with("_ratio") || signal == "utilisation" { value.clamp(0.0, 1.0) } else { value.max(0.0) }
}

/// The path's upper end when the promise is judged.
pub fn upper_end(path: &Counterfactual) -> f64 {
    path.points.last().map_or(f64::INFINITY, |point| point.q90)
}

/// So many replicas are ready, no more and no fewer.
pub fn exactly_ready(replicas: u32) -> ExpectedEffect {
    let replicas = f64::from(replicas);
    ExpectedEffect {
        resource: None,
        signal: "ready_replicas".to_owned(),
        lower: replicas,
        upper: replicas,
        breach_is_harm: false,
    }
}

/// The share of bad events stays at or below a limit.
pub fn at_most_bad(resource: Option<&ResourceId>, upper: f64, breach_is_harm: bool) -> ExpectedEffect {
    ExpectedEffect {
        resource: resource.cloned(),
        signal: "bad_ratio".to_owned(),
        lower: 0.0,
        upper,
        breach_is_harm,
    }
}

/// The limit below which a change has helped: back within the objective, or at least half of the harm gone.
pub fn cured(bad_ratio: f64, allowed: f64) -> f64 {
    /// What removes half of the harm is worth keeping, even where something else is needed for the rest.
    const SHARE_LEFT: f64 = 0.5;
    allowed.max(SHARE_LEFT * bad_ratio).clamp(0.0, 1.0)
}

/// A moment later, as far as the calendar goes.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{objective, service_assessment};

    #[test]
    fn what_began_within_a_tick_may_become_as_bad_as_the_calls_that_need_it() {
        let seen = service_assessment("catalog", 0, &[("bad_ratio", 0.14)]);
        let path = failing(None, &seen, 0.6).unwrap();
        assert!(path.points.iter().all(|point| point.q50 == 0.14 && point.q90 >= 0.6 && point.q90 < 1.0));
        assert_eq!(upper_end(&failing(None, &seen, f64::NAN).unwrap()), 1.0);
        assert!(failing(None, &service_assessment("catalog", 0, &[]), 1.0).is_none());
    }

    #[test]
    fn persistence_widens_with_the_square_root_of_time_and_keeps_shares_in_range() {
        let mut seen = service_assessment("catalog", 0, &[("bad_ratio", 0.02)]);
        seen.signals[0].scale = Some(0.01);
        let path = persistence(None, &seen, "bad_ratio").unwrap();
        let widths: Vec<f64> = path.points.iter().map(|point| point.q90 - point.q50).collect();
        assert!((widths[3] / widths[0] - 2.0).abs() < 1e-9, "{widths:?}");
        assert!(path.points.iter().all(|point| point.q10 >= 0.0 && point.q50 == 0.02));
        assert_eq!(path.points[3].after, Duration::from_secs(10));
    }

    #[test]
    fn overloaded_service_may_lose_everything() {
        let seen = service_assessment("catalog", 0, &[("bad_ratio", 0.02)]);
        let path = overload(None, &seen, "bad_ratio", 0.4).unwrap();
        assert_eq!((path.points[0].q10, path.points[0].q50, path.points[0].q90), (0.02, 0.4, 1.0));
    }

    #[test]
    fn allowed_share_leaves_room_for_chance_where_events_are_few() {
        let allowed = |load| {
            let seen = service_assessment("catalog", 0, &[("load", load)]);
            allowed_bad_ratio(Some(objective(0.99)), &seen).unwrap()
        };
        assert!((allowed(1e9) - 0.01).abs() < 1e-4);
        assert!((allowed(100.0) - 0.039_85).abs() < 1e-4, "{}", allowed(100.0));
        assert!(allowed(0.0) <= 1.0);
        assert_eq!(allowed_bad_ratio(None, &service_assessment("catalog", 0, &[])), None);
    }

    #[test]
    fn unknown_signal_has_no_path() {
        let seen = service_assessment("catalog", 0, &[("bad_ratio", f64::NAN)]);
        assert_eq!(persistence(None, &seen, "bad_ratio"), None);
        assert_eq!(persistence(None, &seen, "utilisation"), None);
    }

    #[test]
    fn slow_scrapes_are_given_five_of_them() {
        assert_eq!(verify_window(Duration::from_secs(1)), Duration::from_secs(10));
        assert_eq!(verify_window(Duration::from_secs(15)), Duration::from_secs(75));
    }
}
