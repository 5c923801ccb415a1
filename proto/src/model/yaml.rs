//! The text form of declared documents: YAML with `kind`, `metadata` and `spec`; several documents in one file.
//! Unknown keys are refused.

use super::{
    declared::{
        AutonomyLevel, BreakerRule, Declared, DeclaredKind, DeclaredSpec, EdgeSpec, Objective, PolicySpec,
        ReviewRule, ScalePolicy, ServiceSpec, SloSpec,
    },
    ids::InvalidId,
    selector::Selector,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, time::Duration};

/// Largest file: 1,000 documents of 1 KiB.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Why a file was refused; nothing in it is applied then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too large to be meant.
    #[error("the file has {0} bytes; at most 1048576 are read")]
    TooLarge(usize),
    /// Nothing in it.
    #[error("the file holds no document; it needs kind, metadata and spec")]
    Empty,
    /// Not YAML, or not of a known form.
    #[error("cannot read document {number}")]
    Syntax {
        /// Counted from 1.
        number: usize,
        /// What the parser said.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// A value breaks a rule.
    #[error("document {number} is not valid")]
    Invalid {
        /// Counted from 1.
        number: usize,
        /// Key, value and rule.
        #[source]
        source: InvalidId,
    },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kind: DeclaredKind,
    metadata: Metadata,
    spec: serde_yaml_ng::Value,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
}

fn default_namespace() -> String {
    "default".to_owned()
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ServiceText {
    instances: BTreeMap<String, String>,
    signals: SignalsText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edges: Vec<EdgeText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objective: Option<ObjectiveText>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SignalsText {
    total: Selector,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    good: Option<Selector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<Selector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    busy_seconds: Option<Selector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workers: Option<Selector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<Selector>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EdgeText {
    callee: String,
    total: Selector,
    good: Selector,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<Selector>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveText {
    target: f64,
    #[serde(default, with = "text_duration_option", skip_serializing_if = "Option::is_none")]
    latency: Option<Duration>,
    #[serde(with = "text_duration")]
    window: Duration,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    service: String,
    #[serde(default = "default_autonomy")]
    autonomy: AutonomyLevel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<ScaleText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerText>,
    #[serde(default = "default_blast_radius")]
    blast_radius: f64,
    #[serde(default = "default_review")]
    review: ReviewRule,
}

fn default_autonomy() -> AutonomyLevel {
    AutonomyLevel::Observe
}
fn default_blast_radius() -> f64 {
    0.5
}
fn default_review() -> ReviewRule {
    ReviewRule::Automatic
}
fn default_step_up() -> u32 {
    4
}
fn default_step_down() -> u32 {
    1
}
fn default_target() -> f64 {
    0.7
}
fn default_failure_ratio() -> f64 {
    0.5
}
fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}
fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ScaleText {
    minimum: u32,
    maximum: u32,
    #[serde(default = "default_step_up")]
    step_up: u32,
    #[serde(default = "default_step_down")]
    step_down: u32,
    #[serde(default = "thirty_seconds", with = "text_duration")]
    cooldown_up: Duration,
    #[serde(default = "five_minutes", with = "text_duration")]
    cooldown_down: Duration,
    #[serde(default = "default_target")]
    target_utilisation: f64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BreakerText {
    callees: Vec<String>,
    #[serde(default = "default_failure_ratio")]
    failure_ratio: f64,
    #[serde(default = "thirty_seconds", with = "text_duration")]
    cooldown: Duration,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SloText {
    service: String,
    objective: ObjectiveText,
}

mod text_duration {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            serde::de::Error::custom(format!("{text:?} is not a duration such as 30s: {error}"))
        })
    }
}

mod text_duration_option {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::text_duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "super::text_duration")] Duration);
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(value)| value))
    }
}

