//! `openslo.com/v2alpha` → v1: other names for the same things, and data sources that stand inside an indicator.

use super::API_VERSION;
use serde_yaml_ng::{Mapping, Value};

/// The version that is upgraded.
pub(super) const V2ALPHA: &str = "openslo.com/v2alpha";

/// The document as v1, after the data sources that stood inside it, which v1 wants to stand alone.
pub(super) fn to_v1(mut document: Value) -> Vec<Value> {
    let mut sources = Vec::new();
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = name_of(&document);
    if let Value::Mapping(fields) = &mut document {
        fields.insert("apiVersion".into(), API_VERSION.into());
        if let Some(Value::Mapping(spec)) = fields.get_mut("spec") {
            match kind.as_str() {
                "SLI" => indicator(spec, &name, &mut sources),
                "SLO" => objective(spec, &mut sources),
                _ => {}
            }
        }
    }
    sources.push(document);
    sources
}

fn name_of(document: &Value) -> String {
    let name = document.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    name.unwrap_or("unnamed").to_owned()
}

fn rename(fields: &mut Mapping, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.into(), value);
    }
}

fn objective(spec: &mut Mapping, sources: &mut Vec<Value>) {
    named(spec, sources);
    if let Some(Value::Sequence(objectives)) = spec.get_mut("objectives") {
        for objective in objectives.iter_mut().filter_map(Value::as_mapping_mut) {
            named(objective, sources);
        }
    }
}

/// `sli` and `sliRef` are `indicator` and `indicatorRef`.
fn named(fields: &mut Mapping, sources: &mut Vec<Value>) {
    rename(fields, "sli", "indicator");
    rename(fields, "sliRef", "indicatorRef");
    if let Some(inline) = fields.get_mut("indicator") {
        let name = name_of(inline);
        if let Some(Value::Mapping(spec)) = inline.get_mut("spec") {
            indicator(spec, &name, sources);
        }
    }
}

fn indicator(spec: &mut Mapping, name: &str, sources: &mut Vec<Value>) {
    if let Some(Value::Mapping(metric)) = spec.get_mut("thresholdMetric") {
        source(metric, name, sources);
    }
    if let Some(Value::Mapping(ratio)) = spec.get_mut("ratioMetric") {
        for part in ["good", "bad", "total", "raw"] {
            if let Some(Value::Mapping(metric)) = ratio.get_mut(part) {
                source(metric, &format!("{name}-{part}"), sources);
            }
        }
    }
}

/// `dataSourceRef` and `spec` go under `metricSource`; a `dataSourceSpec` becomes a document with a name of its own.
fn source(metric: &mut Mapping, name: &str, sources: &mut Vec<Value>) {
    let mut inner = Mapping::new();
    if let Some(reference) = metric.remove("dataSourceRef") {
        inner.insert("metricSourceRef".into(), reference);
    }
    if let Some(spec) = metric.remove("dataSourceSpec") {
        let name = format!("{name}-source");
        if let Some(kind) = spec.get("type") {
            inner.insert("type".into(), kind.clone());
        }
        inner.insert("metricSourceRef".into(), name.as_str().into());
        let metadata = Mapping::from_iter([(Value::from("name"), Value::from(name))]);
        sources.push(Value::Mapping(Mapping::from_iter([
            (Value::from("apiVersion"), Value::from(API_VERSION)),
            (Value::from("kind"), Value::from("DataSource")),
            (Value::from("metadata"), Value::Mapping(metadata)),
            (Value::from("spec"), spec),
        ])));
    }
    if let Some(spec) = metric.remove("spec") {
        inner.insert("spec".into(), spec);
    }
    metric.insert("metricSource".into(), Value::Mapping(inner));
}
