//! The ways in which a series is looked at. The name of a view is the reason that an alert gives.

use std::fmt;

/// One way to look at a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum View {
    /// The value itself.
    #[default]
    Value,
    /// The mean of a few samples.
    ShortMean,
    /// The mean of many samples.
    LongMean,
    /// How much it varies within a window: bursts, and lines gone flat.
    Spread,
    /// What the season leaves unexplained.
    Season,
    /// A level that moved to stay.
    Level,
}

impl View {
    /// The name as it stands in files and evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::ShortMean => "short_mean",
            Self::LongMean => "long_mean",
            Self::Spread => "spread",
            Self::Season => "season",
            Self::Level => "level",
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
