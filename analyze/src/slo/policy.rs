//! Error-budget policies: how much of the budget is used up decides which measures are in force. Each is begun once, ends by
//! itself when it expires, and is undone when the reset criteria hold: stable for long enough, nothing urgent open, approved by
//! as many people as asked, reviewed if asked. What is unknown begins nothing and resets nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
pub use proto::model::BudgetMeasure as Measure;
use proto::model::{AutonomyLevel, BudgetPolicyState, MeasureInForce};
use serde::{Deserialize, Serialize};

/// From so much consumption on, these measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Share of the budget consumed, above 0.
    pub at: f64,
    /// What is done.
    pub measures: Vec<Measure>,
    /// How long at most; 0: until reset.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expires_after_s: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// When measures are undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reset {
    /// Seconds without an urgent alert and below the step's consumption.
    pub stable_s: u64,
    /// People who must approve.
    pub approvals: u32,
    /// Whether a review must be recorded.
    pub review: bool,
}

impl Default for Reset {
    fn default() -> Self {
        Self { stable_s: 86_400, approvals: 0, review: false }
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// By consumption.
    pub steps: Vec<Step>,
    /// When measures end.
    #[serde(default)]
    pub reset: Reset,
    /// Below this share of budget left, directives that may do harm are refused.
    #[serde(default = "risk_below_default")]
    pub refuse_risk_below: f64,
    /// How far its measures may go by themselves, at most as far as a Policy that names the service lets them; not said: as far
    /// as that, and where there is none, they are advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autonomy: Option<AutonomyLevel>,
}

fn risk_below_default() -> f64 {
    0.1
}

impl Policy {
    /// Wants and refuses nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { steps: Vec::new(), reset: Reset::default(), refuse_risk_below: 0.0, autonomy: None }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// Names the rule that is broken.
    pub fn validate(&self) -> Result<(), &'static str> {
        let above = |step: &Step| step.at.is_finite() && step.at > 0.0;
        if self.steps.iter().any(|step| !above(step) || step.measures.is_empty()) {
            return Err("a step has a consumption above 0 and at least one measure");
        }
        if !self.steps.windows(2).all(|pair| pair[0].at < pair[1].at) {
            return Err("steps stand in order of their consumption");
        }
        if !(0.0..=1.0).contains(&self.refuse_risk_below) {
            return Err("refuse_risk_below is a share, 0 to 1");
        }
        Ok(())
    }

    /// Why a directive that may do harm is refused now; `None`: it is not. A budget that nobody knows is no budget.
    #[must_use]
    pub fn refusal(&self, remaining: Option<f64>) -> Option<String> {
        match remaining {
            None => Some("how much error budget is left is unknown".to_owned()),
            Some(left) if left < self.refuse_risk_below => Some(format!(
                "{:.1} % of the error budget is left, below the {:.0} % that risk needs",
                left * 100.0,
                self.refuse_risk_below * 100.0
            )),
            Some(_) => None,
        }
    }
}

/// Where a policy stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Steps in force: place in the policy and since when.
    pub engaged: Vec<Engaged>,
    /// Since when it has been stable.
    pub stable_since: Option<Timestamp>,
    /// Who approved the reset, and until when that holds; `None`: for good.
    pub approvals: BTreeMap<String, Option<Timestamp>>,
    /// Whether the review was recorded.
    pub reviewed: bool,
}

/// A step in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engaged {
    /// Place in the policy.
    pub step: usize,
    /// Since when.
    pub since: Timestamp,
    /// Whether its time has run out: undone, but not to be begun again before the reset.
    pub expired: bool,
}

