//! Instant queries over Prometheus' HTTP API, as Prometheus, Thanos, Mimir and VictoriaMetrics serve it. Bounded in time and in
//! bytes; follows no redirect and uses no proxy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chassis::{Invalid, Validate, config::duration};
use jiff::Timestamp;
use reqwest::{Certificate, Client, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};

use crate::slo::queried::{Answer, SERIES_MAX, Sample};

mod credentials;

/// Bytes of one answer: 10,000 series with 400 bytes of labels.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Characters of a server's complaint that are passed on.
const COMPLAINT_MAX: usize = 300;

/// Who is asked, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusConfig {
    /// The server of queries whose DataSource names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Time between two questions: the usual interval of scrapes, oftener there is nothing new.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// A file with the token that `url` is shown with each question; read each time, so it may change. No other server sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// Instead of a token, the name for `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A file with the password that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities that are trusted besides the public ones; read at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self {
            url: None,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(5),
            bearer_token_file: None,
            username: None,
            password_file: None,
            ca_file: None,
        }
    }
}

impl Validate for PrometheusConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { url, interval, timeout, bearer_token_file, username, password_file, ca_file: _ } = self;
        if let Some(url) = url.as_ref().filter(|url| endpoint(url).is_err()) {
            return Err(Invalid::new("url", url, "must be http://... or https://..."));
        }
        let given = [
            ("bearer_token_file", bearer_token_file.is_some()),
            ("username", username.is_some()),
            ("password_file", password_file.is_some()),
        ];
        if let Some((key, _)) = given.into_iter().find(|(_, given)| *given && url.is_none()) {
            return Err(Invalid::new(key, "", "needs url: it is shown to that server alone"));
        }
        match given.map(|(_, given)| given) {
            [true, true, _] | [true, _, true] => {
                return Err(Invalid::new("bearer_token_file", "", "excludes username and password_file"));
            }
            [_, true, false] => return Err(Invalid::new("password_file", "", "is needed with username")),
            [_, false, true] => return Err(Invalid::new("username", "", "is needed with password_file")),
            _ => {}
        }
        for (key, span, least) in [("interval", interval, 500), ("timeout", timeout, 100)] {
            if !(Duration::from_millis(least)..=Duration::from_secs(3_600)).contains(span) {
                return Err(Invalid::new(key, duration::format(*span), format!("must be {least}ms to 1h")));
            }
        }
        Ok(())
    }
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskerError {
    /// The file of certificates is not there or not readable.
    #[error("cannot read prometheus.ca_file {}", path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("prometheus.ca_file {} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// There is no TLS.
    #[error("cannot speak HTTP")]
    Client(#[source] reqwest::Error),
}

/// Asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    client: Client,
    config: PrometheusConfig,
}

