//! Whether weeks agree more as they are than turned against each other: a test that holds for any colour of noise.
//!
//! If days do not depend on their place in a week, then a week whose days are moved around in a circle agrees with the other weeks
//! as well as it did before: the turned weeks have the same spectrum and the same likeness of the parts of a day. So the
//! agreement is held against that of all ways to turn weeks (a permutation test, Good 2005, 3.2; by turning, as Lancaster et al.,
//! Physics Reports 748, 2018, 4.4, do it with surrogates). Weather moves all parts of a day together, habits do not: parts
//! are weighed by the inverse of their covariance. People rest two days in a row, and that is what is looked for.

use super::nested::{product, pull_in};

/// Days of a week; a period of another number of parts is not looked at here.
const WEEK: usize = 7;
/// Days that people rest in a row.
const REST: usize = 2;
/// More weeks than this need no such test: their spectrum tells enough.
const WEEKS_MAX: usize = 26;
/// Ways to turn weeks: all of them where they are no more than this many (5 weeks),
const ALL_MAX: usize = 2_401;
/// and so many by lot where they are.
const DRAWN: usize = 1_999;

/// Probability of weeks that agree like these where days know no week. Each day is its parts, the last day is the end of
/// the last week. `None` with fewer than three weeks, or so many that there is no need to ask.
pub(super) fn agreement(days: &[Vec<f64>], times: usize) -> Option<f64> {
    let weeks = days.len() / WEEK;
    if times != WEEK || !(3..=WEEKS_MAX).contains(&weeks) {
        return None;
    }
    let days = differences(&scaled(&levelled(days, weeks)), weeks * WEEK);
    let weeks = weeks_of(&days);
    let likeness = Likeness::of(&weeks)?;
    let as_it_is = likeness.turned(&vec![0; weeks.len()]);
    let least = as_it_is - 1e-9 * as_it_is.abs();
    let (mut as_good, mut all) = (0_usize, 0_usize);
    for_each_turn(weeks.len(), |turn| {
        all += 1;
        as_good += usize::from(likeness.turned(turn) >= least);
    });
    Some(as_good as f64 / all as f64)
}

/// Without what goes from week to week: a straight line between the middles of weeks. What repeats in each week stays as it is.
fn levelled(days: &[Vec<f64>], weeks: usize) -> Vec<Vec<f64>> {
    let first = days.len() - weeks * WEEK;
    let parts = days[0].len();
    let means: Vec<Vec<f64>> = days[first..].chunks(WEEK).map(|week| mean(week, parts)).collect();
    let level = |day: usize, part: usize| {
        let place = (day as f64 - first as f64 - (WEEK - 1) as f64 / 2.0) / WEEK as f64;
        let before = (place.floor().max(0.0) as usize).min(weeks - 2);
        let share = place - before as f64;
        means[before][part] + share * (means[before + 1][part] - means[before][part])
    };
    let without = |(day, parts): (usize, &Vec<f64>)| {
        parts.iter().enumerate().map(|(part, value)| value - level(day, part)).collect()
    };
    days.iter().enumerate().map(without).collect()
}

fn mean(days: &[Vec<f64>], parts: usize) -> Vec<f64> {
    (0..parts).map(|part| days.iter().map(|day| day[part]).sum::<f64>() / days.len() as f64).collect()
}

/// Each part in its own deviation.
fn scaled(days: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let squares = |part: usize| days.iter().map(|day| day[part] * day[part]).sum::<f64>() / days.len() as f64;
    let scales: Vec<f64> = (0..days[0].len()).map(|part| squares(part).sqrt()).collect();
    let divided = |(value, scale): (&f64, &f64)| if *scale > 0.0 { value / scale } else { 0.0 };
    days.iter().map(|day| day.iter().zip(&scales).map(divided).collect()).collect()
}

/// The last `count` days, each from the day before, those far out pulled in. A first day without one before says nothing.
fn differences(days: &[Vec<f64>], count: usize) -> Vec<Vec<f64>> {
    let mut left: Vec<Vec<f64>> = (days.len() - count..days.len())
        .map(|day| match day.checked_sub(1) {
            Some(before) => days[day].iter().zip(&days[before]).map(|(now, before)| now - before).collect(),
            None => vec![0.0; days[0].len()],
        })
        .collect();
    pull_in(&mut left);
    left
}

