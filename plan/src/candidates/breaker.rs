//! Breakers: calls that fail or hang, and that no more replicas can cure, are to fail fast.

use super::{Candidate, Hold, Survey, demand::is_overloaded};
use crate::{
    data::{Data, distance, interval, number, percent, value},
    effects::{allowed_bad_ratio, at_most_bad, cured, failing, upper_end},
    input::{Outgoing, PlanInput},
    score::{Cost, permille},
};
use jiff::Timestamp;
use proto::model::{
    Action, Assessment, AutonomyLevel, BreakerMode, BreakerRule, BreakerSetting, Counterfactual,
    DirectiveState, Evidence, ExpectedEffect, Quality, Symptom, SymptomKind,
};
use std::time::Duration;

/// First wait before probing: a callee that restarts is back within seconds, and one probe a second costs nothing.
const OPEN_WAIT: Duration = Duration::from_secs(1);
/// One probe at once for so many calls per second: the verdict of the probes is as quick as the edge is busy.
const CALLS_PER_PERMIT: f64 = 50.0;
/// Three probes at once tell a callee that is back from one that answers once; more would be load.
const PERMITS_MAX: f64 = 3.0;
/// A call is slow when it takes longer than so many times the upper limit of the edge's normal p99.
const SLOW_FACTOR: f64 = 2.0;
/// Slow-call limits are rounded up to this, so that a band that breathes does not become a stream of directives.
const SLOW_STEP_MS: f64 = 10.0;
/// A setting that may not have arrived is made again after this long; making it twice changes nothing.
const RESTATE_AFTER: Duration = Duration::from_secs(60);
/// Settings whose slow-call limits differ by less than this factor are the same wish.
const SLOW_SAME_FACTOR: f64 = 2.0;

/// Whether there is nothing to weigh along the edge: all is known of it, and its calls are well. Allocates nothing.
pub fn rests(called: &Outgoing<'_>, now: Timestamp) -> bool {
    let well = |seen: &Assessment| seen.open_symptom(SymptomKind::Dependency).is_none();
    Data::of(called.assessment, None, now).is_good() && called.assessment.is_some_and(well)
}

/// Weighs what a breaker could do for the calls along one edge.
pub fn survey(
    input: &PlanInput<'_>,
    rule: &BreakerRule,
    called: &Outgoing<'_>,
    data: &Data<'_>,
    now: Timestamp,
) -> Survey {
    let Some(seen) = data.usable() else {
        let fault = data.fault().unwrap_or_default();
        return Survey::nothing(format!("nothing is changed: {fault}"));
    };
    let (caller, callee) = (input.service.name(), called.callee.name());
    let Some(symptom) = seen.open_symptom(SymptomKind::Dependency) else {
        return Survey::nothing(format!(
            "calls from {caller} to {callee} need no protection beyond what is set"
        ));
    };
    let setting = setting(input, rule, seen);
    let before = in_effect(called);
    if before.is_some_and(|before| same_wish(&before, &setting)) && !is_doubtful(called, now) {
        return Survey::nothing(format!(
            "calls from {caller} to {callee} fail, and their breaker is enforced already"
        ));
    }
    let broken = value(seen, "error_ratio").unwrap_or(1.0);
    let cost = |unmet_permille, changed| Cost { unmet_permille, idle_replicas: 0, changed, order: changed };
    let hold = Hold {
        cost: cost(permille(broken).max(1), 0),
        replicas: None,
        text: format!("calls from {caller} to {callee} fail and go on failing slowly"),
    };
    if let Some(cure) = cured_by_scaling(called) {
        let dropped = vec![(Action::SetBreaker(setting).to_string(), cure.clone())];
        return Survey {
            hold: Hold { text: cure, ..hold },
            candidates: Vec::new(),
            dropped,
            asked: Vec::new(),
            priced: Vec::new(),
        };
    }
    let candidate = candidate(input, called, seen, symptom, Change { setting, before, cost: cost(0, 1) });
    let forced = "it would not notice by itself that the callee is back".to_owned();
    Survey {
        hold,
        candidates: vec![candidate],
        dropped: vec![("force the breaker open".to_owned(), forced)],
        asked: Vec::new(),
        priced: Vec::new(),
    }
}

