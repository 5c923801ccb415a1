//! Objectives that are made of queries: who is asked what, and what the answers tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proto::model::{Assessment, Capacity, DataQuality, Quality, ResourceId, TrackedObjective};

use super::{Book, GROUPS_MAX, News, groups, told_of, unseen};
use crate::slo::live::Live;
use crate::slo::objective::{ObjectiveSpec, Promql};
use crate::slo::queried::{self, Answer, Queried};

/// Longest name of a group: Knowledge takes no longer ones.
const NAME_MAX: usize = 400;
/// An assessment older than so many of its intervals says nothing of now.
const OLD_INTERVALS: u32 = 4;

impl Book {
    pub(super) fn add_asked(
        &mut self,
        spec: ObjectiveSpec,
        resource: ResourceId,
        before: &mut BTreeMap<String, Live>,
        asked: &BTreeMap<String, Queried>,
    ) {
        if spec.group_by.is_empty() {
            let earlier = before.remove(&spec.id);
            let followed = asked.get(&spec.id).cloned();
            self.follow(spec, resource, earlier, followed, Vec::new());
            return;
        }
        let known: Vec<_> = groups(before, &spec.id).cloned().collect();
        for id in known {
            // Its labels are what it follows; an objective that was not grouped by them before begins anew.
            let Some(followed) = asked.get(&id).filter(|followed| labels(followed.group()) == spec.group_by)
            else {
                continue;
            };
            let earlier = before.remove(&id);
            let group = followed.group().to_vec();
            let spec = ObjectiveSpec { id, ..spec.clone() };
            self.follow(spec, resource.clone(), earlier, Some(followed.clone()), group);
        }
        self.asked_groups.push((spec, resource));
    }

    fn follow(
        &mut self,
        spec: ObjectiveSpec,
        about: ResourceId,
        earlier: Option<Live>,
        followed: Option<Queried>,
        group: Vec<(String, String)>,
    ) {
        let same = earlier.as_ref().is_some_and(|live| live.spec().indicator == spec.indicator);
        let fresh = || Queried::new(&spec.indicator, group);
        let queried = followed.filter(|_| same).unwrap_or_else(fresh);
        self.asked.insert(spec.id.clone(), queried);
        self.add(spec, about, earlier);
    }

    /// Everything that is to be asked.
    pub fn questions(&self) -> BTreeSet<Promql> {
        let specs = self.asked.keys().filter_map(|id| Some(self.lives.get(id)?.spec()));
        let grouped = self.asked_groups.iter().map(|(spec, _)| spec);
        specs.chain(grouped).flat_map(|spec| queried::queries(&spec.indicator)).collect()
    }

    /// Takes in the answers of one moment. `newest` is the newest assessment of a resource: some indicators have signals besides.
    pub fn answered(
        &mut self,
        at: Timestamp,
        interval: Duration,
        answers: &BTreeMap<Promql, Answer>,
        newest: &dyn Fn(&ResourceId) -> Option<Arc<Assessment>>,
    ) -> Vec<News> {
        self.form_groups(answers);
        let mut news = Vec::new();
        for (id, queried) in &mut self.asked {
            let Some(live) = self.lives.get_mut(id) else { continue };
            let read = queried.take(at, answers);
            let mut seen = beside(live.about(), at, interval, newest(live.about()));
            seen.signals.extend(read.glances);
            let (since, readings) = (read.since, read.readings);
            news.extend(told_of(live, &mut self.changed, at, |live| live.answered(&seen, since, readings)));
        }
        news
    }

    /// A budget of its own for each combination of label values that the answers show.
    fn form_groups(&mut self, answers: &BTreeMap<Promql, Answer>) {
        let mut new = Vec::new();
        for (spec, resource) in &self.asked_groups {
            let room = GROUPS_MAX.saturating_sub(groups(&self.lives, &spec.id).count());
            let seen: BTreeSet<Vec<(String, String)>> = queried::queries(&spec.indicator)
                .iter()
                .filter_map(|query| answers.get(query)?.as_ref().ok())
                .flatten()
                .filter_map(|sample| group_of(&spec.group_by, &sample.labels))
                .collect();
            let named = seen.into_iter().map(|group| (group_id(&spec.id, &group), group));
            let unknown = named.filter(|(id, _)| id.len() <= NAME_MAX && !self.lives.contains_key(id));
            for (id, group) in unknown.take(room) {
                new.push((ObjectiveSpec { id, ..spec.clone() }, resource.clone(), group));
            }
        }
        for (spec, resource, group) in new {
            self.follow(spec, resource, None, None, group);
        }
    }

    /// Grouped ones of which nothing has been seen yet.
    pub(super) fn without_series(&self) -> Vec<TrackedObjective> {
        let waits =
            self.asked_groups.iter().filter(|(spec, _)| groups(&self.lives, &spec.id).next().is_none());
        let reason = |spec: &ObjectiveSpec| {
            format!("its queries have given no series with {} yet", spec.group_by.join(", "))
        };
        waits.filter_map(|(spec, _)| unseen(spec, reason(spec))).collect()
    }
}

fn labels(group: &[(String, String)]) -> Vec<String> {
    group.iter().map(|(label, _)| label.clone()).collect()
}

fn group_of(by: &[String], labels: &BTreeMap<String, String>) -> Option<Vec<(String, String)>> {
    by.iter().map(|label| Some((label.clone(), labels.get(label)?.clone()))).collect()
}

fn group_id(id: &str, group: &[(String, String)]) -> String {
    let named: Vec<_> = group.iter().map(|(label, value)| format!("{label}={value}")).collect();
    format!("{id}{{{}}}", named.join(","))
}

/// An assessment for the values of queries to stand in, with the signals of now, if there are any.
fn beside(
    resource: &ResourceId,
    at: Timestamp,
    interval: Duration,
    newest: Option<Arc<Assessment>>,
) -> Assessment {
    let is_of_now = |seen: &Arc<Assessment>| {
        at.duration_since(seen.at).unsigned_abs() <= seen.interval.saturating_mul(OLD_INTERVALS)
    };
    let signals = newest.filter(is_of_now).map_or_else(Vec::new, |seen| seen.signals.clone());
    let data = DataQuality {
        quality: Quality::Good,
        reason: String::new(),
        since: at,
        sources_expected: 0,
        sources_seen: 0,
        last_good: None,
    };
    Assessment {
        shard: resource.shard(),
        resource: resource.clone(),
        at,
        sequence: 0,
        signals,
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity::default(),
        outlook: None,
        data,
        interval,
        budget_policies: Vec::new(),
    }
}
