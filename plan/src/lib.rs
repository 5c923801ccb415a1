//! # plan
#![doc = include_str!("../README.md")]

// Core: values and `now` in, values out.
pub mod autonomy;
pub mod data;
pub mod economy;
mod few;
pub mod history;
pub mod input;
mod keyed;
pub mod ledger;
pub mod operating;
pub mod shards;
pub mod world;

pub mod candidates;
pub mod effects;
pub mod score;

pub mod guardrails;

pub mod check;
pub mod measures;
pub mod planner;
pub mod report;
pub mod round;

// Shell.
pub mod config;
mod grpc;
mod metrics;
pub mod service;

#[cfg(test)]
mod closed_loop;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;

pub use config::Config;
pub use planner::{Decision, plan};
pub use service::{Handle, StartError, start};
