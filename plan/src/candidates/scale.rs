//! Scaling: out in one step to what the load asks for, in step by step to what the whole stabilisation window needed.

use super::{
    Candidate, Hold, Survey,
    demand::Demand,
    rest::{Rest, dearer},
};
use crate::{
    data::{Data, count, distance, interval, number, percent, ready_replicas, seconds, value},
    economy::{Advice, Terms},
    effects::{allowed_bad_ratio, at_most_bad, cured, exactly_ready, overload, persistence, upper_end},
    input::PlanInput,
    score::Cost,
};
use jiff::Timestamp;
use proto::model::{
    Action, Assessment, Counterfactual, Evidence, ExpectedEffect, InputAsk, PolicySpec, ScalePolicy,
    SymptomKind,
};
use std::time::Duration;

/// A need within this share above what runs is noise (the tolerance of Kubernetes' HPA), unless the service is in trouble.
const TOLERANCE: f64 = 0.1;
/// Replicas that were asked for and have been missing for this long are asked for again: starting takes seconds, and a
/// supervisor that starts a crashed one again needs no help.
const RESTATE_AFTER: Duration = Duration::from_secs(30);

/// How many replicas there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// Ready ones, as measured.
    pub ready: u32,
    /// The largest number that may be in force: ready, asked for, or last seen on good data. A directive names an absolute
    /// number, so whatever is below this would take replicas away.
    pub current: u32,
}

impl Replicas {
    /// Counts them; `None` when they are unknown.
    pub fn of(input: &PlanInput<'_>, data: &Data<'_>) -> Option<Self> {
        let (seen, doubted) = match data {
            Data::Good { assessment, .. } => (*assessment, None),
            Data::Partial { assessment, .. } => (*assessment, input.last_good),
            Data::Unknown { last_good, .. } => (last_good.map(|(last, _)| last)?, input.assessment),
            Data::Stale { .. } | Data::Absent => return None,
        };
        let ready = ready_replicas(seen)?;
        let also = [doubted.and_then(ready_replicas), asked_for(input)];
        Some(Self { ready, current: also.into_iter().flatten().fold(ready, u32::max) })
    }
}

/// What the newest directive in effect asks for.
pub fn asked_for(input: &PlanInput<'_>) -> Option<u32> {
    match input.scale_line.in_effect()?.action {
        Action::Scale { replicas } => Some(replicas),
        _ => None,
    }
}

/// Everything that a scaling candidate is made from.
struct Basis<'a> {
    input: &'a PlanInput<'a>,
    policy: &'a ScalePolicy,
    seen: &'a Assessment,
    follows_last_good: Option<Duration>,
    replicas: Replicas,
    demand: Demand,
    /// What the outlook asks for; `None`: the plan follows what it sees.
    advice: Option<Advice>,
    /// Replicas for the planned load, never fewer than now and at least the policy's minimum.
    wanted: u32,
    /// Replicas without which something would go unserved.
    needed: u32,
    /// Replicas for the whole window, at least the minimum and at most the maximum.
    lasting: u32,
}

/// Weighs what scaling could do for the service.
pub fn survey(input: &PlanInput<'_>, policy: &PolicySpec, data: &Data<'_>, now: Timestamp) -> Survey {
    match Basis::of(input, policy, data, now) {
        Ok(basis) => basis.survey(policy, now),
        Err(why_nothing) => why_nothing.survey(data),
    }
}

/// The numbers that say that nothing is to be changed; `None` when something is, or when words are needed to tell why not.
/// Allocates nothing.
pub fn rest(input: &PlanInput<'_>, policy: &PolicySpec, data: &Data<'_>, now: Timestamp) -> Option<Rest> {
    let basis = if data.is_good() { Basis::of(input, policy, data, now).ok()? } else { return None };
    let rests = basis.demand.explained.is_none() && matches!(basis.course(now), Course::Keep);
    rests.then(|| basis.rest(now))
}

/// Why there is nothing to weigh.
enum Nothing {
    NotScaled,
    DataFault,
    ReplicasUnknown,
    LoadUnknown,
}

impl Nothing {
    fn survey(self, data: &Data<'_>) -> Survey {
        match self {
            Self::NotScaled => Survey::nothing("its policy does not scale it"),
            Self::DataFault => {
                Survey::nothing(format!("nothing is changed: {}", data.fault().unwrap_or_default()))
            }
            Self::ReplicasUnknown => {
                Survey::nothing("nothing is changed: the number of ready replicas is unknown")
            }
            Self::LoadUnknown => Survey::nothing("nothing is changed: the load is unknown"),
        }
    }
}

