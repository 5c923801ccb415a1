//! The result as one self-contained page: figures, and for each policy its replicas over the load, and what was late.

use super::report::{Report, Row};
use std::fmt::Write as _;

/// The drawing, in units of its own: the page scales it to its width.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 246.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 946.0;
/// Load and replicas: from this height down to that one.
const MAIN: (f64, f64) = (16.0, 166.0);
/// Late requests likewise.
const LATE: (f64, f64) = (182.0, 222.0);
/// Late shares are drawn up to this; beyond, the bar is full.
const LATE_DRAWN: f64 = 0.05;
/// Changes listed for each policy; the rest are counted.
const CHANGES_LISTED: usize = 200;
/// Marks on the axis of time, at most; each takes about 80 units.
const MARKS_MOST: f64 = 10.0;
/// Spans between two marks that people count in, in seconds: minutes, hours, days, weeks.
const MARKS_S: [f64; 14] = [
    60.0,
    300.0,
    600.0,
    1_800.0,
    3_600.0,
    7_200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
    2_419_200.0,
    7_257_600.0,
];

const STYLE: &str = ":root{color-scheme:light dark;--paper:#fff;--card:#f7f9fb;--ink:#1c2733;--quiet:#5b6b7a;--line:#dde4ea;\
--load:#ccd5dd;--ours:#1f6fd0;--late:#d93025;--met:#14794a;--missed:#b3261e}\
@media(prefers-color-scheme:dark){:root{--paper:#10151c;--card:#171d26;--ink:#e6ebf2;--quiet:#93a0b0;--line:#2a333f;\
--load:#3a4655;--ours:#6aa7ff;--late:#ff6b6b;--met:#5fd39a;--missed:#ff8a80}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1060px;margin:2em auto;padding:0 1em}\
h1{font-size:1.5em}h2{font-size:1.1em;margin:1.6em 0 .3em}table{border-collapse:collapse}\
th,td{padding:.25em .8em;text-align:right;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}\
.met{color:var(--met)}.missed{color:var(--missed)}.note{color:var(--quiet)}.scroll{overflow-x:auto}details{margin:.3em 0}\
.ours{font-weight:600}svg{width:100%;height:auto;background:var(--card);border-radius:6px}svg text{font-size:11px;fill:var(--quiet)}\
.grid{stroke:var(--line)}.load{fill:var(--load)}.replicas{fill:none;stroke:var(--ours);stroke-width:1.5}.late{fill:var(--late)}\
.key{display:inline-block;width:.9em;height:.9em;border-radius:2px;margin:0 .35em 0 .9em;vertical-align:-.1em}";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Backtest of {0}</title><style>{STYLE}</style><h1>Backtest of {0}</h1>\
         <p>Promised: {1} % of requests within {2} s. Scored from {3} on; what comes before is for learning.</p>",
        escape(&report.trace),
        report.slo,
        report.objective_s,
        span(f64::from(report.evaluated_from_s))
    );
    figures(&mut page, report);
    _ = write!(
        page,
        "<p class=\"note\">★: no other policy has both fewer violations and lower cost. Time counts from the start of the \
         trace.<br><span class=\"key\" style=\"margin-left:0;background:var(--load)\"></span>load, requests/s (right)\
         <span class=\"key\" style=\"background:var(--ours)\"></span>replicas (left)\
         <span class=\"key\" style=\"background:var(--late)\"></span>late requests, {} % and more fill the height</p>",
        100.0 * LATE_DRAWN
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
        "<div class=\"scroll\"><table><tr><th>Policy<th>Late<th>Objective<th>Bad minutes<th>Replica-hours<th>Changes\
         <th>Budget burn<th>Over the lower bound</tr>",
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
    page.push_str("</table></div>");
}

