//! Everything that Plan knows at one moment, kept from the feeds of Analyze and Knowledge. Lost with the process, and read
//! again at the next start.

use crate::{
    autonomy::{
        Standings, evidence_of,
        shadow::{self, Shadows},
    },
    data::{interval, is_whole},
    economy::{Economy, Terms},
    history::History,
    input::{Incoming, NamedPolicy, Outgoing, PlanInput, PolicyView},
    keyed::ByResource,
    ledger::{Ledger, Line},
    operating::{Look, Operating, pressure, spare},
};
use jiff::Timestamp;
use proto::model::{
    ActuatorSpec, Assessment, AutonomyLevel, Declared, DeclaredKind, DeclaredSpec, Directive, DirectiveKind,
    DirectiveRecord, DirectiveState, Objective, OutcomeResult, PauseState, PolicySpec, ResourceId,
    ResourceKind, ServiceSpec, Standing,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Key = (DeclaredKind, String, String);

/// What is known.
#[derive(Debug, Clone)]
pub struct World {
    documents: BTreeMap<Key, Declared>,
    services: ByResource<Node>,
    /// The services, in order.
    names: Vec<ResourceId>,
    seen: ByResource<Seen>,
    unseen: Box<Life>,
    /// Services with a limiter that follows the advised admission.
    pub shedding: BTreeSet<ResourceId>,
    /// The directives.
    pub ledger: Ledger,
    /// What policies have earned.
    pub standings: Standings,
    shadows: Shadows,
    /// Live actuators.
    pub actuators: Vec<ActuatorSpec>,
    /// The kill switch.
    pub pause: PauseState,
}

/// What was seen of one resource.
#[derive(Debug, Clone, Default)]
struct Seen {
    newest: Option<Arc<Assessment>>,
    /// Of a service.
    life: Option<Box<Life>>,
}

/// What one service went through.
#[derive(Debug, Clone, Default)]
struct Life {
    last_good: Option<Arc<Assessment>>,
    history: History,
    economy: Economy,
    operating: Operating,
}

/// A declared service with all that belongs to it.
#[derive(Debug, Clone, Default)]
struct Node {
    objective: Option<Objective>,
    policies: Vec<(String, Arc<PolicySpec>)>,
    /// Edge and callee.
    outgoing: Vec<(ResourceId, ResourceId)>,
    /// Edge and caller.
    incoming: Vec<(ResourceId, ResourceId)>,
}

impl World {
    /// Nothing is known yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            documents: BTreeMap::new(),
            services: ByResource::default(),
            names: Vec::new(),
            seen: ByResource::default(),
            unseen: Box::default(),
            shedding: BTreeSet::new(),
            ledger: Ledger::default(),
            standings: Standings::default(),
            shadows: Shadows::default(),
            actuators: Vec::new(),
            pause: PauseState::never(now),
        }
    }

    /// Every declared service, in order.
    pub fn services(&self) -> &[ResourceId] {
        &self.names
    }

    /// Replaces all declared documents.
    pub fn replace_documents(&mut self, documents: Vec<Declared>) {
        self.documents = documents.into_iter().map(|document| (key(&document), document)).collect();
        self.link();
    }

    /// Takes in an applied document; older versions of what is known change nothing.
    pub fn apply(&mut self, document: Declared) {
        let key = key(&document);
        if self.documents.get(&key).is_none_or(|known| known.version <= document.version) {
            self.documents.insert(key, document);
            self.link();
        }
    }

    /// Takes out a deleted document.
    pub fn delete(&mut self, kind: DeclaredKind, namespace: &str, name: &str) {
        if self.documents.remove(&(kind, namespace.to_owned(), name.to_owned())).is_some() {
            self.link();
        }
    }

    /// Takes in an assessment; older ones than the one at hand change nothing.
    pub fn assess(&mut self, assessment: Assessment) {
        if !self.seen.contains_key(&assessment.resource) {
            self.seen.insert(assessment.resource.clone(), Seen::default());
        }
        let Some(seen) = self.seen.get_mut(&assessment.resource) else { return };
        if seen.newest.as_ref().is_some_and(|known| known.at > assessment.at) {
            return;
        }
        self.shadows.observe(&assessment);
        let assessment = Arc::new(assessment);
        if assessment.resource.kind() == ResourceKind::Service {
            let life = seen.life.get_or_insert_default();
            life.history.observe(&assessment);
            if let Some(node) = self.services.get(&assessment.resource) {
                let line = self.ledger.line(&assessment.resource, DirectiveKind::Scale);
                life.reckon(&assessment, node, self.shedding.contains(&assessment.resource), line);
                life.watch(&assessment, node);
            }
            if is_whole(&assessment) {
                life.last_good = Some(assessment.clone());
            }
        }
        seen.newest = Some(assessment);
    }

    /// The services whose plans look at this resource.
    pub fn affected_by(&self, resource: &ResourceId) -> BTreeSet<ResourceId> {
        let mut found = BTreeSet::new();
        if let Some((caller, callee)) = resource.edge_ends() {
            let ends = [caller, callee].map(|name| ResourceId::service(resource.namespace(), name));
            found.extend(ends.into_iter().flatten());
        }
        if let Some(node) = self.services.get(resource) {
            found.insert(resource.clone());
            found.extend(node.outgoing.iter().chain(&node.incoming).map(|(_, other)| other.clone()));
        }
        found.retain(|service| self.services.contains_key(service));
        found
    }

    /// The newest assessment of a resource.
    pub fn assessment(&self, resource: &ResourceId) -> Option<&Assessment> {
        self.seen.get(resource)?.newest.as_deref()
    }

    /// What the service is planned from; `None` when it is not declared.
    pub fn input(&self, service: &ResourceId) -> Option<PlanInput<'_>> {
        self.input_in(service, &mut Scratch::default())
    }

    /// As [`Self::input`], with the room of an earlier input for its lists.
    pub fn input_in<'w>(&'w self, service: &ResourceId, scratch: &mut Scratch<'w>) -> Option<PlanInput<'w>> {
        let (service, node) = self.services.get_key_value(service)?;
        let outgoing = node.outgoing.iter().map(|(edge, callee)| Outgoing {
            edge,
            assessment: self.assessment(edge),
            line: self.ledger.line(edge, DirectiveKind::SetBreaker),
            callee,
            callee_assessment: self.assessment(callee),
            callee_scale: self
                .policy(callee)
                .and_then(|policy| Some((policy.spec.scale.as_ref()?, self.level(policy, callee)))),
            callee_line: self.ledger.line(callee, DirectiveKind::Scale),
        });
        let incoming = node.incoming.iter().map(|(edge, caller)| Incoming {
            edge,
            assessment: self.assessment(edge),
            line: self.ledger.line(edge, DirectiveKind::SetBreaker),
            caller,
            caller_assessment: self.assessment(caller),
        });
        let mut room = std::mem::take(scratch);
        room.outgoing.extend(outgoing);
        room.incoming.extend(incoming);
        let seen = self.seen.get(service);
        let life = seen.and_then(|seen| seen.life.as_deref()).unwrap_or(&self.unseen);
        Some(PlanInput {
            service,
            policy: node.policy(),
            objective: node.objective,
            assessment: seen.and_then(|seen| seen.newest.as_deref()),
            last_good: life.last_good.as_deref(),
            history: &life.history,
            economy: &life.economy,
            operating: life.operating,
            sheds: self.shedding.contains(service),
            scale_line: self.ledger.line(service, DirectiveKind::Scale),
            outgoing: room.outgoing,
            incoming: room.incoming,
            ledger: &self.ledger,
            standings: &self.standings,
            actuators: &self.actuators,
            pause: &self.pause,
        })
    }

    fn level(&self, policy: NamedPolicy<'_>, resource: &ResourceId) -> AutonomyLevel {
        self.standings.level(policy.name, resource, policy.spec.autonomy)
    }

    /// Takes in a directive: into the ledger, and as evidence of what its policy is worth. `outcome`: what verification found,
    /// where the state alone no longer tells.
    pub fn note_directive(&mut self, record: &DirectiveRecord, outcome: Option<OutcomeResult>) {
        self.ledger.put(record);
        if let Some(evidence) = evidence_of(record, outcome) {
            self.standings.note(evidence);
        }
        match record.state {
            DirectiveState::Proposed | DirectiveState::AwaitingApproval => {
                if let Some(terms) = self.shadow_terms(&record.directive) {
                    self.shadows.begin(&record.directive, terms);
                }
            }
            // Not followed: it is watched to its end.
            DirectiveState::Expired | DirectiveState::Rejected => {}
            _ => self.shadows.forget(&record.directive),
        }
    }

    /// The service that a policy's resource belongs to: an edge belongs to its caller.
    fn home(&self, resource: &ResourceId) -> Option<&Node> {
        let caller =
            resource.edge_ends().map(|(caller, _)| ResourceId::service(resource.namespace(), caller));
        match caller {
            Some(caller) => self.services.get(&caller.ok()?),
            None => self.services.get(resource),
        }
    }

    fn shadow_terms(&self, directive: &Directive) -> Option<shadow::Terms> {
        let node = self.home(&directive.resource)?;
        let (_, spec) = node.policies.iter().find(|(name, _)| *name == directive.policy)?;
        Some(shadow::Terms {
            target: spec.scale.map_or(1.0, |scale| scale.target_utilisation_ratio),
            allowed: node.objective.map_or(1.0, |objective| 1.0 - objective.target_ratio),
            failing: spec.breaker.as_ref().map_or(1.0, |rule| rule.failure_ratio_to_open),
        })
    }

    /// Weighs what was found of policies: of all, or only of those about which there is news. The changes hold at once and are to
    /// be recorded.
    pub fn reconsider(&mut self, all: bool, now: Timestamp) -> Vec<Standing> {
        if all {
            for evidence in self.shadows.due(now) {
                self.standings.note(evidence);
            }
        }
        let mut standings = std::mem::take(&mut self.standings);
        let declared = |policy: &str, resource: &ResourceId| {
            // Measures go by their objective's name; what they may do is said where they are planned.
            if policy.contains('/') {
                return Some(AutonomyLevel::Act);
            }
            let (_, spec) = self.home(resource)?.policies.iter().find(|(name, _)| name == policy)?;
            Some(spec.autonomy)
        };
        let changes = standings.reconsider(declared, all, now);
        self.standings = standings;
        changes
    }

    fn policy(&self, service: &ResourceId) -> Option<NamedPolicy<'_>> {
        match self.services.get(service)?.policy() {
            PolicyView::One(policy) => Some(policy),
            PolicyView::None | PolicyView::Conflicting(..) => None,
        }
    }

    /// Builds the services anew from the documents, and forgets what belongs to none of them.
    fn link(&mut self) {
        let mut services = ByResource::<Node>::default();
        for document in self.documents.values() {
            if let (DeclaredSpec::Service(spec), Ok(service)) = (&document.spec, document.service_id()) {
                services.entry(service).or_default().objective = spec.objective;
            }
        }
        for document in self.documents.values() {
            let Some(node) = document.service_id().ok().and_then(|service| services.get_mut(&service)) else {
                continue;
            };
            match &document.spec {
                DeclaredSpec::Policy(policy) => {
                    node.policies.push((document.name.clone(), Arc::new((**policy).clone())))
                }
                DeclaredSpec::Slo(slo) => node.objective = Some(slo.objective),
                DeclaredSpec::Service(spec) => link_edges(&mut services, document, spec),
            }
        }
        let known = |resource: &ResourceId| match resource.edge_ends() {
            Some((caller, _)) => ResourceId::service(resource.namespace(), caller)
                .is_ok_and(|caller| services.contains_key(&caller)),
            None => services.contains_key(resource),
        };
        self.seen.retain(|resource, _| known(resource));
        self.names = services.keys().cloned().collect();
        self.names.sort_unstable();
        self.services = services;
    }
}

