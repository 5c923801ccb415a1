//! How bad a symptom is: what it costs the objective, times how sure that is. Never how far a number is from its mean.

use proto::model::Severity;

/// At this burn rate 2 % of a month's budget are gone in an hour.
const CRITICAL_BURN: f64 = 14.4;
/// At this burn rate 5 % of a month's budget are gone in six hours.
const HIGH_BURN: f64 = 6.0;
/// Above this the budget does not last its window.
const MEDIUM_BURN: f64 = 1.0;

/// The severity of trouble that burns the budget this fast, believed this much.
#[must_use]
pub fn of(burn: f64, confidence: f64) -> Severity {
    match burn * confidence {
        impact if impact >= CRITICAL_BURN => Severity::Critical,
        impact if impact >= HIGH_BURN => Severity::High,
        impact if impact >= MEDIUM_BURN => Severity::Medium,
        _ => Severity::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_lowers_severity() {
        assert_eq!(of(20.0, 1.0), Severity::Critical);
        assert_eq!(of(20.0, 0.5), Severity::High);
        assert_eq!(of(0.5, 1.0), Severity::Low);
        assert_eq!(of(f64::NAN, 1.0), Severity::Low);
    }
}