/// What happened to the budget, or what people said.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The budget as it stands.
    Budget {
        /// Share consumed; `None`: unknown.
        consumed: Option<f64>,
        /// Whether an urgent alert is open.
        urgent: bool,
    },
    /// Somebody approves the reset.
    Approved {
        /// Who.
        who: String,
        /// Until when that holds; `None`: for good.
        until: Option<Timestamp>,
    },
    /// The review was held.
    Reviewed,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Begin it.
    Begin {
        /// What.
        measure: Measure,
        /// Which step wants it.
        step: usize,
        /// When it ends at the latest, if ever.
        until: Option<Timestamp>,
        /// For people.
        reason: String,
    },
    /// Undo it.
    Undo {
        /// What.
        measure: Measure,
        /// Which step wanted it.
        step: usize,
        /// For people.
        reason: String,
    },
}

impl Standing {
    /// The next standing and what is to be done. A measure that several steps want is begun by the first and undone with the last.
    #[must_use]
    pub fn handle(mut self, policy: &Policy, now: Timestamp, event: Event) -> (Self, Vec<Effect>) {
        let before = self.in_force(policy);
        let mut reason = String::new();
        match event {
            Event::Approved { who, until } => _ = self.approvals.insert(who, until),
            Event::Reviewed => self.reviewed = true,
            Event::Budget { consumed, urgent } => {
                reason = self.engage(policy, now, consumed);
                self.settle(policy, now, consumed, urgent);
            }
        }
        self.expire(policy, now);
        if self.may_reset(policy, now) {
            reason = "the reset criteria hold".to_owned();
            self = Self::default();
        }
        let after = self.in_force(policy);
        let begun = after.iter().filter(|(measure, _)| !before.iter().any(|(other, _)| other == measure));
        let begun = begun.map(|(measure, step)| Effect::Begin {
            measure: *measure,
            step: *step,
            until: self.until(policy, *step),
            reason: reason.clone(),
        });
        let undone = before.iter().filter(|(measure, _)| !after.iter().any(|(other, _)| other == measure));
        let why = if reason.is_empty() { "its time has run out".to_owned() } else { reason.clone() };
        let undone = undone.map(|(measure, step)| Effect::Undo {
            measure: *measure,
            step: *step,
            reason: why.clone(),
        });
        let effects = begun.chain(undone).collect();
        (self, effects)
    }

    /// Measures in force, each with the first step that wants it.
    #[must_use]
    pub fn in_force(&self, policy: &Policy) -> Vec<(Measure, usize)> {
        let mut found: Vec<(Measure, usize)> = Vec::new();
        for engaged in self.engaged.iter().filter(|engaged| !engaged.expired) {
            for measure in policy.steps.get(engaged.step).iter().flat_map(|step| &step.measures) {
                if !found.iter().any(|(other, _)| other == measure) {
                    found.push((*measure, engaged.step));
                }
            }
        }
        found
    }

    fn until(&self, policy: &Policy, step: usize) -> Option<Timestamp> {
        let engaged = self.engaged.iter().find(|engaged| engaged.step == step)?;
        let seconds = policy.steps.get(step)?.expires_after_s;
        if seconds == 0 { None } else { engaged.since.checked_add(Duration::from_secs(seconds)).ok() }
    }

    fn engage(&mut self, policy: &Policy, now: Timestamp, consumed: Option<f64>) -> String {
        let Some(consumed) = consumed else { return String::new() };
        let due = policy.steps.iter().enumerate().filter(|(_, step)| consumed >= step.at);
        let mut reason = String::new();
        for (index, step) in due {
            if self.engaged.iter().all(|engaged| engaged.step != index) {
                self.engaged.push(Engaged { step: index, since: now, expired: false });
                reason = format!(
                    "{:.1} % of the error budget is used up ({:.0} %)",
                    consumed * 100.0,
                    step.at * 100.0
                );
            }
        }
        reason
    }

    /// Stable is: known, nothing urgent, and below the lowest step in force.
    fn settle(&mut self, policy: &Policy, now: Timestamp, consumed: Option<f64>, urgent: bool) {
        let lowest =
            self.engaged.iter().filter_map(|engaged| policy.steps.get(engaged.step)).map(|step| step.at);
        let lowest = lowest.fold(f64::INFINITY, f64::min);
        let stable = consumed.is_some_and(|consumed| consumed < lowest) && !urgent;
        self.stable_since = if stable { self.stable_since.or(Some(now)) } else { None };
    }

