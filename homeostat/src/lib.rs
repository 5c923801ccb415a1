//! The binary's library: the command line, and the composition of all five services in one process, which the system
//! tests use too.

pub mod cli;
pub mod cli_actuator;
pub mod cli_incidents;
pub mod cli_policies;
pub mod cli_seasonality;
pub mod cli_slo;
pub mod compose;
pub mod endpoints;
pub mod output;

pub mod offline;

pub mod detect;
pub mod forecast;
pub mod score;

pub mod backtest;
pub mod bench;
pub mod commands;
pub mod demo;
