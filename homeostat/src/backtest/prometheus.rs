//! A trace from a Prometheus, or what speaks its HTTP API: range queries in steps. What it does not know is missing, never zero.

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;

/// Prometheus refuses more than 11,000 points per series in one answer.
const POINTS_MOST: i64 = 10_000;
/// Requests for one trace: 5,000,000 points, nine years of minutes.
const REQUESTS_MOST: i64 = 500;
/// A range query over weeks is slow, and no answer takes longer than Prometheus' own limit.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// Largest answer: 10,000 points of 40 bytes each, a hundred times over.
const ANSWER_MOST: usize = 40_000_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where Prometheus is, with its path prefix if it has one.
    pub url: String,
    /// PromQL that gives one series of requests per second.
    pub query: String,
    /// The first moment.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// Between two points.
    pub step: Duration,
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Source {
    /// From and to of each request, in seconds; no point is asked for twice.
    fn spans(&self) -> anyhow::Result<Vec<(i64, i64)>> {
        let step = i64::try_from(self.step.as_secs()).unwrap_or(i64::MAX);
        ensure!(step >= 1 && self.step.subsec_nanos() == 0, "--step must be whole seconds, at least 1s");
        let (from, to) = (self.from.as_second(), self.to.as_second());
        ensure!(from < to, "--from must be before --to");
        let points = (to - from) / step + 1;
        let requests = points.div_euclid(POINTS_MOST) + 1;
        ensure!(
            requests <= REQUESTS_MOST,
            "{points} points are too many: take a longer --step or a shorter time"
        );
        let span = POINTS_MOST.saturating_mul(step);
        let begins = (0..requests).map(|number| from + number * span).filter(|begin| *begin <= to);
        Ok(begins.map(|begin| (begin, (begin + span - step).min(to))).collect())
    }

    /// Rows of (second, rate), for a trace.
    ///
    /// # Errors
    /// When Prometheus cannot be asked, refuses, or gives anything but one series.
    pub fn fetch(&self) -> anyhow::Result<Vec<(i64, f64)>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.rows())
    }

    async fn rows(&self) -> anyhow::Result<Vec<(i64, f64)>> {
        let spans = self.spans()?;
        let client = reqwest::Client::builder().timeout(ANSWER_DEADLINE).build()?;
        let url = format!("{}/api/v1/query_range", self.url.trim_end_matches('/'));
        let mut rows = Vec::new();
        for (from, to) in spans {
            let form = [
                ("query", self.query.clone()),
                ("start", from.to_string()),
                ("end", to.to_string()),
                ("step", self.step.as_secs().to_string()),
            ];
            let answer = client.post(&url).form(&form).send().await;
            let answer = answer.with_context(|| format!("cannot ask {url}"))?;
            let status = answer.status();
            let body = answer.bytes().await.with_context(|| format!("{url} broke off its answer"))?;
            ensure!(body.len() <= ANSWER_MOST, "{url} answers more than {ANSWER_MOST} bytes");
            rows.extend(read(&body).with_context(|| format!("{url} answers {status}"))?);
        }
        ensure!(
            !rows.is_empty(),
            "{:?} has no value from {} to {}: is the query right, and is it kept for so long?",
            self.query,
            self.from,
            self.to
        );
        Ok(rows)
    }
}

fn read(body: &[u8]) -> anyhow::Result<Vec<(i64, f64)>> {
    let answer: Answer = serde_json::from_slice(body).with_context(|| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        format!("this is not Prometheus' API: {text:?}")
    })?;
    ensure!(answer.status == "success", "{}", answer.error);
    let data = answer.data.context("an answer without data")?;
    ensure!(data.result_type == "matrix", "a {} instead of a matrix", data.result_type);
    let series = match data.result.as_slice() {
        [] => return Ok(Vec::new()),
        [series] => series,
        many => {
            bail!("{} series instead of one: add them up, as in sum(rate(requests_total[1m]))", many.len())
        }
    };
    let row = |(second, value): &(f64, String)| -> anyhow::Result<(i64, f64)> {
        // `NaN` and `+Inf` are numbers to Prometheus; the trace counts them as missing.
        let rate = value.parse::<f64>().with_context(|| format!("{value:?} is no number"))?;
        ensure!(second.is_finite(), "a point without a time");
        Ok((second.round() as i64, rate))
    };
    series.values.iter().map(row).collect()
}

#[cfg(test)]
mod tests;
