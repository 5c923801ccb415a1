//! What the system tests stand on: the real binary as real processes, one or five, on free ports of the loopback interface.

pub mod plane;
pub mod process;

pub use plane::{Five, Plane};
pub use process::{Process, Turn, binary, command_json, data_dir, run_command, turn};
