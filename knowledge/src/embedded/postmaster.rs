//! The running Postgres: started as our child, ready when it answers, stopped with us.
//!
//! The postmaster dies with us, however we die: a guard (a shell blocked on a pipe whose other end only we hold)
//! asks it to stop when the pipe closes. Chosen over PR_SET_PDEATHSIG, which needs unsafe code, is Linux only, and
//! fires when the *thread* that spawned the child ends. If even the guard is killed, the next start finds the
//! postmaster by its tag and stops it first (see leftover).

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::process::Child;

use super::error::{self, EmbeddedError};
use super::leftover::{PID_FILE, pid_in, signal};
use super::settings::settings;
use super::site::Site;
use super::words::last_words;

/// Replaying 1 GB of log (max_wal_size) at 10 MB/s takes 100 s; with a margin.
const START_DEADLINE: Duration = Duration::from_secs(180);
/// Room for the shutdown checkpoint: 64 MB of buffers at 5 MB/s are 13 s; doubled.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// An immediate shutdown writes nothing.
const ABORT_DEADLINE: Duration = Duration::from_secs(5);
/// Postgres is usually ready after 100 ms.
const POLL: Duration = Duration::from_millis(10);
/// `cannot_connect_now`: starting up or recovering.
const STARTING_UP: &str = "57P03";
/// Run in the cluster directory with the postmaster's id: it stops that process only if it is still the postmaster.
const GUARD: &str = "read -r _; read -r pid < postmaster.pid && [ \"$pid\" = \"$1\" ] && kill -INT \"$pid\"";

/// A postmaster that is our child.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    pid: u32,
    /// Held for its pipe and killed on drop, nothing else.
    _guard: Child,
}

impl Postmaster {
    /// Starts Postgres on a cluster at rest and waits until it answers.
    pub(super) async fn start(site: &Site) -> Result<Postmaster, EmbeddedError> {
        let mut postmaster = Postmaster::spawn(site)?;
        match tokio::time::timeout(START_DEADLINE, postmaster.ready(site)).await {
            Ok(Ok(())) => Ok(postmaster),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                postmaster.stop().await;
                Err(EmbeddedError::NotReady {
                    within: START_DEADLINE,
                    said: last_words(site),
                    log: site.log_dir(),
                })
            }
        }
    }

    fn spawn(site: &Site) -> Result<Postmaster, EmbeddedError> {
        let program = site.binaries.program("postgres");
        let log_path = site.startup_log();
        let log = File::create(&log_path).map_err(error::files("write", &log_path))?;
        let mut command = site.account.command(&program);
        command.arg("-D").arg(&site.cluster);
        for (name, value) in settings(site) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = command.stderr(log).spawn().map_err(error::spawn(&program))?;
        let pid = child.id().expect("a child that was not waited for has an id");
        // Without a guard it would outlive a killed homeostat, so it does not stay.
        let guard = guard(site, pid).inspect_err(|_| signal(pid, Signal::SIGINT))?;
        Ok(Postmaster { child, pid, _guard: guard })
    }

    async fn ready(&mut self, site: &Site) -> Result<(), EmbeddedError> {
        let options = site.options("postgres").disable_statement_logging();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let (status, said) = (status.to_string(), last_words(site));
                return Err(EmbeddedError::Exited { status, said, log: site.log_dir() });
            }
            // Before the lock file is ours, another Postgres on this cluster could be the one that answers.
            if pid_in(&site.cluster.join(PID_FILE)) == Some(self.pid) && answers(&options).await? {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Resolves when the postmaster has ended, at once if it already has; none if the system does not say how.
    pub(super) async fn exited(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Fast shutdown: open transactions are rolled back, committed ones are checkpointed. Harsher means follow
    /// only if that hangs; the log keeps what was committed in each case.
    pub(super) async fn stop(&mut self) {
        let steps = [(Signal::SIGINT, STOP_DEADLINE), (Signal::SIGQUIT, ABORT_DEADLINE)];
        for (kind, deadline) in steps {
            if self.child.id().is_some() {
                signal(self.pid, kind);
            }
            if tokio::time::timeout(deadline, self.child.wait()).await.is_ok() {
                return;
            }
            tracing::warn!(pid = self.pid, signal = %kind, "Postgres did not stop in time");
        }
        let _ = self.child.kill().await;
    }

    /// Leaves the postmaster running without us, as after a kill -9 that also took the guard.
    #[cfg(test)]
    pub(super) async fn abandon(mut self) {
        let _ = self._guard.kill().await;
        std::mem::forget(self);
    }
}

impl Drop for Postmaster {
    /// Asks for a fast shutdown without waiting for it. A child that was not waited for keeps its number, so the
    /// signal cannot reach anybody else.
    fn drop(&mut self) {
        if self.child.id().is_some() {
            signal(self.pid, Signal::SIGINT);
        }
    }
}

fn guard(site: &Site, pid: u32) -> Result<Child, EmbeddedError> {
    let shell = Path::new("/bin/sh");
    let mut command = site.account.command(shell);
    command.args(["-c", GUARD, "homeostat-postgres-guard", &pid.to_string()]);
    command.current_dir(&site.cluster).stdin(Stdio::piped()).kill_on_drop(true);
    command.spawn().map_err(error::spawn(shell))
}

/// Whether Postgres takes connections; an answer other than "not yet" is an error, because waiting would not help.
async fn answers(options: &PgConnectOptions) -> Result<bool, EmbeddedError> {
    match PgConnection::connect_with(options).await {
        Ok(connection) => {
            let _ = connection.close().await;
            Ok(true)
        }
        Err(source)
            if source.as_database_error().is_some_and(|e| e.code().as_deref() != Some(STARTING_UP)) =>
        {
            Err(EmbeddedError::Database { action: "log in to the new Postgres", source })
        }
        Err(_) => Ok(false),
    }
}
