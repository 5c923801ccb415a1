//! One HTTP request for a target's series. Bounded in time and in bytes; follows no redirect and uses no proxy.

use std::time::Duration;

use chassis::SharedClock;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, StatusCode, redirect};

use crate::exposition::Format;

/// OpenMetrics where the target can, because it tells its end; else text; else whatever there is.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Idle connections kept per target: one is in use at a time.
const IDLE_CONNECTIONS_MAX: usize = 1;

/// Fetches answers.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: Client,
    clock: SharedClock,
    body_bytes_max: usize,
}

/// An answer, whole or cut at the byte limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes; more than the limit tells that there were more.
    pub body: Vec<u8>,
    /// Which grammar was announced.
    pub format: Format,
    /// When the head of the answer arrived, which is when the target had read its values.
    pub at: Timestamp,
    /// The same by the monotonic clock.
    pub monotonic: Duration,
}

/// Why a scrape gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No whole answer in time.
    #[error("no whole answer within {}", chassis::config::duration::format(*.0))]
    Timeout(Duration),
    /// No connection, or it broke before the head of an answer.
    #[error("cannot reach the target")]
    Connect(#[source] reqwest::Error),
    /// An answer, but not the one that was asked for.
    #[error("the target answered {0}")]
    Status(StatusCode),
    /// The connection broke within the body.
    #[error("the answer broke off")]
    Body(#[source] reqwest::Error),
}

impl Error {
    /// The name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Status(_) => "status",
            Self::Body(_) => "body",
        }
    }
}

impl Scraper {
    /// A scraper with one pool of connections.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(clock: SharedClock, body_bytes_max: usize) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .user_agent(concat!("homeostat-monitor/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, clock, body_bytes_max })
    }

    /// Fetches one answer, which may take so long.
    ///
    /// # Errors
    /// If there was none in time, or not a good one.
    pub async fn fetch(&self, url: &str, timeout: Duration) -> Result<Fetched, Error> {
        match tokio::time::timeout(timeout, self.fetch_untimed(url)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(Error::Timeout(timeout)),
        }
    }

    async fn fetch_untimed(&self, url: &str) -> Result<Fetched, Error> {
        let request = self.client.get(url).header(ACCEPT, ACCEPTED);
        let mut response = request.send().await.map_err(|error| Error::Connect(error.without_url()))?;
        let (at, monotonic) = (self.clock.now(), self.clock.monotonic());
        if response.status() != StatusCode::OK {
            return Err(Error::Status(response.status()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let format = Format::from_content_type(content_type);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Error::Body(error.without_url()))? {
            // One byte beyond the limit is kept, so that the reader sees that the answer was cut.
            let room = (self.body_bytes_max + 1).saturating_sub(body.len());
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() > self.body_bytes_max {
                break;
            }
        }
        Ok(Fetched { body, format, at, monotonic })
    }
}
