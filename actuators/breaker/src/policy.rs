//! What is wanted of a breaker: its mode, what an outage is, how rarely it may err, how long it waits and how it tries again.

use std::time::Duration;

/// The largest stage of probes: 32 leases of 24 bytes stay within a kilobyte and a linear scan.
pub(crate) const HALF_OPEN_PERMITS_MAX: u32 = 32;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest wait or lease: one day, so that sums of a few of them stay far from overflow.
const SPAN_MAX: Duration = DAY;

/// The longest span of learning: ten years.
const LEARNING_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// What the breaker does with its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Calls are rejected when the breaker is open or sheds.
    Enforce,
    /// Every call is admitted; what would have been rejected is counted.
    MetricsOnly,
    /// Every call is admitted and nothing is counted.
    Disabled,
    /// Every call is rejected.
    ForcedOpen,
}

/// Bounds of the learned concurrency limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitPolicy {
    /// Never fewer calls in flight than this are allowed: a limit that starves cannot learn. At least 1.
    pub floor: u32,
    /// Calls in flight allowed before anything is learned.
    pub initial: u32,
    /// Never more than this.
    pub ceiling: u32,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        Self { floor: 4, initial: 20, ceiling: 1_000 }
    }
}

/// The settings of one breaker. The defaults suit an internal edge at any rate of calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What to do with verdicts.
    pub mode: Mode,
    /// Share of admitted calls that fail, in (0, 1], from which it is an OUTAGE. Less is DEGRADED, which never opens.
    pub failure_ratio_to_open: f64,
    /// One false opening per breaker is accepted in this time.
    pub false_opening_every: Duration,
    /// DEGRADED means at least so many times the learned baseline; above 1.
    pub degraded_factor: f64,
    /// Failure ratio assumed before anything is learned, in (0, 1).
    pub prior_failure_ratio: f64,
    /// A declared limit: a call that takes at least this long counts as failed. Without one, slowness is judged by the learned
    /// quantile, and is never an outage.
    pub slow_call: Option<Duration>,
    /// A degradation that lasts as long as this, at least a day, is taken for the new baseline.
    pub adopt_after: Duration,
    /// How long the first opening lasts; each reopening without a healthy time in between doubles it.
    pub open_wait: Duration,
    /// The longest opening, at rates of calls so low that probes are dear.
    pub open_wait_max: Duration,
    /// Share of the offered calls, in (0, 1], that probing may cost while the callee is dead. It bounds the wait at high rates.
    pub probe_share: f64,
    /// Share of the wait, in [0, 1), taken off at random so that instances do not probe together.
    pub open_wait_jitter: f64,
    /// The largest stage of probes: stages admit 1, 2, 4, … up to this many at once, and then the breaker closes.
    pub half_open_permits: u32,
    /// A probe without a result after this time counts as failed and its permit is given back.
    pub permit_ttl: Duration,
    /// Whether a degradation is tested for shedding, and calls are shed if that helps.
    pub shed: bool,
    /// Bounds of the concurrency limit; `None`: no limit is learned, and no call pays for it.
    pub limit: Option<LimitPolicy>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            failure_ratio_to_open: 0.9,
            false_opening_every: 30 * DAY,
            degraded_factor: 3.0,
            prior_failure_ratio: 0.01,
            slow_call: None,
            adopt_after: 14 * DAY,
            open_wait: Duration::from_millis(500),
            open_wait_max: Duration::from_secs(30),
            probe_share: 0.01,
            open_wait_jitter: 0.2,
            half_open_permits: 16,
            permit_ttl: Duration::from_secs(5),
            shed: true,
            limit: None,
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
        share("failure_ratio_to_open", self.failure_ratio_to_open)?;
        share("probe_share", self.probe_share)?;
        span("open_wait", self.open_wait)?;
        span("open_wait_max", self.open_wait_max)?;
        span("permit_ttl", self.permit_ttl)?;
        if let Some(slow) = self.slow_call {
            span("slow_call", slow)?;
        }
        learning("false_opening_every", self.false_opening_every, Duration::from_secs(3600))?;
        learning("adopt_after", self.adopt_after, DAY)?;
        // Written so that NaN is refused.
        if !(self.degraded_factor > 1.0 && self.degraded_factor <= 100.0) {
            return Err(invalid("degraded_factor", self.degraded_factor, "must be in (1, 100]"));
        }
        if !(self.prior_failure_ratio > 0.0 && self.prior_failure_ratio < 1.0) {
            return Err(invalid("prior_failure_ratio", self.prior_failure_ratio, "must be in (0, 1)"));
        }
        if self.open_wait_max < self.open_wait {
            let value = format!("{:?}", self.open_wait_max);
            return Err(invalid("open_wait_max", value, "must not be below open_wait"));
        }
        if !(0.0..1.0).contains(&self.open_wait_jitter) {
            return Err(invalid("open_wait_jitter", self.open_wait_jitter, "must be in [0, 1)"));
        }
        if !(1..=HALF_OPEN_PERMITS_MAX).contains(&self.half_open_permits) {
            return Err(invalid("half_open_permits", self.half_open_permits, "must be in 1..=32"));
        }
        self.limit.map_or(Ok(()), |limit| limit.validate())
    }
}

impl LimitPolicy {
    fn validate(self) -> Result<(), InvalidPolicy> {
        if self.floor == 0 || self.floor > self.initial || self.initial > self.ceiling {
            let value = format!("{}..{}..{}", self.floor, self.initial, self.ceiling);
            return Err(invalid("limit", value, "must be 1 <= floor <= initial <= ceiling"));
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

fn learning(key: &'static str, value: Duration, least: Duration) -> Result<(), InvalidPolicy> {
    if value < least || value > LEARNING_MAX {
        return Err(invalid(key, format!("{value:?}"), "is too short, or longer than ten years"));
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
        assert_eq!(refused(|p| p.permit_ttl = Duration::MAX), "permit_ttl");
        assert_eq!(refused(|p| p.failure_ratio_to_open = f64::NAN), "failure_ratio_to_open");
        assert_eq!(refused(|p| p.probe_share = 0.0), "probe_share");
        assert_eq!(refused(|p| p.slow_call = Some(Duration::ZERO)), "slow_call");
        assert_eq!(refused(|p| p.false_opening_every = Duration::ZERO), "false_opening_every");
        assert_eq!(refused(|p| p.adopt_after = Duration::from_secs(3600)), "adopt_after");
        assert_eq!(refused(|p| p.degraded_factor = 1.0), "degraded_factor");
        assert_eq!(refused(|p| p.prior_failure_ratio = f64::INFINITY), "prior_failure_ratio");
        assert_eq!(refused(|p| p.open_wait_max = Duration::from_millis(5)), "open_wait_max");
        assert_eq!(refused(|p| p.open_wait_jitter = 1.0), "open_wait_jitter");
        assert_eq!(refused(|p| p.half_open_permits = 33), "half_open_permits");
        let limit = LimitPolicy { floor: 0, ..LimitPolicy::default() };
        assert_eq!(refused(|p| p.limit = Some(limit)), "limit");
    }
}