/// Days by week, each from the mean of its week.
fn weeks_of(days: &[Vec<f64>]) -> Vec<Vec<Vec<f64>>> {
    let centred = |week: &[Vec<f64>]| {
        let mean = mean(week, week[0].len());
        week.iter().map(|day| day.iter().zip(&mean).map(|(part, mean)| part - mean).collect()).collect()
    };
    days.chunks(WEEK).map(centred).collect()
}

/// How alike each two weeks are, by how far one is turned against the other.
struct Likeness(Vec<Vec<[f64; WEEK]>>);

impl Likeness {
    fn of(weeks: &[Vec<Vec<f64>>]) -> Option<Self> {
        let weights = inverse_covariance(weeks)?;
        let weigh = |day: &Vec<f64>| weights.iter().map(|row| product(row, day)).collect::<Vec<f64>>();
        let weighed: Vec<Vec<Vec<f64>>> = weeks.iter().map(|week| week.iter().map(weigh).collect()).collect();
        let pair = |one: usize, other: usize| {
            let mut alike = [0.0; WEEK];
            for (by, alike) in alike.iter_mut().enumerate() {
                *alike =
                    (0..WEEK).map(|day| product(&weeks[one][day], &weighed[other][(day + by) % WEEK])).sum();
            }
            // Days of rest, seen from day to day, are a step and, so many days later, a step back: this is how alike two of those are.
            let mut rest = [0.0; WEEK];
            for (by, rest) in rest.iter_mut().enumerate() {
                *rest = 2.0 * alike[by] - alike[(by + REST) % WEEK] - alike[(by + WEEK - REST) % WEEK];
            }
            rest
        };
        Some(Self((0..weeks.len()).map(|one| (0..one).map(|other| pair(one, other)).collect()).collect()))
    }

    /// How alike all weeks are, each turned by so many days.
    fn turned(&self, turn: &[usize]) -> f64 {
        let row = |(one, row): (usize, &Vec<[f64; WEEK]>)| -> f64 {
            row.iter().zip(turn).map(|(alike, other)| alike[(WEEK + turn[one] - other) % WEEK]).sum()
        };
        self.0.iter().enumerate().map(row).sum()
    }
}

/// The inverse of the covariance of the parts of a day, half of it as seen and half as if all directions varied alike: so few days
/// do not tell which direction is quiet (shrinkage, Ledoit and Wolf 2004). Turning weeks leaves it as it is. `None` where
/// nothing varies.
fn inverse_covariance(weeks: &[Vec<Vec<f64>>]) -> Option<Vec<Vec<f64>>> {
    let parts = weeks[0][0].len();
    let mut covariance = vec![vec![0.0; parts]; parts];
    for day in weeks.iter().flatten() {
        for (row, one) in covariance.iter_mut().zip(day) {
            row.iter_mut().zip(day).for_each(|(cell, other)| *cell += one * other);
        }
    }
    let mean = (0..parts).map(|part| covariance[part][part]).sum::<f64>() / parts as f64;
    if mean <= 0.0 {
        return None;
    }
    covariance.iter_mut().flatten().for_each(|cell| *cell /= 2.0 * mean);
    (0..parts).for_each(|part| covariance[part][part] += 0.5);
    Some(inverse(covariance))
}

/// By Gauss and Jordan, without pivots: what is inverted here is positive definite, with no eigenvalue below one half.
fn inverse(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for pivot in 0..matrix.len() {
        let scale = 1.0 / std::mem::replace(&mut matrix[pivot][pivot], 1.0);
        matrix[pivot].iter_mut().for_each(|cell| *cell *= scale);
        let row = matrix[pivot].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|(i, _)| *i != pivot) {
            let factor = std::mem::replace(&mut other[pivot], 0.0);
            other.iter_mut().zip(&row).for_each(|(cell, pivot)| *cell -= factor * pivot);
        }
    }
    matrix
}

