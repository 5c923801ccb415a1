//! The scorer of the Numenta Anomaly Benchmark (Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms", ICMLA
//! 2015; rules of version 1.1): early detections inside a labelled window earn most, each row detected outside costs, and
//! one threshold is chosen for the whole corpus. Pure, and of the standard library alone.

/// Share of a file that is not scored, and the number of rows beyond which the share grows no more.
const PROBATION_SHARE: f64 = 0.15;
const PROBATION_ROWS: usize = 5000;
/// A threshold above every score: nothing is detected.
pub const NOTHING: f64 = 1.1;

/// What a window found or missed and a false row are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Its name in NAB's files.
    pub name: &'static str,
    /// The most that a window found can earn.
    pub true_positive: f64,
    /// What a missed window costs.
    pub false_negative: f64,
    /// The most that a row detected outside every window can cost.
    pub false_positive: f64,
}

/// NAB's three profiles.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "standard", true_positive: 1.0, false_negative: 1.0, false_positive: 0.11 },
    Profile { name: "reward_low_FP_rate", true_positive: 1.0, false_negative: 1.0, false_positive: 0.22 },
    Profile { name: "reward_low_FN_rate", true_positive: 1.0, false_negative: 2.0, false_positive: 0.11 },
];

/// A labelled window in rows, both ends inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub first: usize,
    /// Last row, not before the first.
    pub last: usize,
}

/// One file of the corpus, labelled and judged. Score and alert of a row stand at its index.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Its path in the corpus.
    pub name: String,
    /// A number per row, higher is more anomalous; one that is no number is never detected.
    pub scores: Vec<f64>,
    /// The rows in which the detector itself opened an alert.
    pub alerts: Vec<bool>,
    /// Disjoint windows in the order of rows.
    pub windows: Vec<Window>,
}

/// What one way to detect is worth on some files under one profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Rows with at least this score count as detected; none when the detector's own alerts count.
    pub threshold: Option<f64>,
    /// The sum of all rewards and costs.
    pub raw: f64,
    /// 0 for a detector that says nothing, 100 for a perfect one; none without any window.
    pub normalised: Option<f64>,
    /// How many windows there are.
    pub windows: usize,
    /// How many of them hold a detection.
    pub found: usize,
    /// Rows detected outside every window.
    pub false_rows: usize,
}

/// Everything that a threshold's worth is made of; the profiles only weigh it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    windows: usize,
    found: usize,
    /// Sum over found windows of the best position weight, each in (0, 1].
    earned: f64,
    false_rows: usize,
    /// Sum over false rows of their position weight, each in [-1, 0).
    lost: f64,
}

/// How many rows at the start of a file of so many rows are not scored.
pub fn probation(rows: usize) -> usize {
    (PROBATION_SHARE * rows.min(PROBATION_ROWS) as f64).floor() as usize
}

/// The windows in rows, from the times of all rows and the labelled spans; `Err` holds the span that fits no rows.
///
/// # Errors
/// When a span's end is not the time of a row, or lies before its start.
pub fn locate<T: PartialEq + Copy>(times: &[T], spans: &[(T, T)]) -> Result<Vec<Window>, (T, T)> {
    let row = |time: T| times.iter().position(|other| *other == time);
    spans
        .iter()
        .map(|&(start, end)| match (row(start), row(end)) {
            (Some(first), Some(last)) if first <= last => Ok(Window { first, last }),
            _ => Err((start, end)),
        })
        .collect()
}

/// For each profile the best single threshold for all these files: among all scores that occur, the higher of equals.
pub fn best(files: &[Judged]) -> [Outcome; 3] {
    let mut sweep = Sweep::over(files);
    let mut best = PROFILES.map(|profile| sweep.tally.outcome(&profile, Some(NOTHING)));
    while let Some(threshold) = sweep.lower() {
        for (best, profile) in best.iter_mut().zip(&PROFILES) {
            let outcome = sweep.tally.outcome(profile, Some(threshold));
            if outcome.raw > best.raw {
                *best = outcome;
            }
        }
    }
    best
}

/// What each profile gives when rows with at least this score count as detected.
pub fn at(files: &[Judged], threshold: f64) -> [Outcome; 3] {
    let tally = tally(files, |file, row| file.scores.get(row).is_some_and(|score| *score >= threshold));
    PROFILES.map(|profile| tally.outcome(&profile, Some(threshold)))
}

/// What each profile gives when exactly the detector's own alerts count.
pub fn fixed(files: &[Judged]) -> [Outcome; 3] {
    let tally = tally(files, |file, row| file.alerts.get(row) == Some(&true));
    PROFILES.map(|profile| tally.outcome(&profile, None))
}

impl Judged {
    /// Which windows hold a detection at this threshold, or by the file's own alerts when there is none.
    pub fn found(&self, threshold: Option<f64>) -> Vec<bool> {
        let scorable = probation(self.scores.len());
        let detected = |row: usize| match threshold {
            Some(threshold) => self.scores.get(row).is_some_and(|score| *score >= threshold),
            None => self.alerts.get(row) == Some(&true),
        };
        self.windows.iter().map(|w| (w.first.max(scorable)..=w.last).any(detected)).collect()
    }

