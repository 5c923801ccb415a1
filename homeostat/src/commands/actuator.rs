//! `actuator`: actuators as processes of their own, ordinary clients of Execute.

use super::telemetry;
use crate::{
    cli::Global,
    cli_actuator::{Actuator, Common, Form},
    compose,
    endpoints::Clients,
};
use actuators::{
    FileGenerations, Runner,
    cadence::CadenceActuator,
    gate::GateActuator,
    webhook::{self, WebhookActuator},
};
use anyhow::Context as _;
use chassis::{Context, run};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// Runs one until stopped.
pub fn actuator(global: &Global, command: Actuator) -> ExitCode {
    let global = global.clone();
    run(&telemetry(&global, "info"), |ctx: Context| async move {
        match command {
            Actuator::Gate(common) => {
                let state = state(&global, &common, "gate");
                let Common { instance, services, .. } = common;
                let gate = GateActuator::open(&instance, services, state, ctx.clock.clone())?;
                serve(&global, Arc::new(gate), &ctx).await
            }
            Actuator::Cadence(common) => {
                let state = state(&global, &common, "cadence");
                let Common { instance, services, .. } = common;
                let (monitor, clock) = (Clients::find(&global)?.monitor()?, ctx.clock.clone());
                let cadence = Arc::new(CadenceActuator::open(&instance, services, monitor, state, clock)?);
                tokio::select! {
                    served = serve(&global, cadence.clone(), &ctx) => served,
                    () = cadence.keep() => Ok(()),
                }
            }
            Actuator::Webhook { url, form, bearer_token_file, signing_secret_file, common } => {
                let token = secret(bearer_token_file.as_deref())?;
                let signing = secret(signing_secret_file.as_deref())?;
                let secrets = webhook::Secrets { token, signing };
                let posted = FileGenerations::open(state(&global, &common, "webhook"))?;
                let form = match form {
                    Form::Json => webhook::Form::Json,
                    Form::Alertmanager => webhook::Form::Alertmanager,
                };
                let Common { instance, services, .. } = common;
                let webhook = WebhookActuator::new(&instance, services, (&url, form), secrets, posted)?;
                serve(&global, Arc::new(webhook), &ctx).await
            }
        }
    })
}

/// What stands in a file, without the line's end.
fn secret(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(text.trim().to_owned()))
}

/// Each instance keeps its own.
fn state(global: &Global, common: &Common, name: &str) -> PathBuf {
    let file =
        || compose::data_dir(global).join("actuators").join(format!("{name}-{}.json", common.instance));
    common.state.clone().unwrap_or_else(file)
}

async fn serve<A: actuators::Actuator>(
    global: &Global,
    actuator: Arc<A>,
    ctx: &Context,
) -> anyhow::Result<()> {
    let clients = Clients::find(global)?;
    let channel = clients.channel(&clients.endpoints.execute)?;
    Ok(Runner::new(channel, actuator, ctx.clone()).run().await?)
}
