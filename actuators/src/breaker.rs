//! The breaker actuator: `set_breaker` directives for the breakers of this very process, one handle per edge, or per method or host
//! of it; their evidence up, and the fleet's advice down. A breaker keeps the generation with its policy, so a process that
//! starts anew has none and is given the current one.

mod report;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use breaker::fleet::Advice;
use breaker::{Applied, Breaker, Mode, Policy, PolicyError};
use chassis::SharedClock;
use proto::model::{
    Action, ActuatorSpec, BreakerAdvice, BreakerKey, BreakerMode, BreakerOverride, BreakerProbing,
    BreakerReport, BreakerSetting, Directive, DirectiveKind, Generation, InvalidId, Observation, ResourceId,
    ResourcePattern,
};

use crate::actuator::{Actuator, ApplyOutcome};

/// Settings for this many edges are taken at once: they cost nanoseconds each.
const IN_FLIGHT: u32 = 64;

/// One breaker, and what is known of it beside it.
#[derive(Debug)]
struct Guarded {
    breaker: Arc<Breaker>,
    word: Mutex<Word>,
}

/// What was said last, by a person and by this process.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    /// A person's, and the generation of its directive.
    told: Option<(BreakerOverride, Generation)>,
    /// When the baseline was told last.
    baseline_at: Option<Duration>,
    /// Until when this host may be left out.
    eject_until: Duration,
}

/// Sets the breakers of one process.
#[derive(Debug)]
pub struct BreakerActuator {
    spec: ActuatorSpec,
    breakers: BTreeMap<BreakerKey, Guarded>,
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
        let whole = breakers.into_iter().map(|(edge, breaker)| (BreakerKey::of(edge), breaker));
        Self::for_keys(instance, whole.collect(), clock)
    }

    /// As [`BreakerActuator::new`], with several breakers on an edge: of its methods, of the callee's hosts. A directive for the
    /// edge sets all of them; each learns and tells for itself.
    ///
    /// # Errors
    /// When a name breaks a rule or there is no edge.
    pub fn for_keys(
        instance: &str,
        breakers: BTreeMap<BreakerKey, Arc<Breaker>>,
        clock: SharedClock,
    ) -> Result<Self, InvalidId> {
        let mut edges: Vec<&ResourceId> = breakers.keys().map(|key| &key.edge).collect();
        edges.dedup();
        let spec = ActuatorSpec {
            name: "breaker".to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::SetBreaker],
            resources: edges.into_iter().map(ResourcePattern::exactly).collect(),
            max_in_flight: IN_FLIGHT,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        let guarded = |breaker| Guarded { breaker, word: Mutex::default() };
        let breakers = breakers.into_iter().map(|(key, breaker)| (key, guarded(breaker))).collect();
        Ok(Self { spec, breakers, clock })
    }

    /// Whether the fleet agrees that this host is left out, by its last word. Without one nobody is: a balancer then goes by what
    /// it sees itself, within its own guard.
    pub fn may_eject(&self, key: &BreakerKey) -> bool {
        let now = self.clock.monotonic();
        self.breakers.get(key).is_some_and(|guarded| guarded.word().eject_until > now)
    }

    fn on<'a>(&'a self, edge: &'a ResourceId) -> impl Iterator<Item = &'a Guarded> {
        self.breakers.iter().filter(move |(key, _)| key.edge == *edge).map(|(_, guarded)| guarded)
    }

    /// Has a person's word stand, or end, on one breaker.
    fn tell(&self, guarded: &Guarded, told: BreakerOverride, generation: Generation) {
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        match told {
            BreakerOverride::Set { mode, until } if told.stands(wall) => {
                let left = Duration::try_from(until.duration_since(wall)).unwrap_or_default();
                guarded.breaker.set_override(mode_of(mode), now + left, now);
            }
            BreakerOverride::Set { .. } | BreakerOverride::Cleared => guarded.breaker.clear_override(now),
        }
        guarded.change(|word| word.told = Some((told, generation)));
    }

    fn heed(&self, advice: BreakerAdvice) {
        let BreakerAdvice { key, valid, others_score, probing, may_eject, baseline, told, .. } = advice;
        let Some(guarded) = self.breakers.get(&key) else { return };
        let now = self.clock.monotonic();
        let until = now + valid;
        guarded.breaker.advise(Advice::OthersSee { score: others_score, until }, now);
        match probing {
            BreakerProbing::Hold => guarded.breaker.advise(Advice::HoldProbes { until }, now),
            BreakerProbing::Now => guarded.breaker.advise(Advice::Probe, now),
            BreakerProbing::Free => {}
        }
        guarded.change(|word| word.eject_until = if may_eject { until } else { Duration::ZERO });
        if let Some(baseline) = baseline.filter(|baseline| baseline.format == report::BASELINE_FORMAT)
            && !guarded.breaker.snapshot(now).baseline_known
        {
            match guarded.breaker.import_baseline(&baseline.numbers, now) {
                Ok(()) => tracing::info!(%key, ratio = baseline.failure_ratio, "begins with what is known"),
                Err(error) => tracing::warn!(%key, "{}", chassis::chain(&error)),
            }
        }
        if let Some((told, generation)) =
            told.filter(|(_, generation)| *generation > guarded.told_generation())
        {
            tracing::info!(%key, %generation, "hears of a person's word");
            self.tell(guarded, told, generation);
        }
    }
}

