//! Series of known nature, by seed: what false alarms are counted on. Nothing unusual happens in them unless it is put there.

use std::f64::consts::TAU;

use jiff::Timestamp;

/// A day, seconds.
const DAY: f64 = 86_400.0;
/// 2024-01-01, a Monday: the first sample of every series.
const START: i64 = 1_704_067_200;

/// What a series is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Independent, normal.
    Gaussian,
    /// Independent, log-normal with a sigma of 0.5.
    LogNormal,
    /// Independent, Student's t with 3 degrees of freedom.
    HeavyTailed,
    /// Normal noise that remembers 0.3 to 0.95 of the sample before.
    Coloured,
    /// Normal noise on a day and a week of 2 to 6 standard deviations.
    Seasonal,
    /// Normal noise on a slope of 5 to 40 standard deviations in 8 weeks.
    Trending,
    /// Normal, with 2 % of the samples lost and a gap of hours every few days.
    Gaps,
    /// Normal, rounded to steps of half to two standard deviations.
    Quantised,
    /// The same value again and again.
    Flat,
    /// Noise, and bursts of a few samples a few times a day.
    Bursty,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Gaussian,
        Self::LogNormal,
        Self::HeavyTailed,
        Self::Coloured,
        Self::Seasonal,
        Self::Trending,
        Self::Gaps,
        Self::Quantised,
        Self::Flat,
        Self::Bursty,
    ];

    /// Whether values are continuous, so that a false-alarm budget can be used up exactly.
    #[must_use]
    pub fn is_continuous(self) -> bool {
        !matches!(self, Self::Quantised | Self::Flat | Self::Bursty)
    }
}

/// Pseudo-random numbers: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Uniform between two numbers.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// Student's t with 3 degrees of freedom.
    pub fn student3(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / 3.0).sqrt()
    }
}

/// An endless series of one family.
#[derive(Debug, Clone)]
pub struct Generator {
    random: Random,
    family: Family,
    interval: f64,
    elapsed: f64,
    level: f64,
    sigma: f64,
    amplitude: (f64, f64),
    phase: f64,
    slope: f64,
    step: f64,
    burst: (u32, f64),
    colour: (f64, f64),
    shift: Option<(f64, f64)>,
}

impl Generator {
    /// A series with a sample each `interval` seconds. Its level, scale and form come from the seed.
    #[must_use]
    pub fn new(family: Family, interval: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let sigma = 10_f64.powf(random.between(-2.0, 2.0));
        let level = sigma * random.between(5.0, 100.0);
        let amplitude = (sigma * random.between(2.0, 6.0), sigma * random.between(0.0, 2.0));
        let sign = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
        let slope = sign * sigma * random.between(5.0, 40.0) / (56.0 * DAY);
        let phase = random.between(0.0, TAU);
        let step = sigma * random.between(0.5, 2.0);
        let burst = (0, 0.0);
        let colour = (random.clone().between(0.3, 0.95), 0.0);
        Self {
            random,
            family,
            interval,
            elapsed: 0.0,
            level,
            sigma,
            amplitude,
            phase,
            slope,
            step,
            burst,
            colour,
            shift: None,
        }
    }

    /// From `after` seconds on, the level is `sigmas` standard deviations of the noise higher.
    #[must_use]
    pub fn with_shift(mut self, after: f64, sigmas: f64) -> Self {
        self.shift = Some((after, sigmas));
        self
    }

    /// Standard deviation of its noise.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// The same in the units of its values, also where the noise is not normal. Bursts are none.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let of_logarithm: f64 = 0.25;
        match self.family {
            Family::LogNormal => self.level * (of_logarithm.exp_m1() * of_logarithm.exp()).sqrt(),
            Family::HeavyTailed => self.sigma * 3_f64.sqrt(),
            _ => self.sigma,
        }
    }

    /// Seconds from its start to the next sample.
    #[must_use]
    pub fn elapsed(&self) -> f64 {
        self.elapsed
    }

    fn value(&mut self) -> f64 {
        let noise = self.random.normal();
        let normal = self.level + self.sigma * noise;
        match self.family {
            Family::Gaussian | Family::Gaps => normal,
            Family::LogNormal => self.level * (0.5 * noise).exp(),
            Family::HeavyTailed => self.level + self.sigma * self.random.student3(),
            Family::Coloured => {
                let (kept, last) = self.colour;
                self.colour.1 = kept * last + (1.0 - kept * kept).sqrt() * noise;
                self.level + self.sigma * self.colour.1
            }
            Family::Seasonal => {
                let day = (TAU * self.elapsed / DAY + self.phase).sin();
                let week = (TAU * self.elapsed / (7.0 * DAY) + self.phase).sin();
                normal + self.amplitude.0 * day + self.amplitude.1 * week
            }
            Family::Trending => normal + self.slope * self.elapsed,
            Family::Quantised => (normal / self.step).round() * self.step,
            Family::Flat => self.level,
            Family::Bursty => normal + self.burst_height(),
        }
    }

    /// Bursts begin four times a day, last 20 minutes on average, and reach 3 to 15 standard deviations.
    fn burst_height(&mut self) -> f64 {
        let (left, height) = self.burst;
        if left > 0 {
            self.burst.0 = left - 1;
            return height;
        }
        if self.random.uniform() < 4.0 * self.interval / DAY {
            let samples = -self.random.uniform().ln() * 1_200.0 / self.interval;
            self.burst = (samples as u32, self.sigma * self.random.between(3.0, 15.0));
            return self.burst.1;
        }
        0.0
    }

    /// Seconds to the next sample.
    fn pause(&mut self) -> f64 {
        if self.family != Family::Gaps {
            return self.interval;
        }
        let gap = self.random.uniform();
        if gap < self.interval / (3.0 * DAY) {
            self.interval * (self.random.between(1.0, 6.0) * 3_600.0 / self.interval).ceil()
        } else if gap < 0.02 {
            2.0 * self.interval
        } else {
            self.interval
        }
    }
}

impl Iterator for Generator {
    type Item = (Timestamp, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let shifted = self.shift.filter(|(after, _)| self.elapsed >= *after);
        let value = self.value() + shifted.map_or(0.0, |(_, sigmas)| sigmas * self.sigma);
        let at = Timestamp::from_millisecond(START * 1_000 + (self.elapsed * 1_000.0) as i64).ok()?;
        self.elapsed += self.pause();
        Some((at, value))
    }
}
