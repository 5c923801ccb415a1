//! Did the world change as promised? Holds the expected effects of an applied directive against assessments made after its
//! application, and against what would have happened anyway. Missing data is never success.

mod counterfactual;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    Assessment, Directive, DirectiveKind, ExpectedEffect, Generation, MeasuredEffect, OutcomeResult, Quality,
    ResourceId,
};

use crate::moment::{between, later};
use counterfactual::otherwise;

/// One assessment may be chance; two in a row are believed.
const IN_A_ROW: u32 = 2;

/// A signal that was not assessed for this many intervals before the end of the window is unknown at its end.
const STALE_INTERVALS: u32 = 3;

/// Below this share of what the replicas take, queues are no cause of trouble.
const ROOM: f64 = 0.8;

/// A verdict on one directive.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What was found.
    pub result: OutcomeResult,
    /// For people.
    pub text: String,
    /// Promise by promise.
    pub effects: Vec<MeasuredEffect>,
    /// When the promises first held, if they did.
    pub effect_at: Option<Timestamp>,
}

/// One promise and what was seen of it.
#[derive(Debug, Clone, PartialEq)]
struct Promise {
    effect: ExpectedEffect,
    resource: ResourceId,
    /// The newest value and when it was assessed; the value is `None` when the newest is unknown.
    newest: Option<(Timestamp, Option<f64>)>,
    interval: Duration,
    kept_in_a_row: u32,
    harmed_in_a_row: u32,
    /// The newest breach is not for want of capacity.
    elsewhere: bool,
}

/// How one promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Kept,
    Broken,
    Unknown,
}

/// The verification of one applied directive.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    directive: Arc<Directive>,
    applied_at: Timestamp,
    ends: Timestamp,
    promises: Vec<Promise>,
    effect_at: Option<Timestamp>,
    /// Whether what is left of the resource takes its load with ease, as it was assessed last.
    room: bool,
}

impl Verification {
    /// Begins, or goes on after a crash with the time from the ledger.
    pub fn new(directive: Arc<Directive>, applied_at: Timestamp) -> Self {
        let promise = |effect: &ExpectedEffect| Promise {
            resource: effect.resource.clone().unwrap_or_else(|| directive.resource.clone()),
            effect: effect.clone(),
            newest: None,
            interval: Duration::ZERO,
            kept_in_a_row: 0,
            harmed_in_a_row: 0,
            elsewhere: false,
        };
        let promises = directive.expected.iter().map(promise).collect();
        let ends = later(applied_at, directive.verify_window);
        Self { directive, applied_at, ends, promises, effect_at: None, room: false }
    }

    /// Whose assessments it needs.
    pub fn resources(&self) -> BTreeSet<&ResourceId> {
        self.promises.iter().map(|promise| &promise.resource).collect()
    }

    /// When it is judged at the latest.
    pub fn next_wake(&self) -> Timestamp {
        self.ends
    }

    /// Takes in one assessment; a verdict, if it allows one before the end.
    pub fn observe(&mut self, assessment: &Assessment) -> Option<Judgement> {
        // What was measured before the change, or after the window, says nothing about it.
        if assessment.at <= self.applied_at || assessment.at > self.ends {
            return None;
        }
        if assessment.resource == self.directive.resource {
            self.room = self.directive.reduces && has_room(&self.directive, assessment);
        }
        let (directive, room, mut concerned) = (&self.directive, self.room, false);
        for promise in self.promises.iter_mut().filter(|promise| promise.resource == assessment.resource) {
            concerned |= promise.observe(directive, room, assessment);
        }
        if !concerned {
            return None;
        }
        if let Some(broken) = self.promises.iter().find(|promise| promise.harmed_in_a_row >= IN_A_ROW) {
            let text =
                format!("{} is worse than it would have been without the change", broken.effect.signal);
            return Some(self.judgement(OutcomeResult::Harmful, text));
        }
        let all_kept = |times| self.promises.iter().all(|promise| promise.kept_in_a_row >= times);
        if !all_kept(1) {
            self.effect_at = None;
            return None;
        }
        self.effect_at = self.effect_at.or(Some(assessment.at));
        if !all_kept(IN_A_ROW) {
            return None;
        }
        // Harm may come later than the effect, so promises against harm are watched to the end.
        let may_harm = self.promises.iter().any(|promise| promise.effect.breach_is_harm);
        (!may_harm).then(|| self.judgement(OutcomeResult::Verified, kept(&self.promises)))
    }

