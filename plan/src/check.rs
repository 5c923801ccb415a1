//! A second opinion on any directive: what must hold of it whatever led to it. It reads the raw input and shares no code with
//! the planner, so that a mistake there does not excuse itself here.

use crate::input::{PlanInput, PolicyView};
use jiff::{SignedDuration, Timestamp};
use proto::model::{
    Action, Assessment, BreakerMode, Directive, DirectiveState, Generation, PolicySpec, Quality, ResourceKind,
};
use std::time::Duration;

/// No directive may be delivered later than this after its creation.
const EXPIRY_MAX: SignedDuration = SignedDuration::from_mins(10);
/// A promise that is judged later than this is judged on another world.
const VERIFY_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Everything that is wrong with the directive, in words; empty when it may be proposed.
pub fn faults(directive: &Directive, input: &PlanInput<'_>, now: Timestamp) -> Vec<String> {
    let mut faults = Faults::default();
    let PolicyView::One(policy) = input.policy else {
        return vec!["there is no policy to act under".to_owned()];
    };
    faults.require(
        directive.policy == policy.name && directive.autonomy <= policy.spec.autonomy,
        "policy or level differs",
    );
    let level = input.standings.level(policy.name, &directive.resource, policy.spec.autonomy);
    faults.require(directive.autonomy == level, "it is not at the level in force");
    faults.require(directive.undo_of.is_none(), "only Execute takes back");
    times(directive, now, &mut faults);
    numbers(directive, &mut faults);
    ledger(directive, input, &mut faults);
    reductions(directive, input, policy.spec, now, &mut faults);
    match (directive.action, directive.undo) {
        (Action::Scale { replicas }, Action::Scale { replicas: undo }) => {
            scaling(Scaling { directive, replicas, undo }, input, policy.spec, &mut faults);
        }
        (Action::SetBreaker(_), Action::SetBreaker(_)) => breaker(directive, input, policy.spec, &mut faults),
        _ => faults.require(false, "the undo is of another kind"),
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn require(&mut self, holds: bool, fault: &str) {
        if !holds {
            self.0.push(fault.to_owned());
        }
    }
}

fn times(directive: &Directive, now: Timestamp, faults: &mut Faults) {
    let lives = directive.expires_at.duration_since(directive.created_at);
    faults.require(directive.created_at == now, "it was not created now");
    faults.require(lives > SignedDuration::ZERO && lives <= EXPIRY_MAX, "it expires at a wrong time");
    faults.require(
        !directive.apply_timeout.is_zero() && directive.apply_timeout <= VERIFY_MAX,
        "nobody waits for its report",
    );
    faults.require(
        !directive.verify_window.is_zero() && directive.verify_window <= VERIFY_MAX,
        "its promise is never judged",
    );
    faults.require(!directive.preconditions.max_evidence_age.is_zero(), "no evidence is young enough for it");
}

fn numbers(directive: &Directive, faults: &mut Faults) {
    let share = |value: f64| (0.0..=1.0).contains(&value);
    faults.require(share(directive.blast_radius_ratio), "its blast radius is no share");
    faults.require(share(directive.quorum_ratio) && directive.quorum_ratio > 0.0, "its quorum is no share");
    let promises =
        directive.expected.iter().all(|effect| effect.lower <= effect.upper && effect.lower.is_finite());
    faults.require(promises && !directive.expected.is_empty(), "it promises nothing that can be judged");
    let sound = directive.counterfactual.iter().flat_map(|path| &path.points).all(|point| {
        point.q10.is_finite() && point.q90.is_finite() && point.q10 <= point.q50 && point.q50 <= point.q90
    });
    faults.require(sound, "a counterfactual path has disordered quantiles");
    let limits = |limit: Option<f64>| limit.is_none_or(f64::is_finite);
    let evidence = directive
        .rationale
        .evidence
        .iter()
        .all(|seen| limits(seen.value) && limits(seen.lower) && limits(seen.upper));
    faults.require(evidence, "evidence is no number");
    faults.require(!directive.rationale.text.is_empty(), "it does not say why");
    faults.require(
        directive.rationale.guardrails.iter().all(|verdict| !verdict.vetoed),
        "a guardrail vetoed it",
    );
    faults.require(!directive.rationale.guardrails.is_empty(), "no guardrail was asked");
}

fn ledger(directive: &Directive, input: &PlanInput<'_>, faults: &mut Faults) {
    let line = match directive.resource.kind() {
        ResourceKind::Service if directive.resource == *input.service => Some(input.scale_line),
        ResourceKind::Edge => {
            input.outgoing.iter().find(|called| *called.edge == directive.resource).map(|called| called.line)
        }
        ResourceKind::Service | ResourceKind::Host => None,
    };
    let Some(line) = line else {
        return faults.require(false, "its resource is not the service's to change");
    };
    faults.require(
        directive.parent_generation == line.generation(),
        "its parent is not the current generation",
    );
    faults.require(directive.generation == Generation(0), "it has a generation before it was accepted");
    // One that was made and only awaits its verdict holds up nothing but reductions.
    let waits = line.under_way_all().any(|entry| {
        let made = matches!(entry.state, DirectiveState::Applied | DirectiveState::Verifying);
        directive.reduces || !made
    });
    faults.require(!waits && !line.proposing(), "another directive is under way");
}

/// Anything that takes away needs whole, fresh data now and at delivery, and stays within the blast radius.
fn reductions(
    directive: &Directive,
    input: &PlanInput<'_>,
    policy: &PolicySpec,
    now: Timestamp,
    faults: &mut Faults,
) {
    if !directive.reduces {
        return;
    }
    let assessment = match directive.resource.kind() {
        ResourceKind::Edge => {
            input.outgoing.iter().find(|called| *called.edge == directive.resource).and_then(|c| c.assessment)
        }
        ResourceKind::Service | ResourceKind::Host => input.assessment,
    };
    let whole = |seen: &Assessment| {
        let oldest = now
            - SignedDuration::try_from(seen.interval * 3)
                .unwrap_or_default()
                .max(SignedDuration::from_secs(5));
        seen.data.quality == Quality::Good && seen.at >= oldest
    };
    faults.require(assessment.is_some_and(whole), "it reduces on data that is not whole and fresh");
    faults.require(
        directive.preconditions.requires_known_data,
        "it reduces without asking for known data at delivery",
    );
    if directive.resource.kind() == ResourceKind::Service {
        faults.require(
            directive.blast_radius_ratio <= policy.blast_radius_ratio,
            "it removes more than the blast radius allows",
        );
    }
}

struct Scaling<'a> {
    directive: &'a Directive,
    replicas: u32,
    undo: u32,
}

