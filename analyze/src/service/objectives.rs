//! Imported objectives: which there are, what each assessment tells them, and what is to be recorded and saved of them.

mod asked;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proto::model::{
    Assessment, BudgetPolicyState, ObjectiveStanding, ObjectiveState, ResourceId, ResourceKind,
    TrackedObjective,
};

use crate::slo::live::{Happened, Live};
use crate::slo::objective::ObjectiveSpec;
use crate::slo::observed::{CALLEE, untracked};
use crate::slo::policy::{Effect, Event, Policy, Standing};
use crate::slo::queried::{self, Queried};
use crate::snapshot::codec::{Damaged, Reader, Writer};

/// Groups of one objective: more of them are no label but a mistake.
const GROUPS_MAX: usize = 1_000;
/// Withdrawn policies that are remembered: older ones have long been taken back.
const WITHDRAWN_MAX: usize = 1_000;
/// Taken until an assessment tells the interval.
const INTERVAL_DEFAULT: std::time::Duration = std::time::Duration::from_secs(15);

/// Something that happened to an objective, on its way to Knowledge.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// Whose.
    pub objective: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub happened: Happened,
    /// What stands against the reset, after it: none while something is in force means that it was reset.
    pub reset: bool,
}

/// Every imported objective.
#[derive(Debug, Default)]
pub struct Book {
    lives: BTreeMap<String, Live>,
    /// Objectives by the resource whose assessments tell them.
    by_resource: BTreeMap<ResourceId, Vec<String>>,
    /// Grouped ones, by the service whose edges they are about.
    grouped: BTreeMap<ResourceId, Vec<ObjectiveSpec>>,
    /// Those that cannot be tracked, with the reason.
    untracked: Vec<TrackedObjective>,
    /// Saved states of an earlier life that nobody has asked for yet.
    saved: BTreeMap<String, Vec<u8>>,
    /// Spans of earlier lives that are still to be read from Knowledge.
    unread: Vec<String>,
    /// Those whose standing changed since they were saved.
    changed: Vec<String>,
    /// Those that are made of queries: no assessment tells them, answers do.
    asked: BTreeMap<String, Queried>,
    /// Grouped ones made of queries.
    asked_groups: Vec<(ObjectiveSpec, ResourceId)>,
    /// Objectives with a policy that are there no more: what it had begun is to end.
    withdrawn: BTreeSet<(ResourceId, String)>,
    /// Whether everything is known that earlier lives left.
    settled: bool,
}

fn service(spec: &ObjectiveSpec) -> Option<ResourceId> {
    ResourceId::service(&spec.namespace, &spec.service).ok()
}

impl Book {
    /// Takes over what an earlier life had saved, before the objectives are known.
    pub fn remember(&mut self, saved: BTreeMap<String, Vec<u8>>) {
        self.saved = saved;
    }

    /// These are all objectives now; `wrong` are documents that make none.
    pub fn replace(&mut self, specs: Vec<ObjectiveSpec>, wrong: Vec<(String, String)>) {
        let mut before = std::mem::take(&mut self.lives);
        self.by_resource.clear();
        self.grouped.clear();
        self.untracked.clear();
        self.asked_groups.clear();
        let asked_before = std::mem::take(&mut self.asked);
        for spec in specs {
            let Some(resource) = service(&spec) else {
                self.untracked.extend(unseen(&spec, "its service has no valid name".to_owned()));
                continue;
            };
            if let Some(reason) = untracked(&spec) {
                self.untracked.extend(unseen(&spec, reason));
            } else if !queried::queries(&spec.indicator).is_empty() {
                self.add_asked(spec, resource, &mut before, &asked_before);
            } else if spec.group_by.is_empty() {
                let earlier = before.remove(&spec.id);
                self.add(spec, resource, earlier);
            } else {
                let known: Vec<_> = groups(&before, &spec.id).cloned().collect();
                for id in known {
                    if let Some(live) = before.remove(&id) {
                        let about = live.about().clone();
                        self.add(ObjectiveSpec { id, ..spec.clone() }, about, Some(live));
                    }
                }
                self.grouped.entry(resource).or_default().push(spec);
            }
        }
        self.untracked.extend(wrong.into_iter().filter_map(|(id, rule)| unseen_named(&id, &id, rule)));
        self.withdrawn.retain(|(_, id)| !self.lives.contains_key(id));
        let gone = before.into_values().filter(|live| live.policy_state().is_some());
        let gone: Vec<_> = gone.map(|live| (live.about().clone(), live.spec().id.clone())).collect();
        self.withdrawn.extend(gone);
        while self.withdrawn.len() > WITHDRAWN_MAX {
            self.withdrawn.pop_first();
        }
    }