/// Reads every document of a file, all or none.
///
/// # Errors
/// Names the document by number, and key, value and rule where a value is wrong.
pub fn read(text: &str) -> Result<Vec<Declared>, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge(text.len()));
    }
    let mut documents = Vec::new();
    for (index, reader) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let syntax = |source| Error::Syntax { number, source };
        let value = serde_yaml_ng::Value::deserialize(reader).map_err(syntax)?;
        if value.is_null() {
            continue;
        }
        let document: Document = serde_yaml_ng::from_value(value).map_err(syntax)?;
        let declared = declared(document).map_err(syntax)?;
        declared.validate().map_err(|source| Error::Invalid { number, source })?;
        documents.push(declared);
    }
    if documents.is_empty() { Err(Error::Empty) } else { Ok(documents) }
}

fn spec<T: DeserializeOwned>(value: serde_yaml_ng::Value) -> Result<T, serde_yaml_ng::Error> {
    serde_yaml_ng::from_value(value)
}

fn declared(document: Document) -> Result<Declared, serde_yaml_ng::Error> {
    let Document { kind, metadata, spec: value } = document;
    let spec = match kind {
        DeclaredKind::Service => DeclaredSpec::Service(Box::new(spec::<ServiceText>(value)?.into())),
        DeclaredKind::Policy => DeclaredSpec::Policy(Box::new(spec::<PolicyText>(value)?.into())),
        DeclaredKind::Slo => {
            let text: SloText = spec(value)?;
            DeclaredSpec::Slo(SloSpec { service: text.service, objective: text.objective.into() })
        }
    };
    Ok(Declared { namespace: metadata.namespace, name: metadata.name, spec, version: 0, applied_at: None })
}

impl From<ServiceText> for ServiceSpec {
    fn from(text: ServiceText) -> Self {
        let ServiceText { instances, signals, edges, objective } = text;
        let SignalsText { total, good, latency, busy_seconds, workers, ready } = signals;
        let edges = edges
            .into_iter()
            .map(|EdgeText { callee, total, good, latency }| EdgeSpec { callee, total, good, latency })
            .collect();
        let objective = objective.map(Objective::from);
        Self { instances, total, good, latency, busy_seconds, workers, ready, edges, objective }
    }
}

impl From<ObjectiveText> for Objective {
    fn from(text: ObjectiveText) -> Self {
        Self { target_ratio: text.target, latency_bound: text.latency, window: text.window }
    }
}

impl From<PolicyText> for PolicySpec {
    fn from(text: PolicyText) -> Self {
        let PolicyText { service, autonomy, scale, breaker, blast_radius, review } = text;
        Self {
            service,
            autonomy,
            scale: scale.map(|scale| ScalePolicy {
                minimum_replicas: scale.minimum,
                maximum_replicas: scale.maximum,
                step_up_replicas: scale.step_up,
                step_down_replicas: scale.step_down,
                cooldown_up: scale.cooldown_up,
                cooldown_down: scale.cooldown_down,
                target_utilisation_ratio: scale.target_utilisation,
            }),
            breaker: breaker.map(|rule| BreakerRule {
                callees: rule.callees,
                failure_ratio_to_open: rule.failure_ratio,
                cooldown: rule.cooldown,
            }),
            blast_radius_ratio: blast_radius,
            review,
        }
    }
}

/// Writes a document in the form that [`read`] takes.
///
/// # Errors
/// When serialisation fails, which valid documents do not.
pub fn write(declared: &Declared) -> Result<String, serde_yaml_ng::Error> {
    let spec = match &declared.spec {
        DeclaredSpec::Service(service) => serde_yaml_ng::to_value(service_text(service))?,
        DeclaredSpec::Policy(policy) => serde_yaml_ng::to_value(policy_text(policy))?,
        DeclaredSpec::Slo(slo) => serde_yaml_ng::to_value(SloText {
            service: slo.service.clone(),
            objective: objective_text(&slo.objective),
        })?,
    };
    let metadata = Metadata { name: declared.name.clone(), namespace: declared.namespace.clone() };
    serde_yaml_ng::to_string(&Document { kind: declared.kind(), metadata, spec })
}

fn objective_text(objective: &Objective) -> ObjectiveText {
    ObjectiveText {
        target: objective.target_ratio,
        latency: objective.latency_bound,
        window: objective.window,
    }
}

