#![doc = include_str!("../README.md")]

pub mod exposition;
pub mod normalize;
pub mod tally;

pub mod histogram;
pub mod rate;
pub mod window;

pub mod admission;
pub mod observe;
pub mod series;

pub mod declarations;
pub mod raw;
pub mod roles;
pub mod target;

#[cfg(test)]
mod fixtures;
