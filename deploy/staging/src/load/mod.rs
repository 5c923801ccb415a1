//! Open-loop load: requests start when they are due, whether or not earlier ones have been answered.

mod generator;
mod profile;
mod record;

pub use generator::{LoadArgs, LoadError, LoadPlan, Urgency, generate, run};
pub use profile::{Arrivals, Profile, ProfileError, Step};
pub use record::{BadLine, Record, from_csv, to_csv};