/// Calls with each way to turn weeks against the first, the way they are among them; with some of them where they are many.
fn for_each_turn(weeks: usize, mut call: impl FnMut(&[usize])) {
    let mut turn = vec![0; weeks];
    call(&turn);
    if WEEK.saturating_pow(weeks as u32 - 1) <= ALL_MAX {
        while let Some(next) = (1..weeks).find(|week| turn[*week] + 1 < WEEK) {
            turn[1..next].fill(0);
            turn[next] += 1;
            call(&turn);
        }
        return;
    }
    // The same lots each time (SplitMix64): the same values have the same seasons.
    let mut state = weeks as u64;
    for _ in 0..DRAWN {
        for week in &mut turn[1..] {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *week = ((mixed ^ (mixed >> 31)) % WEEK as u64) as usize;
        }
        call(&turn);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Noise;

    /// Days of 24 parts: a level that remembers `alike` of the day before, a slope, and weekends that look different.
    fn days(seed: u64, count: usize, alike: f64, slope: f64, weekend: f64) -> Vec<Vec<f64>> {
        let (mut noise, mut level) = (Noise::new(seed), 0.0);
        (0..count)
            .map(|day| {
                level = alike * level + noise.normal();
                let rest = if day % WEEK >= 5 { weekend } else { 0.0 };
                (0..24)
                    .map(|part| {
                        let morning = if (6..10).contains(&part) { rest } else { 0.0 };
                        level + slope * day as f64 + morning + 0.3 * noise.normal()
                    })
                    .collect()
            })
            .collect()
    }

    fn share(count: usize, alike: f64, slope: f64, weekend: f64) -> f64 {
        let seeds = 200;
        let found = (0..seeds)
            .filter(|seed| agreement(&days(*seed, count, alike, slope, weekend), WEEK).unwrap() <= 0.05)
            .count();
        found as f64 / seeds as f64
    }

    #[test]
    fn days_of_any_colour_agree_by_chance_only() {
        for (count, alike, slope) in
            [(21, 0.0, 0.0), (29, 0.9, 0.0), (28, 1.0, 0.0), (40, 0.5, 3.0), (56, 0.0, -1.0)]
        {
            let share = share(count, alike, slope, 0.0);
            assert!(share <= 0.10, "{count} days, {alike}, {slope}: {share}");
        }
    }

    #[test]
    fn quiet_mornings_at_weekends_are_seen_through_weather() {
        for (count, alike) in [(28, 0.9), (29, 0.0), (42, 1.0)] {
            let share = share(count, alike, 0.0, -2.5);
            assert!(share >= 0.9, "{count} days, {alike}: {share}");
        }
    }

    #[test]
    fn all_ways_to_turn_few_weeks_are_tried_once() {
        let mut turns = BTreeSet::new();
        for_each_turn(4, |turn| assert!(turns.insert(turn.to_vec())));
        assert_eq!(turns.len(), 343);
        let mut drawn = 0;
        for_each_turn(26, |_| drawn += 1);
        assert_eq!(drawn, 1 + DRAWN);
    }

    #[test]
    fn an_inverse_undoes_its_matrix() {
        let day = days(3, 28, 0.5, 0.0, 0.0);
        let matrix: Vec<Vec<f64>> = (0..24)
            .map(|i| (0..24).map(|j| day[i][j] * day[j][i] / 20.0 + if i == j { 3.0 } else { 0.0 }).collect())
            .collect();
        for (i, row) in inverse(matrix.clone()).iter().enumerate() {
            for j in 0..24 {
                let cell: f64 = row.iter().zip(&matrix).map(|(a, b)| a * b[j]).sum();
                assert!((cell - f64::from(u8::from(i == j))).abs() < 1e-9, "{i}, {j}: {cell}");
            }
        }
    }

    #[test]
    fn days_without_any_difference_are_no_week() {
        assert_eq!(agreement(&vec![vec![1.0; 24]; 28], WEEK), None);
        assert_eq!(agreement(&days(1, 14, 0.0, 0.0, 5.0), WEEK), None);
        assert_eq!(agreement(&days(1, 28, 0.0, 0.0, 5.0), 2), None);
    }
}
