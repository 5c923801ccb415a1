//! Processes of this machine: who they are beyond a number that is used again, and how to end them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chassis::SharedClock;
use serde::{Deserialize, Serialize};

/// How often a process looks whether its owner is still there: what is left over is left for half a second.
const OWNER_INTERVAL: Duration = Duration::from_millis(500);

/// From SIGTERM to SIGKILL: longer than the 2 s for which a replica drains by itself.
const END_LIMIT: Duration = Duration::from_secs(3);
const END_POLL: Duration = Duration::from_millis(20);

/// A process: its number and when it started, which together name it for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`).
    pub started: u64,
}

/// CPU seconds that this process has used, and bytes of memory that it holds; `None` where the system does not tell.
pub(crate) fn usage() -> Option<(f64, f64)> {
    /// Clock ticks per second and bytes per page as Linux shows them to programs, whatever it uses itself.
    const TICKS: f64 = 100.0;
    const PAGE: f64 = 4_096.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let (user, system): (f64, f64) = (fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?);
    let pages: f64 = fields.get(21)?.parse().ok()?;
    Some(((user + system) / TICKS, pages * PAGE))
}

impl Identity {
    /// Who has that number now. A process that is dead but not yet buried counts as gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name stands in parentheses and may hold anything; fields count from behind it.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let state = *fields.first()?;
        let started = fields.get(19)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether this word is among its arguments.
    pub(crate) fn was_started_with(self, word: &str) -> bool {
        was_started_with(self.pid, &[word.to_owned()])
    }

    /// Asks it to end.
    pub(crate) fn terminate(self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends it.
    pub(crate) fn kill(self) {
        self.signal(libc::SIGKILL);
    }

    #[expect(unsafe_code, reason = "kill(2) takes two integers and touches no memory of ours")]
    fn signal(self, signal: i32) {
        let Ok(pid) = i32::try_from(self.pid) else { return };
        if pid > 1 && self.is_alive() {
            // It fails only if the process has gone meanwhile, which is what was wanted.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

/// Resolves when the process that has this number now is gone.
pub(crate) async fn gone(pid: u32) {
    let Some(owner) = Identity::of(pid) else { return };
    while owner.is_alive() {
        tokio::time::sleep(OWNER_INTERVAL).await;
    }
}

/// Finds the processes that were started with all of these arguments in a row.
pub(crate) fn find(arguments: &[String]) -> Vec<Identity> {
    let ours = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != ours && was_started_with(*pid, arguments)).filter_map(Identity::of).collect()
}

fn was_started_with(pid: u32, arguments: &[String]) -> bool {
    let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.windows(arguments.len()).any(|run| run.iter().zip(arguments).all(|(a, b)| *a == b.as_bytes()))
}

/// SIGTERM, then SIGKILL for those that have not ended within the limit.
pub(crate) async fn end(processes: &[Identity], clock: &SharedClock) {
    processes.iter().for_each(|process| process.terminate());
    let deadline = clock.monotonic() + END_LIMIT;
    while clock.monotonic() < deadline && processes.iter().any(|process| process.is_alive()) {
        tokio::time::sleep(END_POLL).await;
    }
    processes.iter().for_each(|process| process.kill());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_used_again_is_another_process() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Identity { started: own.started + 1, ..own }.is_alive());
    }

    #[test]
    fn a_dead_child_that_nobody_has_buried_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("73.73").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        // A process that has just been started shows its arguments a moment later.
        while find(&["sleep".to_owned(), "73.73".to_owned()]) != [identity] {
            assert!(identity.is_alive(), "it sleeps for more than a minute");
            std::thread::yield_now();
        }
        identity.kill();
        while identity.is_alive() {
            std::thread::yield_now();
        }
        assert!(Path::new(&format!("/proc/{}", identity.pid)).exists());
        child.wait().unwrap();
    }
}
