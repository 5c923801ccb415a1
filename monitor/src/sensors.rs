//! The adapter: where readings and lists of targets come in.

pub mod scrape;
pub mod targets_file;
