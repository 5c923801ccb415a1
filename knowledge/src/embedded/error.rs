//! What can keep the private cluster from starting or stopping, each with what a reader needs to mend it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why the private Postgres cluster did not start, restart or stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable PostgreSQL programs on this machine.
    #[error(
        "no PostgreSQL {minimum} or newer found (looked in {}): install it with `apt-get install postgresql`, \
         or name the directory that holds `postgres` and `initdb`",
        list(searched)
    )]
    NoBinaries {
        /// The oldest major version that would do.
        minimum: u32,
        /// Every directory looked into, with what was found there.
        searched: Vec<String>,
    },
    /// The cluster on disk was made by another major version than any installed one.
    #[error(
        "the cluster {} was made by PostgreSQL {cluster}, but found only {}: install it with \
         `apt-get install postgresql-{cluster}`, or upgrade the cluster with pg_upgrade",
        path.display(),
        list(found)
    )]
    OtherMajor {
        /// The cluster directory.
        path: PathBuf,
        /// The text of its PG_VERSION file.
        cluster: String,
        /// What is installed: version and directory.
        found: Vec<String>,
    },
    /// Another process of ours uses the data directory.
    #[error("the data directory {} is in use by another homeostat (process {pid})", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds the lock, as it wrote it; "unknown" if it has not yet.
        pid: String,
    },
    /// As root, the account that runs Postgres cannot reach a directory or program.
    #[error(
        "{user}, who runs Postgres when homeostat runs as root, cannot enter or run {}: \
         `chmod o+x {}`, or choose another place",
        path.display(),
        path.display()
    )]
    Unreachable {
        /// The account.
        user: String,
        /// The first path from the root down that it may not enter.
        path: PathBuf,
    },
    /// Root has no other account to run Postgres under.
    #[error(
        "Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody` on this machine"
    )]
    NoAccount,
    /// The cluster belongs to somebody else.
    #[error("the cluster {} belongs to user id {owner}: {advice}", path.display())]
    ForeignCluster {
        /// The cluster directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// How to mend it.
        advice: &'static str,
    },
    /// Something that is not a cluster stands in its place.
    #[error("{} is neither empty nor a Postgres cluster (it has no PG_VERSION file)", path.display())]
    NotACluster {
        /// The directory.
        path: PathBuf,
    },
    /// The short socket directory exists, and is not ours alone.
    #[error("the socket directory {} exists, but is not a directory that only user id {uid} can enter", path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// Who must own it.
        uid: u32,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Files {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A program did not start.
    #[error("cannot run {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed ({status}): {said}")]
    Initdb {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        said: String,
    },
    /// Processes of an earlier run on this cluster do not go away.
    #[error("processes of an earlier run still use the cluster and do not end: {pids:?}")]
    Leftover {
        /// Their ids.
        pids: Vec<u32>,
    },
    /// The postmaster ended before it was ready.
    #[error("Postgres ended while starting ({status}); its last words: {said} (more in {})", log.display())]
    Exited {
        /// How it ended.
        status: String,
        /// The end of its log.
        said: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// The postmaster runs, but was not ready in time.
    #[error("Postgres was not ready within {} s; its last words: {said} (more in {})", within.as_secs(), log.display())]
    NotReady {
        /// The deadline.
        within: Duration,
        /// The end of its log.
        said: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// Postgres answered, but refused us.
    #[error("cannot {action}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
}

/// For `map_err`: a file operation on a path failed.
pub(super) fn files(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Files { action, path, source }
}

/// For `map_err`: a program did not start.
pub(super) fn spawn(program: &Path) -> impl FnOnce(std::io::Error) -> EmbeddedError {
    let program = program.to_owned();
    move |source| EmbeddedError::Spawn { program, source }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "nothing".to_owned() } else { items.join("; ") }
}