/// The setting that stands on this edge, if Homeostat made one.
pub fn in_effect(called: &Outgoing<'_>) -> Option<BreakerSetting> {
    match called.line.in_effect()?.action {
        Action::SetBreaker(setting) => Some(setting),
        _ => None,
    }
}

/// Nobody can tell whether the setting was made, and it was long ago.
fn is_doubtful(called: &Outgoing<'_>, now: Timestamp) -> bool {
    let doubtful = called.line.in_effect().filter(|entry| entry.state == DirectiveState::Unknown);
    doubtful.is_some_and(|entry| distance(now, entry.changed_at) >= RESTATE_AFTER)
}

struct Change {
    setting: BreakerSetting,
    before: Option<BreakerSetting>,
    cost: Cost,
}

/// Why this is left to the scaling of the callee, if it can be.
fn cured_by_scaling(called: &Outgoing<'_>) -> Option<String> {
    let callee = called.callee_assessment.filter(|callee| callee.data.quality == Quality::Good)?;
    let (scale, level) = called.callee_scale?;
    let acted = matches!(level, AutonomyLevel::Approve | AutonomyLevel::Act);
    let asked = match called.callee_line.in_effect().map(|entry| entry.action) {
        Some(Action::Scale { replicas }) => replicas,
        _ => 0,
    };
    let running = crate::data::ready_replicas(callee)?.max(asked);
    (is_overloaded(called) && acted && running < scale.maximum_replicas).then(|| {
        let name = called.callee.name();
        format!(
            "{name} is short of capacity and runs {running} of at most {}: scaling it out cures its callers",
            scale.maximum_replicas
        )
    })
}

fn setting(input: &PlanInput<'_>, rule: &BreakerRule, seen: &Assessment) -> BreakerSetting {
    let busy = value(seen, "load").unwrap_or(0.0) / CALLS_PER_PERMIT;
    BreakerSetting {
        mode: BreakerMode::Enforce,
        failure_ratio_to_open: rule.failure_ratio_to_open,
        slow_call: slow_call(input, seen),
        open_wait: OPEN_WAIT,
        half_open_permits: busy.round().clamp(1.0, PERMITS_MAX) as u32,
        told: None,
    }
}

/// Twice the normal p99 of the edge, but no longer than the caller itself may take.
fn slow_call(input: &PlanInput<'_>, seen: &Assessment) -> Option<Duration> {
    let bound = input.objective.and_then(|objective| objective.latency_bound);
    let normal = seen
        .signal("latency_p99_seconds")
        .and_then(|p99| p99.upper)
        .filter(|upper| upper.is_finite() && *upper > 0.0);
    let learned = normal.map(|upper| {
        let millis = (SLOW_FACTOR * upper * 1000.0 / SLOW_STEP_MS).ceil() * SLOW_STEP_MS;
        // An hour stands for "no limit that matters", and keeps the number in range.
        Duration::from_millis(millis.clamp(SLOW_STEP_MS, 3_600_000.0) as u64)
    });
    match (bound, learned) {
        (Some(bound), Some(learned)) => Some(bound.min(learned)),
        (bound, learned) => bound.or(learned),
    }
}

/// Whether two settings protect alike; the number of probes follows the load and is no reason to change.
pub fn same_wish(one: &BreakerSetting, other: &BreakerSetting) -> bool {
    let alike = match (one.slow_call, other.slow_call) {
        (Some(one), Some(other)) => {
            let (one, other) = (one.as_secs_f64(), other.as_secs_f64());
            one <= other * SLOW_SAME_FACTOR && other <= one * SLOW_SAME_FACTOR
        }
        (one, other) => one.is_none() && other.is_none(),
    };
    alike && one.mode == other.mode && one.failure_ratio_to_open == other.failure_ratio_to_open
}

