//! Logs to standard error, for people or machines, and spans to an OpenTelemetry collector where one is configured.

use std::cell::RefCell;
use std::future::Future;
use std::io::IsTerminal;
use std::str::FromStr;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Invalid, Validate};

/// How long one export may take, and how long the last one may hold up the end of the process.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: one line each, coloured on a terminal.
    #[default]
    Human,
    /// For machines: one JSON object each.
    Json,
}

/// What the process tells about itself, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// `human` or `json`.
    pub log_format: LogFormat,
    /// Which lines are written: a level, or levels by module, as in `info,monitor=debug`.
    pub log_filter: String,
    /// Where spans go over OTLP/gRPC, as in `http://127.0.0.1:4317`. Nothing is exported without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    /// `info` is the operator's timeline; the libraries below us are heard from `warn`.
    fn default() -> Self {
        Self { log_format: LogFormat::Human, log_filter: "info".to_owned(), otlp_endpoint: None }
    }
}

impl Validate for TelemetryConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { log_format: _, log_filter, otlp_endpoint } = self;
        if let Err(error) = EnvFilter::from_str(log_filter) {
            let rule = format!("must be a level or levels by module, as in info,monitor=debug ({error})");
            return Err(Invalid::new("log_filter", log_filter, rule));
        }
        match otlp_endpoint {
            Some(url) if !url.starts_with("http://") => {
                let rule = "must be http://host:port: the collector stands beside us, without TLS";
                Err(Invalid::new("otlp_endpoint", url, rule))
            }
            _ => Ok(()),
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The settings break a rule.
    #[error("the telemetry settings are not usable")]
    Config(#[source] Invalid),
    /// The exporter cannot be made.
    #[error("cannot export spans to {endpoint}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// What the exporter said.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Telemetry was already started in this process.
    #[error("telemetry was already started in this process")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps telemetry alive; the last spans leave when it is dropped. Drop it while the runtime still runs, outside a task.
#[derive(Debug)]
#[must_use = "telemetry ends when this is dropped"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown_with_timeout(EXPORT_TIMEOUT)
        {
            tracing::warn!("the last spans were not exported: {error}");
        }
    }
}

/// Starts logs, and the export of spans if an endpoint is set; needs a runtime around it then.
///
/// # Errors
/// If the settings break a rule, the exporter cannot be made, or telemetry was started before.
pub fn init(config: &TelemetryConfig) -> Result<Guard, TelemetryError> {
    let (subscriber, guard) = subscriber(config, std::io::stderr, std::io::stderr().is_terminal())?;
    subscriber.try_init().map_err(TelemetryError::Twice)?;
    log_panics();
    Ok(guard)
}

fn subscriber<W>(
    config: &TelemetryConfig,
    writer: W,
    colours: bool,
) -> Result<(impl Subscriber + Send + Sync, Guard), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    config.validate().map_err(TelemetryError::Config)?;
    let TelemetryConfig { log_format, log_filter, otlp_endpoint } = config;
    let provider = otlp_endpoint.as_deref().map(exporting_to).transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("homeostat")));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log_format {
        LogFormat::Human => lines.with_ansi(colours).compact().boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(spans).with(lines).with(filter(log_filter));
    Ok((subscriber, Guard { provider }))
}

/// The wanted lines, with the libraries below us at `warn` unless the filter names them.
fn filter(wanted: &str) -> EnvFilter {
    let quiet = [
        "h2",
        "hyper",
        "hyper_util",
        "tower",
        "tonic",
        "reqwest",
        "rustls",
        "sqlx",
        "opentelemetry",
        "opentelemetry_sdk",
        "opentelemetry_otlp",
    ];
    let quiet = quiet.iter().filter(|name| !wanted.contains(*name)).map(|name| format!(",{name}=warn"));
    EnvFilter::new(format!("{wanted}{}", quiet.collect::<String>()))
}

fn exporting_to(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder().with_service_name("homeostat").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

tokio::task_local! {
    /// Where the supervised task on this thread panicked, for the one line that its supervisor logs.
    static PANIC_PLACE: RefCell<Option<String>>;
}

/// A panic becomes a log line with its place. A supervised task's panic is only noted: its supervisor logs it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let noted = PANIC_PLACE.try_with(|noted| *noted.borrow_mut() = place.clone());
        if noted.is_err() {
            let place = place.unwrap_or_default();
            tracing::error!("panicked at {place}: {}", panic.payload_as_str().unwrap_or("no message"));
        }
    }));
}

