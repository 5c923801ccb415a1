//! What work cost: processor time of a thread, memory of a process.

use std::{fs, time::Duration};

use anyhow::Context as _;
use nix::time::{ClockId, clock_gettime};

/// Processor time of this thread so far. Other processes on the machine do not count.
pub(super) fn thread_cpu() -> anyhow::Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
}

/// Processor time that this thread spends on some work.
pub(super) fn cpu_of<T>(work: impl FnOnce() -> T) -> anyhow::Result<(T, Duration)> {
    let before = thread_cpu()?;
    let done = work();
    Ok((done, thread_cpu()? - before))
}

/// Bytes of a process, `self` or by its number, that are in memory.
pub(super) fn resident_bytes(process: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kibibytes * 1_024)
}

/// Processor seconds of a process so far, by its number.
pub(super) fn cpu_seconds(process: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // After the name, which may have blanks and brackets: user and system time are the 12th and 13th.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |place: usize| -> anyhow::Result<f64> { Ok(fields.get(place).context("too short")?.parse()?) };
    // Linux counts hundredths of a second here, whatever its own clock does.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let before = resident_bytes("self").unwrap();
        let (held, cpu) = cpu_of(|| vec![1_u8; 64 << 20]).unwrap();
        assert!(cpu > Duration::ZERO);
        assert!(resident_bytes("self").unwrap() > before + (32 << 20), "{}", held.len());
        assert!(cpu_seconds("self").unwrap() >= 0.0);
    }
}
