//! The scale on which forecasts are made: the square root, on which counts vary as much at night as by day (Bartlett 1936), and
//! on which the level's ups and downs add to the hour's. Signals that can be negative are left as they are.

/// Whether roots are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root(pub(super) bool);

impl Root {
    pub(super) fn of(self, value: f64) -> f64 {
        if self.0 { value.max(0.0).sqrt() } else { value }
    }

    /// Back on the signal's own scale, where nothing is below zero if nothing ever was.
    pub(super) fn back(self, value: f64) -> f64 {
        if self.0 { value.max(0.0).powi(2) } else { value }
    }
}