/// Runs a supervised future; the second value is where it panicked, if telemetry is started and it did.
pub(crate) async fn quietly<F: Future>(work: F) -> (F::Output, Option<String>) {
    PANIC_PLACE
        .scope(RefCell::new(None), async {
            let output = work.await;
            (output, PANIC_PLACE.with(RefCell::take))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collector as far as the exporter can tell: it keeps what it is sent.
    async fn collector() -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
        let (send, receive) = tokio::sync::mpsc::unbounded_channel();
        let export = move |body: axum::body::Bytes| async move {
            send.send(body.to_vec()).unwrap();
            ([("content-type", "application/grpc"), ("grpc-status", "12")], "")
        };
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let routes = axum::Router::new().route(path, axum::routing::post(export));
        let ctx = crate::Context::testing(1);
        let server = crate::GrpcServer::bind(&crate::ServerConfig::default()).await.unwrap();
        let url = format!("http://{}", server.local_addr());
        server.serve(&ctx, "collector", routes.into(), tonic_health::pb::FILE_DESCRIPTOR_SET, &[]).unwrap();
        (url, receive)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_reach_the_collector_before_the_guard_is_gone() {
        let (url, mut received) = collector().await;
        let config = TelemetryConfig { otlp_endpoint: Some(url), ..TelemetryConfig::default() };
        let (subscriber, guard) = subscriber(&config, std::io::sink, false).unwrap();
        let request = tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("judging_a_sample");
            span.in_scope(|| crate::grpc::propagate_trace(tonic::Request::new(())).unwrap())
        });
        let traceparent = request.metadata().get("traceparent").unwrap().to_str().unwrap();
        assert!(traceparent.starts_with("00-") && traceparent.ends_with("-01"), "{traceparent}");
        tokio::task::spawn_blocking(|| drop(guard)).await.unwrap();
        let export = String::from_utf8_lossy(&received.recv().await.unwrap()).into_owned();
        assert!(export.contains("judging_a_sample") && export.contains("homeostat"), "{export}");
    }

    /// What one line looks like in a format.
    fn line(log_format: LogFormat) -> String {
        let (file, config) = (
            tempfile::NamedTempFile::new().unwrap(),
            TelemetryConfig { log_format, ..TelemetryConfig::default() },
        );
        let (subscriber, _guard) =
            subscriber(&config, std::sync::Arc::new(file.reopen().unwrap()), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("call", method = "Propose")
                .in_scope(|| tracing::info!(directive = 7, "issued"));
            tracing::debug!("not at this level");
        });
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn json_lines_are_flat_objects_with_their_spans() {
        let value: serde_json::Value = serde_json::from_str(&line(LogFormat::Json)).unwrap();
        assert_eq!(
            (&value["message"], &value["directive"], &value["level"]),
            (&"issued".into(), &7.into(), &"INFO".into())
        );
        assert_eq!(value["span"]["method"], "Propose");
    }

    #[test]
    fn human_lines_are_one_line_of_plain_text() {
        let line = line(LogFormat::Human);
        assert!(
            line.contains("issued") && line.contains("directive=7") && !line.contains('\u{1b}'),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(TelemetryConfig::default().validate(), Ok(()));
    }

    #[test]
    fn useless_settings_are_refused_by_key() {
        let filter = TelemetryConfig { log_filter: "monitor=loud".into(), ..TelemetryConfig::default() };
        assert_eq!(filter.validate().unwrap_err().key, "log_filter");
        for url in ["collector:4317", "https://collector:4317"] {
            let endpoint = TelemetryConfig { otlp_endpoint: Some(url.into()), ..TelemetryConfig::default() };
            assert_eq!(endpoint.validate().unwrap_err().key, "otlp_endpoint");
        }
    }

    #[test]
    fn libraries_are_quiet_unless_the_filter_names_them() {
        let text = filter("debug,h2=trace").to_string();
        assert!(
            text.contains("hyper=warn") && text.contains("h2=trace") && !text.contains("h2=warn"),
            "{text}"
        );
    }
}
