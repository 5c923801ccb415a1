//! The life of one directive inside Execute, from what the ledger says and what actuators report. A value and an event
//! in, a value and effects out; which state may follow which stands in [`DirectiveState`].

mod replicated;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proto::model::{
    Directive, DirectiveRecord, DirectiveState, InvalidTransition, Observation, OutcomeResult, Transition,
};

use crate::moment::later;
use crate::registry::ActuatorKey;

/// Who Execute is in the ledger.
pub const ACTOR: &str = "execute";

/// What an actuator says about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reported {
    /// Work has begun.
    Accepted,
    /// The change is made.
    Applied,
    /// Not done on purpose.
    Refused,
    /// Tried without success.
    Failed,
    /// It cannot tell.
    Unknown,
    /// Only simulated, which is no success.
    Simulated,
}

impl Reported {
    /// Whether the actuator is done with the delivery.
    pub fn is_last_word(self) -> bool {
        self != Self::Accepted
    }

    /// The state that follows from the report of the one actuator of an exclusive kind.
    fn state(self) -> DirectiveState {
        match self {
            Self::Accepted => DirectiveState::Accepted,
            Self::Applied => DirectiveState::Applied,
            Self::Refused => DirectiveState::Refused,
            Self::Failed | Self::Simulated => DirectiveState::Failed,
            Self::Unknown => DirectiveState::Unknown,
        }
    }
}

/// A report on one delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which instance speaks.
    pub by: ActuatorKey,
    /// About which attempt.
    pub attempt: u32,
    /// What it says.
    pub reported: Reported,
    /// For people.
    pub detail: String,
    /// Seen before the change.
    pub before: Vec<Observation>,
    /// Seen after it.
    pub after: Vec<Observation>,
}

/// What was done with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It counts.
    Recorded,
    /// The same was said before.
    Duplicate,
    /// The directive is over; nothing was changed.
    TooLate,
}

/// What happens to a directive.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is being sent.
    Delivered {
        /// To which instance.
        to: ActuatorKey,
    },
    /// An actuator spoke. `live` are the instances that serve the resource now.
    Reported(Report, Arc<[ActuatorKey]>),
    /// Instances came or went.
    InstancesChanged(Arc<[ActuatorKey]>),
    /// Execute will not send it.
    Refused {
        /// Why.
        reason: String,
    },
    /// It waits to be sent, for this reason.
    Held {
        /// Why.
        reason: String,
    },
    /// Time passed.
    Tick,
    /// It is known to be applied; watch its promise.
    Watched,
    /// Its promise was judged.
    Judged {
        /// How.
        result: OutcomeResult,
        /// For people.
        text: String,
    },
    /// It was taken back.
    TakenBack {
        /// By what.
        detail: String,
    },
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write this step to the ledger.
    Record(Transition),
    /// The change was made at this moment: watch its promise.
    Verify(Timestamp),
    /// Answer the report so.
    Answer(Disposition),
}

/// Where a directive stands, as Execute knows it: the ledger's state and the steps that are still being recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    directive: Arc<Directive>,
    state: DirectiveState,
    attempt: u32,
    deadline: Timestamp,
    applied_at: Option<Timestamp>,
    held: Option<String>,
    last_words: BTreeMap<ActuatorKey, Reported>,
    reports: BTreeSet<(ActuatorKey, u32, Reported)>,
}

type Handled = Result<(Life, Vec<Effect>), InvalidTransition>;

impl Life {
    /// Takes up a directive where the ledger left it, also after a crash. The history, where there is one, tells the attempt
    /// and when it was sent and applied; without it, the last change does.
    pub fn from_record(record: DirectiveRecord) -> Self {
        let DirectiveRecord { directive, state, changed_at, history, .. } = record;
        let last = |to| history.iter().rev().find(|step| step.to == to).map(|step| step.at);
        let sent_at = last(DirectiveState::Delivered).unwrap_or(changed_at);
        let applied = state.in_effect() || state == DirectiveState::Undone;
        let applied_at = last(DirectiveState::Applied).or(applied.then_some(changed_at));
        Self {
            state,
            attempt: history.iter().map(|step| step.attempt).max().unwrap_or(0),
            deadline: later(sent_at, directive.apply_timeout),
            applied_at,
            held: None,
            last_words: BTreeMap::new(),
            reports: BTreeSet::new(),
            directive: Arc::new(directive),
        }
    }

