//! Measures that are in force and not made yet.

use super::{Scene, Wish, kind_of};
use crate::{
    candidates::{
        Candidate, breaker,
        scale::{self, Replicas},
    },
    data::{Data, interval, percent, value},
    effects::{at_most_bad, exactly_ready, failing, later, upper_end},
    input::{Outgoing, PolicyView},
    score::Cost,
};
use jiff::Timestamp;
use proto::model::{
    Action, BreakerMode, BreakerSetting, BudgetMeasure, BudgetPolicyState, DirectiveKind, DirectiveState,
    Evidence, FreezeScope, Generation, MeasureInForce, NotifyUrgency, Release, ResourceId, ServiceMode,
};
use std::time::Duration;

/// A freeze or a cadence of a policy that sets no end is renewed each day: should the control plane be gone, it lifts itself.
const HELD_MAX: Duration = Duration::from_secs(86_400);
/// A quarter more, at least one: a service that is 80 % used is then 64 % used, where queues are short.
const MORE_DIVISOR: u32 = 4;
/// A breaker that is tightened opens at half the share of failures.
const TIGHTER: f64 = 0.5;
/// The share of failures at which a breaker opens that no Policy speaks of: half of the calls, as in most breakers.
const RATIO_DEFAULT: f64 = 0.5;
/// Waits and permits of a breaker that nobody has set yet: as Plan sets them elsewhere.
const OPEN_WAIT: Duration = Duration::from_secs(1);
/// Looking more often than twice a second shows nothing that people could follow.
const CADENCE_MIN: Duration = Duration::from_millis(500);

pub(super) fn wishes<'a>(scene: &Scene<'a>) -> Vec<Wish<'a>> {
    let policies = scene.seen.budget_policies.iter();
    let measures = policies.flat_map(|policy| policy.measures.iter().map(move |measure| (policy, measure)));
    measures.flat_map(|(policy, measure)| of_measure(scene, policy, measure)).collect()
}

fn of_measure<'a>(
    scene: &Scene<'a>,
    policy: &'a BudgetPolicyState,
    measure: &MeasureInForce,
) -> Vec<Wish<'a>> {
    let resources: Vec<&ResourceId> = match measure.measure {
        BudgetMeasure::TightenBreakers => scene.input.outgoing.iter().map(|called| called.edge).collect(),
        _ => vec![scene.input.service],
    };
    let wish = |resource: &ResourceId| {
        let is_first = match made(scene, resource, measure) {
            Made::Never => true,
            Made::InVain => false,
            Made::Stands => return None,
        };
        let candidate = candidate(scene, resource, policy, measure)?;
        Some(Wish { policy, candidate, is_first })
    };
    resources.into_iter().filter_map(wish).collect()
}

/// What became of the directives that made this measure since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Never,
    /// Nobody took it, or it did not work: it is tried again when somebody is there to take it.
    InVain,
    /// It was made, is on its way, or people or a verdict have ended it.
    Stands,
}

fn made(scene: &Scene<'_>, resource: &ResourceId, measure: &MeasureInForce) -> Made {
    let line = scene.line(resource, kind_of(measure.measure));
    let mut of_it = line
        .entries()
        .iter()
        .filter(|entry| entry.is_measure() && entry.undo_of.is_none() && entry.created_at >= measure.since)
        .peekable();
    let Some(newest) = of_it.peek() else { return Made::Never };
    // The actuator has lifted it by itself.
    let lapsed = match newest.action {
        Action::Freeze { until: Some(until), .. } | Action::SetCadence { until: Some(until), .. } => {
            until <= scene.now
        }
        _ => false,
    };
    let is_advice = newest.generation == Generation(0);
    match newest.state {
        _ if lapsed && measure.until.is_none_or(|until| until > scene.now) => Made::Never,
        DirectiveState::Refused | DirectiveState::Failed => Made::InVain,
        DirectiveState::Expired if !is_advice => Made::InVain,
        _ => Made::Stands,
    }
}