    /// Scorable windows only: one that ends in the probation cannot be found, so it is not missed either.
    fn scorable(&self, window: &Window) -> bool {
        window.last >= probation(self.scores.len())
    }
}

impl Tally {
    fn outcome(&self, profile: &Profile, threshold: Option<f64>) -> Outcome {
        let missed = (self.windows - self.found) as f64;
        let raw = profile.true_positive * self.earned - profile.false_negative * missed
            + profile.false_positive * self.lost;
        let null = -(self.windows as f64) * profile.false_negative;
        let perfect = self.windows as f64 * profile.true_positive;
        Outcome {
            threshold,
            raw,
            normalised: (self.windows > 0).then(|| 100.0 * (raw - null) / (perfect - null)),
            windows: self.windows,
            found: self.found,
            false_rows: self.false_rows,
        }
    }

    fn detect(&mut self, place: Place, best: &mut [f64]) {
        match place {
            Place::Inside { window, weight } => {
                let Some(best) = best.get_mut(window) else { return };
                self.found += usize::from(*best == 0.0);
                let better = weight.max(*best);
                self.earned += better - *best;
                *best = better;
            }
            Place::Outside { weight } => {
                self.false_rows += 1;
                self.lost += weight;
            }
        }
    }
}

/// Where a row lies, and what a detection in it weighs before the profile.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// In the window of this index among the corpus' scorable windows; in (0, 1].
    Inside { window: usize, weight: f64 },
    /// Outside all; in [-1, 0).
    Outside { weight: f64 },
}

/// The places of a file's scorable rows. `offset` is the corpus index of the file's first scorable window.
fn places(file: &Judged, offset: usize) -> impl Iterator<Item = (usize, Place)> {
    let mut next = 0;
    let mut previous: Option<Window> = None;
    let hidden = file.windows.iter().filter(|window| !file.scorable(window)).count();
    (0..file.scores.len()).filter_map(move |row| {
        while let Some(window) = file.windows.get(next).filter(|window| window.last < row) {
            previous = Some(*window);
            next += 1;
        }
        let place = match file.windows.get(next).filter(|window| window.first <= row) {
            Some(window) => {
                Place::Inside { window: offset + next - hidden.min(next), weight: inside(*window, row) }
            }
            None => Place::Outside { weight: previous.map_or(-1.0, |window| after(window, row)) },
        };
        (row >= probation(file.scores.len())).then_some((row, place))
    })
}

/// 1 in the first row of the window, about 0.86 in the middle, near 0 in the last.
fn inside(window: Window, row: usize) -> f64 {
    let width = (window.last - window.first + 1) as f64;
    scaled_sigmoid(-((window.last - row + 1) as f64) / width) / scaled_sigmoid(-1.0)
}

/// Near 0 just after the window, near -1 from one and a half widths on.
fn after(window: Window, row: usize) -> f64 {
    let width = (window.last - window.first + 1) as f64;
    scaled_sigmoid((row - window.last) as f64 / (width - 1.0))
}

fn scaled_sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

fn tally(files: &[Judged], detected: impl Fn(&Judged, usize) -> bool) -> Tally {
    let mut tally = Tally::default();
    for file in files {
        let windows = file.windows.iter().filter(|window| file.scorable(window)).count();
        let mut best = vec![0.0; windows];
        tally.windows += windows;
        for (_, place) in places(file, 0).filter(|(row, _)| detected(file, *row)) {
            tally.detect(place, &mut best);
        }
    }
    tally
}

/// All scorable rows by falling score, taken in one group of equal scores after the other.
struct Sweep {
    rows: std::iter::Peekable<std::vec::IntoIter<(f64, Place)>>,
    best: Vec<f64>,
    tally: Tally,
}

impl Sweep {
    fn over(files: &[Judged]) -> Self {
        let mut windows = 0;
        let mut rows = Vec::new();
        for file in files {
            rows.extend(
                places(file, windows)
                    .filter_map(|(row, place)| Some((*file.scores.get(row)?, place)))
                    .filter(|(score, _)| !score.is_nan()),
            );
            windows += file.windows.iter().filter(|window| file.scorable(window)).count();
        }
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self {
            rows: rows.into_iter().peekable(),
            best: vec![0.0; windows],
            tally: Tally { windows, ..Tally::default() },
        }
    }

    /// Detects the rows with the next lower score too, and gives that score.
    fn lower(&mut self) -> Option<f64> {
        let (threshold, place) = self.rows.next()?;
        self.tally.detect(place, &mut self.best);
        while let Some((_, place)) = self.rows.next_if(|(score, _)| *score == threshold) {
            self.tally.detect(place, &mut self.best);
        }
        Some(threshold)
    }
}

#[cfg(test)]
#[path = "nab/tests.rs"]
mod tests;
