//! One self-contained page with the end of a series and the fan of its forecast, drawn as SVG.

use super::Answer;
use jiff::Timestamp;
use std::fmt::Write;

const PAGE: &str = include_str!("page/page.html");
/// The drawing in its own units; it scales with the window.
const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;
/// How much of the past is shown beside the future, and at least how many samples of it.
const PAST: f64 = 3.0;
const SAMPLES_MIN: usize = 60;

/// Draws the page.
pub fn page(name: &str, samples: &[(Timestamp, f64)], answer: &Answer) -> String {
    let shown = shown(samples, answer);
    let plot = Plot::over(shown, answer);
    let mut drawing = plot.grid();
    drawing += &plot.fan(answer);
    drawing += &plot.line("value", shown.iter().map(|(at, value)| (seconds(*at), *value)));
    if let Some(middle) = median(answer) {
        drawing += &plot.line("median", plot.path(answer, middle));
    }
    let x = plot.x(seconds(answer.origin));
    _ = write!(
        drawing,
        r#"<line class="origin" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{:.1}"/>"#,
        HEIGHT - BOTTOM
    );
    PAGE.replace("{{drawing}}", &drawing)
        .replace("{{rows}}", &rows(answer))
        .replace("{{title}}", &escape(name))
        .replace(
            "{{about}}",
            &format!("{} steps of {} s from {}", answer.values.len(), answer.step_s, answer.origin),
        )
}

fn shown<'a>(samples: &'a [(Timestamp, f64)], answer: &Answer) -> &'a [(Timestamp, f64)] {
    let from = seconds(answer.origin) - PAST * (answer.values.len() as u64 * answer.step_s) as f64;
    let recent = samples.partition_point(|(at, _)| seconds(*at) < from);
    &samples[recent.min(samples.len().saturating_sub(SAMPLES_MIN))..]
}

fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

/// The quantile nearest to a half.
fn median(answer: &Answer) -> Option<usize> {
    let distance = |k: &usize| (answer.quantiles[*k] - 0.5).abs();
    (0..answer.quantiles.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// Where times and values lie in the drawing.
struct Plot {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
}

impl Plot {
    fn over(samples: &[(Timestamp, f64)], answer: &Answer) -> Self {
        let values = samples.iter().map(|(_, value)| *value).chain(answer.values.iter().flatten().copied());
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let room = 0.06 * if high > low { high - low } else { high.abs().max(1.0) };
        let end = seconds(answer.origin) + (answer.values.len() as u64 * answer.step_s) as f64;
        Self {
            from: samples.first().map_or(end - 1.0, |(at, _)| seconds(*at)),
            to: end,
            low: low - room,
            high: high + room,
        }
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (at - self.from) / (self.to - self.from) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&self, answer: &Answer, quantile: usize) -> impl Iterator<Item = (f64, f64)> {
        let origin = seconds(answer.origin);
        answer.values.iter().enumerate().filter_map(move |(step, row)| {
            Some((origin + ((step as u64 + 1) * answer.step_s) as f64, *row.get(quantile)?))
        })
    }

    fn line(&self, class: &str, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut text = format!(r#"<polyline class="{class}" points=""#);
        for (at, value) in points {
            _ = write!(text, "{:.1},{:.1} ", self.x(at), self.y(value));
        }
        text + r#""/>"#
    }

    /// Outer pairs of quantiles first, so that inner ones lie on them and the middle is darkest.
    fn fan(&self, answer: &Answer) -> String {
        let mut order: Vec<usize> = (0..answer.quantiles.len()).collect();
        order.sort_by(|a, b| answer.quantiles[*a].total_cmp(&answer.quantiles[*b]));
        let mut text = String::new();
        for pair in 0..order.len() / 2 {
            let (low, high) = (order[pair], order[order.len() - 1 - pair]);
            text += r#"<polygon class="fan" points=""#;
            let there = self.path(answer, high);
            let mut back: Vec<_> = self.path(answer, low).collect();
            back.reverse();
            for (at, value) in there.chain(back) {
                _ = write!(text, "{:.1},{:.1} ", self.x(at), self.y(value));
            }
            text += r#""/>"#;
        }
        text
    }

    fn grid(&self) -> String {
        let mut text = String::new();
        for value in ticks(self.low, self.high, 6.0) {
            let y = self.y(value);
            _ = write!(
                text,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                short(value)
            );
        }
        let day = 86_400.0;
        let steps =
            [60.0, 300.0, 900.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, day, 2.0 * day, 7.0 * day];
        let step = steps.into_iter().find(|step| (self.to - self.from) / step <= 10.0).unwrap_or(30.0 * day);
        let clock = if step >= day { "%a %d %b" } else { "%a %H:%M" };
        let first = (self.from / step).ceil();
        for at in (0..12).map(|k| (first + f64::from(k)) * step).take_while(|at| *at <= self.to) {
            let label = Timestamp::from_second(at as i64)
                .map_or_else(|_| String::new(), |at| at.strftime(clock).to_string());
            let (x, end) = (self.x(at), HEIGHT - BOTTOM);
            _ = write!(
                text,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{end:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                x.min(WIDTH - 34.0),
                HEIGHT - 9.0
            );
        }
        text
    }
}

fn ticks(low: f64, high: f64, count: f64) -> Vec<f64> {
    let rough = (high - low) / count;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil();
    let all = (0..12).map(|k| (first + f64::from(k)) * step);
    all.take_while(|value| *value <= high).collect()
}

fn short(value: f64) -> String {
    let text = if value.abs() >= 1e6 || (value != 0.0 && value.abs() < 1e-3) {
        format!("{value:.2e}")
    } else {
        format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if text == "-0" { "0".to_owned() } else { text }
}

fn rows(answer: &Answer) -> String {
    let mut text = "<tr><th>time</th>".to_owned();
    for quantile in &answer.quantiles {
        _ = write!(text, r#"<th class="n">{quantile}</th>"#);
    }
    text += "</tr>";
    for (step, row) in answer.values.iter().enumerate() {
        let at = seconds(answer.origin) as i64 + ((step as u64 + 1) * answer.step_s) as i64;
        let at = Timestamp::from_second(at).map_or_else(|_| String::new(), |at| at.to_string());
        _ = write!(text, "<tr><td>{at}</td>");
        for value in row {
            _ = write!(text, r#"<td class="n">{}</td>"#, short(*value));
        }
        text += "</tr>";
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_draws_the_past_the_fan_and_every_step() {
        let at = |k: i64| Timestamp::from_second(1_700_000_000 + 60 * k).unwrap();
        let samples: Vec<_> = (0..100).map(|k| (at(k), (k % 10) as f64)).collect();
        let values = vec![vec![1.0, 2.0, 3.0]; 5];
        let answer = Answer { origin: at(99), step_s: 60, quantiles: vec![0.1, 0.5, 0.9], values };
        let page = page("<a>.csv", &samples, &answer);
        assert!(page.contains("&lt;a&gt;.csv") && !page.contains("{{"));
        assert_eq!(page.matches("<polygon").count(), 1);
        assert_eq!(page.matches("<tr>").count(), 6);
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
