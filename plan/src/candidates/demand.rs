//! How many replicas a service needs: from its load, its short trend, and what one replica can take.

use crate::{
    data::{interval, number, percent, ready_replicas, value},
    effects::allowed_bad_ratio,
    history::{History, look_ahead},
    input::{Outgoing, PlanInput},
};
use proto::model::{Assessment, ScalePolicy, SymptomKind};

/// From this utilisation on, busy time no longer tells demand: every worker is always busy.
pub const SATURATED: f64 = 0.95;
/// A trend adds at most this share of the load: it is a straight line through a few noisy points.
const TREND_SHARE_MAX: f64 = 0.5;
/// A callee whose load is below this share of what its replicas can take is not short of capacity, however busy it looks:
/// workers that hang are busy too.
const OVERLOAD_SHARE: f64 = 0.8;

/// Where the load per replica comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PerReplica {
    /// Learned from load, replicas and latency.
    Learned(f64),
    /// Load divided by busy replicas, seen lately while the two were proportional.
    Seen(f64),
    /// Load divided by busy replicas now.
    Proportional(f64),
}

impl PerReplica {
    /// Requests per second at full utilisation.
    pub fn rate(self) -> f64 {
        match self {
            Self::Learned(rate) | Self::Seen(rate) | Self::Proportional(rate) => rate,
        }
    }

    fn text(self) -> String {
        let source = match self {
            Self::Learned(_) => "learned",
            Self::Seen(_) => "seen lately",
            Self::Proportional(_) => "by utilisation",
        };
        format!("{} requests/s per replica ({source})", number(self.rate()))
    }
}

/// What the load asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// Requests per second now.
    pub load: f64,
    /// Requests per second by the time more replicas could be ready.
    pub planned_load: f64,
    /// What one replica takes.
    pub per_replica: Option<PerReplica>,
    /// Replicas for the planned load, not rounded; `None` when nothing tells.
    pub need: Option<f64>,
    /// Replicas for the largest load of the stabilisation window, not rounded.
    pub lasting_need: Option<f64>,
    /// Every worker is busy, or Analyze says so.
    pub saturated: bool,
    /// Every worker is busy at this moment.
    pub busy: bool,
    /// The objective is being missed now.
    pub violated: bool,
    /// The service's trouble comes from this failing dependency.
    pub explained: Option<String>,
}

impl Demand {
    /// Estimates it; `None` when the load is unknown.
    pub fn of(
        input: &PlanInput<'_>,
        policy: &ScalePolicy,
        seen: &Assessment,
        now: jiff::Timestamp,
    ) -> Option<Self> {
        let load = value(seen, "load")?;
        let saturated = is_saturated(seen);
        let violated = is_violated(seen, input);
        let troubled = saturated || violated;
        let explained = input.outgoing.iter().filter(|_| troubled).find_map(failing_dependency);
        let planned_load = load + trend(input, seen, load);
        let lasting_load = input.history.maximum(policy.cooldown_down, now).unwrap_or(load).max(planned_load);
        let per_replica = per_replica(seen, input.history, load);
        let outward = match (&explained, per_replica) {
            // Waiting for a failing dependency looks like work. Only what the load itself asks for counts then, at the
            // optimistic end of what was learned.
            (Some(_), Some(PerReplica::Learned(rate))) => {
                Some(PerReplica::Learned(learned(seen.capacity.upper).map_or(rate, |upper| upper.max(rate))))
            }
            (Some(_), _) => None,
            (None, found) => found,
        };
        let need = |load: f64, per: PerReplica| {
            Some(load / (per.rate() * policy.target_utilisation_ratio)).filter(|need| need.is_finite())
        };
        let by_utilisation = || {
            let ready = f64::from(ready_replicas(seen)?);
            Some(ready * value(seen, "utilisation")? / policy.target_utilisation_ratio)
        };
        let lasting = per_replica.and_then(|per| need(lasting_load, per));
        Some(Self {
            load,
            planned_load,
            per_replica,
            need: outward.and_then(|per| need(planned_load, per)),
            // Whichever asks for more: load against capacity, or the busy time as measured.
            lasting_need: lasting
                .map_or_else(by_utilisation, |need| Some(need.max(by_utilisation().unwrap_or(0.0)))),
            saturated,
            busy: value(seen, "utilisation").map_or(saturated, |used| used >= SATURATED),
            violated,
            explained,
        })
    }

