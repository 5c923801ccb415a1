//! Errors of the forecasts of one lead time, counted in units of their own mean size, with forgetting; and their quantiles.

use std::sync::LazyLock;

/// Buckets on either side of zero; bucket b ends at sinh(WIDTH (b+1)) units.
const SIDE: usize = 28;
const WIDTH: f64 = 0.12;
/// Forecasts that are remembered.
const MEMORY: f64 = 600.0;
/// Forecasts over which their mean size is taken: it follows sooner, so that calm after a storm is soon believed.
const SCALE_MEMORY: f64 = 100.0;
/// What is believed before the first: a Laplace distribution, counted as so many forecasts.
const PRIOR: f64 = 6.0;

/// Counted errors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Residuals {
    pub(super) counts: Vec<f32>,
    pub(super) total: f64,
    /// Mean absolute error.
    pub(super) scale: f64,
    pub(super) seen: f64,
}

impl Residuals {
    pub(super) fn new() -> Self {
        let mut counts = vec![0.0; 2 * SIDE];
        for (bucket, count) in counts.iter_mut().enumerate() {
            let side = |units: f64| 0.5 * (-units).exp();
            let (near, far) = edges(if bucket < SIDE { SIDE - 1 - bucket } else { bucket - SIDE });
            *count = (PRIOR * (side(near) - side(far))) as f32;
        }
        let total = counts.iter().map(|count| f64::from(*count)).sum();
        Self { counts, total, scale: 0.0, seen: 0.0 }
    }

    /// Counts an error, where `scale` was expected.
    pub(super) fn learn(&mut self, error: f64, scale: Option<f64>) {
        self.seen += 1.0;
        if let Some(scale) = scale.filter(|scale| *scale > 0.0) {
            let units = error / scale;
            let bucket = ((place(units.abs()) / WIDTH) as usize).min(SIDE - 1);
            let index = if units < 0.0 { SIDE - 1 - bucket } else { SIDE + bucket };
            if self.total >= MEMORY {
                let keep = 0.5;
                self.counts.iter_mut().for_each(|count| *count *= keep as f32);
                self.total *= keep;
            }
            self.counts[index] += 1.0;
            self.total += 1.0;
        }
        self.scale += (error.abs() - self.scale) / self.seen.min(SCALE_MEMORY);
    }

    pub(super) fn scale(&self) -> Option<f64> {
        (self.seen >= 3.0).then_some(self.scale)
    }

    pub(super) fn seen(&self) -> f64 {
        self.seen
    }

    /// The error, in units of the scale, that this share lies below.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut left = share.clamp(0.0, 1.0) * self.total;
        for (index, count) in self.counts.iter().enumerate() {
            let count = f64::from(*count);
            if left <= count && count > 0.0 {
                let (low, high) = bounds(index);
                return low + left / count * (high - low);
            }
            left -= count;
        }
        edges(SIDE - 1).1
    }
}

impl Residuals {
    /// Share of the errors below so many units.
    pub(super) fn below(&self, units: f64) -> f64 {
        let mut sum = 0.0;
        for (index, count) in self.counts.iter().enumerate() {
            let (low, high) = bounds(index);
            if units < high {
                sum += f64::from(*count) * ((units - low) / (high - low)).clamp(0.0, 1.0);
                break;
            }
            sum += f64::from(*count);
        }
        (sum / self.total).clamp(0.0, 1.0)
    }
}

/// Where a bucket lies.
fn bounds(index: usize) -> (f64, f64) {
    if index >= SIDE {
        return edges(index - SIDE);
    }
    let (near, far) = edges(SIDE - 1 - index);
    (-far, -near)
}

/// The inverse of sinh, for what is not negative.
fn place(units: f64) -> f64 {
    (units + units.mul_add(units, 1.0).sqrt()).ln()
}

fn edges(bucket: usize) -> (f64, f64) {
    static EDGES: LazyLock<[f64; SIDE + 1]> =
        LazyLock::new(|| std::array::from_fn(|edge| (WIDTH * edge as f64).sinh()));
    (EDGES[bucket], EDGES[bucket + 1])
}
