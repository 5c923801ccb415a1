//! The smallest service: settings, a server, a metrics page, a loop. `tests/process.rs` runs it as a real process.

use std::process::ExitCode;
use std::time::Duration;

use chassis::config::{duration, environment, load, print};
use chassis::{
    Backoff, Context, GrpcServer, Invalid, Layers, OnFailure, ServerConfig, TelemetryConfig, Validate,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    server: ServerConfig,
    telemetry: TelemetryConfig,
    /// How often it ticks.
    #[serde(with = "duration")]
    interval: Duration,
    /// Whether a task panics after the first tick, to show what happens then.
    panic: bool,
}

impl Default for Config {
    fn default() -> Self {
        let interval = Duration::from_millis(10);
        Self {
            server: ServerConfig::default(),
            telemetry: TelemetryConfig::default(),
            interval,
            panic: false,
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.under("server"))?;
        self.telemetry.validate().map_err(|invalid| invalid.under("telemetry"))?;
        if self.interval.is_zero() {
            return Err(Invalid::new("interval", duration::format(self.interval), "must be above 0s"));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let layers = Layers { env_prefix: "HOMEOSTAT_", env: environment(), ..Layers::default() };
    let config: Config = match load(&layers) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {}", chassis::chain(&error));
            return ExitCode::from(error.exit_code());
        }
    };
    if std::env::args().any(|argument| argument == "--print-config") {
        print!("{}", print(&config));
        return ExitCode::from(chassis::exit::DONE);
    }
    chassis::run(&config.telemetry.clone(), |ctx| start(config, ctx))
}

async fn start(config: Config, ctx: Context) -> anyhow::Result<()> {
    let server = GrpcServer::bind(&config.server).await?;
    let descriptors = tonic_health::pb::FILE_DESCRIPTOR_SET;
    let health =
        server.serve(&ctx, "ticker", tonic::service::Routes::default(), descriptors, &["example.Ticker"])?;
    let pages = chassis::metrics::serve_http(&ctx, ([127, 0, 0, 1], 0).into(), health.clone()).await?;
    tracing::info!(%pages, "metrics are served");
    let ticks = prometheus::IntCounter::new("homeostat_ticker_ticks_total", "Ticks.")?;
    let ticks = chassis::metrics::register(&ctx.metrics, ticks);
    let interval = config.interval;
    let regular = Backoff { initial: interval, factor: 1.0, max: interval, jitter: 0.0 };
    ctx.tasks.spawn_loop("tick", regular, move || {
        ticks.inc();
        std::future::ready(Ok(()))
    });
    if config.panic {
        ctx.tasks.spawn("fuse", OnFailure::StopProcess, async { panic!("the fuse is blown") });
    }
    health.set_all_serving(true);
    ctx.stopper.stopped().await;
    Ok(())
}