fn scaling(scaling: Scaling<'_>, input: &PlanInput<'_>, policy: &PolicySpec, faults: &mut Faults) {
    let Scaling { directive, replicas, undo } = scaling;
    let Some(scale) = &policy.scale else { return faults.require(false, "the policy does not scale") };
    let measured = |seen: Option<&Assessment>| {
        let value =
            seen.and_then(|seen| seen.value("ready_replicas")).filter(|value| (0.0..=1e6).contains(value));
        value.map(|value| value.round() as u32)
    };
    let good = input.assessment.is_some_and(|seen| {
        let counted = seen.signal("ready_replicas").is_none_or(|signal| signal.quality == Quality::Good);
        let loaded = seen.signal("load").is_none_or(|signal| signal.quality == Quality::Good);
        seen.data.quality == Quality::Good && counted && loaded
    });
    let remembered = if good { None } else { measured(input.last_good) };
    let asked = match input.scale_line.in_effect().map(|entry| entry.action) {
        Some(Action::Scale { replicas }) => Some(replicas),
        _ => None,
    };
    let Some(running) = [measured(input.assessment), remembered, asked].into_iter().flatten().max() else {
        return faults.require(false, "the number of replicas is unknown");
    };
    let inside = (scale.minimum_replicas..=scale.maximum_replicas).contains(&replicas);
    let nearer = (running < replicas && replicas < scale.minimum_replicas)
        || (scale.maximum_replicas < replicas && replicas < running);
    faults.require(inside || nearer, "it leaves the policy's bounds");
    faults.require(replicas >= 1, "it leaves nothing");
    faults.require(undo == running.max(1), "its undo is not what runs now");
    faults.require((replicas < running) == directive.reduces, "whether it reduces is told wrongly");
    let step = if replicas < running { scale.step_down_replicas } else { scale.step_up_replicas };
    faults.require(replicas.abs_diff(running) <= step, "its step is too long");
}