    /// Everything is known that earlier lives left. Until then nobody knows how much budget anything has.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    fn add(&mut self, spec: ObjectiveSpec, about: ResourceId, earlier: Option<Live>) {
        let id = spec.id.clone();
        let live = match (earlier, self.saved.remove(&id)) {
            (Some(live), _) => live.followed(spec),
            (None, Some(saved)) => {
                let mut reader = Reader::new(&saved);
                let counters = reader.text().map(str::to_owned);
                let restored = counters.and_then(|counters| {
                    let live = Live::load(spec.clone(), about.clone(), &mut reader)?;
                    // Counters go on only from the moment up to which their events were saved.
                    if let Some(queried) = self.asked.get_mut(&id).filter(|_| live.seen_at().is_some()) {
                        queried.restore(&counters);
                    }
                    Ok(live)
                });
                restored.unwrap_or_else(|Damaged { at }| {
                    tracing::warn!(objective = id, at, "what was saved of an objective is damaged");
                    self.unread.push(id.clone());
                    Live::new(spec, about.clone(), INTERVAL_DEFAULT)
                })
            }
            (None, None) => {
                self.unread.push(id.clone());
                Live::new(spec, about.clone(), INTERVAL_DEFAULT)
            }
        };
        self.by_resource.entry(about).or_default().push(id.clone());
        self.lives.insert(id, live);
    }

    /// Takes in an assessment, and writes into it where the policies of its resource stand.
    pub fn observe(&mut self, seen: &mut Assessment) -> Vec<News> {
        if seen.resource.kind() == ResourceKind::Edge {
            self.group(&seen.resource);
        }
        let Some(ids) = self.by_resource.get(&seen.resource) else {
            seen.budget_policies = self.policies(&seen.resource);
            return Vec::new();
        };
        let mut news = Vec::new();
        for id in ids {
            if self.asked.contains_key(id) {
                continue;
            }
            let Some(live) = self.lives.get_mut(id) else { continue };
            news.extend(told_of(live, &mut self.changed, seen.at, |live| live.observe(seen)));
        }
        seen.budget_policies = self.policies(&seen.resource);
        news
    }

    /// A budget of its own for each callee.
    fn group(&mut self, edge: &ResourceId) {
        let Some((caller, callee)) = edge.edge_ends() else { return };
        let Ok(caller) = ResourceId::service(edge.namespace(), caller) else { return };
        let Some(specs) = self.grouped.get(&caller) else { return };
        // Nearly always all are known: nothing is copied then.
        let new = specs.iter().filter_map(|spec| {
            let id = format!("{}{{{CALLEE}={callee}}}", spec.id);
            let is_new = !self.lives.contains_key(&id) && groups(&self.lives, &spec.id).count() < GROUPS_MAX;
            is_new.then(|| ObjectiveSpec { id, ..spec.clone() })
        });
        let new: Vec<_> = new.collect();
        new.into_iter().for_each(|spec| self.add(spec, edge.clone(), None));
    }

    fn policies(&self, resource: &ResourceId) -> Vec<BudgetPolicyState> {
        if resource.kind() != ResourceKind::Service {
            return Vec::new();
        }
        if !self.settled {
            return vec![nobody_knows()];
        }
        let own = self.by_resource.get(resource).into_iter().flatten();
        let own = own.filter_map(|id| self.lives.get(id)?.policy_state());
        let gone = self.withdrawn.iter().filter(|(about, _)| about == resource);
        own.chain(gone.map(|(_, id)| wants_nothing(id))).collect()
    }

    /// Objectives that wait for people, and since when.
    pub fn waiting(&self) -> Vec<(String, Timestamp)> {
        let waits = self.lives.iter().filter(|(_, live)| live.waits_for_people());
        waits.filter_map(|(id, live)| Some((id.clone(), live.engaged_since()?))).collect()
    }

    /// Somebody approved or reviewed.
    pub fn told(&mut self, objective: &str, now: Timestamp, event: Event) -> Vec<Effect> {
        let Some(live) = self.lives.get_mut(objective) else { return Vec::new() };
        let before: Standing = live.standing().clone();
        let effects = live.told(now, event);
        if *live.standing() != before {
            self.changed.push(objective.to_owned());
        }
        effects
    }

    /// Objectives whose earlier spans are to be read from Knowledge, with the length of their windows.
    pub fn take_unread(&mut self) -> Vec<(String, std::time::Duration)> {
        let unread = std::mem::take(&mut self.unread);
        let span = |id: String| {
            let span = self.lives.get(&id)?.spec().period.longest();
            Some((id, span))
        };
        unread.into_iter().filter_map(span).collect()
    }

    /// An objective by its name.
    pub fn get_mut(&mut self, objective: &str) -> Option<&mut Live> {
        self.lives.get_mut(objective)
    }

    /// How the next so many tracked objectives after this one stand, in the order of their names. A forecast takes a fifth of a
    /// millisecond: nobody is to wait for all of them.
    pub fn page(&self, after: &str, limit: usize, now: Timestamp) -> Vec<TrackedObjective> {
        use std::ops::Bound::{Excluded, Unbounded};
        let next = self.lives.range::<str, _>((Excluded(after), Unbounded));
        next.take(limit).map(|(_, live)| live.tracked(now)).collect()
    }

    /// The objectives that are not tracked, each with the reason.
    pub fn without(&self) -> Vec<TrackedObjective> {
        let mut all: Vec<TrackedObjective> = Vec::new();
        let waits = self.grouped.values().flatten();
        let waits = waits.filter(|spec| groups(&self.lives, &spec.id).next().is_none());
        all.extend(waits.filter_map(|spec| unseen(spec, format!("no {CALLEE} has been seen yet"))));
        all.extend(self.without_series());
        all.extend(self.untracked.iter().cloned());
        all
    }

    /// The saved form of those whose standing changed since the last call, or of all.
    pub fn take_saved(&mut self, all: bool) -> Vec<(String, Vec<u8>)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let wanted: Vec<&String> = if all { self.lives.keys().collect() } else { changed.iter().collect() };
        let save = |id: &String| {
            let mut writer = Writer::default();
            writer.text(&self.asked.get(id).map_or_else(String::new, Queried::saved));
            self.lives.get(id)?.save(&mut writer);
            Some((id.clone(), writer.into_bytes()))
        };
        wanted.into_iter().filter_map(save).collect()
    }
}