/// Room for the lists of one input after the other.
#[derive(Debug, Default)]
pub struct Scratch<'w> {
    outgoing: Vec<Outgoing<'w>>,
    incoming: Vec<Incoming<'w>>,
}

impl<'w> Scratch<'w> {
    /// Takes the room of an input back that is no longer needed.
    pub fn take_back(&mut self, input: PlanInput<'w>) {
        let PlanInput { mut outgoing, mut incoming, .. } = input;
        outgoing.clear();
        incoming.clear();
        *self = Self { outgoing, incoming };
    }
}

impl Life {
    /// How the service fares.
    fn watch(&mut self, seen: &Assessment, node: &Node) {
        let scale = match node.policy() {
            PolicyView::One(policy) => policy.spec.scale,
            PolicyView::None | PolicyView::Conflicting(..) => None,
        };
        let look = Look {
            at: seen.at,
            pressure: pressure(seen, node.objective),
            spare: scale.is_some_and(|scale| spare(seen, &scale)),
            interval: interval(seen),
        };
        self.operating.observe(&look);
    }

    /// What the assessment says of risk and cost, where a policy scales the service.
    fn reckon(&mut self, seen: &Assessment, node: &Node, sheds: bool, line: &Line) {
        let PolicyView::One(NamedPolicy { spec: PolicySpec { scale: Some(policy), .. }, .. }) = node.policy()
        else {
            return;
        };
        self.economy.observe(seen, &Terms::of(policy, node.objective, sheds, line));
    }
}

