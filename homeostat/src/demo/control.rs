//! The demo's control plane: a real `homeostat up` in a process of its own, with its own data directory and free ports.

use crate::endpoints::{self, Clients, Endpoints};
use anyhow::Context as _;
use chassis::Context;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Child, sync::Mutex};

/// A first start creates a Postgres cluster (about a second); a slow disk may take ten times that, twice.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at whether it is up.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The chassis gives a process ten seconds to stop; a little more before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// A running control plane.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) clients: Clients,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Control {
    /// Starts afresh: what an earlier demo learned is removed.
    pub(crate) async fn start(dir: &Path, ctx: &Context) -> anyhow::Result<Self> {
        let data_dir = dir.join("control");
        if data_dir.exists() {
            std::fs::remove_dir_all(&data_dir)
                .with_context(|| format!("cannot clear {}", data_dir.display()))?;
        }
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("cannot create {}", data_dir.display()))?;
        let log = dir.join("up.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = tokio::process::Command::new(program);
        command.arg("up").arg("--data-dir").arg(&data_dir).args(["--metrics-listen", "127.0.0.1:0"]);
        for service in ["knowledge", "monitor", "analyze", "plan", "execute"] {
            command.args(["--set", &format!("{service}.server.listen=127.0.0.1:0")]);
        }
        command.args(["--set", "monitor.scrape_interval=1s"]);
        command
            .args(["--set", &format!("monitor.targets_file={}", dir.join("staging/targets.json").display())]);
        for variable in crate::cli::GLOBAL_VARIABLES {
            command.env_remove(variable);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the log")?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the control plane")?;
        let child = Mutex::new(child);
        let endpoints = wait(&child, &data_dir, &log, ctx).await?;
        Ok(Self { clients: Clients::at(endpoints, data_dir), child, log })
    }

    /// Returns when it is no longer there, with the place of its log.
    pub(crate) async fn died(&self) -> String {
        let status = self.child.lock().await.wait().await;
        format!("{status:?}; its log is {}", self.log.display())
    }

    /// Asks it to stop as a service manager would, and waits.
    pub(crate) async fn stop(self) {
        let mut child = self.child.into_inner();
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            if let Err(error) = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM) {
                tracing::warn!(%error, "the control plane cannot be asked to stop");
            }
        }
        if tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_err() {
            tracing::warn!(log = %self.log.display(), "the control plane did not stop and is killed");
            drop(child.kill().await);
        }
    }
}

async fn wait(child: &Mutex<Child>, data_dir: &Path, log: &Path, ctx: &Context) -> anyhow::Result<Endpoints> {
    let started = ctx.clock.monotonic();
    loop {
        if let Some(endpoints) = Endpoints::read(data_dir)? {
            return Ok(endpoints);
        }
        if let Some(status) = child.lock().await.try_wait()? {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let last: Vec<_> = text.lines().rev().take(5).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            anyhow::bail!("the control plane ended with {status}:\n{}", last.join("\n"));
        }
        if ctx.clock.monotonic().saturating_sub(started) > START_DEADLINE {
            anyhow::bail!(
                "the control plane was not up within {START_DEADLINE:?} ({} is missing); its log is {}",
                endpoints::file(data_dir).display(),
                log.display()
            );
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = ctx.stopper.stopped() => anyhow::bail!("stopped before the control plane was up"),
        }
    }
}
