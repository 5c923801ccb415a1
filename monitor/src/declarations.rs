//! What people declared, as far as Monitor needs it: services with the objective in force, and which target is whose.

use std::collections::{BTreeMap, BTreeSet};

use proto::model::{
    Declared, DeclaredKind, DeclaredSpec, EdgeSpec, Objective, ResourceId, Selector, ServiceSpec,
};

use crate::target::Target;

/// The documents in force.
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    services: BTreeMap<ResourceId, ServiceSpec>,
    /// Objectives declared apart, by the service they are about, then by their own name.
    objectives: BTreeMap<ResourceId, BTreeMap<String, Objective>>,
}

/// One service with what it promises.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its identity.
    pub id: &'a ResourceId,
    /// Its signals and edges.
    pub spec: &'a ServiceSpec,
    /// The objective in force: one declared apart (the first by name) replaces the service's own.
    pub objective: Option<Objective>,
}

impl Declarations {
    /// From the whole list.
    #[must_use]
    pub fn new(documents: impl IntoIterator<Item = Declared>) -> Self {
        let mut declarations = Self::default();
        documents.into_iter().for_each(|document| declarations.apply(document));
        declarations
    }

    /// Takes in one document, in place of the one of the same kind and name.
    pub fn apply(&mut self, document: Declared) {
        let kind = document.kind();
        self.delete(kind, &document.namespace, &document.name);
        // A name that is not valid did not pass `convert`, so nothing is lost by leaving it out.
        let Ok(service) = document.service_id() else { return };
        match document.spec {
            DeclaredSpec::Service(spec) => _ = self.services.insert(service, *spec),
            DeclaredSpec::Slo(slo) => {
                _ = self.objectives.entry(service).or_default().insert(document.name, slo.objective);
            }
            DeclaredSpec::Policy(_) => {}
        }
    }

    /// Takes one document out.
    pub fn delete(&mut self, kind: DeclaredKind, namespace: &str, name: &str) {
        match kind {
            DeclaredKind::Service => {
                self.services.retain(|id, _| id.namespace() != namespace || id.name() != name)
            }
            DeclaredKind::Slo => {
                for (id, named) in &mut self.objectives {
                    if id.namespace() == namespace {
                        named.remove(name);
                    }
                }
                self.objectives.retain(|_, named| !named.is_empty());
            }
            DeclaredKind::Policy => {}
        }
    }

    /// All services, ordered.
    pub fn services(&self) -> impl Iterator<Item = Service<'_>> {
        self.services.iter().map(|(id, spec)| {
            let apart = self.objectives.get(id).and_then(|named| named.values().next());
            Service { id, spec, objective: apart.copied().or(spec.objective) }
        })
    }

    /// The service of that identity.
    #[must_use]
    pub fn service(&self, id: &ResourceId) -> Option<Service<'_>> {
        self.services().find(|service| service.id == id)
    }

    /// The services that a target belongs to; usually one or none.
    pub fn owners<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = Service<'a>> {
        self.services().filter(move |service| service.owns(target))
    }

    /// The metrics that the declared services need of a target.
    #[must_use]
    pub fn needs(&self, target: &Target) -> Needs {
        let mut needs = Needs::default();
        self.owners(target).for_each(|service| needs.add(service.spec));
        needs
    }
}

impl Service<'_> {
    /// Whether a target belongs to the service: it has all the labels that the service names.
    #[must_use]
    pub fn owns(&self, target: &Target) -> bool {
        self.spec.instances.iter().all(|(label, value)| target.labels.get(label) == Some(value))
    }
}

/// Metrics that declared services need, by the type that their role implies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    counters: BTreeSet<String>,
    gauges: BTreeSet<String>,
    histograms: BTreeSet<String>,
}