impl Asker {
    /// One pool of connections.
    ///
    /// # Errors
    /// If TLS cannot be set up as configured.
    pub fn new(config: PrometheusConfig) -> Result<Self, AskerError> {
        let client = certificates(&config)?
            .into_iter()
            .fold(Client::builder(), reqwest::ClientBuilder::add_root_certificate)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("homeostat-analyze/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(AskerError::Client)?;
        Ok(Self { client, config })
    }

    /// What the server says of the query at that moment.
    pub async fn ask(&self, server: &str, query: &str, at: Timestamp) -> Answer {
        let timeout = self.config.timeout;
        match tokio::time::timeout(timeout, self.untimed(server, query, at)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {}", duration::format(timeout))),
        }
    }

    async fn untimed(&self, server: &str, query: &str, at: Timestamp) -> Answer {
        let mut url = endpoint(server)?;
        let moment = format!("{:.3}", at.as_millisecond() as f64 / 1_000.0);
        url.query_pairs_mut().append_pair("query", query).append_pair("time", &moment);
        let request = credentials::show(self.client.get(url.clone()), &url, &self.config).await?;
        let sent = request.send().await;
        let mut response =
            sent.map_err(|error| format!("cannot be asked: {}", chassis::chain(&error.without_url())))?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(credentials::refused(status, &url, &self.config));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off".to_owned())? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("the answer is longer than {BODY_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        read(&body).map_err(|problem| match status.is_success() {
            true => problem,
            false => format!("the server answered {status}: {problem}"),
        })
    }
}

fn certificates(config: &PrometheusConfig) -> Result<Vec<Certificate>, AskerError> {
    let Some(path) = &config.ca_file else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|source| AskerError::CaFile { path: path.clone(), source })?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() { Err(AskerError::NoCertificate(path.clone())) } else { Ok(found) }
}

fn endpoint(server: &str) -> Result<Url, String> {
    let mut url = Url::parse(server).map_err(|error| format!("{server:?} is no address: {error}"))?;
    url.set_path(&format!("{}/api/v1/query", url.path().trim_end_matches('/')));
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_http.then_some(url).ok_or_else(|| format!("{server:?} is no address of HTTP"))
}

#[derive(Debug, Deserialize)]
struct Reply {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Absent for a native histogram.
    value: Option<(f64, String)>,
}

/// An answer's body. A warning says that data is missing or doubtful, and such an answer is none.
fn read(body: &[u8]) -> Answer {
    let reply: Reply =
        serde_json::from_slice(body).map_err(|_| "the answer is not that of a Prometheus".to_owned())?;
    if reply.status != "success" {
        return Err(cut(&reply.error));
    }
    if let Some(warning) = reply.warnings.first() {
        return Err(cut(warning));
    }
    let samples: Option<Vec<Sample>> = match reply.data.ok_or("the answer holds no data")? {
        Data::Vector(series) if series.len() > SERIES_MAX => {
            return Err(format!("it gives {} series, more than {SERIES_MAX}", series.len()));
        }
        Data::Vector(series) => series.into_iter().map(sample).collect(),
        Data::Scalar((_, value)) => {
            value.parse().ok().map(|value| vec![Sample { labels: BTreeMap::new(), value }])
        }
        Data::Matrix(_) => return Err("it gives ranges: take a function of them".to_owned()),
        Data::String(_) => return Err("it gives a text".to_owned()),
    };
    samples.ok_or_else(|| "it gives no numbers; of a histogram take a quantile or a count".to_owned())
}

fn sample(series: Series) -> Option<Sample> {
    let (_, value) = series.value?;
    Some(Sample { labels: series.metric, value: value.parse().ok()? })
}

fn cut(text: &str) -> String {
    text.chars().take(COMPLAINT_MAX).collect()
}

#[cfg(test)]
#[path = "prometheus/tests.rs"]
mod asked;

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(result: &str) -> Answer {
        read(
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#)
                .as_bytes(),
        )
    }

    #[test]
    fn a_vector_and_a_scalar_are_numbers_with_their_labels() {
        let answer =
            vector(r#"{"metric":{"__name__":"up","instance":"a:1"},"value":[1800000000.123,"1"]}"#).unwrap();
        assert_eq!((answer[0].value, answer[0].labels["instance"].as_str()), (1.0, "a:1"));
        assert!(vector(r#"{"metric":{},"value":[1,"NaN"]}"#).unwrap()[0].value.is_nan());
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"2.5"]}}"#;
        assert_eq!(read(scalar).unwrap()[0].value, 2.5);
        assert_eq!(vector("").unwrap(), []);
    }

    #[test]
    fn everything_else_says_why_it_is_no_answer() {
        for (body, says) in [
            (&b"<html>"[..], "not that of a Prometheus"),
            (br#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#, "char 3"),
            (br#"{"status":"success","warnings":["a store is away"],"data":{"resultType":"vector","result":[]}}"#, "a store is away"),
            (br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, "ranges"),
            (br#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#, "text"),
            (br#"{"status":"success"}"#, "no data"),
            (br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#, "histogram"),
            (br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"one"]}]}}"#, "no numbers"),
        ] {
            let problem = read(body).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
    }

    #[test]
    fn an_address_is_http_and_keeps_its_path() {
        assert_eq!(endpoint("http://mimir/prometheus/").unwrap().path(), "/prometheus/api/v1/query");
        for wrong in ["", "prom:9090", "file:///etc", "http://"] {
            assert!(endpoint(wrong).is_err(), "{wrong:?}");
        }
        let wrong = PrometheusConfig { url: Some("nowhere".into()), ..PrometheusConfig::default() };
        assert_eq!(wrong.validate().unwrap_err().key, "url");
        let fast = PrometheusConfig { interval: Duration::ZERO, ..PrometheusConfig::default() };
        assert_eq!(fast.validate().unwrap_err().key, "interval");
    }
}
