//! Monitor in-process, between real HTTP targets and a scripted Knowledge and Analyze.

mod analyze;
mod knowledge;
mod sending;
mod setup;
mod target;
mod targets;
