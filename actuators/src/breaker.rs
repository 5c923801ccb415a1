//! The breaker actuator: `set_breaker` directives for the breakers of this very process, one handle per edge. The breaker
//! keeps the generation with its policy, so a process that starts anew has none and is given the current one.

use std::collections::BTreeMap;
use std::sync::Arc;

use breaker::{Applied, Breaker, Mode, Policy, PolicyError};
use chassis::SharedClock;
use proto::model::{
    Action, ActuatorSpec, BreakerMode, BreakerSetting, Directive, DirectiveKind, Generation, InvalidId,
    Observation, ResourceId, ResourcePattern,
};

use crate::actuator::{Actuator, ApplyOutcome};

/// Settings for this many edges are taken at once: they cost nanoseconds each.
const IN_FLIGHT: u32 = 64;

/// Sets the breakers of one process.
#[derive(Debug)]
pub struct BreakerActuator {
    spec: ActuatorSpec,
    breakers: BTreeMap<ResourceId, Arc<Breaker>>,
    clock: SharedClock,
}

impl BreakerActuator {
    /// For these edges. `instance` tells this process from others. `clock` must be the one that the callers measure with:
    /// its monotonic time is the breakers' time.
    ///
    /// # Errors
    /// When a name breaks a rule or there is no edge.
    pub fn new(
        instance: &str,
        breakers: BTreeMap<ResourceId, Arc<Breaker>>,
        clock: SharedClock,
    ) -> Result<Self, InvalidId> {
        let spec = ActuatorSpec {
            name: "breaker".to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::SetBreaker],
            resources: breakers.keys().map(ResourcePattern::exactly).collect(),
            max_in_flight: IN_FLIGHT,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        Ok(Self { spec, breakers, clock })
    }
}

impl Actuator for BreakerActuator {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, resource: &ResourceId) -> Vec<Observation> {
        let Some(breaker) = self.breakers.get(resource) else { return Vec::new() };
        let now = self.clock.monotonic();
        let (seen, witness) = (breaker.snapshot(now), breaker.witness(now));
        let (policy, _) = breaker.policy();
        // Counts below 2^53 are exact; a breaker that has counted more has run for a thousand years.
        let values = [
            ("breaker_mode", mode_number(policy.mode)),
            ("breaker_opened_total", seen.opened_total as f64),
            ("breaker_rejected_total", seen.rejected_total as f64),
            ("breaker_would_reject_total", seen.would_reject_total as f64),
            ("breaker_failure_baseline_ratio", seen.baseline_ratio),
            // What it may add to the fleet's evidence, and what it would need to open alone.
            ("breaker_outage_evidence", witness.score),
            ("breaker_outage_threshold", witness.threshold),
            ("breaker_admitted_ratio", seen.admitted_share),
        ];
        values.map(|(name, value)| Observation { name: name.to_owned(), value }).into()
    }

    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        let Action::SetBreaker(setting) = directive.action else {
            return ApplyOutcome::refused(format!("only breakers can be set, not {}", directive.action));
        };
        let Some(breaker) = self.breakers.get(&directive.resource) else {
            return ApplyOutcome::refused(format!("this process has no breaker on {}", directive.resource));
        };
        let policy = adopted(breaker.policy().0, &setting);
        if dry_run {
            return match policy.validate() {
                Ok(()) => ApplyOutcome::applied(format!("would be {}", setting.mode)),
                Err(invalid) => ApplyOutcome::refused(invalid.to_string()),
            };
        }
        match breaker.set_policy(policy, directive.generation.0, self.clock.monotonic()) {
            Ok(Applied::Changed | Applied::Already) => ApplyOutcome::applied(format!("is {}", setting.mode)),
            Err(error @ (PolicyError::Stale { .. } | PolicyError::Invalid(_))) => {
                ApplyOutcome::refused(chassis::chain(&error))
            }
        }
    }

    fn last_generation(&self, resource: &ResourceId, _: DirectiveKind) -> Generation {
        Generation(self.breakers.get(resource).map_or(0, |breaker| breaker.policy().1))
    }
}

/// The policy in force with what a directive sets; the rest stays as the process was made.
fn adopted(current: Policy, setting: &BreakerSetting) -> Policy {
    let BreakerSetting { mode, failure_ratio_to_open, slow_call, open_wait, half_open_permits, told: _ } =
        *setting;
    Policy {
        mode: match mode {
            BreakerMode::MetricsOnly => Mode::MetricsOnly,
            BreakerMode::Enforce => Mode::Enforce,
            BreakerMode::ForcedOpen => Mode::ForcedOpen,
            BreakerMode::Disabled => Mode::Disabled,
        },
        failure_ratio_to_open,
        // Without a declared limit slowness is judged by what the breaker learned, and opens nothing.
        slow_call,
        open_wait,
        open_wait_max: current.open_wait_max.max(open_wait),
        half_open_permits,
        ..current
    }
}

/// As on the wire, so that an observation can be read beside the contract.
fn mode_number(mode: Mode) -> f64 {
    match mode {
        Mode::MetricsOnly => 1.0,
        Mode::Enforce => 2.0,
        Mode::ForcedOpen => 3.0,
        Mode::Disabled => 4.0,
    }
}

#[cfg(test)]
mod tests;