    /// The verdict at the end of the window, once it is reached.
    pub fn tick(&self, now: Timestamp) -> Option<Judgement> {
        if let Some(judgement) = self.without_promise(now) {
            return Some(judgement);
        }
        if now < self.ends {
            return None;
        }
        let names = |wanted: Standing| {
            let matching = self.promises.iter().filter(|promise| promise.standing(self.ends) == wanted);
            matching.map(|promise| promise.effect.signal.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (broken, unknown) = (names(Standing::Broken), names(Standing::Unknown));
        Some(if !broken.is_empty() {
            let elsewhere = self.promises.iter().any(|promise| promise.elsewhere);
            let cause = if elsewhere {
                "; replicas are not what is missing, so the cause lies elsewhere"
            } else {
                ""
            };
            let text = format!("not as promised: {broken}{cause}");
            self.judgement(OutcomeResult::Ineffective, text)
        } else if !unknown.is_empty() {
            self.judgement(OutcomeResult::Unknown, format!("data is missing: {unknown}"))
        } else {
            self.judgement(OutcomeResult::Verified, kept(&self.promises))
        })
    }

    /// The verdict when a newer change comes before the end: by what was seen so far, and never success without having seen
    /// every promise kept.
    pub fn replaced(&self, newer: Generation) -> Judgement {
        let kept_so_far =
            !self.promises.is_empty() && self.promises.iter().all(|promise| promise.kept_in_a_row > 0);
        if kept_so_far {
            let text = format!("{}, until generation {newer} replaced it", kept(&self.promises));
            return self.judgement(OutcomeResult::Verified, text);
        }
        let text = format!("generation {newer} replaced it before its promise could be judged");
        self.judgement(OutcomeResult::Unknown, text)
    }

    /// A directive without promises: an undo promises only itself, and so do kinds that no signal tells; the actuator has
    /// confirmed it. Of anything else nobody can tell whether it helped.
    fn without_promise(&self, now: Timestamp) -> Option<Judgement> {
        if !self.promises.is_empty() {
            return None;
        }
        if self.directive.undo_of.is_some() {
            return Some(self.judgement(OutcomeResult::Verified, "the change back was made".to_owned()));
        }
        if self.directive.kind().is_its_own_effect() {
            return Some(self.judgement(OutcomeResult::Verified, "its actuator confirms it".to_owned()));
        }
        let nothing = || "nothing was promised that could be checked".to_owned();
        (now >= self.ends).then(|| self.judgement(OutcomeResult::Unknown, nothing()))
    }

    fn judgement(&self, result: OutcomeResult, text: String) -> Judgement {
        let measured = |promise: &Promise| {
            let (at, value) = promise.newest.unwrap_or((self.ends, None));
            let otherwise = otherwise(&self.directive, &promise.effect, at);
            MeasuredEffect {
                signal: promise.effect.signal.clone(),
                promised_lower: promise.effect.lower,
                promised_upper: promise.effect.upper,
                measured: value,
                otherwise_lower: otherwise.map(|point| point.q10),
                otherwise_upper: otherwise.map(|point| point.q90),
                kept: value.is_some_and(|value| promise.holds(value)),
            }
        };
        let effects = self.promises.iter().map(measured).collect();
        Judgement { result, text, effects, effect_at: self.effect_at }
    }
}

impl Promise {
    /// Takes in the signal; false when this assessment is no newer than the last one.
    fn observe(&mut self, directive: &Directive, room: bool, assessment: &Assessment) -> bool {
        if self.newest.is_some_and(|(at, _)| assessment.at <= at) {
            return false;
        }
        let signal = assessment.signal(&self.effect.signal);
        let known = signal.filter(|signal| signal.quality == Quality::Good).and_then(|signal| signal.value);
        self.newest = Some((assessment.at, known));
        self.interval = assessment.interval;
        // What is unknown is neither kept nor broken, and it interrupts the row.
        let kept = known.is_some_and(|value| self.holds(value));
        let harmed = known.is_some_and(|value| self.harms(directive, assessment.at, value));
        self.elsewhere = harmed && room;
        let harmed = harmed && !self.elsewhere;
        self.kept_in_a_row = if kept { self.kept_in_a_row + 1 } else { 0 };
        self.harmed_in_a_row = if harmed { self.harmed_in_a_row + 1 } else { 0 };
        true
    }

    fn holds(&self, value: f64) -> bool {
        (self.effect.lower..=self.effect.upper).contains(&value)
    }

    /// Broken, and worse than doing nothing would have been. Without a counterfactual the promise itself is the limit.
    fn harms(&self, directive: &Directive, at: Timestamp, value: f64) -> bool {
        if !self.effect.breach_is_harm || self.holds(value) {
            return false;
        }
        match otherwise(directive, &self.effect, at) {
            None => true,
            Some(point) if value > self.effect.upper => value > point.q90,
            Some(point) => value < point.q10,
        }
    }

    fn standing(&self, ends: Timestamp) -> Standing {
        let Some((at, Some(value))) = self.newest else { return Standing::Unknown };
        let stale = !self.interval.is_zero() && between(at, ends) > self.interval * STALE_INTERVALS;
        match () {
            () if stale => Standing::Unknown,
            () if !self.holds(value) => Standing::Broken,
            () if self.kept_in_a_row >= IN_A_ROW => Standing::Kept,
            () => Standing::Unknown,
        }
    }
}

/// Whether the replicas that were left take the load with ease, by the low end of what was learned of them: trouble that comes
/// then does not come from having fewer. Where they are short after all, Plan sees it as it sees any shortage.
fn has_room(directive: &Directive, assessment: &Assessment) -> bool {
    if directive.kind() != DirectiveKind::Scale {
        return false;
    }
    let known = |name: &str| {
        assessment
            .signal(name)
            .filter(|signal| signal.quality == Quality::Good)
            .and_then(|signal| signal.value)
    };
    let taken = assessment.capacity.lower.zip(known("ready_replicas")).map(|(one, ready)| one * ready);
    taken.zip(known("load")).is_some_and(|(taken, load)| load < ROOM * taken)
}

fn kept(promises: &[Promise]) -> String {
    let names: Vec<_> = promises.iter().map(|promise| promise.effect.signal.as_str()).collect();
    format!("as promised: {}", names.join(", "))
}

#[cfg(test)]
mod tests;
