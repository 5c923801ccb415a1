//! Symptoms of many resources seen together: which are explained by another further down the calls, and how far each reaches.
//!
//! An explained symptom is inhibited: it is shown with what explains it, and not acted on by itself. It is free again as soon as
//! the other ends. What reaches half of all resources is one step more severe: that is the third factor of severity, beside what
//! the symptom costs the objective and how sure it is, and only known where all resources are.

use proto::model::{ResourceId, Severity, Symptom, SymptomKind};

use crate::correlate::{Found, Graph, group};

/// Share of the known resources from which on trouble is wide.
const WIDE: f64 = 0.5;
/// Fewer known resources have no half that means anything.
const RESOURCES_MIN: usize = 4;

/// What is known of a symptom among all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Related {
    /// Place of the symptom that explains this one; `None`: it stands for itself.
    pub explained_by: Option<usize>,
    /// How bad, the blast radius counted in. An explained symptom keeps its own.
    pub severity: Severity,
    /// Share of the known resources that it may reach, 0 to 1.
    pub blast_radius: f64,
    /// For people: what explains it or what it explains; empty when nothing does and it does not.
    pub note: String,
}

/// Relates living symptoms to one another: one answer for each, in their order. Only open ones explain others; missing data
/// neither explains trouble nor is explained by it.
#[must_use]
pub fn relate(symptoms: &[(ResourceId, Symptom)], graph: &Graph) -> Vec<Related> {
    let mut related: Vec<Related> =
        symptoms.iter().map(|(resource, symptom)| alone(resource, symptom, graph)).collect();
    let joined: Vec<usize> = (0..symptoms.len()).filter(|place| is_joined(&symptoms[*place].1)).collect();
    let found: Vec<Found> = joined.iter().map(|place| found(&symptoms[*place])).collect();
    for group in group(&found, graph) {
        let cause = joined[group.cause];
        let mut explained = 0;
        for place in group.inhibited.into_iter().map(|inhibited| joined[inhibited]) {
            let (resource, symptom) = &symptoms[place];
            // Several kinds of trouble of one resource stand beside one another: each may call for something else.
            if *resource == symptoms[cause].0 {
                continue;
            }
            explained += 1;
            related[place] = Related {
                explained_by: Some(cause),
                severity: symptom.severity,
                note: format!("explained by {}: {}", symptoms[cause].0.name(), symptoms[cause].1.text),
                ..related[place].clone()
            };
        }
        if explained > 0 {
            let noun = if explained == 1 { "symptom" } else { "symptoms" };
            related[cause].note = format!("explains {explained} {noun} of callers");
        }
    }
    related
}

/// The severity of trouble that reaches this share of so many resources: one step up where it is wide, unless it is low. What
/// costs nothing does not cost more for being everywhere.
#[must_use]
pub fn spread(severity: Severity, blast_radius: f64, resources: usize) -> Severity {
    match severity {
        _ if blast_radius < WIDE || resources < RESOURCES_MIN => severity,
        Severity::Low => Severity::Low,
        Severity::Medium => Severity::High,
        Severity::High | Severity::Critical => Severity::Critical,
    }
}

fn is_joined(symptom: &Symptom) -> bool {
    symptom.is_open() && symptom.kind != SymptomKind::DataMissing
}

fn alone(resource: &ResourceId, symptom: &Symptom, graph: &Graph) -> Related {
    let blast_radius = graph.blast_radius(resource);
    let severity = spread(symptom.severity, blast_radius, graph.len());
    Related { explained_by: None, severity, blast_radius, note: String::new() }
}

fn found((resource, symptom): &(ResourceId, Symptom)) -> Found {
    Found {
        resource: resource.clone(),
        since: symptom.suspected_at,
        severity: symptom.severity,
        confidence: symptom.confidence,
        signals: symptom.evidence.iter().map(|evidence| evidence.signal.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proto::model::SymptomState;

    use super::*;

    fn service(name: &str) -> ResourceId {
        format!("service:shop/{name}").parse().unwrap()
    }

    fn symptom(name: &str, kind: SymptomKind, severity: Severity) -> (ResourceId, Symptom) {
        let at = Timestamp::from_second(1_000).unwrap();
        let symptom = Symptom {
            id: name.to_owned(),
            kind,
            state: SymptomState::Open,
            severity,
            confidence: 1.0,
            suspected_at: at,
            opened_at: Some(at),
            ended_at: None,
            text: format!("{name} is slow"),
            evidence: Vec::new(),
            explained_by: None,
            blast_radius_ratio: 0.0,
        };
        (service(name), symptom)
    }

    fn graph() -> Graph {
        let mut graph = Graph::default();
        for (caller, callee) in [("web", "cart"), ("cart", "store"), ("web", "search"), ("batch", "report")] {
            graph.add(service(caller), service(callee));
        }
        graph
    }

    #[test]
    fn a_callers_symptom_is_inhibited_and_still_shown() {
        let all = [
            symptom("web", SymptomKind::Objective, Severity::High),
            symptom("store", SymptomKind::Saturation, Severity::Medium),
            symptom("cart", SymptomKind::Objective, Severity::High),
        ];
        let related = relate(&all, &graph());
        assert_eq!(related.iter().map(|one| one.explained_by).collect::<Vec<_>>(), [Some(1), None, Some(1)]);
        assert_eq!(related[0].note, "explained by store: store is slow");
        assert_eq!(related[1].note, "explains 2 symptoms of callers");
        assert_eq!(related[1].severity, Severity::High, "half of the resources depend on it");
        assert_eq!(related[2].severity, Severity::High);
    }

    #[test]
    fn inhibition_ends_with_what_explains() {
        let mut all = [
            symptom("cart", SymptomKind::Objective, Severity::High),
            symptom("store", SymptomKind::Saturation, Severity::High),
        ];
        assert_eq!(relate(&all, &graph())[0].explained_by, Some(1));
        all[1].1.state = SymptomState::Resolved;
        assert_eq!(relate(&all, &graph())[0].explained_by, None);
    }

    #[test]
    fn missing_data_neither_explains_nor_is_explained() {
        let all = [
            symptom("cart", SymptomKind::DataMissing, Severity::Medium),
            symptom("store", SymptomKind::Saturation, Severity::High),
            symptom("web", SymptomKind::Objective, Severity::High),
        ];
        assert!(relate(&all, &graph()).iter().all(|one| one.explained_by.is_none()));
    }

    #[test]
    fn several_symptoms_of_one_resource_stand_side_by_side() {
        let all = [
            symptom("store", SymptomKind::Objective, Severity::High),
            symptom("store", SymptomKind::Saturation, Severity::High),
        ];
        assert!(relate(&all, &graph()).iter().all(|one| one.explained_by.is_none()));
    }

    #[test]
    fn only_wide_trouble_that_costs_something_is_raised() {
        assert_eq!(spread(Severity::Medium, 0.6, 10), Severity::High);
        assert_eq!(spread(Severity::Low, 1.0, 10), Severity::Low);
        assert_eq!(spread(Severity::Medium, 0.4, 10), Severity::Medium);
        assert_eq!(spread(Severity::Medium, 1.0, 2), Severity::Medium, "two resources have no half");
    }
}