impl Guarded {
    fn word(&self) -> Word {
        *self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Word)) {
        change(&mut self.word.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn told_generation(&self) -> Generation {
        self.word().told.map(|(_, generation)| generation).unwrap_or_default()
    }
}

impl Actuator for BreakerActuator {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, resource: &ResourceId) -> Vec<Observation> {
        let Some(guarded) = self.on(resource).next() else { return Vec::new() };
        let breaker = &guarded.breaker;
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
        if self.on(&directive.resource).next().is_none() {
            return ApplyOutcome::refused(format!("this process has no breaker on {}", directive.resource));
        }
        for guarded in self.on(&directive.resource) {
            let policy = adopted(guarded.breaker.policy().0, &setting);
            if let Err(invalid) = policy.validate() {
                return ApplyOutcome::refused(invalid.to_string());
            }
            if dry_run {
                continue;
            }
            match guarded.breaker.set_policy(policy, directive.generation.0, self.clock.monotonic()) {
                Ok(Applied::Already) => {}
                Ok(Applied::Changed) => {
                    setting.told.inspect(|told| self.tell(guarded, *told, directive.generation));
                }
                Err(error @ (PolicyError::Stale { .. } | PolicyError::Invalid(_))) => {
                    return ApplyOutcome::refused(chassis::chain(&error));
                }
            }
        }
        ApplyOutcome::applied(said(&setting, dry_run))
    }

    fn last_generation(&self, resource: &ResourceId, _: DirectiveKind) -> Generation {
        Generation(self.on(resource).map(|guarded| guarded.breaker.policy().1).min().unwrap_or(0))
    }

    fn evidence(&self) -> Vec<BreakerReport> {
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        self.breakers.iter().map(|(key, guarded)| report::of(key, guarded, now, wall)).collect()
    }

    fn advised(&self, advice: Vec<BreakerAdvice>) {
        advice.into_iter().for_each(|one| self.heed(one));
    }
}

fn said(setting: &BreakerSetting, dry_run: bool) -> String {
    let verb = if dry_run { "would be" } else { "is" };
    match setting.told {
        None => format!("{verb} {}", setting.mode),
        Some(BreakerOverride::Set { mode, until }) => {
            format!("{verb} {mode} until {until}, then {}", setting.mode)
        }
        Some(BreakerOverride::Cleared) => format!("{verb} {} without override", setting.mode),
    }
}

/// The policy in force with what a directive sets; the rest stays as the process was made.
fn adopted(current: Policy, setting: &BreakerSetting) -> Policy {
    let BreakerSetting { mode, failure_ratio_to_open, slow_call, open_wait, half_open_permits, told: _ } =
        *setting;
    Policy {
        mode: mode_of(mode),
        failure_ratio_to_open,
        // Without a declared limit slowness is judged by what the breaker learned, and opens nothing.
        slow_call,
        open_wait,
        open_wait_max: current.open_wait_max.max(open_wait),
        half_open_permits,
        ..current
    }
}

fn mode_of(mode: BreakerMode) -> Mode {
    match mode {
        BreakerMode::MetricsOnly => Mode::MetricsOnly,
        BreakerMode::Enforce => Mode::Enforce,
        BreakerMode::ForcedOpen => Mode::ForcedOpen,
        BreakerMode::Disabled => Mode::Disabled,
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