    /// The arithmetic in words.
    pub fn text(&self, policy: &ScalePolicy) -> String {
        let trend = if self.planned_load > self.load {
            format!(", rising to {} before more replicas could be ready", number(self.planned_load))
        } else {
            String::new()
        };
        let target = percent(policy.target_utilisation_ratio);
        match self.per_replica {
            Some(per) => {
                format!(
                    "load is {} requests/s{trend}, at {}, aiming at {target} utilisation",
                    number(self.load),
                    per.text()
                )
            }
            None => format!(
                "load is {} requests/s{trend}, and what a replica takes is not known yet",
                number(self.load)
            ),
        }
    }
}

fn trend(input: &PlanInput<'_>, seen: &Assessment, load: f64) -> f64 {
    let history = input.history;
    let ahead = look_ahead(seen) + input.operating.tuning().look_ahead;
    let rise = history.growth_per_second() * ahead.as_secs_f64();
    let rise = rise.max(history.surge(interval(seen)));
    // The sum stays a number, whatever the load claims to be.
    rise.clamp(0.0, TREND_SHARE_MAX * load).min(f64::MAX - load)
}

fn learned(rate: Option<f64>) -> Option<f64> {
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
}

fn per_replica(seen: &Assessment, history: &History, load: f64) -> Option<PerReplica> {
    if let Some(rate) = learned(seen.capacity.per_replica) {
        return Some(PerReplica::Learned(rate));
    }
    let busy = f64::from(ready_replicas(seen)?) * value(seen, "utilisation").unwrap_or(0.0);
    // When every worker is busy, load over busy time is what comes in, not what is served: an older estimate is better.
    let seen_lately = history.capacity_seen().map(PerReplica::Seen);
    seen_lately.or_else(|| learned(Some(load / busy)).map(PerReplica::Proportional))
}

fn is_saturated(seen: &Assessment) -> bool {
    seen.open_symptom(SymptomKind::Saturation).is_some()
        || value(seen, "utilisation").is_some_and(|used| used >= SATURATED)
}

/// The objective is being lost, by more than chance makes of one scrape.
fn is_violated(seen: &Assessment, input: &PlanInput<'_>) -> bool {
    let allowed = allowed_bad_ratio(input.objective, seen);
    let missed = allowed.zip(value(seen, "bad_ratio")).is_some_and(|(allowed, bad)| bad > allowed);
    seen.open_symptom(SymptomKind::Objective).is_some() || missed
}

/// Says so when calls to this callee fail and more capacity of the callee would not cure it.
pub fn failing_dependency(called: &Outgoing<'_>) -> Option<String> {
    called.assessment?.open_symptom(SymptomKind::Dependency)?;
    (!is_overloaded(called))
        .then(|| format!("calls to {} fail, and it is not short of capacity", called.callee.name()))
}

/// Whether the callee is short of capacity, as far as anything tells; without data it is not known to be.
pub fn is_overloaded(called: &Outgoing<'_>) -> bool {
    let Some(callee) = called.callee_assessment else { return false };
    let taken = learned(callee.capacity.per_replica)
        .zip(ready_replicas(callee))
        .map(|(rate, ready)| rate * f64::from(ready));
    match (taken, value(callee, "load")) {
        (Some(taken), Some(load)) => load >= OVERLOAD_SHARE * taken,
        _ => is_saturated(callee),
    }
}
