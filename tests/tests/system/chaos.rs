//! The seven chaos scenarios on the staging cluster: real processes, real sockets, real faults, real time. Every fault is waited
//! for until its replicas obey it, and every load is open loop or a counted crowd, so nothing here sleeps to be in time.

mod kit;

mod cascade;
mod crowds;
mod cycle;
mod fleet;
mod gradual;
mod latency;
mod outage;
mod overload;
