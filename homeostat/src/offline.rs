//! What the commands that work on files share: finding them, reading rows, saying which were refused, showing progress.

pub mod files;
pub mod metrics;
pub mod results;
pub mod rows;
pub mod times;

pub mod progress;