    /// The immutable part.
    pub fn directive(&self) -> &Arc<Directive> {
        &self.directive
    }
    /// Where it stands.
    pub fn state(&self) -> DirectiveState {
        self.state
    }
    /// The last attempt; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
    /// When the actuator must have reported.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }
    /// When the change was made.
    pub fn applied_at(&self) -> Option<Timestamp> {
        self.applied_at
    }
    /// Whether this very report was taken in.
    pub fn remembers(&self, by: &ActuatorKey, attempt: u32, reported: Reported) -> bool {
        self.reports.contains(&(by.clone(), attempt, reported))
    }
    /// Whether this instance said that it made the change.
    pub fn applied_by(&self, instance: &ActuatorKey) -> bool {
        self.last_words.get(instance) == Some(&Reported::Applied)
    }
    /// Whether this instance has said its last word on it.
    pub fn answered_by(&self, instance: &ActuatorKey) -> bool {
        self.last_words.contains_key(instance)
    }

    /// When time alone changes something.
    pub fn next_wake(&self) -> Option<Timestamp> {
        match self.state {
            DirectiveState::Proposed | DirectiveState::AwaitingApproval | DirectiveState::Issued => {
                Some(self.directive.expires_at)
            }
            DirectiveState::Delivered | DirectiveState::Accepted => Some(self.deadline),
            _ => None,
        }
    }

    /// One event.
    ///
    /// # Errors
    /// When the directive stands where this cannot happen; nothing has changed then.
    pub fn handle(mut self, now: Timestamp, event: Event) -> Handled {
        match event {
            Event::Delivered { to } => self.delivered(now, &to),
            Event::Reported(report, live) if self.directive.kind().exclusive() => {
                drop(live);
                self.reported(now, report)
            }
            Event::Reported(report, live) => self.reported_by_one(now, report, &live),
            Event::InstancesChanged(live) => self.instances_changed(now, &live),
            Event::Refused { reason } => {
                let step = self.step(now, DirectiveState::Refused, ACTOR, reason)?;
                Ok((self, vec![step]))
            }
            Event::Held { reason } => {
                self.held = Some(reason);
                Ok((self, Vec::new()))
            }
            Event::Tick => self.tick(now),
            Event::Watched => self.watched(now),
            Event::Judged { result, text } => {
                let to = match result {
                    OutcomeResult::Verified => DirectiveState::Verified,
                    OutcomeResult::Ineffective => DirectiveState::Ineffective,
                    OutcomeResult::Harmful => DirectiveState::Harmful,
                    OutcomeResult::Unknown => DirectiveState::Unknown,
                };
                let step = self.step(now, to, ACTOR, text)?;
                Ok((self, vec![step]))
            }
            Event::TakenBack { detail } => {
                let step = self.step(now, DirectiveState::Undone, ACTOR, detail)?;
                Ok((self, vec![step]))
            }
        }
    }

    fn delivered(mut self, now: Timestamp, to: &ActuatorKey) -> Handled {
        let replicated = !self.directive.kind().exclusive();
        // Late joiners get the current one of a replicated kind long after it was applied; its state stays.
        if replicated && self.state.in_effect() {
            self.attempt += 1;
            return Ok((self, Vec::new()));
        }
        let again = matches!(self.state, DirectiveState::Delivered | DirectiveState::Accepted);
        if !again {
            self.state.step(DirectiveState::Delivered)?;
        }
        self.attempt += 1;
        self.held = None;
        if again {
            // Each attempt has its own time, for one actuator; the quorum has one deadline for all.
            if !replicated {
                self.deadline = later(now, self.directive.apply_timeout);
            }
            return Ok((self, Vec::new()));
        }
        self.deadline = later(now, self.directive.apply_timeout);
        let step = self.step(now, DirectiveState::Delivered, ACTOR, format!("to {to}"))?;
        Ok((self, vec![step]))
    }

