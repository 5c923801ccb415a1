//! Seasons of one signal: periods found in the data (`find`), what is usual at each moment of them (`Profile`), and a signal
//! taken apart as it streams by (`Decomposition`). Times of day follow the wall clock where a time zone is given.

mod finder;
mod moment;
mod profile;

pub use finder::{FinderSettings, Period, find};
pub use moment::{Calendar, Moment};
pub use profile::{Profile, ProfileSettings};
