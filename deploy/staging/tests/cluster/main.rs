//! The cluster as it is: real processes, real sockets, real time. In one binary; each test has a cluster of its own.

mod breaking;
mod capacity;
mod kit;
mod mode;
mod ownership;
mod playing;
