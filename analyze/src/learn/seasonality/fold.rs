//! Values folded at a period: the mean cycle, and how well each cycle is told by the others.

/// Removes what moves more slowly than the period: a mean over one period around each value, shorter at the ends.
pub(super) fn detrended(values: &[f64], period: f64) -> Vec<f64> {
    let half = ((period / 2.0).round() as usize).max(1);
    let last = values.len() - 1;
    let means = means(values, half);
    // Where the window would be shorter than a period its mean holds part of the season: the last whole one stands in.
    let (first, end) = (half.min(last / 2), last - half.min(last / 2));
    (0..values.len()).map(|i| values[i] - means[i.clamp(first, end)]).collect()
}

/// Means over a width around each value.
pub(super) fn smoothed(values: &[f64], width: f64) -> Vec<f64> {
    means(values, (width / 2.0) as usize)
}

/// Means over `half` values on either side, fewer at the ends. Both ends count half, as in the classical decomposition, so
/// that exactly twice `half` values are averaged.
fn means(values: &[f64], half: usize) -> Vec<f64> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0.0);
    let mut sum = 0.0;
    for value in values {
        sum += value;
        sums.push(sum);
    }
    let last = values.len() - 1;
    let mean = |i: usize| {
        let reach = half.min(i).min(last - i);
        let whole = sums[i + reach] - sums[(i + 1).saturating_sub(reach)];
        let ends = 0.5 * (values[i - reach] + values[i + reach]);
        if reach == 0 { values[i] } else { (whole + ends) / (2.0 * reach as f64) }
    };
    (0..values.len()).map(mean).collect()
}

/// The mean cycle. Cell c holds the values whose phase is c.
pub(super) fn mean_cycle(values: &[f64], period: f64) -> Vec<f64> {
    let (sums, counts) = sums(values, period);
    let mut cycle: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count.max(1.0)).collect();
    let mean = cycle.iter().sum::<f64>() / cycle.len() as f64;
    cycle.iter_mut().for_each(|cell| *cell -= mean);
    cycle
}

/// Takes a cycle out.
pub(super) fn without(values: &[f64], period: f64, cycle: &[f64]) -> Vec<f64> {
    values.iter().enumerate().map(|(i, v)| v - cycle[phase(i, period, cycle.len())]).collect()
}

/// What is left of each value when the mean of the other cycles is taken from it.
pub(super) fn left(values: &[f64], period: f64) -> Vec<f64> {
    let (sums, counts) = sums(values, period);
    let left = |(i, value): (usize, &f64)| {
        let cell = phase(i, period, sums.len());
        if counts[cell] > 1.5 { value - (sums[cell] - value) / (counts[cell] - 1.0) } else { *value }
    };
    values.iter().enumerate().map(left).collect()
}

/// Share of the variance that the mean of the other cycles tells about each; negative on noise.
pub(super) fn told(values: &[f64], period: f64) -> f64 {
    let (sums, counts) = sums(values, period);
    let (mut missed, mut all) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let cell = phase(i, period, sums.len());
        if counts[cell] > 1.5 {
            missed += (value - (sums[cell] - value) / (counts[cell] - 1.0)).powi(2);
            all += value * value;
        }
    }
    if all > 0.0 { 1.0 - missed / all } else { 0.0 }
}

fn sums(values: &[f64], period: f64) -> (Vec<f64>, Vec<f64>) {
    let cells = (period.round() as usize).max(1);
    let (mut sums, mut counts) = (vec![0.0; cells], vec![0.0; cells]);
    for (i, value) in values.iter().enumerate() {
        let cell = phase(i, period, cells);
        sums[cell] += value;
        counts[cell] += 1.0;
    }
    (sums, counts)
}

fn phase(i: usize, period: f64, cells: usize) -> usize {
    let turns = i as f64 / period;
    (((turns - turns.floor()) * cells as f64 + 1e-6) as usize).min(cells - 1)
}
