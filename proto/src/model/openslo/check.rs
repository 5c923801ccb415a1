//! The rules of the specification that types do not hold.

use super::{
    AlertConditionSpec, AlertPolicySpec, BudgetingMethod, ConditionRef, Document, InlineSli, Kind, Metadata,
    Metric, ObjectiveText, PolicyRef, RatioMetric, SliSpec, SliceWindow, SloSpec, Spec, TargetRef,
    TimeWindow,
};
use crate::model::ids::InvalidId;
use jiff::{civil::DateTime, tz::TimeZone};

type Checked = Result<(), InvalidId>;

/// Longest description.
const DESCRIPTION_MAX: usize = 1_050;
/// Longest name that the specification encourages.
const NAME_MAX: usize = 255;
/// Longest key of a label or annotation, without prefix.
const KEY_MAX: usize = 63;

pub(super) fn document(document: &Document) -> Checked {
    metadata(&document.metadata).map_err(|error| error.under("metadata"))?;
    let checked = match &document.spec {
        Spec::DataSource(spec) => {
            description(spec.description.as_deref()).and_then(|()| filled("type", &spec.source_type))
        }
        Spec::Slo(spec) => slo(spec),
        Spec::Sli(spec) => sli(spec),
        Spec::AlertPolicy(spec) => policy(spec),
        Spec::AlertCondition(spec) => condition(spec),
        Spec::AlertNotificationTarget(spec) => {
            description(spec.description.as_deref()).and_then(|()| filled("target", &spec.target))
        }
        Spec::Service(spec) => description(spec.description.as_deref()),
    };
    checked.map_err(|error| error.under("spec"))
}

fn filled(key: &str, text: &str) -> Checked {
    if text.is_empty() { Err(InvalidId::new(key, text, "must not be empty")) } else { Ok(()) }
}

fn description(text: Option<&str>) -> Checked {
    match text {
        Some(text) if text.chars().count() > DESCRIPTION_MAX => {
            Err(InvalidId::new("description", text, "must have at most 1050 characters"))
        }
        _ => Ok(()),
    }
}

fn name(key: &str, text: &str) -> Checked {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.|/\\".contains(c);
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(fits) {
        return Err(InvalidId::new(key, text, "must have 1 to 255 of a-z A-Z 0-9 - _ . | / \\"));
    }
    Ok(())
}

fn key(field: &str, text: &str) -> Checked {
    let short = text.split_once('/').map_or(text, |(_, short)| short);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = [short.chars().next(), short.chars().last()];
    let sound = ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()));
    if !sound || short.len() > KEY_MAX || !short.chars().all(fits) {
        let rule = "keys have at most 63 of a-z A-Z 0-9 - _ . and begin and end with a letter or digit";
        return Err(InvalidId::new(field, text, rule));
    }
    Ok(())
}

fn metadata(metadata: &Metadata) -> Checked {
    name("name", &metadata.name)?;
    let labels = metadata.labels.iter().flatten().try_for_each(|(label, _)| key("labels", label));
    labels.and_then(|()| {
        metadata.annotations.iter().flatten().try_for_each(|(label, _)| key("annotations", label))
    })
}

fn metric(metric: &Metric) -> Checked {
    let source = &metric.metric_source;
    if source.metric_source_ref.is_none() && source.source_type.is_none() {
        return Err(InvalidId::new("metricSource.type", "", "must be given when no metricSourceRef is"));
    }
    Ok(())
}

fn sli(spec: &SliSpec) -> Checked {
    description(spec.description.as_deref())?;
    match (&spec.threshold_metric, &spec.ratio_metric) {
        (Some(threshold), None) => metric(threshold).map_err(|error| error.under("thresholdMetric")),
        (None, Some(ratio)) => ratio_metric(ratio).map_err(|error| error.under("ratioMetric")),
        _ => {
            Err(InvalidId::new("thresholdMetric", "", "give exactly one of thresholdMetric and ratioMetric"))
        }
    }
}

fn ratio_metric(ratio: &RatioMetric) -> Checked {
    let RatioMetric { counter: _, good, bad, total, raw_type, raw } = ratio;
    if raw.is_some() {
        if good.is_some() || bad.is_some() || total.is_some() {
            return Err(InvalidId::new("raw", "", "stands alone, without good, bad and total"));
        }
        if raw_type.is_none() {
            return Err(InvalidId::new("rawType", "", "must be success or failure where raw is given"));
        }
    } else {
        if total.is_none() {
            return Err(InvalidId::new("total", "", "must be given with good or bad"));
        }
        if good.is_some() == bad.is_some() {
            return Err(InvalidId::new("good", "", "give exactly one of good and bad"));
        }
    }
    [good, bad, total, raw].into_iter().flatten().try_for_each(metric)
}

fn inline(inline: &InlineSli) -> Checked {
    let checked = metadata(&inline.metadata).map_err(|error| error.under("metadata"));
    checked.and_then(|()| sli(&inline.spec).map_err(|error| error.under("spec")))
}

