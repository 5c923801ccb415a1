//! Traces from CSV: read strictly where a slip would lie, repaired where a repair is honest, and every repair is named.

use jiff::Timestamp;
use std::fmt::Write as _;

/// A gap of more bins than this is no gap but another trace: two hours at minutes.
const GAP_BINS_MAX: u64 = 120;
/// Fewer bins than this tell nothing of a policy.
const BINS_MIN: usize = 30;
/// A hundred years of minutes; beyond, the bins are surely wrong.
const BINS_MAX: u64 = 52_560_000;

/// Mean rates in bins of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Seconds per bin.
    pub bin_s: u32,
    /// Requests per second in each bin; finite and not negative.
    pub rates: Vec<f64>,
    /// Bins that were missing and are interpolated in `rates`: from the first to before the second of each pair.
    pub missing: Vec<(u32, u32)>,
    /// What was repaired, for people.
    pub notes: Vec<String>,
}

/// Why a trace is of no use.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// It has no rows.
    #[error("the trace has no rows")]
    Empty,
    /// A row cannot be read.
    #[error("line {line}: {text:?} {rule}")]
    Row {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What should.
        rule: &'static str,
    },
    /// It is too short.
    #[error("the trace has {bins} bins; at least {BINS_MIN} are needed")]
    Short {
        /// How many it has.
        bins: usize,
    },
    /// Something is missing for too long.
    #[error(
        "nothing is known from second {from} to {to}: replay the parts before and after as traces of their own"
    )]
    Gap {
        /// From this second.
        from: i64,
        /// To this one.
        to: i64,
    },
    /// The bins make no sense.
    #[error("the bins are not usable: {0}")]
    Bins(String),
}

impl Trace {
    /// Reads `timestamp,rate` rows; timestamps are seconds or RFC 3339. A first row that is no number is a heading.
    ///
    /// # Errors
    /// When a row cannot be read, or too little remains.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut rows = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match row(line) {
                Ok(row) => rows.push(row),
                Err(_) if rows.is_empty() && heading(line) => {}
                Err(rule) => return Err(Error::Row { line: index + 1, text: line.to_owned(), rule }),
            }
        }
        Self::of(rows)
    }

    /// Lays rows of (second, rate) onto a grid. Rows may come in any order; a rate that is no number is missing.
    ///
    /// # Errors
    /// When too little remains, or too much is missing at one place.
    pub fn of(mut rows: Vec<(i64, f64)>) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let mut note = |count: usize, what: &str| {
            if count > 0 {
                notes.push(format!("{count} {what}"));
            }
        };
        let sorted = rows.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        rows.sort_by_key(|row| row.0);
        note(sorted, "rows stood before earlier ones and were sorted");
        let before = rows.len();
        rows.retain(|(_, rate)| rate.is_finite() && *rate >= 0.0);
        note(before - rows.len(), "rates were negative or no number and count as missing");
        let before = rows.len();
        rows.dedup_by_key(|row| row.0);
        note(before - rows.len(), "timestamps were repeated; the first row of each counts");
        if rows.is_empty() {
            return Err(Error::Empty);
        }
        let bin_s = bin(&rows)?;
        let Grid { rates, missing, moved } = grid(&rows, bin_s)?;
        let filled = missing.iter().map(|(from, to)| (to - from) as usize).sum();
        note(filled, "bins were missing and were interpolated between their neighbours");
        note(moved, "rows lay beside the grid and were moved to the nearest bin");
        if rates.len() < BINS_MIN {
            return Err(Error::Short { bins: rates.len() });
        }
        if (rates.len() as u64) * u64::from(bin_s) < 2 * 86_400 {
            notes.push(
                "the trace is shorter than two days: nothing that recurs daily can be learned from it"
                    .to_owned(),
            );
        }
        Ok(Self { bin_s, rates, missing, notes })
    }
}

fn heading(line: &str) -> bool {
    line.split(',').next().is_some_and(|first| first.trim().chars().next().is_none_or(char::is_alphabetic))
}

fn row(line: &str) -> Result<(i64, f64), &'static str> {
    let mut fields = line.split(',').map(str::trim);
    let (time, rate) =
        (fields.next().unwrap_or_default(), fields.next().ok_or("needs a timestamp and a rate")?);
    let second = match time.parse::<f64>() {
        Ok(second) if second.is_finite() && second.abs() < 1e11 => second.round() as i64,
        Ok(_) => return Err("has a timestamp that is no second of this calendar"),
        Err(_) => {
            time.parse::<Timestamp>().map_err(|_| "needs a timestamp in seconds or as RFC 3339")?.as_second()
        }
    };
    let missing = rate.is_empty() || rate.eq_ignore_ascii_case("nan") || rate.eq_ignore_ascii_case("null");
    let rate = if missing { f64::NAN } else { rate.parse().map_err(|_| "needs a rate that is a number")? };
    Ok((second, rate))
}

