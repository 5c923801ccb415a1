//! Seasons of one signal: periods found in the data (`find`), what is usual at each moment of them (`Profile`), and a signal
//! taken apart as it streams by (`Decomposition`). Times of day follow the wall clock where a time zone is given.

mod decomposition;
mod finder;
mod fold;
mod keeper;
#[cfg(test)]
mod keeper_tests;
mod known;
mod look;
mod moment;
mod nested;
mod profile;
mod quantised;
mod ring;
mod shape;
mod spectrum;
#[cfg(test)]
mod tests;
mod turns;

pub use decomposition::{Decomposition, Parts};
pub use finder::{Finder, FinderSettings, Period, find};
pub use keeper::{Keeper, KeeperSettings};
pub use moment::{Calendar, Moment};
pub use profile::{Profile, ProfileSettings};
pub use ring::Ring;

/// Whether this can have been measured. Numbers whose squares would leave the range of numbers are refused like NaN.
fn is_measured(value: f64) -> bool {
    value.abs() <= 1e150
}
