//! The private Postgres cluster under the data directory, for `homeostat up` on one machine without any set-up.
//!
//! `<data-dir>/postgres` is the cluster, `<data-dir>/homeostat.lock` keeps a second homeostat out. Postgres runs as
//! our child, listens on a Unix socket only, and is restarted by `supervise` when it dies; committed rows survive
//! kill -9 of either process.

mod account;
mod binaries;
mod cluster;
mod error;
mod leftover;
mod lock;
mod postmaster;
mod settings;
mod site;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::status::chain;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

pub use binaries::OLDEST_MAJOR;
pub use error::EmbeddedError;

use account::Account;
use lock::DataLock;
use postmaster::Postmaster;
use site::Site;

/// Where root keeps the data: under another account, Postgres cannot enter root's home.
pub const ROOT_DATA_DIR: &str = "/var/lib/homeostat";

/// A Postgres that has run for so long is no longer in a crash loop.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// After the first restart, which comes at once: 100 ms doubled 7 times passes 10 s, so the loop then tries six times a
/// minute. No jitter: nobody else waits for this cluster.
const RESTART_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(100), factor: 2.0, max: Duration::from_secs(10), jitter: 0.0 };

/// What to start, and with which programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// The data directory; made if it is not there.
    pub data_dir: PathBuf,
    /// The directory of `postgres` and `initdb`; if given, nothing else is searched.
    pub binaries: Option<PathBuf>,
    /// The directories of PATH, searched with the places where packages put PostgreSQL.
    pub search_path: Vec<PathBuf>,
}

impl EmbeddedConfig {
    /// Takes the default data directory and PATH from the given environment (`chassis::config::environment()`).
    pub fn from_environment(environment: &BTreeMap<String, String>) -> EmbeddedConfig {
        let path = environment.get("PATH").map_or("", String::as_str);
        EmbeddedConfig {
            data_dir: default_data_dir(environment),
            binaries: None,
            search_path: std::env::split_paths(path).filter(|p| p.is_absolute()).collect(),
        }
    }
}

/// `/var/lib/homeostat` for root, else `$XDG_DATA_HOME/homeostat` or `~/.local/share/homeostat`.
pub fn default_data_dir(environment: &BTreeMap<String, String>) -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from(ROOT_DATA_DIR);
    }
    user_data_dir(environment)
}

fn user_data_dir(environment: &BTreeMap<String, String>) -> PathBuf {
    let absolute = |key: &str| environment.get(key).map(PathBuf::from).filter(|p| p.is_absolute());
    let share = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    share.map_or_else(|| PathBuf::from(ROOT_DATA_DIR), |share| share.join("homeostat"))
}

/// A running private cluster. Dropping it asks Postgres to stop, without waiting; `stop` waits.
#[derive(Debug)]
pub struct Embedded {
    site: Site,
    // Before the lock, so that it is dropped first.
    postmaster: Postmaster,
    _lock: DataLock,
}

impl Embedded {
    /// Makes the cluster if there is none, brings what an earlier run left to rest, and starts Postgres. When this
    /// returns, the database `homeostat` can be connected to.
    pub async fn start(config: EmbeddedConfig) -> Result<Embedded, EmbeddedError> {
        let data_dir = site::prepare_data_dir(&config.data_dir)?;
        let lock = DataLock::take(&data_dir)?;
        let site = prepare(data_dir, &config).await?;
        leftover::settle(&site).await?;
        let postmaster = Postmaster::start(&site).await?;
        ensure_database(&site).await?;
        tracing::info!(
            pid = postmaster.pid(), cluster = %site.cluster.display(), version = site.binaries.major,
            "private Postgres is ready"
        );
        Ok(Embedded { site, postmaster, _lock: lock })
    }