fn candidate(
    scene: &Scene<'_>,
    resource: &ResourceId,
    policy: &BudgetPolicyState,
    measure: &MeasureInForce,
) -> Option<Candidate> {
    let name = resource.name();
    let bare = |action, undo, what: String| bare(scene, resource, policy, measure, (action, undo), what);
    Some(match measure.measure {
        BudgetMeasure::FreezeDeployments => {
            let scope = FreezeScope::Deployments;
            let until = ending(scene, measure);
            let (action, undo) =
                (Action::Freeze { scope, until: Some(until) }, Action::Freeze { scope, until: None });
            bare(action, undo, format!("deployments of {name} are frozen until {until}"))
        }
        BudgetMeasure::Rollback => {
            let (action, undo) =
                (Action::Rollback { to: Release::Previous }, Action::Rollback { to: Release::Newest });
            bare(action, undo, format!("{name} goes back to its previous release"))
        }
        BudgetMeasure::ReadOnly => {
            let action = Action::SetMode { mode: ServiceMode::ReadOnly };
            let undo = Action::SetMode { mode: ServiceMode::Normal };
            bare(action, undo, format!("{name} takes no writes"))
        }
        BudgetMeasure::RaiseCadence => {
            let often = raised_to(scene, resource, measure)
                .unwrap_or_else(|| (interval(scene.seen) / 2).max(CADENCE_MIN));
            let until = Some(ending(scene, measure));
            let (action, undo) = (
                Action::SetCadence { interval: Some(often), until },
                Action::SetCadence { interval: None, until: None },
            );
            bare(action, undo, format!("{name} is looked at every {} s", often.as_secs_f64()))
        }
        BudgetMeasure::Notify | BudgetMeasure::Investigate => {
            let is_gone = policy.remaining_ratio.is_some_and(|left| left <= 0.0);
            let urgency = if is_gone { NotifyUrgency::Page } else { NotifyUrgency::Ticket };
            let told = |resolved| Action::Notify { urgency, resolved };
            let asked = measure.measure == BudgetMeasure::Investigate;
            let what = if asked { "to look into it" } else { "about it" };
            bare(told(false), told(true), format!("people are told {what}"))
        }
        BudgetMeasure::ScaleUp => return scaled_up(scene, policy, measure),
        BudgetMeasure::TightenBreakers => {
            return tightened(scene, scene.outgoing(resource)?, policy, measure);
        }
    })
}

/// What this measure has set already: renewed, it stays the same, also while the raised cadence is still to be seen.
fn raised_to(scene: &Scene<'_>, resource: &ResourceId, measure: &MeasureInForce) -> Option<Duration> {
    let mut entries = scene.line(resource, DirectiveKind::SetCadence).entries().iter();
    entries.find_map(|entry| match entry.action {
        Action::SetCadence { interval, .. } if entry.is_measure() && entry.created_at >= measure.since => {
            interval
        }
        _ => None,
    })
}

/// When it lifts itself.
fn ending(scene: &Scene<'_>, measure: &MeasureInForce) -> Timestamp {
    let longest = later(scene.now, HELD_MAX);
    measure.until.map_or(longest, |until| until.min(longest))
}

/// A candidate that promises only itself.
fn bare(
    scene: &Scene<'_>,
    resource: &ResourceId,
    policy: &BudgetPolicyState,
    measure: &MeasureInForce,
    (action, undo): (Action, Action),
    what: String,
) -> Candidate {
    Candidate {
        resource: resource.clone(),
        action,
        undo,
        reduces: false,
        blast_radius_ratio: 1.0,
        follows_last_good: None,
        cost: Cost { unmet_permille: 0, idle_replicas: 0, changed: 1, order: measure.step },
        text: format!("{what}: {}; {}", measure.reason, standing(policy)),
        evidence: evidence(policy, measure),
        symptom_ids: Vec::new(),
        expected: Vec::new(),
        counterfactual: Vec::new(),
        interval: interval(scene.seen),
        takes_back: None,
    }
}