/// In which direction a change would go.
enum Course {
    Out,
    Again,
    In,
    Keep,
}

fn measure<'a>(
    input: &'a PlanInput<'a>,
    policy: &'a PolicySpec,
    data: &Data<'a>,
    now: Timestamp,
) -> Result<Basis<'a>, Nothing> {
    let Some(scale) = &policy.scale else { return Err(Nothing::NotScaled) };
    let (seen, follows_last_good) = match data {
        Data::Good { assessment, .. } | Data::Partial { assessment, .. } => (*assessment, None),
        Data::Unknown { last_good: Some((last, age)), .. } => (*last, Some(*age)),
        Data::Unknown { last_good: None, .. } | Data::Stale { .. } | Data::Absent => {
            return Err(Nothing::DataFault);
        }
    };
    let replicas = Replicas::of(input, data).ok_or(Nothing::ReplicasUnknown)?;
    let demand = Demand::of(input, scale, seen, now).ok_or(Nothing::LoadUnknown)?;
    let settled = input.scale_line.under_way().is_none();
    let terms = Terms::of(scale, input.objective, input.sheds, input.scale_line);
    // While nothing is seen the newest assessment still carries the last outlook on.
    let advice = input.assessment.and_then(|seen| input.economy.advice(seen, &terms, replicas.current));
    let wanted = match &advice {
        Some(advice) if demand.explained.is_none() => by_advice(advice, replicas, scale),
        _ => wanted(&demand, scale, replicas, (settled, input.operating.tuning().sensitivity)),
    };
    let lasting = match &advice {
        Some(advice) => worth_giving_back(advice, replicas),
        None => demand.lasting_need.map_or(replicas.current, rounded_up),
    };
    let lasting = lasting.clamp(scale.minimum_replicas, scale.maximum_replicas);
    let needed = if wanted > replicas.current {
        wanted
    } else if advice.is_some() {
        lasting.min(replicas.current)
    } else {
        rounded_up(demand.need.unwrap_or(0.0)).min(replicas.current)
    };
    Ok(Basis {
        input,
        policy: scale,
        seen,
        follows_last_good,
        replicas,
        demand,
        advice,
        wanted,
        needed,
        lasting,
    })
}

/// Whole replicas; a need that is above a whole number only by rounding does not cost one more.
fn rounded_up(need: f64) -> u32 {
    count((need - 1e-6).ceil())
}

/// More, when that gains enough; the gain is in replicas, so what is expected to be late has its price in it.
fn by_advice(advice: &Advice, replicas: Replicas, policy: &ScalePolicy) -> u32 {
    let gain = advice.cost_now - advice.cost;
    let worth = advice.replicas > replicas.current && gain > advice.gain_min;
    if worth { advice.replicas } else { 0 }.max(replicas.current).max(policy.minimum_replicas)
}

/// Fewer, when that gives back enough.
fn worth_giving_back(advice: &Advice, replicas: Replicas) -> u32 {
    let given = f64::from(replicas.current.saturating_sub(advice.lasting));
    if given >= advice.give_back_min { advice.lasting } else { replicas.current }
}

/// Replicas for what comes, or the current ones when nothing more is needed. What the last change does is seen only once it
/// has settled: until then only load speaks, not trouble, which outlives its cause.
fn wanted(
    demand: &Demand,
    policy: &ScalePolicy,
    replicas: Replicas,
    (settled, sensitivity): (bool, f64),
) -> u32 {
    let current = replicas.current;
    let curable = settled && demand.explained.is_none();
    let pressed = (demand.saturated || demand.violated) && curable;
    let need = demand.need.unwrap_or(0.0);
    let tolerated = f64::from(current) * if pressed { 1.0 } else { 1.0 + TOLERANCE * sensitivity };
    let by_load = if need > tolerated { rounded_up(need) } else { 0 };
    // With every worker busy and the objective missed, whatever the arithmetic says is too little.
    let forced = demand.busy && demand.violated && curable;
    let by_trouble = if forced { current.saturating_add(1) } else { 0 };
    by_load.max(by_trouble).max(current).max(policy.minimum_replicas)
}