    /// How to connect to the database `homeostat`; the same after each restart.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.site.options(site::NAME)
    }

    /// The same as a URL that sqlx and psql understand.
    pub fn url(&self) -> String {
        self.site.url()
    }

    /// Where one of PostgreSQL's programs lies (`pgbench`, `psql`), beside the ones that run the cluster.
    pub fn program(&self, name: &str) -> PathBuf {
        self.site.binaries.program(name)
    }

    /// The process id of the postmaster; another after each restart.
    pub fn pid(&self) -> u32 {
        self.postmaster.pid()
    }

    /// The data directory, resolved.
    pub fn data_dir(&self) -> &Path {
        &self.site.data_dir
    }

    /// Resolves when Postgres has ended, and at once if it already has. May be dropped and called again.
    pub async fn watch(&mut self) -> Option<ExitStatus> {
        self.postmaster.exited().await
    }

    /// Starts Postgres again, after stopping it if it runs.
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.postmaster.stop().await;
        leftover::settle(&self.site).await?;
        self.postmaster = Postmaster::start(&self.site).await?;
        ensure_database(&self.site).await
    }

    /// Keeps Postgres running until `stopped` resolves, then stops it. Restarts are spaced out while they fail.
    pub async fn supervise(mut self, stopped: impl Future<Output = ()>) {
        let keep = async {
            let mut failures = 0;
            loop {
                match tokio::time::timeout(STEADY_AFTER, self.watch()).await {
                    Err(_) => failures = 0,
                    Ok(status) => {
                        let status = status.map_or_else(|| "unknown".to_owned(), |s| s.to_string());
                        tracing::warn!(%status, failures, "Postgres ended; starting it again");
                        tokio::time::sleep(restart_delay(failures)).await;
                        failures += 1;
                        if let Err(error) = self.restart().await {
                            tracing::error!(error = chain(&error), "Postgres does not start");
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = stopped => {}
            () = keep => {}
        }
        self.stop().await;
    }

    /// Stops Postgres (fast shutdown) and waits until it has ended; then frees the data directory.
    pub async fn stop(mut self) {
        self.postmaster.stop().await;
        if self.site.socket_dir != self.site.cluster {
            let _ = std::fs::remove_dir(&self.site.socket_dir);
        }
        tracing::info!(cluster = %self.site.cluster.display(), "private Postgres has stopped");
    }
}

fn restart_delay(failures: u32) -> Duration {
    failures.checked_sub(1).map_or(Duration::ZERO, |retry| RESTART_BACKOFF.delay(retry, 0.5))
}

async fn prepare(data_dir: PathBuf, config: &EmbeddedConfig) -> Result<Site, EmbeddedError> {
    let cluster = data_dir.join("postgres");
    let account = Account::choose(&cluster)?;
    account.ensure_reachable(&data_dir).await?;
    let version = cluster::version(&cluster)?;
    let search = binaries::Search {
        configured: config.binaries.as_deref(),
        path: &config.search_path,
        existing: version.as_deref().map(|v| (cluster.as_path(), v)),
    };
    let binaries = binaries::find(search).await?;
    account.ensure_reachable(&binaries.program("postgres")).await?;
    if version.is_none() {
        tracing::info!(cluster = %cluster.display(), user = account.name, "making a private Postgres cluster");
        cluster::create(&data_dir, &cluster, &account, &binaries).await?;
    }
    let tag = site::tag(&data_dir)?;
    let socket_dir = site::socket_dir(&cluster, &tag, &account)?;
    Ok(Site { data_dir, cluster, socket_dir, tag, account, binaries })
}

/// Makes the database if it is not there: a crash may have come between the cluster and its first database.
async fn ensure_database(site: &Site) -> Result<(), EmbeddedError> {
    let failed = |action| move |source| EmbeddedError::Database { action, source };
    let mut connection = PgConnection::connect_with(&site.options("postgres"))
        .await
        .map_err(failed("connect to the private Postgres"))?;
    let names: Vec<String> = sqlx::query_scalar("select datname::text from pg_database")
        .fetch_all(&mut connection)
        .await
        .map_err(failed("list the databases"))?;
    if !names.iter().any(|name| name == site::NAME) {
        sqlx::query("create database homeostat")
            .execute(&mut connection)
            .await
            .map_err(failed("create the database homeostat"))?;
    }
    connection.close().await.map_err(failed("close the first connection"))
}

#[cfg(test)]
mod tests;
