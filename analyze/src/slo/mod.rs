//! How a service stands against its objective: events counted as good or bad, the budget they use, how fast it burns.

pub mod budget;
pub mod burn_rate;
pub mod indicator;

pub use budget::Window;
pub use burn_rate::Tracker;
pub use indicator::Tick;
