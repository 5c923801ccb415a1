//! What is read from Knowledge: saved blocks and thresholds once, declarations and reviews for as long as it answers.

use std::collections::{BTreeMap, BTreeSet};

use proto::client::{ChangeEvent, Error, Knowledge};
use proto::model::{Declared, DeclaredKind, DeclaredSpec, Objective, ResourceId, ThresholdState};
use tokio::sync::watch;

use super::core::{Core, key_prefix};
use crate::engine::Promise;

/// Reads everything, then takes in every change. Returns when everything must be read again.
pub(super) async fn follow(
    core: &Core,
    knowledge: &Knowledge,
    restored: &watch::Sender<bool>,
) -> Result<(), Error> {
    if !*restored.borrow() {
        restore(core, knowledge).await?;
    }
    let list = knowledge.list_declared(None, "", "").await?;
    let mut declarations = Declarations::new(list.documents);
    core.declare_all(&declarations.promises());
    let revision = list.revision.min(read_thresholds(core, knowledge).await?);
    restored.send_replace(true);
    tracing::info!(revision, "follows Knowledge");
    let mut changes = knowledge.watch_changes(revision).await?;
    while let Some(change) = changes.next().await? {
        match change.event {
            ChangeEvent::Threshold(version) => core.review(&version),
            ChangeEvent::Applied(document) => {
                let before = declarations.promises();
                declarations.apply(*document);
                declarations.update(core, &before);
            }
            ChangeEvent::Deleted(kind, namespace, name) => {
                let before = declarations.promises();
                declarations.delete(kind, namespace, name);
                declarations.update(core, &before);
            }
            ChangeEvent::Compacted => return Ok(()),
            ChangeEvent::Directive(_) | ChangeEvent::Actuator(_) | ChangeEvent::Pause(_) => {}
        }
    }
    Ok(())
}

async fn restore(core: &Core, knowledge: &Knowledge) -> Result<(), Error> {
    for number in core.numbers() {
        for snapshot in knowledge.load_snapshots(&key_prefix(number)).await? {
            core.restore(number, &snapshot);
        }
    }
    core.gather_lessons();
    Ok(())
}

/// Reads every version in force or waiting; gives back the revision of the first page.
async fn read_thresholds(core: &Core, knowledge: &Knowledge) -> Result<u64, Error> {
    let (mut after, mut revision, mut pinned) = (String::new(), None, BTreeSet::new());
    loop {
        let page = knowledge.list_thresholds("", true, &after).await?;
        for version in &page.thresholds {
            core.review(version);
            if version.state == ThresholdState::Pinned {
                pinned.insert(version.signal.to_string());
            }
        }
        let revision = *revision.get_or_insert(page.revision);
        match page.thresholds.last() {
            Some(last) if page.more => after = last.signal.to_string(),
            _ => {
                core.release_pins(&pinned);
                return Ok(revision);
            }
        }
    }
}

/// The declared documents that say what is assessed, and against which objective.
#[derive(Debug, Default)]
struct Declarations {
    documents: BTreeMap<(DeclaredKind, String, String), Declared>,
}

impl Declarations {
    fn new(documents: Vec<Declared>) -> Self {
        let mut declarations = Self::default();
        documents.into_iter().for_each(|document| declarations.apply(document));
        declarations
    }

    fn apply(&mut self, document: Declared) {
        let key = (document.kind(), document.namespace.clone(), document.name.clone());
        self.documents.insert(key, document);
    }

    fn delete(&mut self, kind: DeclaredKind, namespace: String, name: String) {
        self.documents.remove(&(kind, namespace, name));
    }

    /// Each service and each of its edges, with what is promised. An objective declared apart goes before the service's own; of
    /// several the last by name, so that it does not depend on the order in which they came.
    fn promises(&self) -> BTreeMap<ResourceId, Promise> {
        let mut apart: BTreeMap<ResourceId, Objective> = BTreeMap::new();
        for document in self.documents.values() {
            if let (DeclaredSpec::Slo(slo), Ok(service)) = (&document.spec, document.service_id()) {
                apart.insert(service, slo.objective);
            }
        }
        let mut promises = BTreeMap::new();
        for document in self.documents.values() {
            let (DeclaredSpec::Service(spec), Ok(service)) = (&document.spec, document.service_id()) else {
                continue;
            };
            let objective = apart.get(&service).copied().or(spec.objective);
            let allowed = objective.map(|objective| 1.0 - objective.target_ratio);
            for edge in &spec.edges {
                if let Ok(edge) = ResourceId::edge(&document.namespace, &document.name, &edge.callee) {
                    promises.insert(edge, Promise { objective: None, allowed });
                }
            }
            promises.insert(service, Promise { objective, allowed });
        }
        promises
    }

    fn update(&self, core: &Core, before: &BTreeMap<ResourceId, Promise>) {
        let now = self.promises();
        before
            .keys()
            .filter(|resource| !now.contains_key(*resource))
            .for_each(|resource| core.undeclare(resource));
        let changed = now.into_iter().filter(|(resource, promise)| before.get(resource) != Some(promise));
        changed.for_each(|(resource, promise)| core.declare(&resource, promise));
        core.connect(self.promises().keys());
    }
}

#[cfg(test)]
mod tests;
