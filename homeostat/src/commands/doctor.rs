//! `doctor`: what is wrong with a running control plane and what was declared to it, and what mends each.

use super::status::{self, Status};
use crate::{
    endpoints::Clients,
    output::{self, Format, table},
};
use chassis::exit;
use proto::model::{
    ActuatorRecord, AutonomyLevel, Declared, DeclaredSpec, DirectiveKind, PolicySpec, Quality, ResourceId,
    TrackedObjective,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// On what: a service, a resource, a document.
    pub on: String,
    /// What is wrong, in a sentence.
    pub wrong: String,
    /// What to do.
    pub mend: String,
}

/// All that is looked at. `None`: it could not be asked, which is a finding of its own.
#[derive(Debug)]
struct Seen {
    status: Status,
    documents: Option<Vec<Declared>>,
    actuators: Option<Vec<ActuatorRecord>>,
    objectives: Option<Vec<TrackedObjective>>,
}

/// `homeostat doctor`: exit code 2 when something is wrong.
///
/// # Errors
/// Only when an address or a TLS file is wrong: a service that is away is a finding.
pub async fn doctor(clients: Clients, format: Format) -> anyhow::Result<u8> {
    let knowledge = clients.knowledge()?;
    let mut status = status::gather(&clients).await?;
    let unknown = &mut status.unknown;
    let documents = status::known(unknown, "what is declared", async {
        Ok(knowledge.list_declared(None, "", "").await?.documents)
    })
    .await;
    let analyze = clients.analyze()?;
    let objectives =
        status::known(unknown, "imported objectives", async { Ok(analyze.list_objective_states().await?) })
            .await;
    let actuators = knowledge.list_actuators(true).await.ok();
    let findings = findings(&Seen { status, documents, actuators, objectives });
    output::print(format, &findings, |findings| {
        if findings.is_empty() {
            return "nothing is wrong".to_owned();
        }
        let row = |finding: &Finding| [finding.on.clone(), finding.wrong.clone(), finding.mend.clone()];
        table(["ON", "WHAT IS WRONG", "WHAT MENDS IT"], findings.iter().map(row))
    })?;
    Ok(if findings.is_empty() { exit::DONE } else { exit::NEGATIVE })
}

/// What is wrong, the cause before what follows from it.
fn findings(seen: &Seen) -> Vec<Finding> {
    let Seen { status, documents, actuators, objectives } = seen;
    let mut found = of_services(status);
    if found.len() == status.services.len() {
        // Nothing answers: what could not be asked of it is no news.
        return found;
    }
    if let Some(pause) = status.pause.as_ref().filter(|pause| pause.paused) {
        let wrong = format!("acting is paused by {} since {}: {}", pause.actor, pause.at, pause.reason);
        found.push(finding("acting", wrong, "`homeostat resume --reason R` when the reason is gone"));
    }
    found.extend(of_targets(status));
    found.extend(documents.iter().flat_map(|documents| {
        let mut found = of_documents(documents);
        found.extend(actuators.iter().flat_map(|actuators| without_actuator(documents, actuators)));
        found
    }));
    found.extend(of_data(status));
    found.extend(objectives.iter().flatten().filter(|objective| !objective.untracked.is_empty()).map(
        |objective| {
            let wrong = format!("is not tracked: {}", objective.untracked);
            finding(&objective.objective, wrong, "`homeostat slo lint FILE` says what cannot work and why")
        },
    ));
    let gap = |gap: &String| finding("the answer", format!("is not known: {gap}"), "ask again in a moment");
    found.extend(status.unknown.iter().map(gap));
    found
}

fn finding(on: &str, wrong: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { on: on.to_owned(), wrong: wrong.into(), mend: mend.into() }
}

fn of_services(status: &Status) -> Vec<Finding> {
    let away: Vec<_> = status.services.iter().filter(|service| !service.serving).collect();
    let mend = if away.len() == status.services.len() {
        "start the control plane with `homeostat up`, or point to it with --data-dir or --knowledge-url"
    } else {
        "its log says why it does not serve; one that has ended is started anew, and then goes on where it was"
    };
    let of = |service: &&status::ServiceStatus| {
        finding(service.name, format!("does not serve at {}: {}", service.url, service.detail), mend)
    };
    away.iter().map(of).collect()
}

fn of_targets(status: &Status) -> Vec<Finding> {
    let mut found = Vec::new();
    if status.targets_up == 0 && status.targets_down.is_empty() {
        let mend = "name a file of targets by `homeostat up --set monitor.targets_file=FILE`, in the form of file_sd_configs";
        found.push(finding("monitor", "scrapes no target, so nothing can be learned", mend));
    }
    found.extend(status.targets_down.iter().map(|target| {
        let on = format!("target {}/{}", target.job, target.instance);
        let wrong = format!("does not answer at {}: {}", target.url, target.error);
        finding(&on, wrong, "start it, or take it out of the file of targets")
    }));
    found
}

/// Policies by the service that they are for.
fn policies(documents: &[Declared]) -> BTreeMap<(&str, &str), Vec<(&Declared, &PolicySpec)>> {
    let mut policies = BTreeMap::<_, Vec<_>>::new();
    for document in documents {
        if let DeclaredSpec::Policy(policy) = &document.spec {
            let service = (document.namespace.as_str(), policy.service.as_str());
            policies.entry(service).or_default().push((document, &**policy));
        }
    }
    policies
}