impl Needs {
    fn add(&mut self, spec: &ServiceSpec) {
        let ServiceSpec {
            total,
            good,
            latency,
            busy_seconds,
            workers,
            ready,
            edges,
            instances: _,
            objective: _,
        } = spec;
        let name = |selector: &Selector| selector.metric().to_owned();
        let family = |selector: &Selector| histogram_name(selector).to_owned();
        self.counters
            .extend([Some(total), good.as_ref(), busy_seconds.as_ref()].into_iter().flatten().map(name));
        self.gauges.extend([workers, ready].into_iter().flatten().map(name));
        self.histograms.extend(latency.iter().map(family));
        for EdgeSpec { callee: _, total, good, latency } in edges {
            self.counters.extend([total, good].map(name));
            self.histograms.extend(latency.iter().map(family));
        }
    }

    /// Whether a service needs this metric (a histogram by its family's name).
    #[must_use]
    pub fn any(&self, metric: &str) -> bool {
        self.counters.contains(metric) || self.gauges.contains(metric) || self.histograms.contains(metric)
    }

    /// Whether a service uses this metric as a counter, whatever the target calls it.
    #[must_use]
    pub fn counter(&self, metric: &str) -> bool {
        self.counters.contains(metric)
    }

    /// Whether a service uses this metric as a gauge, whatever the target calls it.
    #[must_use]
    pub fn gauge(&self, metric: &str) -> bool {
        self.gauges.contains(metric)
    }
}

/// The family that a latency selector means, whether it names the family or its buckets.
#[must_use]
pub fn histogram_name(selector: &Selector) -> &str {
    selector.metric().strip_suffix("_bucket").unwrap_or(selector.metric())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::model::SloSpec;

    use super::*;
    use crate::fixtures::{objective, service, target};

    fn slo(name: &str, target_ratio: f64) -> Declared {
        let spec = DeclaredSpec::Slo(SloSpec {
            service: "catalog".into(),
            objective: objective(target_ratio, None),
        });
        Declared { namespace: "staging".into(), name: name.into(), spec, version: 1, applied_at: None }
    }

    fn target_ratios(declarations: &Declarations) -> Vec<Option<f64>> {
        declarations.services().map(|service| service.objective.map(|o| o.target_ratio)).collect()
    }

    #[test]
    fn an_objective_declared_apart_replaces_the_own_one_until_deleted() {
        let own =
            |spec: &mut ServiceSpec| spec.objective = Some(objective(0.9, Some(Duration::from_millis(250))));
        let mut declarations = Declarations::new([service("catalog", own)]);
        assert_eq!(target_ratios(&declarations), [Some(0.9)]);
        declarations.apply(slo("b", 0.99));
        declarations.apply(slo("a", 0.999));
        assert_eq!(target_ratios(&declarations), [Some(0.999)]);
        declarations.delete(DeclaredKind::Slo, "staging", "a");
        assert_eq!(target_ratios(&declarations), [Some(0.99)]);
        declarations.delete(DeclaredKind::Slo, "staging", "b");
        assert_eq!(target_ratios(&declarations), [Some(0.9)]);
        declarations.delete(DeclaredKind::Service, "elsewhere", "catalog");
        assert_eq!(declarations.services().count(), 1);
        declarations.delete(DeclaredKind::Service, "staging", "catalog");
        assert_eq!(declarations.services().count(), 0);
    }

    #[test]
    fn a_target_belongs_to_the_services_whose_labels_it_has() {
        let declarations = Declarations::new([service("catalog", |_| {}), service("cart", |_| {})]);
        let owners = |job| {
            let target = target(job, "a:1");
            declarations.owners(&target).map(|service| service.id.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(owners("catalog"), ["catalog"]);
        assert_eq!(owners("other"), [""; 0]);
    }

    #[test]
    fn a_service_needs_the_metrics_of_its_roles() {
        let declarations = Declarations::new([service("catalog", |_| {})]);
        let needs = declarations.needs(&target("catalog", "a:1"));
        assert!(needs.counter("requests_total") && needs.gauge("ready") && needs.any("latency_seconds"));
        assert!(needs.counter("calls_total"), "edges are needed too");
        assert!(!needs.any("other"));
        assert_eq!(declarations.needs(&target("other", "a:1")), Needs::default());
    }
}
