//! OpenSLO's durations: a whole number and a letter, `m h d w M Q Y`.

use crate::model::ids::InvalidId;
use crate::model::text::serde_as_text;
use std::{fmt, str::FromStr, time::Duration};

/// More would not fit the range of dates.
const COUNT_MAX: u32 = 1_000_000;

/// Units of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`
    Week,
    /// `M`
    Month,
    /// `Q`
    Quarter,
    /// `Y`
    Year,
}

/// A duration as OpenSLO writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shorthand {
    /// How many; `0m` is none.
    pub count: u32,
    /// Of what.
    pub unit: Unit,
}

impl Shorthand {
    /// How long it is; a month counts 30 days, a quarter 90, a year 365.
    #[must_use]
    pub fn about(self) -> Duration {
        let seconds = match self.unit {
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day => 86_400,
            Unit::Week => 7 * 86_400,
            Unit::Month => 30 * 86_400,
            Unit::Quarter => 90 * 86_400,
            Unit::Year => 365 * 86_400,
        };
        Duration::from_secs(u64::from(self.count) * seconds)
    }
}

impl fmt::Display for Shorthand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Minute => 'm',
            Unit::Hour => 'h',
            Unit::Day => 'd',
            Unit::Week => 'w',
            Unit::Month => 'M',
            Unit::Quarter => 'Q',
            Unit::Year => 'Y',
        };
        write!(f, "{}{unit}", self.count)
    }
}

impl FromStr for Shorthand {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || {
            InvalidId::new("duration", text, "must be a whole number and one of m h d w M Q Y, such as 4w")
        };
        let unit = match text.chars().last().ok_or_else(wrong)? {
            'm' => Unit::Minute,
            'h' => Unit::Hour,
            'd' => Unit::Day,
            'w' => Unit::Week,
            'M' => Unit::Month,
            'Q' => Unit::Quarter,
            'Y' => Unit::Year,
            _ => return Err(wrong()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let count: u32 = digits.parse().map_err(|_| wrong())?;
        if count > COUNT_MAX {
            return Err(InvalidId::new("duration", text, "must be at most 1000000 of its unit"));
        }
        Ok(Self { count, unit })
    }
}

serde_as_text!(Shorthand);
