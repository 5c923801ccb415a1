//! What an earlier run may have left: a postmaster that outlived a killed homeostat, backends that outlived a
//! killed postmaster, and lock files whose process id now belongs to somebody else.
//!
//! Processes are recognised by the cluster's tag in their command line, which Linux shows to everybody. Elsewhere
//! than on Linux none are found, and Postgres' own, more timid, checks decide alone.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::{self, EmbeddedError};
use super::site::{PORT, Site};

/// Where a postmaster writes its process id, in the cluster directory.
pub(super) const PID_FILE: &str = "postmaster.pid";

/// Room for the shutdown checkpoint: 64 MB of buffers at 5 MB/s are 13 s; doubled.
const POSTMASTER_GRACE: Duration = Duration::from_secs(30);
/// Backends notice at their next wait that their postmaster died; only a long query takes longer.
const BACKEND_GRACE: Duration = Duration::from_secs(2);
/// A killed process is gone at once unless it hangs in the disk.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// Between two looks at /proc, which take about a millisecond.
const POLL: Duration = Duration::from_millis(20);

/// Brings the cluster to rest: afterwards no process uses it, and no lock file keeps Postgres from starting.
pub(super) async fn settle(site: &Site) -> Result<(), EmbeddedError> {
    let mut left = processes(site);
    if let Some(postmaster) = pid_in(&site.cluster.join(PID_FILE)).filter(|pid| left.contains(pid)) {
        tracing::warn!(pid = postmaster, "stopping the Postgres that an earlier homeostat left running");
        signal(postmaster, Signal::SIGINT);
        left = wait_until_gone(site, POSTMASTER_GRACE).await;
    } else if !left.is_empty() {
        left = wait_until_gone(site, BACKEND_GRACE).await;
    }
    if !left.is_empty() {
        // Nothing that was committed can be lost by this: it is in the write-ahead log, as after a power cut.
        tracing::warn!(pids = ?left, "killing what is left of an earlier Postgres");
        left.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
        left = wait_until_gone(site, KILL_GRACE).await;
    }
    if !left.is_empty() {
        return Err(EmbeddedError::Leftover { pids: left.into_iter().collect() });
    }
    lock_files(site).iter().try_for_each(|path| remove_if_misleading(path))
}

/// Sends a signal; a process that is already gone is what we want.
pub(super) fn signal(pid: u32, signal: Signal) {
    let Ok(raw) = i32::try_from(pid) else { return };
    if let Err(error) = kill(Pid::from_raw(raw), signal) {
        tracing::debug!(pid, %signal, %error, "signal not delivered");
    }
}

async fn wait_until_gone(site: &Site, grace: Duration) -> BTreeSet<u32> {
    let gone = async {
        while !processes(site).is_empty() {
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(grace, gone).await {
        Ok(()) => BTreeSet::new(),
        Err(_) => processes(site),
    }
}

/// Every living process of this cluster, by its account and its command line.
pub(super) fn processes(site: &Site) -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let mut pids = BTreeSet::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let ours = entry.metadata().is_ok_and(|m| m.uid() == site.account.uid);
        if ours && std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| bears_tag(&line, &site.tag)) {
            pids.insert(pid);
        }
    }
    pids
}

/// The postmaster has the tag as a whole argument; its children begin their title with it.
fn bears_tag(command_line: &[u8], tag: &str) -> bool {
    let setting = format!("cluster_name={tag}");
    command_line.starts_with(format!("postgres: {tag}: ").as_bytes())
        || command_line.split(|byte| *byte == 0).any(|argument| argument == setting.as_bytes())
}

fn lock_files(site: &Site) -> [PathBuf; 2] {
    [site.cluster.join(PID_FILE), site.socket_dir.join(format!(".s.PGSQL.{PORT}.lock"))]
}

/// Postgres ignores a lock file whose process is dead, but not one whose number was given to another process or
/// thread, as happens after a reboot and in every container. Removed only if that process is seen not to be
/// Postgres: one that somebody started by hand on our cluster keeps its lock, and then Postgres refuses to start.
fn remove_if_misleading(path: &Path) -> Result<(), EmbeddedError> {
    let Some(pid) = pid_in(path) else { return Ok(()) };
    let Ok(command_line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return Ok(()) };
    if may_be_postgres(&command_line) {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), pid, "removing a stale lock file: that process is not Postgres");
    std::fs::remove_file(path).map_err(error::files("remove", path))
}

/// By the program's name alone: `/usr/lib/postgresql/15/bin/postgres`, `postmaster`, `postgres: checkpointer`.
fn may_be_postgres(command_line: &[u8]) -> bool {
    let program = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
    ["postgres", "postmaster"].iter().any(|name| program.windows(name.len()).any(|w| w == name.as_bytes()))
}

/// The first line of a Postgres lock file: a process id, negative for a single-user session.
pub(super) fn pid_in(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next()?.trim().parse::<i64>().ok().and_then(|pid| u32::try_from(pid.abs()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_this_cluster_bear_its_tag() {
        let check =
            |line: &str, expect| assert_eq!(bears_tag(line.as_bytes(), "homeostat-1-2"), expect, "{line:?}");
        check("postgres\0-D\0/d\0-c\0cluster_name=homeostat-1-2\0", true);
        check("postgres: homeostat-1-2: checkpointer \0\0", true);
        check("postgres: homeostat-1-23: checkpointer \0", false);
        check("postgres: main: checkpointer \0", false);
        check("grep\0homeostat-1-2\0", false);
        check("psql\0-h\0/tmp/homeostat-1-2\0", false);
    }

    #[test]
    fn a_lock_is_stale_only_if_its_process_is_not_postgres() {
        let check = |line: &str, expect| assert_eq!(may_be_postgres(line.as_bytes()), expect, "{line:?}");
        check("/usr/lib/postgresql/15/bin/postgres\0-D\0/d\0", true);
        check("postgres: main: checkpointer \0", true);
        check("postmaster\0", true);
        check("sleep\0forever\0", false);
        check("vi\0/data/postgres/postmaster.pid\0", false);
        check("", false);
    }
}
