//! The breaker from outside, in one binary: its promises call by call, under random schedules, and as a tower layer.

mod plain;
mod schedules;
#[cfg(feature = "tower")]
mod service;
