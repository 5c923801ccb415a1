//! The words of one call: how it ended, how much it matters, why it was not admitted.

use std::time::Duration;

/// How a call ended, as the caller judges it. Slowness is judged from the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The callee did its work.
    Success,
    /// The callee is to blame.
    Failure,
    /// The callee says that it has too much to do: 429, 503, RESOURCE_EXHAUSTED. Sheds rather than opens.
    Overload,
    /// The caller's own mistake (4xx, INVALID_ARGUMENT), or that of somebody behind the callee, by the callee's own word: the
    /// callee did its part, and nothing is held against it. Opening here would cure nothing.
    CallerFault,
    /// Given up before there was a result: nothing is counted, a probe's permit comes back.
    Cancelled,
}

impl Outcome {
    /// Names of all outcomes, for metrics; in the order of [`Outcome::index`].
    pub const NAMES: [&'static str; 5] = ["success", "failure", "overload", "caller_fault", "cancelled"];

    /// Its place in [`Outcome::NAMES`].
    pub fn index(self) -> usize {
        match self {
            Outcome::Success => 0,
            Outcome::Failure => 1,
            Outcome::Overload => 2,
            Outcome::CallerFault => 3,
            Outcome::Cancelled => 4,
        }
    }
}

/// How much a call matters. While calls are shed, the lowest go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Can be left out: prefetching, batch work.
    Low,
    /// What is not marked otherwise.
    #[default]
    Normal,
    /// A user waits for it.
    High,
    /// Shed last of all: payments, health of others.
    Critical,
}

impl Priority {
    /// From the first to be shed to the last.
    pub const ALL: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
}

/// Why a call was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Open: nothing is admitted before the wait is over.
    #[error("circuit is open for another {retry_after:?}")]
    Open {
        /// What is left of the wait.
        retry_after: Duration,
    },
    /// Half-open, and every permit is taken.
    #[error("circuit is half-open and all probes are taken")]
    ProbesTaken,
    /// Somebody holds it open.
    #[error("circuit is forced open")]
    ForcedOpen,
    /// The callee fails less when it is asked less, and this call was one of those left out.
    #[error("call was shed to relieve the callee")]
    Shed,
    /// As many calls are in flight as the callee can work on.
    #[error("concurrency limit is reached")]
    Limit,
}

impl Rejection {
    /// Names of all reasons, for metrics; in the order of [`Rejection::index`].
    pub const REASONS: [&'static str; 5] = ["open", "probes_taken", "forced_open", "shed", "limit"];

    /// Its place in [`Rejection::REASONS`].
    pub fn index(self) -> usize {
        match self {
            Rejection::Open { .. } => 0,
            Rejection::ProbesTaken => 1,
            Rejection::ForcedOpen => 2,
            Rejection::Shed => 3,
            Rejection::Limit => 4,
        }
    }
}
