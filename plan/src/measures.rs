//! What error-budget policies want done about a service, as directives: each measure once while it is in force, and taken back
//! when its policy no longer wants it. They pass the same guardrails as everything else that Plan proposes.

mod begin;
mod check;
mod end;

use crate::{
    candidates::{Candidate, scale::Replicas},
    data::Data,
    effects::{APPLY_TIMEOUT, EXPIRY, EXPIRY_FOR_PEOPLE, later, verify_window},
    guardrails::{self, Situation, evidence_age},
    input::{NamedPolicy, Outgoing, PlanInput, PolicyView},
    ledger::Line,
    planner::Decision,
    report::{Choice, Considered, PlanReport},
};
use chassis::IdGenerator;
use jiff::Timestamp;
use proto::model::{
    Assessment, AutonomyLevel, BudgetMeasure, BudgetPolicyState, Directive, DirectiveKind, Generation,
    GuardrailVerdict, PolicySpec, Preconditions, Rationale, ResourceId, ReviewRule,
};
use std::collections::BTreeMap;

/// A change that a policy wants, or wants taken back.
#[derive(Debug, Clone, PartialEq)]
struct Wish<'a> {
    policy: &'a BudgetPolicyState,
    candidate: Candidate,
    /// Nobody has taken such a directive since the measure began; it is proposed once, also where nobody is there to take it.
    is_first: bool,
}

/// The kind of directive that a measure is made of.
fn kind_of(measure: BudgetMeasure) -> DirectiveKind {
    match measure {
        BudgetMeasure::FreezeDeployments => DirectiveKind::Freeze,
        BudgetMeasure::Rollback => DirectiveKind::Rollback,
        BudgetMeasure::ScaleUp => DirectiveKind::Scale,
        BudgetMeasure::TightenBreakers => DirectiveKind::SetBreaker,
        BudgetMeasure::ReadOnly => DirectiveKind::SetMode,
        BudgetMeasure::RaiseCadence => DirectiveKind::SetCadence,
        BudgetMeasure::Notify | BudgetMeasure::Investigate => DirectiveKind::Notify,
    }
}

/// One service at one moment.
struct Scene<'a> {
    input: &'a PlanInput<'a>,
    seen: &'a Assessment,
    now: Timestamp,
}

impl<'a> Scene<'a> {
    fn line(&self, resource: &ResourceId, kind: DirectiveKind) -> &'a Line {
        self.input.ledger.line(resource, kind)
    }

    fn outgoing(&self, edge: &ResourceId) -> Option<&'a Outgoing<'a>> {
        self.input.outgoing.iter().find(|called| called.edge == edge)
    }

    /// What may be done under a policy: as much as both it and the Policy of the service allow.
    fn terms(&self, policy: &BudgetPolicyState) -> PolicySpec {
        match self.input.policy {
            PolicyView::One(one) => {
                let own = self.input.level(one, self.input.service);
                let level = policy.autonomy.map_or(own, |told| told.min(own));
                PolicySpec { autonomy: level, ..one.spec.clone() }
            }
            PolicyView::None => self.bare(policy.autonomy.unwrap_or(AutonomyLevel::Recommend)),
            // Which of them was meant is for people to say; until then it is advice.
            PolicyView::Conflicting(..) => self.bare(AutonomyLevel::Recommend),
        }
    }

    fn bare(&self, autonomy: AutonomyLevel) -> PolicySpec {
        PolicySpec {
            service: self.input.service.name().to_owned(),
            autonomy,
            scale: None,
            breaker: None,
            blast_radius_ratio: 1.0,
            review: ReviewRule::Automatic,
        }
    }
}

/// What is decided about the measures of the service's error-budget policies; nothing where there are none.
#[must_use = "a decision that nobody carries out changes nothing"]
pub fn plan(input: &PlanInput<'_>, now: Timestamp, ids: &mut IdGenerator) -> Vec<Decision> {
    let Some(seen) = input.assessment.filter(|seen| !seen.budget_policies.is_empty()) else {
        return Vec::new();
    };
    let scene = Scene { input, seen, now };
    let wishes = end::wishes(&scene).into_iter().chain(begin::wishes(&scene));
    let mut decided: BTreeMap<(ResourceId, DirectiveKind), Decision> = BTreeMap::new();
    for wish in wishes {
        let place = (wish.candidate.resource.clone(), wish.candidate.action.kind());
        // Of several policies that want the same, the first speaks.
        decided.entry(place).or_insert_with(|| decide(wish, &scene, ids));
    }
    decided.into_values().collect()
}

