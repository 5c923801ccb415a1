//! The result as one self-contained page: figures, and for each policy replicas, late requests and changes over the load.

use super::report::{Report, Row};
use std::fmt::Write as _;

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 180.0;
/// Late shares are drawn up to this; beyond, the bar is full.
const LATE_DRAWN: f64 = 0.05;
/// Changes listed for each policy; the rest are counted.
const CHANGES_LISTED: usize = 200;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1c2733;max-width:1060px;margin:2em auto;padding:0 1em}\
h1{font-size:1.5em}h2{font-size:1.1em;margin:1.6em 0 .3em}table{border-collapse:collapse}\
th,td{padding:.25em .8em;text-align:right;border-bottom:1px solid #dde4ea}th:first-child,td:first-child{text-align:left}\
.met{color:#14794a}.missed{color:#b3261e}.note{color:#5b6b7a}svg{width:100%;height:auto;background:#f7f9fb}\
details{margin:.3em 0}.ours{font-weight:600}";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Backtest of {0}</title><style>{STYLE}</style>\
         <h1>Backtest of {0}</h1><p>Promised: {1} % of requests within {2} s. Scored from second {3}.</p>",
        escape(&report.trace),
        report.slo,
        report.objective_s,
        report.evaluated_from_s
    );
    figures(&mut page, report);
    page.push_str(
        "<p class=\"note\">Grey: load over its peak. Blue: replicas over the most of any policy. Red: late requests, the full \
         height is 5 %. ★: no other policy has both fewer violations and lower cost.</p>",
    );
    let most = report.rows.iter().flat_map(|row| &row.replicas).copied().fold(1.0, f64::max);
    for row in &report.rows {
        policy(&mut page, report, row, most);
    }
    for note in &report.notes {
        _ = write!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    page.push_str("</html>");
    page
}

fn figures(page: &mut String, report: &Report) {
    page.push_str(
        "<table><tr><th>Policy<th>Late<th>Objective<th>Bad minutes<th>Replica-hours<th>Changes<th>Burn<th>Over the bound</tr>",
    );
    for (index, row) in report.rows.iter().enumerate() {
        let met = if row.budget_burn <= 1.0 { "met" } else { "missed" };
        _ = write!(
            page,
            "<tr{}><td>{}{}<td>{:.3} %<td class=\"{met}\">{met}<td>{:.2} %<td>{:.0}<td>{}<td>{:.2}<td>{:.3}</tr>",
            if index == 0 { " class=\"ours\"" } else { "" },
            escape(&row.name),
            if row.pareto { " ★" } else { "" },
            100.0 * row.violation_ratio,
            100.0 * row.bad_minutes_ratio,
            row.replica_hours,
            row.scale_events,
            row.budget_burn,
            row.lower_bound_ratio
        );
    }
    page.push_str("</table>");
}

fn policy(page: &mut String, report: &Report, row: &Row, most: f64) {
    let peak = report.load.iter().copied().fold(1e-9, f64::max);
    _ = write!(page, "<h2>{}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">", escape(&row.name));
    _ = write!(page, "<polyline fill=\"none\" stroke=\"#b9c4ce\" points=\"{}\"/>", line(&report.load, peak));
    bars(page, &row.late);
    _ = write!(
        page,
        "<polyline fill=\"none\" stroke=\"#1f6fd0\" stroke-width=\"1.5\" points=\"{}\"/></svg>",
        line(&row.replicas, most)
    );
    _ = write!(
        page,
        "<details><summary>{} changes</summary><table><tr><th>Second<th>From<th>To</tr>",
        row.changes.len()
    );
    for (at, from, to) in row.changes.iter().take(CHANGES_LISTED) {
        _ = write!(page, "<tr><td>{at}<td>{from}<td>{to}</tr>");
    }
    page.push_str("</table>");
    if row.changes.len() > CHANGES_LISTED {
        _ = write!(page, "<p class=\"note\">and {} more</p>", row.changes.len() - CHANGES_LISTED);
    }
    page.push_str("</details>");
}

fn line(values: &[f64], most: f64) -> String {
    let mut points = String::new();
    let wide = WIDTH / values.len().max(1) as f64;
    for (index, value) in values.iter().enumerate() {
        _ = write!(points, "{:.1},{:.1} ", index as f64 * wide, HEIGHT * (1.0 - value / most));
    }
    points
}

fn bars(page: &mut String, late: &[f64]) {
    let wide = WIDTH / late.len().max(1) as f64;
    for (index, share) in late.iter().enumerate().filter(|(_, share)| **share > 0.001) {
        let high = HEIGHT * (share / LATE_DRAWN).min(1.0);
        _ = write!(
            page,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.2}\" height=\"{high:.1}\" fill=\"#d93025\" opacity=\".55\"/>",
            index as f64 * wide,
            HEIGHT - high
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