fn of_documents(documents: &[Declared]) -> Vec<Finding> {
    let services: BTreeSet<_> = documents
        .iter()
        .filter(|document| matches!(document.spec, DeclaredSpec::Service(_)))
        .map(|document| (document.namespace.as_str(), document.name.as_str()))
        .collect();
    if services.is_empty() {
        let mend = "`homeostat apply -f FILE`; deploy/staging/services.yaml is a sample to change";
        return vec![finding("declarations", "no Service is declared, so nothing is acted on", mend)];
    }
    let mut found = Vec::new();
    for ((namespace, service), of_it) in policies(documents) {
        let names: Vec<_> = of_it.iter().map(|(document, _)| document.name.as_str()).collect();
        let on = format!("Policy {namespace}/{}", names.join(", "));
        if !services.contains(&(namespace, service)) {
            let wrong = format!("is for the service {namespace}/{service}, which is not declared");
            found.push(finding(&on, wrong, "declare the Service, or correct `service` in the Policy"));
        }
        if names.len() > 1 {
            let wrong = format!("are both for {namespace}/{service}; while they are, nothing is done there");
            found.push(finding(&on, wrong, "`homeostat delete Policy NAMESPACE/NAME` for all but one"));
        }
    }
    found
}

/// Policies that want more than advice of a kind that nobody takes.
fn without_actuator(documents: &[Declared], actuators: &[ActuatorRecord]) -> Vec<Finding> {
    let mut found = Vec::new();
    for ((namespace, service), of_it) in policies(documents) {
        let acts = |level: AutonomyLevel| level >= AutonomyLevel::Approve;
        let Some((document, policy)) = of_it.into_iter().find(|(_, policy)| acts(policy.autonomy)) else {
            continue;
        };
        let scaled =
            policy.scale.iter().map(|_| (DirectiveKind::Scale, ResourceId::service(namespace, service)));
        let callees = policy.breaker.iter().flat_map(|rule| &rule.callees);
        let broken =
            callees.map(|callee| (DirectiveKind::SetBreaker, ResourceId::edge(namespace, service, callee)));
        for (kind, resource) in scaled.chain(broken) {
            let Ok(resource) = resource else { continue };
            let takes = |record: &ActuatorRecord| {
                record.live
                    && record.actuator.kinds.contains(&kind)
                    && record.actuator.resources.iter().any(|pattern| pattern.matches(&resource))
            };
            if !actuators.iter().any(takes) {
                let on = format!("Policy {namespace}/{}", document.name);
                let wrong = format!("nobody takes {kind} for {resource}: every directive will expire");
                found.push(finding(
                    &on,
                    wrong,
                    "start its actuator (`homeostat actuators list` shows who is there), or declare `autonomy: recommend`",
                ));
            }
        }
    }
    found
}

fn of_data(status: &Status) -> Vec<Finding> {
    let poor = status.resources.iter().filter(|resource| resource.data != Quality::Good);
    let of = |resource: &status::ResourceStatus| {
        let wrong =
            format!("its data are {}: {}; nothing is reduced meanwhile", resource.data, resource.data_reason);
        finding(
            &resource.resource,
            wrong,
            "its targets must answer, with series that the Service's selectors name",
        )
    };
    poor.map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::model::yaml;

    const SERVICE: &str = "kind: Service\nmetadata: { name: cart, namespace: shop }\n\
        spec: { instances: { service: cart }, signals: { total: a_total, good: b_total } }\n";

    fn policy(name: &str, service: &str, autonomy: &str) -> String {
        format!(
            "---\nkind: Policy\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ service: {service}, autonomy: {autonomy}, scale: {{ minimum: 1, maximum: 6 }} }}\n"
        )
    }

    fn documents(policies: &[String]) -> Vec<Declared> {
        yaml::read(&format!("{SERVICE}{}", policies.concat())).unwrap()
    }

    fn wrong(found: &[Finding]) -> String {
        found.iter().map(|finding| format!("{} {}\n", finding.on, finding.wrong)).collect()
    }

    #[test]
    fn nothing_declared_is_told_with_a_sample() {
        let found = of_documents(&[]);
        assert!(found[0].mend.contains("homeostat apply"), "{found:?}");
    }

    #[test]
    fn a_policy_for_nobody_and_two_for_one_are_found() {
        let documents = documents(&[
            policy("one", "cart", "observe"),
            policy("two", "cart", "observe"),
            policy("lost", "till", "observe"),
        ]);
        let found = wrong(&of_documents(&documents));
        assert!(found.contains("Policy shop/one, two are both for shop/cart"), "{found}");
        assert!(found.contains("Policy shop/lost is for the service shop/till"), "{found}");
    }

    #[test]
    fn a_policy_that_may_act_needs_somebody_who_does() {
        let acting = documents(&[policy("one", "cart", "act")]);
        let found = wrong(&without_actuator(&acting, &[]));
        assert!(found.contains("nobody takes scale for service:shop/cart"), "{found}");
        let advising = documents(&[policy("one", "cart", "recommend")]);
        assert_eq!(without_actuator(&advising, &[]), []);
    }
}