impl<'a> Basis<'a> {
    fn of(
        input: &'a PlanInput<'a>,
        policy: &'a PolicySpec,
        data: &Data<'a>,
        now: Timestamp,
    ) -> Result<Self, Nothing> {
        measure(input, policy, data, now)
    }

    fn course(&self, now: Timestamp) -> Course {
        let current = self.replicas.current;
        if self.wanted > current {
            Course::Out
        } else if self.is_overdue(now) {
            Course::Again
        } else if self.lasting < current && self.follows_last_good.is_none() && self.may_shrink(now) {
            Course::In
        } else {
            Course::Keep
        }
    }

    fn rest(&self, now: Timestamp) -> Rest {
        let waits = self.lasting < self.replicas.current && !self.may_shrink(now);
        Rest {
            at: now,
            replicas: self.replicas,
            demand: self.demand.clone(),
            advice: self.advice,
            lasting: self.lasting,
            used: value(self.seen, "utilisation"),
            watched: waits.then(|| self.input.history.watched(now)),
            policy: *self.policy,
        }
    }

    fn survey(&self, policy: &PolicySpec, now: Timestamp) -> Survey {
        let current = self.replicas.current;
        let mut survey = Survey {
            hold: Hold { cost: self.cost(current), replicas: Some(current), text: self.hold_text(now) },
            candidates: Vec::new(),
            dropped: self.dropped(),
            asked: self.asked(),
            priced: self.priced(),
        };
        match self.course(now) {
            Course::Out => self.push_outward(&mut survey),
            Course::Again => {
                survey.hold.cost.unmet_permille =
                    Cost::of_replicas(self.replicas.ready, current, current, current).unmet_permille;
                survey.candidates.push(self.restated(current));
            }
            Course::In => survey.candidates.push(self.inward(policy)),
            Course::Keep => {}
        }
        survey
    }

    fn push_outward(&self, survey: &mut Survey) {
        let current = self.replicas.current;
        let reachable = self.wanted.min(self.policy.maximum_replicas);
        let stepped = reachable.min(current.saturating_add(self.policy.step_up_replicas));
        for replicas in [self.wanted, stepped] {
            if replicas > current
                && survey.candidates.iter().all(|c| c.action != (Action::Scale { replicas }))
            {
                survey.candidates.push(self.outward(replicas));
            }
        }
    }

    fn cost(&self, replicas: u32) -> Cost {
        Cost::of_replicas(replicas, self.replicas.current, self.needed, self.lasting)
    }

    /// The window must have been watched whole, else its maximum is not known.
    fn may_shrink(&self, now: Timestamp) -> bool {
        self.input.history.covers(self.policy.cooldown_down, now)
    }

    /// Replicas that were asked for long ago, are needed, and have not been there for long.
    fn is_overdue(&self, now: Timestamp) -> bool {
        let Replicas { ready, current } = self.replicas;
        let asked = self.input.scale_line.in_effect().filter(|_| asked_for(self.input) == Some(current));
        let waited = asked.is_some_and(|entry| distance(now, entry.changed_at) >= RESTATE_AFTER)
            && self.input.history.ready_unchanged(now) >= RESTATE_AFTER;
        let in_bounds = (self.policy.minimum_replicas..=self.policy.maximum_replicas).contains(&current);
        ready < current && waited && in_bounds && self.demand.need.is_some_and(|need| need > f64::from(ready))
    }

    fn outward(&self, replicas: u32) -> Candidate {
        let Replicas { ready, current } = self.replicas;
        let label = self.label();
        let why = if self.wanted <= self.policy.minimum_replicas {
            format!("{current} run and the policy's minimum is {}", self.policy.minimum_replicas)
        } else {
            format!("{ready} are ready and {} are needed: {}", self.wanted, self.why())
        };
        let text = format!("{} is scaled out to {replicas}: {why}{label}", self.input.service.name());
        let (expected, counterfactual) = self.outward_effects(replicas);
        let added = f64::from(replicas.saturating_sub(current));
        self.candidate(replicas, text, added / f64::from(replicas.max(1)), expected, counterfactual)
    }

    fn restated(&self, current: u32) -> Candidate {
        let ready = self.replicas.ready;
        let text = format!(
            "{} is told again to run {current}: {ready} are ready, {} s after they were asked for{}",
            self.input.service.name(),
            RESTATE_AFTER.as_secs(),
            self.label()
        );
        let (expected, counterfactual) = self.outward_effects(current);
        self.candidate(current, text, 0.0, expected, counterfactual)
    }