fn policy(page: &mut String, report: &Report, row: &Row, most: f64) {
    let peak = report.load.iter().copied().fold(1e-9, f64::max);
    let name = escape(&row.name);
    _ = write!(
        page,
        "<h2>{name}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Load, replicas and late requests under {name}\">"
    );
    let (top, floor) = MAIN;
    _ = write!(
        page,
        "<polygon class=\"load\" points=\"{LEFT},{floor} {}{RIGHT},{floor}\"/>",
        line(&report.load, peak)
    );
    for share in [0.0, 0.5, 1.0] {
        let y = floor - share * (floor - top);
        _ = write!(
            page,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y}\" y2=\"{y}\"/><text x=\"{}\" y=\"{}\" \
             text-anchor=\"end\">{}</text><text x=\"{}\" y=\"{}\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            short(share * most),
            RIGHT + 6.0,
            y + 4.0,
            short(share * peak)
        );
    }
    marks(page, f64::from(report.evaluated_from_s), report.drawn_s * report.load.len() as f64);
    _ = write!(page, "<polyline class=\"replicas\" points=\"{}\"/>", line(&row.replicas, most));
    bars(page, &row.late);
    page.push_str("</svg>");
    changes(page, row);
}

fn changes(page: &mut String, row: &Row) {
    _ = write!(
        page,
        "<details><summary>{} changes of the number of replicas</summary><table><tr><th>At<th>From<th>To</tr>",
        row.changes.len()
    );
    for (at, from, to) in row.changes.iter().take(CHANGES_LISTED) {
        _ = write!(page, "<tr><td>{}<td>{from}<td>{to}</tr>", span(f64::from(*at)));
    }
    page.push_str("</table>");
    if row.changes.len() > CHANGES_LISTED {
        _ = write!(page, "<p class=\"note\">and {} more</p>", row.changes.len() - CHANGES_LISTED);
    }
    page.push_str("</details>");
}

fn line(values: &[f64], most: f64) -> String {
    let mut points = String::new();
    let wide = (RIGHT - LEFT) / values.len().max(1) as f64;
    for (index, value) in values.iter().enumerate() {
        let y = MAIN.1 - (MAIN.1 - MAIN.0) * value / most;
        _ = write!(points, "{:.1},{y:.1} ", LEFT + index as f64 * wide);
    }
    points
}

fn bars(page: &mut String, late: &[f64]) {
    let ((top, floor), wide) = (LATE, (RIGHT - LEFT) / late.len().max(1) as f64);
    _ = write!(
        page,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{floor}\" y2=\"{floor}\"/>\
         <text x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{2} %</text><text x=\"{0}\" y=\"{floor}\" text-anchor=\"end\">late</text>",
        LEFT - 6.0,
        top + 6.0,
        100.0 * LATE_DRAWN
    );
    for (index, share) in late.iter().enumerate().filter(|(_, share)| **share > 0.001) {
        let high = (floor - top) * (share / LATE_DRAWN).min(1.0);
        _ = write!(
            page,
            "<rect class=\"late\" x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.2}\" height=\"{high:.1}\"/>",
            LEFT + index as f64 * wide,
            floor - high
        );
    }
}

/// Marks of time that people can count in.
fn marks(page: &mut String, from_s: f64, length_s: f64) {
    let step = MARKS_S.iter().copied().find(|step| length_s / step <= MARKS_MOST);
    let step = step.unwrap_or(length_s / MARKS_MOST);
    if !(step > 0.0 && length_s > 0.0) {
        return;
    }
    let mut at = (from_s / step).ceil() * step;
    while at <= from_s + length_s {
        let x = LEFT + (RIGHT - LEFT) * (at - from_s) / length_s;
        _ = write!(
            page,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            MAIN.0,
            LATE.1,
            HEIGHT - 8.0,
            span(at)
        );
        at += step;
    }
}

/// `7 d 6 h`, `12 min`, `30 s`: the two largest units that are not zero.
fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = whole;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if left >= size {
            parts.push(format!("{} {unit}", left / size));
            left %= size;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A number on an axis.
fn short(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1_000.0),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_two_largest_units() {
        for (seconds, text) in
            [(0.0, "0 s"), (59.6, "1 min"), (3_600.0, "1 h"), (90_061.0, "1 d 1 h"), (604_800.0, "7 d")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn marks_are_few_and_inside_whatever_the_length() {
        for length in [1.0, 59.0, 3_600.0, 1_209_600.0, 3e7, 1e9] {
            let mut page = String::new();
            marks(&mut page, 604_800.0, length);
            assert!(page.matches("<line").count() <= 12, "{length} s: {page}");
        }
    }
}
