//! Analyze in-process, spoken to over real sockets, beside a Knowledge that remembers in memory.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod knowledge;
mod learning;
mod setup;
mod streams;
