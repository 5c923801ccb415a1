//! The breaker from outside, in one binary: its promises call by call, under random and under all schedules, and as a tower layer.

mod guards;
mod plain;
mod schedules;
mod search;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "sim")]
mod simulated;