fn breaker(directive: &Directive, input: &PlanInput<'_>, policy: &PolicySpec, faults: &mut Faults) {
    let (Action::SetBreaker(setting), Action::SetBreaker(undo)) = (directive.action, directive.undo) else {
        return;
    };
    let Some(rule) = &policy.breaker else { return faults.require(false, "the policy sets no breaker") };
    let Some(called) = input.outgoing.iter().find(|called| *called.edge == directive.resource) else {
        return;
    };
    faults.require(
        rule.callees.iter().any(|callee| callee == called.callee.name()),
        "the policy does not name this edge",
    );
    faults.require(setting.mode == BreakerMode::Enforce, "it does more or less than enforce");
    faults.require(
        setting.failure_ratio_to_open == rule.failure_ratio_to_open,
        "it opens at another ratio than the policy's",
    );
    faults.require(
        setting.half_open_permits >= 1 && !setting.open_wait.is_zero(),
        "it would never close again",
    );
    let before = match called.line.in_effect().map(|entry| (entry.action, entry.state)) {
        Some((Action::SetBreaker(before), state)) => Some((before, state)),
        _ => None,
    };
    match before {
        Some((before, state)) => {
            faults.require(undo == before, "its undo is not the setting before");
            let again = before == setting && state != DirectiveState::Unknown;
            faults.require(!again, "it sets what is set already");
        }
        None => faults.require(undo.mode == BreakerMode::MetricsOnly, "its undo is not to count only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{Plant, at, service},
        planner,
    };
    use chassis::IdGenerator;

    /// What the check says about a sound scale-in after this was done to it.
    fn found(change: impl FnOnce(&mut Directive)) -> Vec<String> {
        let mut plant = Plant::new();
        plant.run(120, 60.0, 4);
        let (input, now) = (plant.world.input(&service("catalog")).unwrap(), at(plant.second));
        let decisions = planner::plan(&input, now, &mut IdGenerator::from_seed(1));
        let mut directive =
            decisions[0].directive.clone().unwrap_or_else(|| panic!("{}", decisions[0].report));
        assert_eq!(faults(&directive, &input, now), Vec::<String>::new());
        change(&mut directive);
        faults(&directive, &input, now)
    }

    #[test]
    fn every_broken_promise_is_found() {
        type Change = fn(&mut Directive);
        let broken: [(&str, Change); 16] = [
            ("it leaves the policy's bounds", |d| d.action = Action::Scale { replicas: 1 }),
            ("its step is too long", |d| d.action = Action::Scale { replicas: 2 }),
            ("whether it reduces is told wrongly", |d| d.reduces = false),
            ("whether it reduces is told wrongly", |d| d.action = Action::Scale { replicas: 4 }),
            ("its undo is not what runs now", |d| d.undo = Action::Scale { replicas: 5 }),
            ("its parent is not the current generation", |d| d.parent_generation = Generation(7)),
            ("it has a generation before it was accepted", |d| d.generation = Generation(1)),
            ("it expires at a wrong time", |d| d.expires_at = d.created_at),
            ("it reduces without asking for known data at delivery", |d| {
                d.preconditions.requires_known_data = false
            }),
            ("it removes more than the blast radius allows", |d| d.blast_radius_ratio = 0.5),
            ("its blast radius is no share", |d| d.blast_radius_ratio = f64::NAN),
            ("it promises nothing that can be judged", |d| d.expected[0].upper = f64::NAN),
            ("it promises nothing that can be judged", |d| d.expected.clear()),
            ("evidence is no number", |d| d.rationale.evidence[0].value = Some(f64::NAN)),
            ("a guardrail vetoed it", |d| d.rationale.guardrails[0].vetoed = true),
            ("policy or level differs", |d| d.policy = "another".to_owned()),
        ];
        for (fault, change) in broken {
            let found = found(change);
            assert!(found.iter().any(|text| text == fault), "{fault} is not among {found:?}");
        }
    }
}