fn decide(wish: Wish<'_>, scene: &Scene<'_>, ids: &mut IdGenerator) -> Decision {
    let Wish { policy, candidate, is_first } = wish;
    let terms = scene.terms(policy);
    let edge = scene.outgoing(&candidate.resource);
    let data = match edge {
        Some(called) => Data::of(called.assessment, None, scene.now),
        None => Data::of(scene.input.assessment, scene.input.last_good, scene.now),
    };
    let line = scene.line(&candidate.resource, candidate.action.kind());
    let situation = Situation {
        now: scene.now,
        input: scene.input,
        policy: NamedPolicy { name: &policy.objective, spec: &terms },
        autonomy: scene.input.standings.level(&policy.objective, &candidate.resource, terms.autonomy),
        data: &data,
        line,
        replicas: if edge.is_none() { Replicas::of(scene.input, &data) } else { None },
    };
    let mut verdicts = guardrails::judge(&candidate, &situation);
    if is_first {
        verdicts.iter_mut().filter(|verdict| verdict.guardrail == "actuator").for_each(tell_once);
    }
    let vetoes: Vec<_> = verdicts.iter().filter(|verdict| verdict.vetoed).map(text_of).collect();
    let choice = match vetoes.is_empty() {
        true => Choice::Chosen,
        false if guardrails::is_waiting(&verdicts) => Choice::Waiting,
        false => Choice::Blocked,
    };
    let reason = if vetoes.is_empty() { candidate.text.clone() } else { vetoes.join(", ") };
    let action = format!("{} ({})", candidate.action, policy.objective);
    let considered = Considered { action, choice, reason, guardrails: verdicts.clone(), cost: None };
    let report = PlanReport {
        resource: candidate.resource.clone(),
        at: scene.now,
        policy: policy.objective.clone(),
        autonomy: situation.autonomy,
        text: candidate.text.clone(),
        considered: vec![considered],
        directive_id: None,
        reductions_forbidden: None,
        asked: Vec::new(),
        operating: None,
    };
    if choice != Choice::Chosen {
        return Decision { directive: None, report, faults: Vec::new() };
    }
    let directive = directive(candidate, verdicts, &situation, ids);
    let faults = check::faults(&directive, policy, scene);
    if faults.is_empty() {
        let report = PlanReport { directive_id: Some(directive.id), ..report };
        return Decision { directive: Some(directive), report, faults };
    }
    let text = format!("a measure was made and then found faulty ({})", faults.join("; "));
    Decision { directive: None, report: PlanReport { text, ..report }, faults }
}

/// The ledger is to show that nobody took it: Execute lets it expire with that reason.
fn tell_once(verdict: &mut GuardrailVerdict) {
    if verdict.vetoed {
        verdict.vetoed = false;
        verdict.reason = format!("{}; it is proposed once, so that this is on record", verdict.reason);
    }
}

fn text_of(verdict: &GuardrailVerdict) -> String {
    format!("{} ({})", verdict.guardrail, verdict.reason)
}

fn directive(
    candidate: Candidate,
    guardrails: Vec<GuardrailVerdict>,
    situation: &Situation<'_>,
    ids: &mut IdGenerator,
) -> Directive {
    let (now, autonomy) = (situation.now, situation.autonomy);
    let expiry = if autonomy == AutonomyLevel::Act { EXPIRY } else { EXPIRY_FOR_PEOPLE };
    let preconditions =
        Preconditions { max_evidence_age: evidence_age(&candidate), requires_known_data: candidate.reduces };
    Directive {
        id: ids.uuid(now),
        verify_window: verify_window(candidate.interval),
        resource: candidate.resource,
        action: candidate.action,
        undo: candidate.undo,
        parent_generation: situation.line.generation(),
        generation: Generation(0),
        policy: situation.policy.name.to_owned(),
        autonomy,
        created_at: now,
        expires_at: later(now, expiry),
        apply_timeout: APPLY_TIMEOUT,
        preconditions,
        expected: candidate.expected,
        counterfactual: candidate.counterfactual,
        rationale: Rationale {
            text: candidate.text,
            evidence: candidate.evidence,
            guardrails,
            ..Rationale::default()
        },
        blast_radius_ratio: candidate.blast_radius_ratio,
        reduces: candidate.reduces,
        undo_of: candidate.takes_back,
        quorum_ratio: 1.0,
    }
}

/// Joins what the measures came to with the other decisions: one report per resource, and one directive per line, in which a
/// measure goes first.
pub fn join(mut decisions: Vec<Decision>, measures: Vec<Decision>) -> Vec<Decision> {
    for measure in measures {
        let place = |directive: &Directive| (directive.resource.clone(), directive.kind());
        let taken = measure.directive.as_ref().map(place);
        for other in decisions.iter_mut().filter(|other| other.directive.as_ref().map(place) == taken) {
            if other.directive.take().is_some() {
                other.report.text = "waits for a measure of an error-budget policy".to_owned();
                other.report.directive_id = measure.report.directive_id;
                for considered in &mut other.report.considered {
                    if considered.choice == Choice::Chosen {
                        considered.choice = Choice::Waiting;
                    }
                }
            }
        }
        decisions.push(measure);
    }
    one_report_each(&mut decisions);
    decisions
}

fn one_report_each(decisions: &mut [Decision]) {
    let mut reports: BTreeMap<ResourceId, PlanReport> = BTreeMap::new();
    for decision in decisions.iter() {
        let report = &decision.report;
        match reports.get_mut(&report.resource) {
            None => _ = reports.insert(report.resource.clone(), report.clone()),
            Some(whole) => {
                whole.text = format!("{}; {}", whole.text, report.text);
                whole.considered.extend(report.considered.iter().cloned());
                whole.directive_id = whole.directive_id.or(report.directive_id);
            }
        }
    }
    for decision in decisions {
        if let Some(whole) = reports.get(&decision.report.resource) {
            decision.report = whole.clone();
        }
    }
}

#[cfg(test)]
mod tests;
