#![doc = include_str!("../README.md")]
//! In reading order: what the cluster is (`topology`, `dir`), its services (`service`, `upstream`, `edges`), what may go
//! wrong (`faults`), who starts and stops replicas (`replicas`, `actuator`), who asks (`load`), what is played (`scenario`),
//! what came out (`report`), all of it together (`cluster`, `supervisor`), and the processes as commands (`node`).

pub mod dir;
pub mod topology;

pub mod edges;
pub mod service;
mod upstream;

pub mod faults;

pub mod actuator;
pub mod link;
pub mod mode;
mod process;
pub mod replicas;

pub mod load;
pub mod report;
pub mod scenario;

pub mod cluster;
pub mod supervisor;

pub mod node;

mod files;
