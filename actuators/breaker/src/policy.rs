//! What is wanted of a breaker: its mode, when it trips, how long it waits and how it tries again.

use std::time::Duration;

/// The most probes that may be in flight: 32 leases of 16 bytes stay within half a kilobyte and a linear scan.
pub(crate) const HALF_OPEN_PERMITS_MAX: u32 = 32;

/// The longest window, wait or lease: one day, so that sums of a few of them stay far from overflow.
const SPAN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What the breaker does with its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Calls are rejected when the breaker is open.
    Enforce,
    /// Every call is admitted; what would have been rejected is counted.
    MetricsOnly,
    /// Every call is admitted and nothing is counted.
    Disabled,
    /// Every call is rejected.
    ForcedOpen,
}

/// The settings of one breaker. The defaults suit an internal HTTP edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What to do with verdicts.
    pub mode: Mode,
    /// How much of the past is judged.
    pub window: Duration,
    /// Fewer calls than this in the window are no evidence.
    pub minimum_calls: u32,
    /// Share of failed calls, in (0, 1], from which the breaker opens.
    pub failure_ratio_to_open: f64,
    /// A call that takes at least this long is slow.
    pub slow_call_duration: Duration,
    /// Share of slow calls, in (0, 1], from which the breaker opens.
    pub slow_ratio_to_open: f64,
    /// How long the first opening lasts; each reopening without a healthy window in between doubles it.
    pub open_wait: Duration,
    /// The longest opening.
    pub open_wait_max: Duration,
    /// Share of the wait, in [0, 1), taken off at random so that instances do not probe together.
    pub open_wait_jitter: f64,
    /// How many probes one half-open phase admits, at once and in all.
    pub half_open_permits: u32,
    /// A probe without a result after this time counts as failed and its permit is given back.
    pub permit_ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            window: Duration::from_secs(10),
            minimum_calls: 20,
            failure_ratio_to_open: 0.5,
            slow_call_duration: Duration::from_secs(1),
            slow_ratio_to_open: 0.8,
            open_wait: Duration::from_secs(2),
            open_wait_max: Duration::from_secs(30),
            open_wait_jitter: 0.2,
            half_open_permits: 5,
            permit_ttl: Duration::from_secs(5),
        }
    }
}

/// A setting that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {rule}")]
pub struct InvalidPolicy {
    /// The field's name.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it must be.
    pub rule: &'static str,
}

impl Policy {
    /// Checks every field; the first that breaks its rule is named.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        span("window", self.window)?;
        span("slow_call_duration", self.slow_call_duration)?;
        span("open_wait", self.open_wait)?;
        span("open_wait_max", self.open_wait_max)?;
        span("permit_ttl", self.permit_ttl)?;
        share("failure_ratio_to_open", self.failure_ratio_to_open)?;
        share("slow_ratio_to_open", self.slow_ratio_to_open)?;
        if self.minimum_calls == 0 {
            return Err(invalid("minimum_calls", self.minimum_calls, "must be at least 1"));
        }
        if self.open_wait_max < self.open_wait {
            return Err(invalid(
                "open_wait_max",
                format!("{:?}", self.open_wait_max),
                "must not be below open_wait",
            ));
        }
        if !(0.0..1.0).contains(&self.open_wait_jitter) {
            return Err(invalid("open_wait_jitter", self.open_wait_jitter, "must be in [0, 1)"));
        }
        if !(1..=HALF_OPEN_PERMITS_MAX).contains(&self.half_open_permits) {
            return Err(invalid("half_open_permits", self.half_open_permits, "must be in 1..=32"));
        }
        Ok(())
    }
}

fn span(key: &'static str, value: Duration) -> Result<(), InvalidPolicy> {
    if value < Duration::from_millis(1) || value > SPAN_MAX {
        return Err(invalid(key, format!("{value:?}"), "must be between 1ms and 24h"));
    }
    Ok(())
}

fn share(key: &'static str, value: f64) -> Result<(), InvalidPolicy> {
    // Written so that NaN is refused.
    if value > 0.0 && value <= 1.0 { Ok(()) } else { Err(invalid(key, value, "must be in (0, 1]")) }
}

fn invalid(key: &'static str, value: impl ToString, rule: &'static str) -> InvalidPolicy {
    InvalidPolicy { key, value: value.to_string(), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Policy)) -> &'static str {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.validate().expect_err("must be refused").key
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Policy::default().validate(), Ok(()));
    }

    #[test]
    fn each_broken_rule_names_its_key() {
        assert_eq!(refused(|p| p.window = Duration::ZERO), "window");
        assert_eq!(refused(|p| p.permit_ttl = Duration::MAX), "permit_ttl");
        assert_eq!(refused(|p| p.failure_ratio_to_open = f64::NAN), "failure_ratio_to_open");
        assert_eq!(refused(|p| p.slow_ratio_to_open = 0.0), "slow_ratio_to_open");
        assert_eq!(refused(|p| p.minimum_calls = 0), "minimum_calls");
        assert_eq!(refused(|p| p.open_wait_max = Duration::from_millis(5)), "open_wait_max");
        assert_eq!(refused(|p| p.open_wait_jitter = 1.0), "open_wait_jitter");
        assert_eq!(refused(|p| p.half_open_permits = 33), "half_open_permits");
    }
}
