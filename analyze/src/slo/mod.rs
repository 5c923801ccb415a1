//! How a service stands against its objective: events counted as good or bad, the budget they use, how fast it burns.

pub mod alert;
pub mod budget;
pub mod burn_rate;
pub mod compliance;
pub mod composite;
pub mod events;
pub mod exhaustion;
pub mod gates;
pub mod indicator;
pub mod lint;
pub mod live;
pub mod measure;
pub mod objective;
pub mod observed;
pub mod period;
pub mod policy;
pub mod queried;
pub mod rules;
pub mod simulate;
pub mod slices;

pub use alert::{AlertChange, Alerting, BurnRule, Urgency, workbook_rules};
pub use budget::Window;
pub use burn_rate::{ClosedSpan, Tracker};
pub use events::{EventHistory, Sums};
pub use indicator::Tick;
pub use period::{Calendar, CalendarUnit, Period};
pub use slices::{EmptySlice, Slice, SliceRule, Slicer};
