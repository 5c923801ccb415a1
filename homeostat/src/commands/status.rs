//! `status` and `actuators list`: what is running, how healthy each resource is, what is forbidden now, and why.

use crate::{
    endpoints::Clients,
    output::{self, Format, number, table},
};
use chassis::exit;
use proto::{
    model::{ActuatorRecord, Assessment, ObjectiveStanding, PauseState, Quality, Symptom},
    wire,
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long one service may take to answer before it counts as away.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// Assessments come in a burst when a watch opens; a pause this long means that the burst is over.
const BURST_GAP: Duration = Duration::from_millis(300);

/// One of the five services.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceStatus {
    pub(super) name: &'static str,
    pub(super) url: String,
    pub(super) serving: bool,
    pub(super) detail: String,
}

/// One resource, as Analyze and Plan see it.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceStatus {
    pub(super) resource: String,
    pub(super) data: Quality,
    pub(super) data_reason: String,
    pub(super) objective: Option<ObjectiveStanding>,
    pub(super) good_ratio: Option<f64>,
    pub(super) budget_remaining_ratio: Option<f64>,
    pub(super) load: Option<f64>,
    pub(super) utilisation: Option<f64>,
    pub(super) ready_replicas: Option<f64>,
    pub(super) capacity_per_replica: Option<f64>,
    pub(super) symptoms: Vec<Symptom>,
    pub(super) plan: String,
    pub(super) operating: Option<OperatingStatus>,
    pub(super) reductions_forbidden: bool,
    pub(super) reductions_reason: String,
}

/// How a service fares, and how closely it is followed for that.
#[derive(Debug, Clone, Serialize)]
pub struct OperatingStatus {
    state: String,
    since_unix_ms: i64,
    reason: String,
    cadence_ms: u64,
    look_ahead_ms: u64,
    sensitivity_factor: f64,
}

impl From<&wire::OperatingState> for OperatingStatus {
    fn from(value: &wire::OperatingState) -> Self {
        Self {
            state: value.state.clone(),
            since_unix_ms: value.since_unix_ms,
            reason: value.reason.clone(),
            cadence_ms: value.cadence_ms,
            look_ahead_ms: value.look_ahead_ms,
            sensitivity_factor: value.sensitivity_factor,
        }
    }
}

/// A target that does not answer.
#[derive(Debug, Clone, Serialize)]
pub struct TargetDown {
    pub(super) job: String,
    pub(super) instance: String,
    pub(super) url: String,
    pub(super) error: String,
}

/// Everything at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub(super) services: Vec<ServiceStatus>,
    pub(super) pause: Option<PauseState>,
    pub(super) resources: Vec<ResourceStatus>,
    pub(super) targets_up: usize,
    pub(super) targets_down: Vec<TargetDown>,
    pub(super) actuators_live: usize,
    /// What could not be asked.
    pub(super) unknown: Vec<String>,
}

/// `homeostat status`.
///
/// # Errors
/// Only when an address or a TLS file is wrong; a service that is away is part of the answer, with exit code 2.
pub async fn status(clients: Clients, format: Format) -> anyhow::Result<u8> {
    let status = gather(&clients).await?;
    output::print(format, &status, show)?;
    let healthy = status.services.iter().all(|service| service.serving);
    Ok(if healthy { exit::DONE } else { exit::NEGATIVE })
}

/// Whether each of the five services takes calls, and what it says.
pub(crate) async fn serving(clients: &Clients) -> anyhow::Result<Vec<(&'static str, bool, String)>> {
    let services = services(clients).await?;
    Ok(services.into_iter().map(|service| (service.name, service.serving, service.detail)).collect())
}

async fn services(clients: &Clients) -> anyhow::Result<Vec<ServiceStatus>> {
    let endpoints = &clients.endpoints;
    let mut services = Vec::new();
    for (name, url) in [
        ("knowledge", &endpoints.knowledge),
        ("monitor", &endpoints.monitor),
        ("analyze", &endpoints.analyze),
        ("plan", &endpoints.plan),
        ("execute", &endpoints.execute),
    ] {
        services.push(health(clients, name, url).await?);
    }
    Ok(services)
}