    fn expire(&mut self, policy: &Policy, now: Timestamp) {
        for place in 0..self.engaged.len() {
            let until = self.until(policy, self.engaged[place].step);
            self.engaged[place].expired |= until.is_some_and(|until| now >= until);
        }
    }

    /// As Plan and people see it: `consumed` is the share of the budget used up.
    #[must_use]
    pub fn shown(
        &self,
        policy: &Policy,
        objective: &str,
        consumed: Option<f64>,
        now: Timestamp,
    ) -> BudgetPolicyState {
        let since = |step| {
            let engaged = self.engaged.iter().find(|engaged| engaged.step == step);
            engaged.map_or(now, |engaged| engaged.since)
        };
        let reason = |step: usize| {
            let at = policy.steps.get(step).map_or(0.0, |step| step.at);
            format!("{:.0} % or more of the error budget of {objective} was used up", at * 100.0)
        };
        let measure = |(measure, step): (Measure, usize)| MeasureInForce {
            measure,
            step: u32::try_from(step).unwrap_or(u32::MAX),
            since: since(step),
            until: self.until(policy, step),
            reason: reason(step),
        };
        BudgetPolicyState {
            objective: objective.to_owned(),
            consumed_ratio: consumed,
            remaining_ratio: consumed.map(|consumed| 1.0 - consumed),
            refuse_risk_below: policy.refuse_risk_below,
            measures: self.in_force(policy).into_iter().map(measure).collect(),
            known: consumed.is_some(),
            waiting_for: self.waiting_for(policy, now),
            autonomy: policy.autonomy,
        }
    }

    /// What still stands against the reset, for people; empty: nothing, or nothing is in force.
    #[must_use]
    pub fn waiting_for(&self, policy: &Policy, now: Timestamp) -> Vec<String> {
        let mut waiting = Vec::new();
        if self.engaged.is_empty() {
            return waiting;
        }
        let Reset { stable_s, approvals, review } = policy.reset;
        match self.stable_since {
            None => waiting.push("the budget to recover, with nothing urgent open".to_owned()),
            Some(since) => {
                let left = stable_s as f64 - now.duration_since(since).as_secs_f64();
                if left > 0.0 {
                    waiting.push(format!("{left:.0} s more of stability"));
                }
            }
        }
        let holding = self.approvals.values().filter(|until| until.is_none_or(|until| now < until)).count();
        let missing = (approvals as usize).saturating_sub(holding);
        if missing > 0 {
            waiting.push(format!("{missing} more approval(s)"));
        }
        if review && !self.reviewed {
            waiting.push("the review".to_owned());
        }
        waiting
    }

