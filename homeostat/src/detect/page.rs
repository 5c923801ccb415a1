//! One self-contained page per series: value, usual range, score, severity and alerts over time. It loads nothing from
//! anywhere, so it can be mailed, attached to an incident, or opened years later.

use super::{Judged, Tally, multi};
use analyze::detect::View;
use serde::Serialize;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// More names than this help nobody in a table.
const BLAMED_SHOWN: usize = 6;

/// What a page shows, gathered row by row. Single precision: a pixel needs no more, and its digits are half as many.
#[derive(Debug, Default, Serialize)]
pub struct Course {
    name: String,
    /// Seconds since 1970.
    t: Vec<f64>,
    v: Vec<f32>,
    e: Vec<Option<f32>>,
    l: Vec<Option<f32>>,
    u: Vec<Option<f32>>,
    s: Vec<f32>,
    y: Vec<f32>,
    alerts: Vec<Alert>,
    /// Labelled spans to compare with, in seconds since 1970.
    labels: Vec<(f64, f64)>,
    /// Names of the metrics of a host; none for a single series.
    names: Vec<String>,
    /// Which metrics were to blame when: index of the moment, of the metric, and its share.
    blame: Vec<(usize, usize, f32)>,
    rows: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Alert {
    /// Index of its sample.
    i: usize,
    /// Name of the view that gave it.
    view: &'static str,
    why: String,
    confidence: f32,
}

impl Course {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes in the next row; refused ones have no place in time and are only counted.
    pub fn push(&mut self, judged: &Judged) {
        let (Some((at, value)), judgement) = (judged.sample(), judged.judgement()) else { return };
        if judgement.deviation {
            self.alert(judgement.view.as_str(), why(judgement.view).to_owned(), judgement.confidence);
        }
        self.t.push(at.as_microsecond() as f64 / 1e6);
        self.v.push(value as f32);
        self.e.push(judgement.expected.map(|value| value as f32));
        self.l.push(judgement.lower.map(|value| value as f32));
        self.u.push(judgement.upper.map(|value| value as f32));
        self.s.push((judgement.score * 1e4).round() as f32 / 1e4);
        self.y.push((judgement.severity * 1e3).round() as f32 / 1e3);
    }

    /// Takes in the next moment of many metrics: what is drawn is who was to blame, over their common score.
    pub fn push_host(&mut self, judged: &multi::Judged, names: &[String]) {
        let (Ok(judgement), Ok((at, _))) = (&judged.verdict, &judged.moment.values) else { return };
        if self.names.is_empty() {
            self.names = names.to_vec();
        }
        if judgement.deviation {
            let blamed = judgement.blamed.iter().take(BLAMED_SHOWN);
            let blamed =
                blamed.filter_map(|b| Some(format!("{} {:.0} %", names.get(b.metric)?, 100.0 * b.share)));
            self.alert(
                "host",
                format!("to blame: {}", blamed.collect::<Vec<_>>().join(", ")),
                judgement.score,
            );
        }
        let row = self.t.len();
        self.blame
            .extend(judgement.blamed.iter().map(|b| (row, b.metric, (b.share * 1e3).round() as f32 / 1e3)));
        self.t.push(at.as_microsecond() as f64 / 1e6);
        self.v.push(judgement.score as f32);
        self.e.push(None);
        self.l.push(None);
        self.u.push(None);
        self.s.push((judgement.score * 1e4).round() as f32 / 1e4);
        self.y.push((judgement.severity * 1e3).round() as f32 / 1e3);
    }

    fn alert(&mut self, view: &'static str, why: String, confidence: f64) {
        self.alerts.push(Alert {
            i: self.t.len(),
            view,
            why,
            confidence: (confidence * 1e3).round() as f32 / 1e3,
        });
    }

    /// Spans that people labelled, to stand beside the alerts.
    pub fn label(&mut self, spans: impl IntoIterator<Item = (f64, f64)>) {
        self.labels.extend(spans);
    }

    /// The whole page.
    ///
    /// # Errors
    /// Never for numbers and text; what serde says otherwise.
    pub fn page(mut self, tally: &Tally) -> serde_json::Result<String> {
        self.rows = tally.rows;
        self.refused = tally.refused;
        // A script element ends at the first `</`, whatever stands around it.
        let data = serde_json::to_string(&self)?.replace('<', "\\u003c");
        Ok(PAGE
            .replace("{{style}}", STYLE)
            .replace("{{script}}", SCRIPT)
            .replace("{{title}}", &escape(&self.name))
            .replace("{{data}}", &data))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Why an alert opened, for a person.
pub fn why(view: View) -> &'static str {
    match view {
        View::Value => "the value is unlike any before it",
        View::ShortMean => "the mean of the last few samples is unlike any before",
        View::LongMean => "the mean over a longer while is unlike any before",
        View::Spread => "it varies as never before: a burst, or a line gone flat",
        View::Season => "it is unlike this time of the day or week",
        View::Level => "the level has moved and stays there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detect, offline::rows::Rows};

    #[test]
    fn a_page_holds_its_data_and_loads_nothing() {
        let mut course = Course::new("</script><b>&.csv");
        let text = "timestamp,value\n60,1\n120,2\n120,3\n180,4\n";
        let mut rows = Rows::open(text.as_bytes(), None).unwrap();
        let tally = detect::file(&mut rows, Default::default(), Vec::new(), |row| course.push(row)).unwrap();
        let page = course.page(&tally).unwrap();
        assert!(page.contains(r#""t":[60.0,120.0,180.0],"v":[1.0,2.0,4.0]"#), "{page}");
        assert!(page.contains(r#""rows":4,"refused":1"#));
        assert!(!page.contains("{{") && !page.contains("</script><b>"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "the page must not reach outside: {outside}");
        }
    }
}
