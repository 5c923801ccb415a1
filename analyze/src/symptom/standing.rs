//! All living symptoms side by side, so that each assessment says how its own relate to the others'. It is the one stage that
//! sees all shards; only resources with symptoms cost anything.

use std::collections::BTreeMap;

use proto::model::{Assessment, ResourceId, Symptom};

use super::relate::{Related, relate};
use crate::correlate::Graph;

/// What is known of symptoms beyond their resource.
#[derive(Debug, Default)]
pub struct Standing {
    graph: Graph,
    symptoms: BTreeMap<ResourceId, Vec<Symptom>>,
    /// By the id of the symptom; the id of what explains it beside.
    related: BTreeMap<String, (Related, Option<String>)>,
}

impl Standing {
    /// Who calls whom has changed: `calls` are the edges, each between its two ends.
    pub fn connect(&mut self, calls: impl Iterator<Item = (ResourceId, ResourceId, ResourceId)>) {
        self.graph = Graph::default();
        for (caller, edge, callee) in calls {
            self.graph.add(caller.clone(), edge.clone());
            self.graph.add(edge, callee.clone());
            self.graph.add(caller, callee);
        }
        self.compare();
    }

    /// Takes in the symptoms of one resource, and writes into them how they relate to the others.
    pub fn relate(&mut self, assessment: &mut Assessment) {
        let living = || assessment.symptoms.iter().filter(|symptom| symptom.ended_at.is_none());
        let known = self.symptoms.get(&assessment.resource).map_or(&[][..], Vec::as_slice);
        let is_same =
            |(a, b): (&Symptom, &Symptom)| (&a.id, a.state, a.severity) == (&b.id, b.state, b.severity);
        let is_news = known.len() != living().count() || !known.iter().zip(living()).all(is_same);
        if is_news {
            let living: Vec<_> = living().cloned().collect();
            match living.is_empty() {
                true => self.symptoms.remove(&assessment.resource),
                false => self.symptoms.insert(assessment.resource.clone(), living),
            };
            self.compare();
        }
        for symptom in assessment.symptoms.iter_mut().filter(|symptom| symptom.ended_at.is_none()) {
            let Some((related, explained_by)) = self.related.get(&symptom.id) else { continue };
            symptom.severity = related.severity;
            symptom.blast_radius_ratio = related.blast_radius.clamp(0.0, 1.0);
            symptom.explained_by.clone_from(explained_by);
            if !related.note.is_empty() {
                symptom.text = format!("{}; {}", symptom.text, related.note);
            }
        }
    }

    /// A resource is no longer declared.
    pub fn remove(&mut self, resource: &ResourceId) {
        if self.symptoms.remove(resource).is_some() {
            self.compare();
        }
    }

    fn compare(&mut self) {
        let all = self.symptoms.iter();
        let all =
            all.flat_map(|(resource, own)| own.iter().map(|symptom| (resource.clone(), symptom.clone())));
        let all: Vec<_> = all.collect();
        let related = relate(&all, &self.graph).into_iter().zip(&all).map(|(related, (_, symptom))| {
            let explained_by = related.explained_by.map(|place| all[place].1.id.clone());
            (symptom.id.clone(), (related, explained_by))
        });
        self.related = related.collect();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proto::model::{Capacity, DataQuality, Quality, Severity, SymptomKind, SymptomState};

    use super::*;

    fn service(name: &str) -> ResourceId {
        format!("service:shop/{name}").parse().unwrap()
    }

    fn assessment(name: &str, state: Option<SymptomState>) -> Assessment {
        let at = Timestamp::from_second(1_000).unwrap();
        let symptom = |state: SymptomState| Symptom {
            id: name.to_owned(),
            kind: SymptomKind::Objective,
            state,
            severity: Severity::Medium,
            confidence: 1.0,
            suspected_at: at,
            opened_at: Some(at),
            ended_at: (state == SymptomState::Resolved).then_some(at),
            text: format!("{name} is slow"),
            evidence: Vec::new(),
            explained_by: None,
            blast_radius_ratio: 0.0,
        };
        let data = DataQuality {
            quality: Quality::Good,
            reason: String::new(),
            since: at,
            sources_expected: 1,
            sources_seen: 1,
            last_good: None,
        };
        Assessment {
            resource: service(name),
            shard: service(name).shard(),
            at,
            sequence: 1,
            signals: Vec::new(),
            symptoms: state.map(symptom).into_iter().collect(),
            objective: None,
            capacity: Capacity::default(),
            outlook: None,
            budget_policies: Vec::new(),
            data,
            interval: std::time::Duration::from_secs(1),
        }
    }

    fn chain() -> Standing {
        let mut standing = Standing::default();
        let edge = |caller: &str, callee: &str| ResourceId::edge("shop", caller, callee).unwrap();
        let calls = [("web", "cart"), ("cart", "store")];
        standing.connect(calls.into_iter().map(|(a, b)| (service(a), edge(a, b), service(b))));
        standing
    }

    fn seen(standing: &mut Standing, name: &str, state: Option<SymptomState>) -> Vec<Symptom> {
        let mut assessment = assessment(name, state);
        standing.relate(&mut assessment);
        assessment.symptoms
    }

    #[test]
    fn a_caller_is_explained_by_what_it_calls_as_soon_as_that_is_known() {
        let (mut standing, open) = (chain(), Some(SymptomState::Open));
        assert_eq!(seen(&mut standing, "cart", open)[0].explained_by, None);
        let cause = seen(&mut standing, "store", open).remove(0);
        assert_eq!(cause.text, "store is slow; explains 1 symptom of callers");
        let explained = seen(&mut standing, "cart", open).remove(0);
        assert_eq!(explained.explained_by.as_deref(), Some("store"));
        assert_eq!(explained.text, "cart is slow; explained by store: store is slow");
        assert!(cause.blast_radius_ratio > explained.blast_radius_ratio, "all depend on store");
        seen(&mut standing, "store", Some(SymptomState::Resolved));
        assert_eq!(seen(&mut standing, "cart", open)[0].explained_by, None);
    }

    #[test]
    fn a_resource_that_is_gone_explains_nothing() {
        let (mut standing, open) = (chain(), Some(SymptomState::Open));
        seen(&mut standing, "store", open);
        standing.remove(&service("store"));
        assert_eq!(seen(&mut standing, "cart", open)[0].explained_by, None);
    }
}