    fn may_reset(&self, policy: &Policy, now: Timestamp) -> bool {
        !self.engaged.is_empty() && self.waiting_for(policy, now).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy() -> Policy {
        Policy {
            steps: vec![
                Step { at: 0.5, measures: vec![Measure::Notify, Measure::RaiseCadence], expires_after_s: 0 },
                Step {
                    at: 0.8,
                    measures: vec![Measure::FreezeDeployments, Measure::Notify],
                    expires_after_s: 3_600,
                },
            ],
            reset: Reset { stable_s: 600, approvals: 1, review: false },
            refuse_risk_below: 0.2,
            autonomy: None,
        }
    }

    fn ada() -> Event {
        Event::Approved { who: "ada".to_owned(), until: None }
    }

    fn budget(consumed: f64) -> Event {
        Event::Budget { consumed: Some(consumed), urgent: false }
    }

    fn begun(effects: &[Effect]) -> Vec<Measure> {
        effects
            .iter()
            .filter_map(|e| if let Effect::Begin { measure, .. } = e { Some(*measure) } else { None })
            .collect()
    }

    fn undone(effects: &[Effect]) -> Vec<Measure> {
        effects
            .iter()
            .filter_map(|e| if let Effect::Undo { measure, .. } = e { Some(*measure) } else { None })
            .collect()
    }

    #[test]
    fn each_step_begins_its_measures_once() {
        let policy = policy();
        let (standing, effects) = Standing::default().handle(&policy, at(0), budget(0.3));
        assert!(effects.is_empty());
        let (standing, effects) = standing.handle(&policy, at(1), budget(0.6));
        assert_eq!(begun(&effects), [Measure::Notify, Measure::RaiseCadence]);
        let (standing, effects) = standing.handle(&policy, at(2), budget(0.9));
        assert_eq!(begun(&effects), [Measure::FreezeDeployments], "people were told already");
        let (_, effects) = standing.handle(&policy, at(3), budget(0.95));
        assert!(effects.is_empty());
    }

    #[test]
    fn what_is_unknown_begins_nothing_and_resets_nothing() {
        let policy = policy();
        let unknown = || Event::Budget { consumed: None, urgent: false };
        let (standing, effects) = Standing::default().handle(&policy, at(0), unknown());
        assert!(effects.is_empty());
        let (standing, _) = standing.handle(&policy, at(0), budget(0.6));
        let (standing, _) = standing.handle(&policy, at(1), ada());
        let (standing, _) = standing.handle(&policy, at(2), unknown());
        let (standing, effects) = standing.handle(&policy, at(10_000), unknown());
        assert!(effects.is_empty() && !standing.engaged.is_empty());
    }

    #[test]
    fn measures_are_undone_only_when_every_criterion_holds() {
        let policy = policy();
        let (standing, _) = Standing::default().handle(&policy, at(0), budget(0.6));
        let (standing, effects) = standing.handle(&policy, at(10), budget(0.4));
        assert!(effects.is_empty());
        let (standing, effects) = standing.handle(&policy, at(700), budget(0.4));
        assert!(effects.is_empty(), "nobody has approved: {:?}", standing.waiting_for(&policy, at(700)));
        let (standing, effects) = standing.handle(&policy, at(701), ada());
        assert_eq!(undone(&effects), [Measure::Notify, Measure::RaiseCadence]);
        assert_eq!(standing, Standing::default());
    }

    #[test]
    fn stability_starts_anew_after_an_urgent_alert() {
        let policy = Policy { reset: Reset { stable_s: 600, approvals: 0, review: false }, ..policy() };
        let (standing, _) = Standing::default().handle(&policy, at(0), budget(0.6));
        let (standing, _) = standing.handle(&policy, at(10), budget(0.4));
        let (standing, _) =
            standing.handle(&policy, at(500), Event::Budget { consumed: Some(0.4), urgent: true });
        let (standing, effects) = standing.handle(&policy, at(700), budget(0.4));
        assert!(effects.is_empty());
        let (_, effects) = standing.handle(&policy, at(1_300), budget(0.4));
        assert_eq!(undone(&effects).len(), 2);
    }

    #[test]
    fn a_measure_ends_by_itself_when_it_expires_and_does_not_begin_again() {
        let policy = policy();
        let (standing, effects) = Standing::default().handle(&policy, at(0), budget(0.9));
        assert_eq!(begun(&effects).len(), 3);
        let (standing, effects) = standing.handle(&policy, at(3_600), budget(0.9));
        assert_eq!(undone(&effects), [Measure::FreezeDeployments]);
        let (_, effects) = standing.handle(&policy, at(3_601), budget(0.9));
        assert!(effects.is_empty());
    }

    #[test]
    fn risk_needs_budget_that_is_known() {
        let policy = policy();
        assert_eq!(policy.refusal(Some(0.5)), None);
        assert!(policy.refusal(Some(0.1)).unwrap().contains("10.0 %"));
        assert!(policy.refusal(None).unwrap().contains("unknown"));
    }

    #[test]
    fn steps_out_of_order_are_refused() {
        let mut policy = policy();
        assert!(policy.validate().is_ok());
        policy.steps.reverse();
        assert!(policy.validate().is_err());
    }
}
