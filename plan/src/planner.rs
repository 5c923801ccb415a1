//! The fixed sequence of steps from what is known to at most one directive per resource: look at the data, collect candidates,
//! rank them, ask every guardrail, build the directive, have it checked, and report.

use crate::{
    candidates::{Candidate, Survey, breaker, rest::Rest, scale},
    check,
    data::Data,
    effects::{APPLY_TIMEOUT, EXPIRY, EXPIRY_FOR_PEOPLE, later, verify_window},
    guardrails::{self, Situation, evidence_age, hidden_load},
    input::{NamedPolicy, Outgoing, PlanInput, PolicyView},
    measures,
    report::{Choice, Considered, PlanReport},
};
use chassis::IdGenerator;
use jiff::Timestamp;
use proto::model::{
    Alternative, AutonomyLevel, BreakerRule, Directive, DirectiveKind, Generation, GuardrailVerdict,
    Preconditions, Rationale, ResourceId,
};

/// What was decided about one resource.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision that nobody carries out changes nothing"]
pub struct Decision {
    /// To be proposed.
    pub directive: Option<Directive>,
    /// Why.
    pub report: PlanReport,
    /// What the independent check found wrong with a directive that was therefore not given: a mistake in the planner.
    pub faults: Vec<String>,
}

/// Plans one service and the edges that its policy names. The same input, moment and generator give the same answer.
#[must_use = "a plan that nobody carries out changes nothing"]
pub fn plan(input: &PlanInput<'_>, now: Timestamp, ids: &mut IdGenerator) -> Vec<Decision> {
    let measures = measures::plan(input, now, ids);
    let decisions = by_policy(input, now, ids);
    let mut decisions = if measures.is_empty() { decisions } else { measures::join(decisions, measures) };
    let own = decisions.iter_mut().filter(|decision| decision.report.resource == *input.service);
    own.for_each(|decision| decision.report.operating = Some(input.operating));
    decisions
}

fn by_policy(input: &PlanInput<'_>, now: Timestamp, ids: &mut IdGenerator) -> Vec<Decision> {
    match input.policy {
        PolicyView::None => {
            vec![idle(input, now, "no policy names it: it is watched, nothing is done".to_owned())]
        }
        PolicyView::Conflicting(one, other) => {
            vec![idle(
                input,
                now,
                format!("policies {one} and {other} both name it: nothing is done until one is deleted"),
            )]
        }
        PolicyView::One(policy) => {
            let mut decisions = Vec::with_capacity(1 + named_edges(input).count());
            decisions.push(plan_scale(input, policy, now, ids));
            if let Some(rule) = &policy.spec.breaker {
                let edges = named_edges(input);
                decisions.extend(edges.map(|called| plan_breaker(input, policy, rule, called, now, ids)));
            }
            decisions
        }
    }
}

/// The edges whose breakers its policy names.
pub fn named_edges<'a>(input: &'a PlanInput<'a>) -> impl Iterator<Item = &'a Outgoing<'a>> {
    let rule = match input.policy {
        PolicyView::One(policy) => policy.spec.breaker.as_ref(),
        PolicyView::None | PolicyView::Conflicting(..) => None,
    };
    let named = move |called: &&Outgoing<'_>| {
        rule.is_some_and(|rule| rule.callees.iter().any(|callee| callee == called.callee.name()))
    };
    input.outgoing.iter().filter(named)
}

/// The numbers that say that nothing is to be done for the service and the edges that its policy names: [`plan`] would propose
/// nothing, forbid nothing, and say this. `None`: something may have to be done, or takes more words. Allocates nothing.
pub fn rest(input: &PlanInput<'_>, now: Timestamp) -> Option<Rest> {
    let PolicyView::One(policy) = input.policy else { return None };
    let measured = input.assessment.is_some_and(|seen| !seen.budget_policies.is_empty());
    if input.pause.paused || measured || input.scale_line.under_way().is_some() {
        return None;
    }
    let edge_rests = |called: &Outgoing<'_>| breaker::rests(called, now) && called.line.under_way().is_none();
    if !named_edges(input).all(edge_rests) || hidden_load(input, now).is_some() {
        return None;
    }
    let data = Data::of(input.assessment, input.last_good, now);
    scale::rest(input, policy.spec, &data, now)
}