pub(super) async fn gather(clients: &Clients) -> anyhow::Result<Status> {
    let services = services(clients).await?;
    let mut unknown = Vec::new();
    let assessments = known(&mut unknown, "assessments", assessments(clients)).await.unwrap_or_default();
    let mut plan = clients.plan()?;
    let reports = known(&mut unknown, "plan reports", async {
        Ok(plan.list_reports(wire::ListReportsRequest {}).await?.into_inner().reports)
    })
    .await
    .unwrap_or_default();
    let mut monitor = clients.monitor()?;
    let targets = known(&mut unknown, "targets", async {
        Ok(monitor.list_targets(wire::ListTargetsRequest {}).await?.into_inner().targets)
    })
    .await
    .unwrap_or_default();
    let knowledge = clients.knowledge()?;
    let actuators =
        known(&mut unknown, "actuators", async { Ok(knowledge.list_actuators(true).await?) }).await;
    let execute = clients.execute()?;
    let pause = known(&mut unknown, "pause", async { Ok(execute.pause_status().await?.0) }).await;
    let (down, up): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|target| target.health() == wire::TargetHealth::Down);
    Ok(Status {
        services,
        pause,
        resources: resources(&assessments, &reports),
        targets_up: up.len(),
        targets_down: down
            .into_iter()
            .map(|target| TargetDown {
                job: target.job,
                instance: target.instance,
                url: target.url,
                error: target.last_error,
            })
            .collect(),
        actuators_live: actuators.unwrap_or_default().len(),
        unknown,
    })
}

/// Asks within the deadline; what gives no answer is named as unknown.
pub(super) async fn known<T>(
    unknown: &mut Vec<String>,
    what: &str,
    question: impl Future<Output = anyhow::Result<T>>,
) -> Option<T> {
    match tokio::time::timeout(ANSWER_DEADLINE, question).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            unknown.push(format!("{what}: {error:#}"));
            None
        }
        Err(_) => {
            unknown.push(format!("{what}: no answer within {ANSWER_DEADLINE:?}"));
            None
        }
    }
}

async fn health(clients: &Clients, name: &'static str, url: &str) -> anyhow::Result<ServiceStatus> {
    let mut client = HealthClient::new(clients.channel(url)?);
    let request = HealthCheckRequest { service: String::new() };
    let answer = tokio::time::timeout(ANSWER_DEADLINE, client.check(request)).await;
    let (serving, detail) = match answer {
        Ok(Ok(reply)) => match reply.into_inner().status() {
            ServingStatus::Serving => (true, "serving".to_owned()),
            _ => (false, "not ready yet".to_owned()),
        },
        Ok(Err(status)) => (false, status.message().to_owned()),
        Err(_) => (false, format!("no answer within {ANSWER_DEADLINE:?}")),
    };
    Ok(ServiceStatus { name, url: url.to_owned(), serving, detail })
}

/// The newest assessment of each declared resource.
///
/// # Errors
/// When Analyze cannot be reached.
pub async fn assessments(clients: &Clients) -> anyhow::Result<BTreeMap<String, Assessment>> {
    let mut stream = clients.analyze()?.watch_assessments(Vec::new()).await?;
    let mut newest = BTreeMap::new();
    // A repeat means that the first burst is over.
    while let Ok(Some(assessment)) = tokio::time::timeout(BURST_GAP, stream.next()).await.unwrap_or(Ok(None))
    {
        if newest.insert(assessment.resource.to_string(), assessment).is_some() {
            break;
        }
    }
    Ok(newest)
}

fn resources(
    assessments: &BTreeMap<String, Assessment>,
    reports: &[wire::PlanReport],
) -> Vec<ResourceStatus> {
    let one = |(resource, assessment): (&String, &Assessment)| {
        let report = reports.iter().find(|report| {
            report.resource.clone().and_then(|id| proto::model::ResourceId::try_from(id).ok()).as_ref()
                == Some(&assessment.resource)
        });
        ResourceStatus {
            resource: resource.clone(),
            data: assessment.data.quality,
            data_reason: assessment.data.reason.clone(),
            objective: assessment.objective.as_ref().map(|objective| objective.standing),
            good_ratio: assessment.objective.as_ref().and_then(|objective| objective.good_ratio),
            budget_remaining_ratio: assessment
                .objective
                .as_ref()
                .and_then(|objective| objective.budget_remaining_ratio),
            load: assessment.value("load"),
            utilisation: assessment.value("utilisation"),
            ready_replicas: assessment.value("ready_replicas"),
            capacity_per_replica: assessment.capacity.per_replica,
            symptoms: assessment.symptoms.iter().filter(|symptom| symptom.is_open()).cloned().collect(),
            plan: report.map(|report| report.text.clone()).unwrap_or_default(),
            operating: report.and_then(|report| report.operating.as_ref()).map(Into::into),
            reductions_forbidden: report.is_some_and(|report| report.reductions_forbidden),
            reductions_reason: report.map(|report| report.reductions_reason.clone()).unwrap_or_default(),
        }
    };
    assessments.iter().map(one).collect()
}

