//! How a service stands against its objective: events counted as good or bad, the budget they use, how fast it burns.

pub mod alert;
pub mod budget;
pub mod burn_rate;
pub mod counter;
pub mod events;
pub mod indicator;
pub mod period;
pub mod simulate;
pub mod slices;

pub use alert::{AlertChange, Alerting, BurnRule, Urgency, workbook_rules};
pub use budget::Window;
pub use burn_rate::Tracker;
pub use counter::{Counter, Growth, Reading};
pub use events::{EventHistory, Sums};
pub use indicator::Tick;
pub use period::{Calendar, CalendarUnit, Period};
pub use slices::{EmptySlice, Slice, SliceRule, Slicer};