fn idle(input: &PlanInput<'_>, now: Timestamp, text: String) -> Decision {
    let mut report = PlanReport::idle(input.service, now, text);
    report.reductions_forbidden = data_forbids(input, now);
    Decision { directive: None, report, faults: Vec::new() }
}

fn plan_scale(
    input: &PlanInput<'_>,
    policy: NamedPolicy<'_>,
    now: Timestamp,
    ids: &mut IdGenerator,
) -> Decision {
    let data = Data::of(input.assessment, input.last_good, now);
    let survey = scale::survey(input, policy.spec, &data, now);
    let replicas = scale::Replicas::of(input, &data);
    let autonomy = input.level(policy, input.service);
    let situation = Situation { now, input, policy, autonomy, data: &data, line: input.scale_line, replicas };
    decide(Case { resource: input.service, kind: DirectiveKind::Scale, situation, survey }, ids)
}

fn plan_breaker(
    input: &PlanInput<'_>,
    policy: NamedPolicy<'_>,
    rule: &BreakerRule,
    called: &Outgoing<'_>,
    now: Timestamp,
    ids: &mut IdGenerator,
) -> Decision {
    let data = Data::of(called.assessment, None, now);
    let survey = breaker::survey(input, rule, called, &data, now);
    let autonomy = input.level(policy, called.edge);
    let situation =
        Situation { now, input, policy, autonomy, data: &data, line: called.line, replicas: None };
    decide(Case { resource: called.edge, kind: DirectiveKind::SetBreaker, situation, survey }, ids)
}

/// One resource, one kind, and what could be done.
struct Case<'a> {
    resource: &'a ResourceId,
    kind: DirectiveKind,
    situation: Situation<'a>,
    survey: Survey,
}

fn decide(case: Case<'_>, ids: &mut IdGenerator) -> Decision {
    let Case { resource, kind, situation, mut survey } = case;
    let mut candidates = std::mem::take(&mut survey.candidates);
    candidates.sort_by_key(|candidate| candidate.cost);
    let (mut considered, mut chosen, mut held_back) = (Vec::new(), None, None);
    for candidate in candidates {
        let cost = Some(survey.expected(candidate.cost, candidate.replicas()));
        let helps = candidate.cost < survey.hold.cost;
        let weighed = Considered { cost, ..weigh(&candidate, &situation, helps, chosen.is_some()) };
        match weighed.choice {
            Choice::Chosen => chosen = Some((candidate, weighed.guardrails.clone())),
            Choice::Blocked | Choice::Waiting => held_back = Some((candidate, vetoes(&weighed.guardrails))),
            Choice::Rejected => {}
        }
        considered.push(weighed);
    }
    let holding = survey.expected(survey.hold.cost, survey.hold.replicas);
    let Survey { hold, dropped, asked, .. } = survey;
    considered.extend(dropped.into_iter().map(|(action, reason)| rejected(action, reason)));
    if chosen.is_some() {
        considered.push(Considered {
            cost: Some(holding),
            ..rejected("change nothing".to_owned(), hold.text.clone())
        });
    }
    let text = match (&chosen, &held_back) {
        (Some((candidate, _)), _) => candidate.text.clone(),
        (None, Some((candidate, vetoes))) => format!("held back by {vetoes}. Otherwise: {}", candidate.text),
        (None, None) => hold.text,
    };
    let report = PlanReport {
        resource: resource.clone(),
        at: situation.now,
        policy: situation.policy.name.to_owned(),
        autonomy: situation.autonomy,
        text,
        considered,
        directive_id: situation.line.under_way().map(|entry| entry.id),
        reductions_forbidden: reductions_forbidden(kind, &situation),
        asked,
        operating: None,
    };
    match chosen {
        Some((candidate, verdicts)) => give(candidate, verdicts, &situation, report, ids),
        None => Decision { directive: None, report, faults: Vec::new() },
    }
}