/// Whether the new setting trips later than the old one. Without an old one nothing protected before.
pub fn reduces_protection(before: Option<&BreakerSetting>, after: &BreakerSetting) -> bool {
    let strength = |mode| match mode {
        BreakerMode::Disabled => 0,
        BreakerMode::MetricsOnly => 1,
        BreakerMode::Enforce => 2,
        BreakerMode::ForcedOpen => 3,
    };
    let Some(before) = before else {
        return after.mode != BreakerMode::Enforce && after.mode != BreakerMode::ForcedOpen;
    };
    match strength(after.mode).cmp(&strength(before.mode)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => {
            let limit = |setting: &BreakerSetting| setting.slow_call.unwrap_or(Duration::MAX);
            after.failure_ratio_to_open > before.failure_ratio_to_open || limit(after) > limit(before)
        }
    }
}

fn candidate(
    input: &PlanInput<'_>,
    called: &Outgoing<'_>,
    seen: &Assessment,
    symptom: &Symptom,
    change: Change,
) -> Candidate {
    let Change { setting, before, cost } = change;
    let (caller, callee) = (input.service.name(), called.callee.name());
    let failing = value(seen, "error_ratio")
        .map_or_else(|| "an unknown share".to_owned(), |share| percent(share).to_string());
    let slow = setting
        .slow_call
        .map_or_else(String::new, |slow| format!(" or are slower than {} ms", slow.as_millis()));
    let text = format!(
        "calls from {caller} to {callee} are cut off when {} of them fail{slow}: {failing} fail now, and {callee} is not short of capacity",
        percent(setting.failure_ratio_to_open)
    );
    let undo = before.unwrap_or(BreakerSetting { mode: BreakerMode::MetricsOnly, ..setting });
    let (expected, counterfactual) = effects(input, seen);
    Candidate {
        resource: called.edge.clone(),
        action: Action::SetBreaker(setting),
        undo: Action::SetBreaker(undo),
        reduces: reduces_protection(before.as_ref(), &setting),
        blast_radius_ratio: 1.0,
        follows_last_good: None,
        cost,
        text,
        evidence: evidence(seen, called),
        symptom_ids: vec![symptom.id.clone()],
        expected,
        counterfactual,
        interval: interval(seen),
        takes_back: None,
    }
}

/// The promise is about the caller: its own answers get back within the objective, and in no case get worse.
fn effects(input: &PlanInput<'_>, edge: &Assessment) -> (Vec<ExpectedEffect>, Vec<Counterfactual>) {
    let path = input.assessment.and_then(|caller| {
        let calls = value(edge, "load").zip(value(caller, "load")).map_or(1.0, |(calls, all)| calls / all);
        failing(Some(input.service), caller, calls)
    });
    let allowed = input.assessment.and_then(|caller| allowed_bad_ratio(input.objective, caller));
    let worst = path.as_ref().map_or(1.0, upper_end);
    let mut expected = Vec::new();
    let now = input.assessment.and_then(|caller| value(caller, "bad_ratio")).unwrap_or(0.0);
    if let Some(allowed) = allowed {
        expected.push(at_most_bad(Some(input.service), cured(now, allowed), false));
    }
    expected.push(at_most_bad(Some(input.service), allowed.unwrap_or(0.0).max(worst), true));
    (expected, path.into_iter().collect())
}

fn evidence(seen: &Assessment, called: &Outgoing<'_>) -> Vec<Evidence> {
    let glances =
        ["error_ratio", "latency_p99_seconds", "load"].into_iter().filter_map(|name| seen.signal(name));
    let mut evidence: Vec<_> = glances
        .map(|glance| Evidence {
            signal: glance.name.clone(),
            value: value(seen, &glance.name),
            lower: glance.lower.filter(|limit| limit.is_finite()),
            upper: glance.upper.filter(|limit| limit.is_finite()),
            text: if glance.deviating { "outside its band".to_owned() } else { String::new() },
        })
        .collect();
    let callee = called.callee_assessment.and_then(|callee| value(callee, "utilisation"));
    evidence.push(Evidence {
        signal: "utilisation".to_owned(),
        value: callee,
        lower: None,
        upper: None,
        text: match callee {
            Some(used) => format!("{} is {} busy", called.callee.name(), number(used)),
            None => format!("how busy {} is, is unknown", called.callee.name()),
        },
    });
    evidence
}