fn service_text(service: &ServiceSpec) -> ServiceText {
    let ServiceSpec { instances, total, good, latency, busy_seconds, workers, ready, edges, objective } =
        service.clone();
    ServiceText {
        instances,
        signals: SignalsText { total, good, latency, busy_seconds, workers, ready },
        edges: edges
            .into_iter()
            .map(|EdgeSpec { callee, total, good, latency }| EdgeText { callee, total, good, latency })
            .collect(),
        objective: objective.as_ref().map(objective_text),
    }
}

fn policy_text(policy: &PolicySpec) -> PolicyText {
    PolicyText {
        service: policy.service.clone(),
        autonomy: policy.autonomy,
        scale: policy.scale.map(|scale| ScaleText {
            minimum: scale.minimum_replicas,
            maximum: scale.maximum_replicas,
            step_up: scale.step_up_replicas,
            step_down: scale.step_down_replicas,
            cooldown_up: scale.cooldown_up,
            cooldown_down: scale.cooldown_down,
            target_utilisation: scale.target_utilisation_ratio,
        }),
        breaker: policy.breaker.as_ref().map(|rule| BreakerText {
            callees: rule.callees.clone(),
            failure_ratio: rule.failure_ratio_to_open,
            cooldown: rule.cooldown,
        }),
        blast_radius: policy.blast_radius_ratio,
        review: policy.review,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = r#"
kind: Service
metadata: { name: catalog, namespace: staging }
spec:
  instances: { service: catalog }
  signals:
    total: http_requests_total
    good: http_requests_total{code!~"5.."}
    latency: http_request_duration_seconds
    busy_seconds: worker_busy_seconds_total
    workers: workers_total
    ready: replica_ready
  edges:
    - callee: inventory
      total: upstream_requests_total{callee="inventory",outcome=~"success|failure"}
      good: upstream_requests_total{callee="inventory",outcome="success"}
  objective: { target: 0.99, latency: 250ms, window: 1h }
---
kind: Policy
metadata: { name: catalog, namespace: staging }
spec:
  service: catalog
  autonomy: act
  scale: { minimum: 1, maximum: 6, cooldown_up: 5s, cooldown_down: 15s }
  breaker: { callees: [inventory] }
"#;

    #[test]
    fn what_is_written_reads_back() {
        let documents = read(SERVICE).unwrap();
        assert_eq!(documents.len(), 2);
        for document in &documents {
            assert_eq!(&read(&write(document).unwrap()).unwrap()[0], document);
        }
    }

    #[track_caller]
    fn refused(change: (&str, &str), expect: &str) {
        let text = SERVICE.replace(change.0, change.1);
        assert_ne!(text, SERVICE, "the change must apply");
        let error = read(&text).unwrap_err();
        let mut chain = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            chain = format!("{chain}: {inner}");
            source = inner.source();
        }
        assert!(chain.contains(expect), "{chain:?} must contain {expect:?}");
    }

    #[test]
    fn refuses_with_key_value_and_rule() {
        refused(("maximum: 6", "maximum: 0"), "spec.scale.minimum \"1..0\": must be at least 1");
        refused(("target: 0.99", "target: 1.0"), "spec.objective.target \"1\": must be above 0 and below 1");
        refused(("service: catalog }", "}"), "");
        refused(("{ service: catalog }", "{}"), "instances");
        refused(("autonomy: act", "autonomy: yolo"), "must be one of observe recommend approve act");
        refused(("ready:", "redy:"), "unknown field `redy`");
        refused(("250ms", "quick"), "is not a duration");
        refused(("namespace: staging", "namespace: Staging"), "a-z 0-9");
        refused(("callees: [inventory]", "callees: []"), "must name at least one callee");
        refused(("total: http_requests_total\n", "total: \"{}\"\n"), "metric name");
    }

    #[test]
    fn empty_file_is_refused() {
        assert!(matches!(read(""), Err(Error::Empty)));
        assert!(matches!(read("---\n---\n"), Err(Error::Empty)));
    }
}
