//! OpenSLO v1 documents (github.com/OpenSLO/OpenSLO): read, checked, and written so that they read back the same.
//!
//! What OpenSLO cannot say stands in annotations under `homeostat.io/`, which every v1 validator accepts. Documents of
//! `openslo.com/v2alpha` are read and become v1.

mod check;
mod duration;
mod read;
mod refs;
#[cfg(test)]
mod tests;
mod upgrade;

pub use duration::{Shorthand, Unit};
pub use read::{Error, read, write, write_one};

use super::text::words;
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;
use std::collections::BTreeMap;

/// The version that is written.
pub const API_VERSION: &str = "openslo/v1";
/// Prefix of what we add.
pub const EXTENSION: &str = "homeostat.io/";

words! {
    /// Kinds of OpenSLO document.
    Kind {
        /// Where measurements come from.
        DataSource = "DataSource",
        /// An objective.
        Slo = "SLO",
        /// An indicator.
        Sli = "SLI",
        /// Which alerts an objective has.
        AlertPolicy = "AlertPolicy",
        /// When an alert opens.
        AlertCondition = "AlertCondition",
        /// Who is told.
        AlertNotificationTarget = "AlertNotificationTarget",
        /// What objectives are about.
        Service = "Service",
    }
}

/// A label: one value or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Name, labels and annotations of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Names it within its kind.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// For people and selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Label>>,
    /// For programs; ours are under `homeostat.io/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Metadata {
    /// Our annotation of that name.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        annotations.get(&format!("{EXTENSION}{name}")).map(String::as_str)
    }
}

/// Where measurements come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataSourceSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `Prometheus`, for example.
    #[serde(rename = "type")]
    pub source_type: String,
    /// Whatever the source needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_details: Option<Value>,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetricSource {
    /// Name of a DataSource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_source_ref: Option<String>,
    /// Type of the source, when none is named.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// Whatever the type needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Value>,
}

impl MetricSource {
    /// A text field of its spec.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.spec.as_ref()?.get(name)?.as_str()
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metric {
    /// Where it comes from.
    pub metric_source: MetricSource,
}

words! {
    /// What a stored ratio is of.
    RawType {
        /// Good events of all.
        Success = "success",
        /// Bad events of all.
        Failure = "failure",
    }
}

/// Good or bad events of all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RatioMetric {
    /// Whether the numbers only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<bool>,
    /// Good events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Metric>,
    /// Bad events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Metric>,
    /// All events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Metric>,
    /// What `raw` is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_type: Option<RawType>,
    /// A ratio that somebody else computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Metric>,
}

/// An indicator: exactly one of its metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SliSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A number that is compared with a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_metric: Option<Metric>,
    /// A share of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_metric: Option<RatioMetric>,
}

/// An indicator inside an objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineSli {
    /// Its name.
    pub metadata: Metadata,
    /// What it measures.
    pub spec: SliSpec,
}

/// Where calendar windows begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CalendarText {
    /// A date with time, without zone.
    pub start_time: String,
    /// IANA name.
    pub time_zone: String,
}

/// The window of an objective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TimeWindow {
    /// How long.
    pub duration: Shorthand,
    /// Whether it moves with the time; else `calendar` says where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_rolling: Option<bool>,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<CalendarText>,
}

words! {
    /// What a budget is counted in.
    BudgetingMethod {
        /// Events.
        Occurrences = "Occurrences",
        /// Slices of time that are good or bad.
        Timeslices = "Timeslices",
        /// Slices of time, each as bad as its events.
        RatioTimeslices = "RatioTimeslices",
    }
}

words! {
    /// How a number is compared.
    Op {
        /// At most.
        Lte = "lte",
        /// At least.
        Gte = "gte",
        /// Below.
        Lt = "lt",
        /// Above.
        Gt = "gt",
    }
}

/// Width of a slice: minutes as a number, or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SliceWindow {
    /// Minutes.
    Minutes(f64),
    /// A duration.
    Text(Shorthand),
}

/// One target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectiveText {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// How a threshold metric is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<Op>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Share of good, 0 to below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The same in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_percent: Option<f64>,
    /// Share of good that makes a slice good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_slice_target: Option<f64>,
    /// Width of a slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_slice_window: Option<SliceWindow>,
    /// Composites: this part's indicator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<InlineSli>,
    /// Composites: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator_ref: Option<String>,
    /// Composites: how much this part weighs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composite_weight: Option<f64>,
}