impl Node {
    fn policy(&self) -> PolicyView<'_> {
        match self.policies.as_slice() {
            [] => PolicyView::None,
            [(name, spec)] => PolicyView::One(NamedPolicy { name, spec }),
            [(one, _), (other, _), ..] => PolicyView::Conflicting(one, other),
        }
    }
}

fn link_edges(services: &mut ByResource<Node>, document: &Declared, spec: &ServiceSpec) {
    let Ok(caller) = document.service_id() else { return };
    for called in &spec.edges {
        let edge = ResourceId::edge(&document.namespace, &document.name, &called.callee);
        let callee = ResourceId::service(&document.namespace, &called.callee);
        let (Ok(edge), Ok(callee)) = (edge, callee) else { continue };
        if let Some(node) = services.get_mut(&callee) {
            node.incoming.push((edge.clone(), caller.clone()));
        }
        if let Some(node) = services.get_mut(&caller) {
            node.outgoing.push((edge, callee));
        }
    }
}

fn key(document: &Declared) -> Key {
    (document.kind(), document.namespace.clone(), document.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Plant, at, policy_document, service, service_assessment, service_document};
    use proto::model::Quality;

    #[test]
    fn change_of_one_end_wakes_the_other() {
        let plant = Plant::new();
        let names = |resource: &str| {
            let affected = plant.world.affected_by(&resource.parse().unwrap());
            affected.iter().map(|service| service.name().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("service:staging/inventory"), "catalog inventory");
        assert_eq!(names("edge:staging/catalog->inventory"), "catalog inventory");
        assert_eq!(names("edge:staging/catalog->gone"), "catalog");
        assert_eq!(names("service:staging/gone"), "");
    }

    #[test]
    fn two_policies_for_one_service_are_a_conflict() {
        let mut world = World::new(at(0));
        world.replace_documents(vec![service_document("catalog", &[])]);
        assert_eq!(world.input(&service("catalog")).unwrap().policy, PolicyView::None);
        world.apply(policy_document("b", "catalog"));
        assert!(
            matches!(world.input(&service("catalog")).unwrap().policy, PolicyView::One(policy) if policy.name == "b")
        );
        world.apply(policy_document("a", "catalog"));
        assert_eq!(world.input(&service("catalog")).unwrap().policy, PolicyView::Conflicting("a", "b"));
        world.delete(DeclaredKind::Policy, "staging", "a");
        assert!(matches!(world.input(&service("catalog")).unwrap().policy, PolicyView::One(_)));
    }

    #[test]
    fn older_version_of_a_document_changes_nothing() {
        let mut world = World::new(at(0));
        let mut newer = service_document("catalog", &["inventory"]);
        newer.version = 2;
        world.apply(newer);
        world.apply(service_document("catalog", &[]));
        assert_eq!(world.input(&service("catalog")).unwrap().outgoing.len(), 1);
    }

    #[test]
    fn older_assessment_changes_nothing_and_bad_data_keeps_the_last_good() {
        let mut world = World::new(at(0));
        world.replace_documents(vec![service_document("catalog", &[])]);
        world.assess(service_assessment("catalog", 10, &[("load", 5.0)]));
        world.assess(service_assessment("catalog", 9, &[("load", 9.0)]));
        let mut unknown = service_assessment("catalog", 11, &[]);
        unknown.data.quality = Quality::Unknown;
        world.assess(unknown);
        let input = world.input(&service("catalog")).unwrap();
        assert_eq!(input.assessment.unwrap().at, at(11));
        assert_eq!(input.last_good.unwrap().value("load"), Some(5.0));
    }

    #[test]
    fn deleted_service_is_forgotten() {
        let mut world = World::new(at(0));
        world.replace_documents(vec![service_document("catalog", &[])]);
        world.assess(service_assessment("catalog", 10, &[("load", 5.0)]));
        world.delete(DeclaredKind::Service, "staging", "catalog");
        assert!(world.input(&service("catalog")).is_none());
        assert!(world.seen.is_empty() && world.services().is_empty());
    }
}