fn standing(policy: &BudgetPolicyState) -> String {
    let used =
        policy.consumed_ratio.map_or_else(|| "an unknown share".to_owned(), |used| percent(used).to_string());
    format!("{used} is used up now")
}

pub(super) fn evidence(policy: &BudgetPolicyState, measure: &MeasureInForce) -> Vec<Evidence> {
    vec![Evidence {
        signal: "error_budget_consumed".to_owned(),
        value: policy.consumed_ratio,
        lower: None,
        upper: None,
        text: format!("step {} of the error-budget policy of {}", measure.step + 1, policy.objective),
    }]
}

/// `None` where nothing can be added: the most that its Policy allows runs already, or nobody knows how many run.
fn scaled_up(scene: &Scene<'_>, policy: &BudgetPolicyState, measure: &MeasureInForce) -> Option<Candidate> {
    let PolicyView::One(named) = scene.input.policy else { return None };
    let bounds = named.spec.scale?;
    let data = Data::of(scene.input.assessment, scene.input.last_good, scene.now);
    let current = Replicas::of(scene.input, &data)?.current.max(1);
    let more = (current / MORE_DIVISOR).max(1).min(bounds.step_up_replicas);
    let wanted = current.saturating_add(more).min(bounds.maximum_replicas);
    if wanted <= current {
        return None;
    }
    let what = format!("{} is scaled from {current} to {wanted}", scene.input.service.name());
    let actions = (Action::Scale { replicas: wanted }, Action::Scale { replicas: current });
    let bare = bare(scene, scene.input.service, policy, measure, actions, what);
    Some(Candidate { expected: vec![exactly_ready(wanted)], ..bare })
}

/// The promise of a tightened breaker is that it makes nothing worse.
fn tightened(
    scene: &Scene<'_>,
    called: &Outgoing<'_>,
    policy: &BudgetPolicyState,
    measure: &MeasureInForce,
) -> Option<Candidate> {
    let rule = match scene.input.policy {
        PolicyView::One(named) => named.spec.breaker.as_ref(),
        PolicyView::None | PolicyView::Conflicting(..) => None,
    };
    let usual = rule.map_or(RATIO_DEFAULT, |rule| rule.failure_ratio_to_open);
    let before = breaker::in_effect(called).unwrap_or(BreakerSetting {
        mode: BreakerMode::MetricsOnly,
        failure_ratio_to_open: usual,
        slow_call: None,
        open_wait: OPEN_WAIT,
        half_open_permits: 1,
        told: None,
    });
    if before.mode == BreakerMode::ForcedOpen {
        return None;
    }
    let ratio = before.failure_ratio_to_open.min(usual) * TIGHTER;
    let setting = BreakerSetting { mode: BreakerMode::Enforce, failure_ratio_to_open: ratio, ..before };
    let (caller, callee) = (scene.input.service.name(), called.callee.name());
    let what = format!("calls from {caller} to {callee} are cut off when {} of them fail", percent(ratio));
    let actions = (Action::SetBreaker(setting), Action::SetBreaker(before));
    let bare = bare(scene, called.edge, policy, measure, actions, what);
    let calls = called.assessment.and_then(|edge| value(edge, "load"));
    let share = calls.zip(value(scene.seen, "load")).map_or(1.0, |(calls, all)| calls / all);
    let path = failing(Some(scene.input.service), scene.seen, share);
    let worst = path.as_ref().map_or(1.0, upper_end);
    Some(Candidate {
        expected: vec![at_most_bad(Some(scene.input.service), worst, true)],
        counterfactual: path.into_iter().collect(),
        ..bare
    })
}

/// So many replicas are asked for at least by what stands.
pub(super) fn asked_for(scene: &Scene<'_>) -> Option<u32> {
    scale::asked_for(scene.input)
}
