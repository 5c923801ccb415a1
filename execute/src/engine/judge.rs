//! Verdicts: from assessments and the end of windows to outcomes, feedback, and directives that take others back.

use std::sync::Arc;

use jiff::Timestamp;
use proto::model::{Assessment, DirectiveState, Generation, MeasuredEffect, Outcome, OutcomeResult};
use uuid::Uuid;

use super::{ASSESSMENTS_MAX, Engine, Output};
use crate::feedback::{Judged, signals};
use crate::lifecycle::Event;
use crate::moment::between;
use crate::undo::{self, Reason};
use crate::verify::{Judgement, Verification};

impl Engine {
    /// Takes in an assessment: promises are held against it, and what waited for data is looked at again.
    pub fn assess(&mut self, assessment: Assessment, now: Timestamp) {
        let resource = assessment.resource.clone();
        let known = self.assessments.get(&resource);
        if known.is_some_and(|known| known.at > assessment.at)
            || (known.is_none() && self.assessments.len() >= ASSESSMENTS_MAX)
        {
            return;
        }
        let assessment = Arc::new(assessment);
        self.assessments.insert(resource.clone(), assessment.clone());
        let Some(ids) = self.watchers.get(&resource).cloned() else { return };
        for id in ids {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let judgement = entry.verification.as_mut().and_then(|one| one.observe(&assessment));
            if std::mem::take(&mut entry.held) {
                self.offer(id);
            }
            if let Some(judgement) = judgement {
                self.judged(id, judgement, now);
            }
        }
    }

