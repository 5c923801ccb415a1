//! Scorers: pure functions of labels and judgements. They decide what a detector or a forecast is worth, so they know nothing
//! of ours.

pub mod accuracy;
pub mod events;
pub mod nab;
pub mod vus;