    fn inward(&self, policy: &PolicySpec) -> Candidate {
        let Replicas { ready, current } = self.replicas;
        // The fraction of a replica that the blast radius leaves over may not be taken; one is tried, so that the veto shows.
        let at_once = count((policy.blast_radius_ratio * f64::from(ready)).floor())
            .clamp(1, self.policy.step_down_replicas.max(1));
        let replicas = self.lasting.max(current.saturating_sub(at_once));
        let text = format!(
            "{} is scaled in to {replicas}: {} are needed for the largest load of the last {} s, {current} run; {}",
            self.input.service.name(),
            self.lasting,
            self.policy.cooldown_down.as_secs(),
            self.why()
        );
        let removed = f64::from(current.saturating_sub(replicas));
        let (expected, counterfactual) = self.inward_effects(replicas);
        let share = (removed / f64::from(ready.max(1))).min(1.0);
        Candidate { reduces: true, ..self.candidate(replicas, text, share, expected, counterfactual) }
    }

    fn candidate(
        &self,
        replicas: u32,
        text: String,
        blast_radius_ratio: f64,
        expected: Vec<ExpectedEffect>,
        counterfactual: Vec<Counterfactual>,
    ) -> Candidate {
        Candidate {
            resource: self.input.service.clone(),
            action: Action::Scale { replicas },
            undo: Action::Scale { replicas: self.replicas.current.max(1) },
            reduces: false,
            blast_radius_ratio,
            follows_last_good: self.follows_last_good,
            cost: self.cost(replicas),
            text,
            evidence: self.evidence(),
            symptom_ids: self.symptom_ids(),
            expected,
            counterfactual,
            interval: interval(self.seen),
            takes_back: None,
        }
    }

    /// More replicas never promise less than no harm: what goes bad stays within the objective, or within what would have
    /// gone bad anyway.
    fn outward_effects(&self, replicas: u32) -> (Vec<ExpectedEffect>, Vec<Counterfactual>) {
        let served = self.demand.per_replica.map(|per| per.rate() * f64::from(self.replicas.ready));
        let surplus =
            served.map_or(0.0, |served| 1.0 - served / self.demand.planned_load.max(f64::MIN_POSITIVE));
        let path = if surplus > 0.0 || self.demand.saturated {
            overload(None, self.seen, "bad_ratio", surplus)
        } else {
            persistence(None, self.seen, "bad_ratio")
        };
        let mut expected = vec![exactly_ready(replicas)];
        let allowed = allowed_bad_ratio(self.input.objective, self.seen);
        if let (Some(allowed), Some(path)) = (allowed, &path) {
            let now = value(self.seen, "bad_ratio").unwrap_or(0.0);
            // Only a change that is as large as the need can promise a cure.
            if replicas >= self.needed && now > allowed {
                expected.push(at_most_bad(None, cured(now, allowed), false));
            }
            expected.push(at_most_bad(None, allowed.max(upper_end(path)), true));
        }
        (expected, path.into_iter().chain(self.otherwise()).collect())
    }

    /// Fewer replicas must not cost the objective.
    fn inward_effects(&self, replicas: u32) -> (Vec<ExpectedEffect>, Vec<Counterfactual>) {
        let path = persistence(None, self.seen, "bad_ratio");
        let mut expected = vec![exactly_ready(replicas)];
        let allowed = allowed_bad_ratio(self.input.objective, self.seen);
        expected.extend(allowed.filter(|_| path.is_some()).map(|allowed| at_most_bad(None, allowed, true)));
        (expected, path.into_iter().chain(self.otherwise()).collect())
    }

    fn otherwise(&self) -> impl Iterator<Item = Counterfactual> {
        ["utilisation", "ready_replicas"]
            .into_iter()
            .filter_map(|signal| persistence(None, self.seen, signal))
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence: Vec<_> =
            ["load", "utilisation", "bad_ratio", "latency_p99_seconds", "ready_replicas"]
                .into_iter()
                .filter_map(|name| self.seen.signal(name))
                .map(|glance| Evidence {
                    signal: glance.name.clone(),
                    value: value(self.seen, &glance.name),
                    lower: glance.lower.filter(|limit| limit.is_finite()),
                    upper: glance.upper.filter(|limit| limit.is_finite()),
                    text: if glance.deviating { "outside its band".to_owned() } else { String::new() },
                })
                .collect();
        evidence.push(Evidence {
            signal: "load".to_owned(),
            value: Some(self.demand.planned_load),
            lower: None,
            upper: None,
            text: self.why(),
        });
        evidence
    }

