//! `# HELP`, `# TYPE` and `# UNIT`; every other comment is ignored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::line::{is_metric_name, unescape};
use super::{Family, Limits, MetricType, Reject};

/// Reads a comment, given without its `#`, into `families`.
pub(super) fn read<'a>(
    comment: &'a str,
    families: &mut BTreeMap<Cow<'a, str>, Family<'a>>,
    limits: &Limits,
) -> Result<(), Reject> {
    let (keyword, rest) = word(comment);
    if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
        return Ok(());
    }
    let (name, text) = name(rest)?;
    if name.len() > limits.label_bytes || (families.len() >= limits.series && !families.contains_key(&name)) {
        return Err(Reject::Comment);
    }
    let family = families.entry(name).or_insert_with(|| Family {
        metric_type: MetricType::Unknown,
        help: Cow::Borrowed(""),
        unit: "",
    });
    match keyword {
        "HELP" => family.help = unescape(text).map_err(|_| Reject::Comment)?,
        "UNIT" => family.unit = text,
        _ => {
            let metric_type = metric_type(text).ok_or(Reject::Comment)?;
            if family.metric_type != MetricType::Unknown && family.metric_type != metric_type {
                return Err(Reject::Comment);
            }
            family.metric_type = metric_type;
        }
    }
    Ok(())
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches([' ', '\t']))
}

/// A family's name, plain or quoted, and what follows it.
fn name(text: &str) -> Result<(Cow<'_, str>, &str), Reject> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (name, rest) = word(text);
        return if is_metric_name(name) { Ok((Cow::Borrowed(name), rest)) } else { Err(Reject::Comment) };
    };
    let end = quoted.find('"').ok_or(Reject::Comment)?;
    if end == 0 || quoted[..end].contains('\\') {
        return Err(Reject::Comment);
    }
    Ok((Cow::Borrowed(&quoted[..end]), quoted[end + 1..].trim_start_matches([' ', '\t'])))
}

fn metric_type(text: &str) -> Option<MetricType> {
    Some(match text {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "gaugehistogram" => MetricType::GaugeHistogram,
        "summary" => MetricType::Summary,
        "info" => MetricType::Info,
        "stateset" => MetricType::StateSet,
        "unknown" | "untyped" => MetricType::Unknown,
        _ => return None,
    })
}