/// The commonest distance of two rows.
fn bin(rows: &[(i64, f64)]) -> Result<u32, Error> {
    let mut gaps: Vec<i64> = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    if gaps.is_empty() {
        return Err(Error::Short { bins: rows.len() });
    }
    gaps.sort_unstable();
    let commonest = gaps.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).map_or(0, |same| same[0]);
    u32::try_from(commonest)
        .ok()
        .filter(|bin| (1..=3_600).contains(bin))
        .ok_or_else(|| Error::Bins(format!("rows are {commonest} s apart; 1 s to 1 h can be replayed")))
}

/// Rows on a grid without holes.
struct Grid {
    rates: Vec<f64>,
    missing: Vec<(u32, u32)>,
    moved: usize,
}

fn grid(rows: &[(i64, f64)], bin_s: u32) -> Result<Grid, Error> {
    let start = rows[0].0;
    let place = |second: i64| ((second - start) as u64 + u64::from(bin_s) / 2) / u64::from(bin_s);
    let length = place(rows[rows.len() - 1].0) + 1;
    if length > BINS_MAX {
        let mut text = String::new();
        _ = write!(text, "{length} bins of {bin_s} s are too many");
        return Err(Error::Bins(text));
    }
    let (mut rates, mut holes, mut moved) = (Vec::with_capacity(length as usize), Vec::new(), 0);
    for (second, rate) in rows {
        let at = place(*second);
        moved += usize::from(!(second - start).unsigned_abs().is_multiple_of(u64::from(bin_s)));
        let missing = at.saturating_sub(rates.len() as u64);
        if missing > GAP_BINS_MAX {
            let from = start + rates.len() as i64 * i64::from(bin_s);
            return Err(Error::Gap { from, to: *second });
        }
        let last = rates.last().copied().unwrap_or(*rate);
        for index in 1..=missing {
            rates.push(last + (rate - last) * index as f64 / (missing + 1) as f64);
        }
        if missing > 0 {
            // At most `BINS_MAX` bins were let in, far fewer than the type holds.
            holes.push(((at - missing) as u32, at as u32));
        }
        if at as usize == rates.len() {
            rates.push(*rate);
        }
    }
    Ok(Grid { rates, missing: holes, moved })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: i64, step: i64) -> Vec<(i64, f64)> {
        (0..count).map(|i| (i * step, 10.0 + i as f64)).collect()
    }

    #[test]
    fn seconds_and_rfc_3339_give_the_same_trace() {
        let seconds: String = (0..40).map(|i| format!("{},{}\n", i * 60, i)).collect();
        let times: String = (0..40)
            .map(|i| format!("{},{}\n", Timestamp::from_second(1_700_000_000 + i * 60).unwrap(), i))
            .collect();
        let seconds = Trace::parse(&format!("timestamp_s,requests_per_s\n{seconds}")).unwrap();
        assert_eq!(seconds.rates, Trace::parse(&times).unwrap().rates);
        assert_eq!((seconds.bin_s, seconds.rates.len()), (60, 40));
    }

    #[test]
    fn every_repair_is_named() {
        let mut broken = rows(60, 60);
        broken.swap(3, 4);
        broken.push((600, 99.0));
        broken[20].1 = f64::NAN;
        broken[30].1 = -5.0;
        broken.remove(40);
        let trace = Trace::of(broken).unwrap();
        assert_eq!(trace.rates.len(), 60);
        assert_eq!(trace.rates, rows(60, 60).iter().map(|row| row.1).collect::<Vec<_>>());
        assert_eq!(trace.missing, [(20, 21), (30, 31), (40, 41)]);
        let notes = trace.notes.join("; ");
        for part in ["sorted", "repeated", "negative or no number", "interpolated"] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
    }

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        assert_eq!(Trace::parse(""), Err(Error::Empty));
        assert_eq!(Trace::parse("timestamp,rate\n"), Err(Error::Empty));
        assert!(matches!(Trace::parse("0,1\nx,2\n"), Err(Error::Row { line: 2, .. })));
        assert!(matches!(Trace::parse("0,1\n60\n"), Err(Error::Row { line: 2, .. })));
        assert_eq!(Trace::of(rows(5, 60)), Err(Error::Short { bins: 5 }));
        let mut gap = rows(100, 60);
        gap.drain(20..60);
        gap.iter_mut().skip(20).for_each(|row| row.0 += 86_400);
        assert!(matches!(Trace::of(gap), Err(Error::Gap { .. })));
        assert!(matches!(Trace::of(rows(50, 86_400)), Err(Error::Bins(_))));
    }
}
