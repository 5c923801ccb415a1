//! The band in which values are usual: absolute bounds, and bounds around what the season expects.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Bounds, as (lower, upper).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Band {
    /// Of the value.
    pub(crate) value: (f64, f64),
    /// Of its distance from what is expected, where a season is known.
    pub(crate) residual: Option<(f64, f64)>,
    /// Of the mean of the last few of those distances.
    pub(crate) level: Option<(f64, f64)>,
}

impl Band {
    /// Whether a value is usual whose last few distances from what was expected have this mean.
    pub(crate) fn holds(&self, value: f64, expected: Option<f64>, level: Option<f64>) -> bool {
        let (lower, upper) = self.around(expected);
        let is_level = self.level.zip(level).is_none_or(|((low, high), level)| low <= level && level <= high);
        lower <= value && value <= upper && is_level
    }

    /// The band in absolute numbers, given what is expected.
    pub(crate) fn around(&self, expected: Option<f64>) -> (f64, f64) {
        let (mut lower, mut upper) = self.value;
        if let (Some((below, above)), Some(expected)) = (self.residual, expected) {
            // Both hold; the narrower side counts, unless they contradict each other.
            let narrow = (lower.max(expected + below), upper.min(expected + above));
            if narrow.0 <= narrow.1 {
                (lower, upper) = narrow;
            }
        }
        (lower, upper)
    }
}

impl Stored for Band {
    fn save(&self, writer: &mut Writer) {
        let Self { value, residual, level } = self;
        writer.put(&value.0).put(&value.1);
        for both in [residual, level] {
            writer.put(&both.map(|both| both.0)).put(&both.map(|both| both.1));
        }
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let value = (reader.get()?, reader.get()?);
        let mut both = || -> Result<Option<(f64, f64)>, Damaged> {
            let (low, high): (Option<f64>, Option<f64>) = (reader.get()?, reader.get()?);
            Ok(low.zip(high))
        };
        Ok(Self { value, residual: both()?, level: both()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_season_narrows_the_band_but_never_turns_it_around() {
        let band = Band { value: (0.0, 10.0), residual: Some((-1.0, 1.0)), level: None };
        assert_eq!(band.around(Some(5.0)), (4.0, 6.0));
        assert_eq!(band.around(None), (0.0, 10.0));
        assert_eq!(band.around(Some(50.0)), (0.0, 10.0));
    }

    #[test]
    fn a_level_outside_is_unusual_though_each_value_is_inside() {
        let band = Band { value: (0.0, 10.0), residual: None, level: Some((-1.0, 1.0)) };
        assert!(band.holds(9.0, Some(5.0), Some(0.5)) && !band.holds(9.0, Some(5.0), Some(3.0)));
    }
}
