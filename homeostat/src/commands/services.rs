//! `up` and the five single services.

use super::telemetry;
use crate::{
    cli::{GLOBAL_VARIABLES, Global, Settings},
    compose,
};
use anyhow::Context as _;
use chassis::{Context, Health, Layers, Readiness, Validate, config, exit, run};
use serde::{Serialize, de::DeserializeOwned};
use std::{future::Future, net::SocketAddr, process::ExitCode};

/// Services log what belongs in an operator's timeline.
const FILTER: &str = "info";

/// Loads settings, or says what is wrong with them; prints them when asked to.
fn load<T>(settings: &Settings, env_prefix: &'static str, flags: Vec<(String, String)>) -> Result<T, ExitCode>
where
    T: DeserializeOwned + Serialize + Default + Validate,
{
    let mut env = config::environment();
    env.retain(|name, _| !GLOBAL_VARIABLES.contains(&name.as_str()));
    let layers = Layers {
        file: settings.config.clone(),
        env_prefix,
        env,
        flags: [flags, settings.set.clone()].concat(),
    };
    match config::load::<T>(&layers) {
        Ok(loaded) if settings.print_config => {
            print!("{}", config::print(&loaded));
            Err(ExitCode::from(exit::DONE))
        }
        Ok(loaded) => Ok(loaded),
        Err(error) => {
            eprintln!("homeostat: {}", chassis::chain(&error));
            Err(ExitCode::from(error.exit_code()))
        }
    }
}

/// `homeostat up`.
pub fn up(global: &Global, settings: &Settings, database_url: Option<String>) -> ExitCode {
    let data_dir = compose::data_dir(global);
    let mut flags = vec![
        ("knowledge.data_dir".to_owned(), data_dir.display().to_string()),
        ("execute.data_dir".to_owned(), data_dir.join("execute").display().to_string()),
    ];
    flags.extend(database_url.map(|url| ("knowledge.database_url".to_owned(), url)));
    if settings.insecure_bind {
        for service in ["knowledge", "monitor", "analyze", "plan", "execute"] {
            flags.push((format!("{service}.server.insecure_bind"), "true".to_owned()));
        }
    }
    let mut config: compose::Config = match load(settings, "HOMEOSTAT_", flags) {
        Ok(config) => config,
        Err(code) => return code,
    };
    // Where `homeostat staging` with the same data directory writes what it runs.
    config.monitor.targets_file.get_or_insert_with(|| data_dir.join("staging/targets.json"));
    let metrics = settings.metrics_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7400)));
    run(&telemetry(global, FILTER), |ctx: Context| async move {
        let system = compose::start(config, metrics, &ctx).await?;
        system.endpoints.write(&data_dir)?;
        tracing::info!(data_dir = %data_dir.display(), knowledge = system.endpoints.knowledge, execute = system.endpoints.execute, metrics = system.endpoints.metrics, "homeostat is up");
        ctx.stopper.stopped().await;
        system.stop().await;
        // A stale file would send clients to dead ports; one that is gone already is fine.
        drop(std::fs::remove_file(crate::endpoints::file(&data_dir)));
        Ok(())
    })
}

/// One service in its own process: started, serving metrics, until stopped.
fn single<S, W>(global: &Global, settings: &Settings, name: &'static str, start: S) -> ExitCode
where
    S: FnOnce(Context) -> W,
    W: Future<Output = anyhow::Result<(SocketAddr, Health)>>,
{
    let metrics = settings.metrics_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    run(&telemetry(global, FILTER), |ctx: Context| async move {
        let readiness = Readiness::default();
        let metrics = chassis::metrics::serve_http(&ctx, metrics, readiness.clone())
            .await
            .context("cannot serve metrics at the address of --metrics-listen")?;
        let (addr, health) = start(ctx.clone()).await.with_context(|| format!("cannot start {name}"))?;
        readiness.add(health);
        tracing::info!(service = name, %addr, %metrics, "up");
        ctx.stopper.stopped().await;
        Ok(())
    })
}

fn bind_flag(settings: &Settings) -> Vec<(String, String)> {
    if settings.insecure_bind {
        vec![("server.insecure_bind".to_owned(), "true".to_owned())]
    } else {
        Vec::new()
    }
}

/// `homeostat knowledge`.
pub fn knowledge(global: &Global, settings: &Settings, database_url: Option<String>) -> ExitCode {
    let mut flags = bind_flag(settings);
    flags.push(("data_dir".to_owned(), compose::data_dir(global).display().to_string()));
    flags.extend(database_url.map(|url| ("database_url".to_owned(), url)));
    match load::<knowledge::Config>(settings, "HOMEOSTAT_KNOWLEDGE__", flags) {
        Ok(config) => single(global, settings, "knowledge", |ctx| async {
            let handle = knowledge::start(config, ctx).await?;
            Ok((handle.addr, handle.health))
        }),
        Err(code) => code,
    }
}

/// `homeostat monitor`.
pub fn monitor(global: &Global, settings: &Settings) -> ExitCode {
    match load::<monitor::Config>(settings, "HOMEOSTAT_MONITOR__", bind_flag(settings)) {
        Ok(config) => single(global, settings, "monitor", |ctx| async {
            let handle = monitor::start(config, ctx).await?;
            Ok((handle.addr, handle.health))
        }),
        Err(code) => code,
    }
}

/// `homeostat analyze`.
pub fn analyze(global: &Global, settings: &Settings) -> ExitCode {
    match load::<analyze::Config>(settings, "HOMEOSTAT_ANALYZE__", bind_flag(settings)) {
        Ok(config) => single(global, settings, "analyze", |ctx| async {
            let handle = analyze::start(config, ctx).await?;
            Ok((handle.addr, handle.health))
        }),
        Err(code) => code,
    }
}

/// `homeostat plan`.
pub fn plan(global: &Global, settings: &Settings) -> ExitCode {
    match load::<plan::Config>(settings, "HOMEOSTAT_PLAN__", bind_flag(settings)) {
        Ok(config) => single(global, settings, "plan", |ctx| async {
            let handle = plan::start(config, ctx).await?;
            Ok((handle.addr, handle.health))
        }),
        Err(code) => code,
    }
}

/// `homeostat execute`.
pub fn execute(global: &Global, settings: &Settings) -> ExitCode {
    let mut flags = bind_flag(settings);
    flags.push(("data_dir".to_owned(), compose::data_dir(global).join("execute").display().to_string()));
    match load::<execute::Config>(settings, "HOMEOSTAT_EXECUTE__", flags) {
        Ok(config) => single(global, settings, "execute", |ctx| async {
            let handle = execute::start(config, ctx).await?;
            Ok((handle.addr, handle.health))
        }),
        Err(code) => code,
    }
}