    /// The arithmetic behind the number, in words.
    fn why(&self) -> String {
        let Some(advice) = &self.advice else { return self.demand.text(self.policy) };
        let (median, high) = advice.load;
        format!(
            "load is {} requests/s and will be {} ({} at most in 99 of 100) in {} s; {} replicas leave {} requests/s late \
             and {} leave {}, and one is worth {} replicas",
            number(self.demand.load),
            number(median),
            number(high),
            seconds(advice.ahead),
            advice.replicas,
            number(advice.late),
            self.replicas.current,
            number(advice.late_now),
            number(advice.price),
        )
    }

    /// What was weighed in the outlook and costs more.
    fn dearer(&self) -> Vec<(String, String)> {
        let grows = self.wanted > self.replicas.current;
        self.advice.iter().filter_map(|advice| dearer(advice, self.replicas, grows)).collect()
    }

    /// What the forecast says that two numbers of replicas cost: the cheapest, and the present one.
    fn priced(&self) -> Vec<(u32, f64)> {
        let priced =
            |advice: &Advice| [(advice.replicas, advice.cost), (self.replicas.current, advice.cost_now)];
        self.advice.as_ref().map(priced).into_iter().flatten().collect()
    }

    /// What each input asks for, in replicas.
    fn asked(&self) -> Vec<InputAsk> {
        let Self { demand, policy, seen, .. } = self;
        let target = policy.target_utilisation_ratio;
        let by_load = |load: f64| Some(load / (demand.per_replica?.rate() * target));
        let used = value(seen, "utilisation");
        let busy = ready_replicas(seen).zip(used).map(|(ready, used)| f64::from(ready) * used / target);
        let ask = |input: &str, asks: Option<f64>, text: String| InputAsk {
            input: input.to_owned(),
            asks: asks.filter(|asks| asks.is_finite()),
            text,
        };
        let mut asked = vec![
            ask("load now", by_load(demand.load), format!("{} requests/s", number(demand.load))),
            ask("trend", demand.need, format!("{} requests/s soon", number(demand.planned_load))),
            ask("window", demand.lasting_need, format!("over {} s", policy.cooldown_down.as_secs())),
            ask(
                "utilisation",
                busy,
                used.map_or_else(|| "unknown".to_owned(), |used| percent(used).to_string()),
            ),
        ];
        if let Some(advice) = &self.advice {
            asked.push(ask("forecast", Some(f64::from(advice.replicas)), self.why()));
        }
        if demand.violated {
            asked.push(ask("objective", None, "it is missed now".to_owned()));
        }
        let bounds = format!("{} to {}", policy.minimum_replicas, policy.maximum_replicas);
        asked.push(ask("policy", None, bounds));
        asked
    }

    fn symptom_ids(&self) -> Vec<String> {
        let answered = [SymptomKind::Objective, SymptomKind::Saturation];
        answered
            .into_iter()
            .filter_map(|kind| self.seen.open_symptom(kind))
            .map(|symptom| symptom.id.clone())
            .collect()
    }

    fn label(&self) -> String {
        match self.follows_last_good {
            Some(age) => {
                format!(" (data is unknown; this follows the last good assessment, {} s old)", seconds(age))
            }
            None => String::new(),
        }
    }

    /// A scale-out that was dropped because it cannot cure what is wrong.
    fn dropped(&self) -> Vec<(String, String)> {
        let Some(reason) = &self.demand.explained else { return self.dearer() };
        if self.wanted > self.replicas.current {
            return Vec::new();
        }
        vec![(
            "scale out".to_owned(),
            format!("{reason}: more replicas of {} cannot cure that", self.input.service.name()),
        )]
    }

    fn hold_text(&self, now: Timestamp) -> String {
        let name = self.input.service.name();
        let current = self.replicas.current;
        if let (Some(reason), true) = (&self.demand.explained, self.wanted <= current) {
            return format!(
                "{name} is in trouble because {reason}; more replicas of {name} cannot cure that"
            );
        }
        if self.wanted > current {
            let demand = self.demand.text(self.policy);
            return format!("{name} keeps {current} although {} are needed: {demand}", self.wanted);
        }
        self.rest(now).text(name)
    }
}