    /// A report on an exclusive kind: the one actuator decides.
    fn reported(mut self, now: Timestamp, report: Report) -> Handled {
        let Report { by, attempt, reported, detail, before, after } = report;
        let remembered = self.remembers(&by, attempt, reported);
        let applied = reported == Reported::Applied;
        // Only that it was made after all resolves what nobody knew; what was judged unknown stays so.
        let resolves = self.state == DirectiveState::Unknown && self.applied_at.is_none() && applied;
        let begins_again = reported == Reported::Accepted && self.state == DirectiveState::Accepted;
        if begins_again || !(self.state.deliverable() || resolves) {
            let repeated = remembered || begins_again || (applied && self.applied_at.is_some());
            let answer = if repeated { Disposition::Duplicate } else { Disposition::TooLate };
            return Ok((self, vec![Effect::Answer(answer)]));
        }
        self.take_in(&by, attempt, reported);
        let detail = match reported {
            Reported::Simulated => format!("only simulated: {detail}"),
            _ => detail,
        };
        let transition = self.transition(now, reported.state(), &by.to_string(), detail)?;
        self.state = transition.to;
        let mut effects = vec![Effect::Record(Transition { attempt, before, after, ..transition })];
        if applied {
            effects.extend(self.applied(now)?);
        }
        effects.push(Effect::Answer(Disposition::Recorded));
        Ok((self, effects))
    }

    fn take_in(&mut self, by: &ActuatorKey, attempt: u32, reported: Reported) {
        self.reports.insert((by.clone(), attempt, reported));
        if reported.is_last_word() {
            self.last_words.insert(by.clone(), reported);
        }
    }

    fn applied(&mut self, now: Timestamp) -> Result<[Effect; 2], InvalidTransition> {
        self.applied_at = Some(now);
        Ok([self.step(now, DirectiveState::Verifying, ACTOR, String::new())?, Effect::Verify(now)])
    }

    /// A crash may have come between the application and its verification, or in the midst of that.
    fn watched(mut self, now: Timestamp) -> Handled {
        let mut effects = Vec::new();
        if self.state != DirectiveState::Verifying {
            effects.push(self.step(now, DirectiveState::Verifying, ACTOR, String::new())?);
        }
        effects.push(Effect::Verify(self.applied_at.unwrap_or(now)));
        Ok((self, effects))
    }

    fn tick(mut self, now: Timestamp) -> Handled {
        if self.next_wake().is_none_or(|wake| now < wake) {
            return Ok((self, Vec::new()));
        }
        let (to, detail) = match self.state {
            DirectiveState::Delivered | DirectiveState::Accepted => {
                (DirectiveState::Unknown, "no last word before the deadline".to_owned())
            }
            DirectiveState::Issued => {
                let reason = self.held.clone().unwrap_or_else(|| "no actuator took it".to_owned());
                (DirectiveState::Expired, format!("not delivered in time: {reason}"))
            }
            _ => (DirectiveState::Expired, String::new()),
        };
        let step = self.step(now, to, ACTOR, detail)?;
        Ok((self, vec![step]))
    }

    fn step(
        &mut self,
        now: Timestamp,
        to: DirectiveState,
        actor: &str,
        detail: String,
    ) -> Result<Effect, InvalidTransition> {
        let transition = self.transition(now, to, actor, detail)?;
        self.state = to;
        Ok(Effect::Record(transition))
    }

    fn transition(
        &self,
        now: Timestamp,
        to: DirectiveState,
        actor: &str,
        detail: String,
    ) -> Result<Transition, InvalidTransition> {
        self.state.step(to)?;
        Ok(Transition {
            directive_id: self.directive.id,
            from: self.state,
            to,
            at: now,
            actor: actor.to_owned(),
            detail,
            attempt: self.attempt,
            before: Vec::new(),
            after: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