impl ObjectiveText {
    /// The share of good, however it was written.
    #[must_use]
    pub fn target_ratio(&self) -> Option<f64> {
        self.target.or(self.target_percent.map(|percent| percent / 100.0))
    }
}

/// A part that stands elsewhere, or here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PolicyRef {
    /// Its name alone.
    Name(String),
    /// Its name.
    Reference(AlertPolicyRef),
    /// The policy.
    Inline(Box<InlineDocument<AlertPolicySpec>>),
}

/// Names an alert policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AlertPolicyRef {
    /// Its name.
    pub alert_policy_ref: String,
}

/// A whole document inside another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InlineDocument<S> {
    /// Which version, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Which kind.
    pub kind: Kind,
    /// Its name.
    pub metadata: Metadata,
    /// Its content.
    pub spec: S,
}

/// An objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SloSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whose it is.
    pub service: String,
    /// What it measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<InlineSli>,
    /// The name of what it measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator_ref: Option<String>,
    /// Exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_window: Option<Vec<TimeWindow>>,
    /// What the budget is counted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgeting_method: Option<BudgetingMethod>,
    /// Its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Vec<ObjectiveText>>,
    /// Its alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_policies: Option<Vec<PolicyRef>>,
}

/// A condition that stands elsewhere, or here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConditionRef {
    /// Its name.
    Reference(AlertConditionRef),
    /// The condition.
    Inline(Box<InlineDocument<AlertConditionSpec>>),
}

/// Names an alert condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AlertConditionRef {
    /// Its name.
    pub condition_ref: String,
}

/// A target that stands elsewhere, or here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetRef {
    /// Its name.
    Reference(NotificationTargetRef),
    /// The target.
    Inline(Box<InlineDocument<TargetSpec>>),
}

/// Names a notification target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NotificationTargetRef {
    /// Its name.
    pub target_ref: String,
}

/// Which alerts an objective has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AlertPolicySpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether missing data alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_when_no_data: Option<bool>,
    /// Whether the end of a breach is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_when_resolved: Option<bool>,
    /// Whether a breach is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_when_breaching: Option<bool>,
    /// Exactly one.
    pub conditions: Vec<ConditionRef>,
    /// Who is told.
    pub notification_targets: Vec<TargetRef>,
}

/// When an alert opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AlertConditionSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How urgent.
    pub severity: String,
    /// What must hold.
    pub condition: BurnCondition,
}

words! {
    /// What a condition looks at.
    ConditionKind {
        /// The burn rate.
        BurnRate = "burnrate",
    }
}

/// A burn rate over one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BurnCondition {
    /// What it looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ConditionKind>,
    /// How it compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<Op>,
    /// With what burn rate.
    pub threshold: f64,
    /// Over which time.
    pub lookback_window: Shorthand,
    /// How long it must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_after: Option<Shorthand>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `slack`, `email`, ...
    pub target: String,
}

/// What objectives are about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The content of a document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Spec {
    /// Where measurements come from.
    DataSource(DataSourceSpec),
    /// An objective.
    Slo(Box<SloSpec>),
    /// An indicator.
    Sli(Box<SliSpec>),
    /// Which alerts an objective has.
    AlertPolicy(AlertPolicySpec),
    /// When an alert opens.
    AlertCondition(AlertConditionSpec),
    /// Who is told.
    AlertNotificationTarget(TargetSpec),
    /// What objectives are about.
    Service(ServiceSpec),
}

/// One document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// Its name.
    pub metadata: Metadata,
    /// Its content.
    pub spec: Spec,
}

impl Document {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.spec {
            Spec::DataSource(_) => Kind::DataSource,
            Spec::Slo(_) => Kind::Slo,
            Spec::Sli(_) => Kind::Sli,
            Spec::AlertPolicy(_) => Kind::AlertPolicy,
            Spec::AlertCondition(_) => Kind::AlertCondition,
            Spec::AlertNotificationTarget(_) => Kind::AlertNotificationTarget,
            Spec::Service(_) => Kind::Service,
        }
    }
}