    /// Begins to watch the promise of an applied directive, unless it is being taken back already.
    pub(super) fn begin_verification(&mut self, id: Uuid, applied_at: Timestamp, now: Timestamp) {
        let Some(entry) = self.entries.get(&id) else { return };
        let directive = entry.life.directive().clone();
        if let Some(original) = directive.undo_of {
            self.suspend(original);
        }
        match self.undone_by(id) {
            None => {}
            Some((undo, DirectiveState::Verified)) => return self.take_back(id, undo, now),
            // Its own verdict will settle the original too.
            Some((_, state)) if state.under_way() => return,
            Some((undo, _)) => return self.give_up_on(id, undo, OutcomeResult::Unknown, now),
        }
        let verification = Verification::new(directive, applied_at);
        if let Some(newer) = self.replaced_by(id) {
            return self.judged(id, verification.replaced(newer), now);
        }
        let resources: Vec<_> = verification.resources().into_iter().cloned().collect();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.verification = Some(verification);
        }
        self.watch(id, resources);
        self.check_verification(id, now);
    }

    /// A newer change is on its way: what is measured from now on is its work too, so those before it are judged by what was
    /// seen until now.
    pub(super) fn replace_older(&mut self, id: Uuid, now: Timestamp) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (directive, generation) = (entry.life.directive().clone(), entry.life.directive().generation);
        let place = (directive.resource.clone(), directive.kind());
        let Some(chain) = self.chains.get(&place) else { return };
        let older: Vec<_> = chain.directives.range(..generation).map(|(_, older)| *older).collect();
        for older in older.into_iter().filter(|older| directive.undo_of != Some(*older)) {
            let verification = self.entries.get(&older).and_then(|entry| entry.verification.as_ref());
            if let Some(judgement) = verification.map(|one| one.replaced(generation)) {
                self.judged(older, judgement, now);
            }
        }
    }

    /// The newer change, other than its own undo, that is on its way or made.
    fn replaced_by(&self, id: Uuid) -> Option<Generation> {
        let directive = self.entries.get(&id)?.life.directive();
        let chain = self.chains.get(&(directive.resource.clone(), directive.kind()))?;
        chain.directives.range(directive.generation.next()..).map(|(_, newer)| newer).find_map(|newer| {
            let life = &self.entries.get(newer)?.life;
            let stands = life.state().deliverable() || life.state().in_effect();
            (stands && life.directive().undo_of != Some(id)).then(|| life.directive().generation)
        })
    }

    /// Judges a directive whose window is over.
    pub(super) fn check_verification(&mut self, id: Uuid, now: Timestamp) {
        let verification = self.entries.get(&id).and_then(|entry| entry.verification.as_ref());
        if let Some(judgement) = verification.and_then(|one| one.tick(now)) {
            self.judged(id, judgement, now);
        }
    }

    /// The world is being changed back: what is measured from now on says nothing about the original.
    fn suspend(&mut self, original: Uuid) {
        if let Some(entry) = self.entries.get_mut(&original) {
            entry.verification = None;
            self.schedule(original);
        }
    }

    /// The applied directive that takes this one back, and where it stands.
    fn undone_by(&self, id: Uuid) -> Option<(Uuid, DirectiveState)> {
        let directive = self.entries.get(&id)?.life.directive();
        let chain = self.chains.get(&(directive.resource.clone(), directive.kind()))?;
        chain.directives.values().find_map(|later| {
            let life = &self.entries.get(later)?.life;
            let undoes = life.directive().undo_of == Some(id) && life.applied_at().is_some();
            undoes.then_some((*later, life.state()))
        })
    }

    fn judged(&mut self, id: Uuid, judgement: Judgement, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.verification = None;
        let directive = entry.life.directive().clone();
        let applied_at = entry.life.applied_at().unwrap_or(now);
        let Judgement { result, text, effects, effect_at } = judgement;
        let outcome = Outcome {
            directive_id: id,
            result,
            text: text.clone(),
            effects,
            at: now,
            decided_to_applied: between(directive.created_at, applied_at),
            applied_to_verdict: between(applied_at, now),
        };
        let assessment = self.assessments.get(&directive.resource).map(AsRef::as_ref);
        let feedback =
            signals(&Judged { directive: &directive, outcome: &outcome, applied_at, effect_at, assessment });
        let effects = outcome.effects.clone();
        self.outputs.push(Output::Verdict(Box::new(outcome), feedback));
        self.happen(id, now, Event::Judged { result, text: text.clone() });
        self.propose_undo(id, &effects, &text, now);
        match directive.undo_of {
            Some(original) if result == OutcomeResult::Verified => self.take_back(original, id, now),
            Some(original) => self.give_up_on(original, id, result, now),
            None => {}
        }
    }

    /// Proposes to take a directive back, if its verdict asks for it and nothing newer stands on top of it.
    pub(super) fn propose_undo(&mut self, id: Uuid, effects: &[MeasuredEffect], text: &str, now: Timestamp) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (state, original) = (entry.life.state(), entry.life.directive());
        if !undo::is_due(original, state) || self.newest_generation(original) != original.generation {
            return;
        }
        let text = format!("the directive before was {state}: {text}");
        let reason = Reason { id: undo::id_of(id), text: &text, effects, autonomy: original.autonomy };
        let proposal = undo::directive(original, &reason, now);
        self.outputs.push(Output::Propose(Box::new(proposal)));
    }

    /// The undo was verified, so the original is undone.
    pub(super) fn take_back(&mut self, original: Uuid, undo: Uuid, now: Timestamp) {
        let Some(state) = self.state(original) else {
            self.taken_back.insert(original, undo);
            self.outputs.push(Output::Fetch(original));
            return;
        };
        if state.in_effect() || state == DirectiveState::Unknown {
            if let Some(entry) = self.entries.get_mut(&original) {
                entry.verification = None;
            }
            self.happen(original, now, Event::TakenBack { detail: format!("taken back by {undo}") });
        }
    }

    /// The undo was applied, but nobody can say that things are as before: neither can anyone about the original.
    fn give_up_on(&mut self, original: Uuid, undo: Uuid, result: OutcomeResult, now: Timestamp) {
        if self.state(original) == Some(DirectiveState::Verifying) {
            let text = format!("its undo {undo} was {result}");
            self.happen(original, now, Event::Judged { result: OutcomeResult::Unknown, text });
        }
    }
}