/// What a change to an objective tells, and whether it is worth saving.
fn told_of(
    live: &mut Live,
    changed: &mut Vec<String>,
    at: Timestamp,
    change: impl FnOnce(&mut Live) -> Happened,
) -> Option<News> {
    let before = live.standing().engaged.clone();
    let happened = change(live);
    let is_worth_saving = live.is_worth_saving();
    let objective = &live.spec().id;
    let reset = !before.is_empty() && live.standing().engaged.is_empty();
    if is_worth_saving || before != live.standing().engaged {
        changed.push(objective.clone());
    }
    (happened != Happened::default()).then(|| News { objective: objective.clone(), at, happened, reset })
}

/// What stands for all policies until they are known: what may do harm is refused, and nothing is taken back.
fn nobody_knows() -> BudgetPolicyState {
    BudgetPolicyState {
        objective: "any objective".to_owned(),
        consumed_ratio: None,
        remaining_ratio: None,
        refuse_risk_below: 0.0,
        measures: Vec::new(),
        known: false,
        waiting_for: Vec::new(),
        autonomy: None,
    }
}

/// A policy that is there no more.
fn wants_nothing(objective: &str) -> BudgetPolicyState {
    Standing::default().shown(&Policy::nothing(), objective, Some(0.0), Timestamp::UNIX_EPOCH)
}

/// The groups of a grouped objective.
fn groups<'a>(lives: &'a BTreeMap<String, Live>, id: &str) -> impl Iterator<Item = &'a String> + use<'a> {
    let prefix = format!("{id}{{");
    let from = lives.range(prefix.clone()..).map(|(id, _)| id);
    from.take_while(move |id| id.starts_with(&prefix))
}

fn unseen(spec: &ObjectiveSpec, reason: String) -> Option<TrackedObjective> {
    let resource = service(spec)?;
    Some(TrackedObjective {
        title: spec.title.clone(),
        state: ObjectiveState { target_ratio: spec.target, ..unknown() },
        resource,
        ..unseen_named(&spec.id, &spec.title, reason)?
    })
}

/// A document that makes no objective is still said to be there.
fn unseen_named(id: &str, title: &str, reason: String) -> Option<TrackedObjective> {
    Some(TrackedObjective {
        objective: id.to_owned(),
        title: title.to_owned(),
        resource: ResourceId::service("default", "unknown").ok()?,
        untracked: reason,
        state: unknown(),
        from: Timestamp::UNIX_EPOCH,
        to: Timestamp::UNIX_EPOCH,
        incomplete: false,
        exhaustion: None,
        policy: None,
        alert: String::new(),
        readings: Vec::new(),
    })
}

fn unknown() -> ObjectiveState {
    ObjectiveState {
        standing: ObjectiveStanding::Unknown,
        target_ratio: 0.0,
        good_ratio: None,
        burn_rate_short: None,
        burn_rate_long: None,
        budget_remaining_ratio: None,
        total_events: 0.0,
        unknown_time_ratio: 1.0,
    }
}

#[cfg(test)]
#[path = "objectives/tests.rs"]
mod tests;