/// How closely a service is followed, where that is not as ever.
fn followed(resource: &ResourceStatus) -> String {
    match &resource.operating {
        Some(OperatingStatus { state, reason, cadence_ms, look_ahead_ms, sensitivity_factor, .. })
            if state != "healthy" =>
        {
            format!(
                "{state}: {reason}; planned every {:.1} s, {:.0} s further ahead, for {:.0} % of the usual gain",
                *cadence_ms as f64 / 1e3,
                *look_ahead_ms as f64 / 1e3,
                100.0 * sensitivity_factor
            )
        }
        _ => String::new(),
    }
}

fn show(status: &Status) -> String {
    let services = status.services.iter().map(|service| {
        let word = if service.serving { "serving" } else { "NOT SERVING" };
        [service.name.to_owned(), word.to_owned(), service.url.clone(), service.detail.clone()]
    });
    let resources = status.resources.iter().map(|resource| {
        let data = match resource.data {
            Quality::Good => "good".to_owned(),
            quality => format!("{quality}: {}", resource.data_reason),
        };
        let symptoms: Vec<_> = resource
            .symptoms
            .iter()
            .map(|symptom| format!("{} {}: {}", symptom.severity, symptom.kind, symptom.text))
            .collect();
        let forbidden = if resource.reductions_forbidden {
            format!("no reductions: {}", resource.reductions_reason)
        } else {
            String::new()
        };
        [
            resource.resource.clone(),
            data,
            resource.operating.as_ref().map_or("-".to_owned(), |operating| operating.state.clone()),
            resource.objective.map_or("-".to_owned(), |standing| standing.to_string()),
            number(resource.load),
            number(resource.ready_replicas),
            symptoms.join("\n"),
            [resource.plan.clone(), followed(resource), forbidden].join("\n").trim().to_owned(),
        ]
    });
    let mut text = table(["SERVICE", "STATE", "ADDRESS", "DETAIL"], services);
    text.push('\n');
    text.push_str(&table(
        ["RESOURCE", "DATA", "STATE", "OBJECTIVE", "LOAD", "REPLICAS", "SYMPTOMS", "PLAN"],
        resources,
    ));
    text.push_str(&format!("\ntargets: {} up, {} down", status.targets_up, status.targets_down.len()));
    for target in &status.targets_down {
        text.push_str(&format!("\n  {} {} does not answer: {}", target.job, target.url, target.error));
    }
    text.push_str(&format!("\nactuators: {} live", status.actuators_live));
    match &status.pause {
        Some(pause) if pause.paused => {
            text.push_str(&format!("\nPAUSED by {} since {}: {}", pause.actor, pause.at, pause.reason));
        }
        Some(_) => text.push_str("\nacting is allowed"),
        None => text.push_str("\nwhether acting is paused is unknown"),
    }
    for gap in &status.unknown {
        text.push_str(&format!("\nunknown: {gap}"));
    }
    text
}

/// `homeostat actuators list`.
///
/// # Errors
/// When Knowledge cannot be reached.
pub async fn actuators(clients: Clients, format: Format) -> anyhow::Result<u8> {
    let list = clients.knowledge()?.list_actuators(false).await?;
    output::print(format, &list, |list| {
        let row = |record: &ActuatorRecord| {
            let ActuatorRecord { actuator, lease, live, registered_at, remaining } = record;
            let join = |texts: Vec<String>| texts.join(" ");
            [
                actuator.name.clone(),
                actuator.instance.clone(),
                if *live { format!("live, {} s left", remaining.as_secs()) } else { "gone".to_owned() },
                join(actuator.kinds.iter().map(ToString::to_string).collect()),
                join(actuator.resources.iter().map(ToString::to_string).collect()),
                lease.epoch.to_string(),
                registered_at.to_string(),
            ]
        };
        table(
            ["NAME", "INSTANCE", "LEASE", "KINDS", "RESOURCES", "EPOCH", "REGISTERED"],
            list.iter().map(row),
        )
    })?;
    Ok(exit::DONE)
}