fn slo(spec: &SloSpec) -> Checked {
    description(spec.description.as_deref())?;
    filled("service", &spec.service)?;
    let objectives = spec.objectives.as_deref().unwrap_or_default();
    let parts = objectives.iter().any(|part| part.indicator.is_some() || part.indicator_ref.is_some());
    let whole = usize::from(spec.indicator.is_some()) + usize::from(spec.indicator_ref.is_some());
    if whole > 1 || (whole == 0 && !parts) {
        return Err(InvalidId::new("indicator", "", "give exactly one of indicator and indicatorRef"));
    }
    if let Some(indicator) = &spec.indicator {
        inline(indicator).map_err(|error| error.under("indicator"))?;
    }
    match spec.time_window.as_deref() {
        None => {}
        Some([window]) => time_window(window).map_err(|error| error.under("timeWindow"))?,
        Some(windows) => {
            return Err(InvalidId::new("timeWindow", windows.len(), "must have exactly one element"));
        }
    }
    let is_threshold = spec.indicator.as_ref().is_some_and(|sli| sli.spec.threshold_metric.is_some());
    for (index, part) in objectives.iter().enumerate() {
        objective(part, spec.budgeting_method, is_threshold)
            .map_err(|error| error.under(&format!("objectives[{index}]")))?;
    }
    if is_threshold && objectives.len() > 1 && !parts {
        return Err(InvalidId::new("objectives", objectives.len(), "a threshold metric has one objective"));
    }
    for reference in spec.alert_policies.iter().flatten() {
        if let PolicyRef::Inline(document) = reference {
            of_kind(document.kind, Kind::AlertPolicy)?;
            policy(&document.spec).map_err(|error| error.under("alertPolicies"))?;
        }
    }
    Ok(())
}

fn of_kind(kind: Kind, expect: Kind) -> Checked {
    if kind == expect { Ok(()) } else { Err(InvalidId::new("kind", kind, format!("must be {expect} here"))) }
}

fn time_window(window: &TimeWindow) -> Checked {
    if window.duration.count == 0 {
        return Err(InvalidId::new("duration", window.duration, "must be above 0"));
    }
    match (&window.calendar, window.is_rolling) {
        (Some(_), Some(true)) => {
            Err(InvalidId::new("isRolling", true, "a window with a calendar does not roll"))
        }
        (None, Some(false)) => Err(InvalidId::new("calendar", "", "must be given when isRolling is false")),
        (Some(calendar), _) => {
            calendar.start_time.parse::<DateTime>().map_err(|_| {
                InvalidId::new("calendar.startTime", &calendar.start_time, "must be like 2020-01-21 12:30:00")
            })?;
            TimeZone::get(&calendar.time_zone).map_err(|_| {
                InvalidId::new(
                    "calendar.timeZone",
                    &calendar.time_zone,
                    "must be a name such as Europe/Berlin",
                )
            })?;
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

fn share(key: &str, value: f64, rule: &str, fits: bool) -> Checked {
    if value.is_finite() && fits { Ok(()) } else { Err(InvalidId::new(key, value, rule)) }
}

fn objective(part: &ObjectiveText, method: Option<BudgetingMethod>, is_threshold: bool) -> Checked {
    match (part.target, part.target_percent) {
        (Some(target), None) => {
            share("target", target, "must be 0 to below 1", (0.0..1.0).contains(&target))?;
        }
        (None, Some(percent)) => {
            share("targetPercent", percent, "must be 0 to below 100", (0.0..100.0).contains(&percent))?;
        }
        _ => return Err(InvalidId::new("target", "", "give exactly one of target and targetPercent")),
    }
    if let Some(target) = part.time_slice_target {
        share("timeSliceTarget", target, "must be 0 to 1", (0.0..=1.0).contains(&target))?;
    }
    if let Some(SliceWindow::Minutes(minutes)) = part.time_slice_window {
        share("timeSliceWindow", minutes, "must be above 0 minutes", minutes > 0.0)?;
    }
    let has_slices = method.is_some_and(|method| method != BudgetingMethod::Occurrences);
    if has_slices && part.time_slice_window.is_none() {
        return Err(InvalidId::new("timeSliceWindow", "", "must be given for time slices"));
    }
    let judged = method == Some(BudgetingMethod::Timeslices) && !is_threshold;
    if judged && part.time_slice_target.is_none() {
        return Err(InvalidId::new("timeSliceTarget", "", "must be given for Timeslices"));
    }
    if is_threshold && (part.op.is_none() || part.value.is_none()) {
        return Err(InvalidId::new("op", "", "a threshold metric needs op and value"));
    }
    if let Some(value) = part.value {
        share("value", value, "must be a number", true)?;
    }
    if let Some(weight) = part.composite_weight {
        share("compositeWeight", weight, "must be above 0", weight > 0.0)?;
    }
    part.indicator.as_ref().map_or(Ok(()), inline)
}

fn policy(spec: &AlertPolicySpec) -> Checked {
    description(spec.description.as_deref())?;
    let [one] = spec.conditions.as_slice() else {
        return Err(InvalidId::new("conditions", spec.conditions.len(), "must have exactly one element"));
    };
    if let ConditionRef::Inline(document) = one {
        of_kind(document.kind, Kind::AlertCondition)?;
        condition(&document.spec).map_err(|error| error.under("conditions"))?;
    }
    if spec.notification_targets.is_empty() {
        return Err(InvalidId::new("notificationTargets", "[]", "must name at least one target"));
    }
    for target in &spec.notification_targets {
        if let TargetRef::Inline(document) = target {
            of_kind(document.kind, Kind::AlertNotificationTarget)?;
        }
    }
    Ok(())
}

fn condition(spec: &AlertConditionSpec) -> Checked {
    description(spec.description.as_deref())?;
    filled("severity", &spec.severity)?;
    let burn = &spec.condition;
    share("condition.threshold", burn.threshold, "must be a number", true)?;
    if burn.lookback_window.count == 0 {
        return Err(InvalidId::new("condition.lookbackWindow", burn.lookback_window, "must be above 0"));
    }
    Ok(())
}