fn weigh(candidate: &Candidate, situation: &Situation<'_>, helps: bool, taken: bool) -> Considered {
    let action = candidate.action.to_string();
    if taken {
        return rejected(action, "a better one was chosen".to_owned());
    }
    if !helps {
        return rejected(action, "changing nothing is no worse".to_owned());
    }
    let guardrails = guardrails::judge(candidate, situation);
    let (choice, reason) = if guardrails.iter().all(|verdict| !verdict.vetoed) {
        (Choice::Chosen, candidate.text.clone())
    } else if guardrails::is_waiting(&guardrails) {
        (Choice::Waiting, vetoes(&guardrails))
    } else {
        (Choice::Blocked, vetoes(&guardrails))
    };
    Considered { action, choice, reason, guardrails, cost: None }
}

fn rejected(action: String, reason: String) -> Considered {
    Considered { action, choice: Choice::Rejected, reason, guardrails: Vec::new(), cost: None }
}

fn vetoes(verdicts: &[GuardrailVerdict]) -> String {
    let vetoes = verdicts.iter().filter(|verdict| verdict.vetoed);
    let texts: Vec<_> = vetoes.map(|verdict| format!("{} ({})", verdict.guardrail, verdict.reason)).collect();
    texts.join(", ")
}

/// Builds the directive and has it checked by code that knows nothing of how it came about.
fn give(
    candidate: Candidate,
    verdicts: Vec<GuardrailVerdict>,
    situation: &Situation<'_>,
    mut report: PlanReport,
    ids: &mut IdGenerator,
) -> Decision {
    let directive = directive(candidate, verdicts, situation, &report, ids);
    let faults = check::faults(&directive, situation.input, situation.now);
    if faults.is_empty() {
        report.directive_id = Some(directive.id);
        return Decision { directive: Some(directive), report, faults };
    }
    report.text =
        format!("a directive was made and then found faulty ({}): nothing is proposed", faults.join("; "));
    for considered in report.considered.iter_mut().filter(|considered| considered.choice == Choice::Chosen) {
        (considered.choice, considered.reason) = (Choice::Blocked, faults.join("; "));
    }
    Decision { directive: None, report, faults }
}

fn directive(
    candidate: Candidate,
    guardrails: Vec<GuardrailVerdict>,
    situation: &Situation<'_>,
    report: &PlanReport,
    ids: &mut IdGenerator,
) -> Directive {
    let now = situation.now;
    let autonomy = situation.autonomy;
    let expiry = if autonomy == AutonomyLevel::Act { EXPIRY } else { EXPIRY_FOR_PEOPLE };
    let chosen = report.considered.iter().find(|considered| considered.choice == Choice::Chosen);
    let others = report.considered.iter().filter(|considered| considered.choice != Choice::Chosen);
    let rejected = others
        .map(|c| Alternative { action: c.action.clone(), reason: c.reason.clone(), cost: c.cost })
        .collect();
    let preconditions =
        Preconditions { max_evidence_age: evidence_age(&candidate), requires_known_data: candidate.reduces };
    let Candidate {
        resource,
        action,
        undo,
        reduces,
        text,
        evidence,
        symptom_ids,
        expected,
        counterfactual,
        ..
    } = candidate;
    Directive {
        id: ids.uuid(now),
        resource,
        action,
        undo,
        parent_generation: situation.line.generation(),
        generation: Generation(0),
        policy: situation.policy.name.to_owned(),
        autonomy,
        created_at: now,
        expires_at: later(now, expiry),
        apply_timeout: APPLY_TIMEOUT,
        verify_window: verify_window(candidate.interval),
        preconditions,
        expected,
        counterfactual,
        rationale: Rationale {
            text,
            evidence,
            rejected,
            guardrails,
            symptom_ids,
            asked: report.asked.clone(),
            cost: chosen.and_then(|chosen| chosen.cost),
        },
        blast_radius_ratio: candidate.blast_radius_ratio,
        reduces,
        undo_of: None,
        quorum_ratio: 1.0,
    }
}

/// Why nothing may be taken away at this resource now.
fn reductions_forbidden(kind: DirectiveKind, situation: &Situation<'_>) -> Option<String> {
    let fault = situation.data.fault().or_else(|| guardrails::paused(situation));
    match kind {
        DirectiveKind::Scale => fault.or_else(|| hidden_load(situation.input, situation.now)),
        _ => fault,
    }
}

fn data_forbids(input: &PlanInput<'_>, now: Timestamp) -> Option<String> {
    Data::of(input.assessment, input.last_good, now).fault().or_else(|| hidden_load(input, now))
}

#[cfg(test)]
mod tests;
