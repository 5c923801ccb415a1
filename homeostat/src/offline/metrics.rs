//! Many metrics from one CSV file, a column each: with or without a header, with or without times.

use super::{
    rows::{self, Error, Refusal, TIME_NAMES, cell_text, csv_reader, is_header, number},
    times,
};
use jiff::{SignedDuration, Timestamp};
use std::{fmt, io, time::Duration};

/// Columns of these names hold what people know of a row, and no detector may see it.
const LABEL_NAMES: [&str; 5] = ["label", "labels", "anomaly", "is_anomaly", "attack"];

/// One moment of all metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The cell of the time as it was written; made up where the file has no times.
    pub timestamp: String,
    /// Time and values, or why they cannot be used. A value that is no number is NaN: unknown.
    pub values: Result<(Timestamp, Vec<f64>), Refusal>,
}

/// The moments of one file, in order.
pub struct Moments<R> {
    reader: csv::Reader<R>,
    /// The first record, when it was no header.
    first: Option<(u64, csv::ByteRecord)>,
    time: Option<usize>,
    columns: Vec<usize>,
    names: Vec<String>,
    left_out: Vec<String>,
    /// Moments read so far, and the time between them: what times are made of when the file has none.
    count: i64,
    step: Duration,
}

impl<R: io::Read> Moments<R> {
    /// Opens a file. The time is the column of that name, or a first column that is a time and cannot be a reading; every
    /// other column is a metric unless it is a label. Without times, rows are `step` apart from 1970 on.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn open(source: R, step: Duration) -> Result<Self, Error> {
        let mut reader = csv_reader(source);
        let mut record = csv::ByteRecord::new();
        let some = reader.read_byte_record(&mut record).map_err(Error::Csv)?;
        let cells: Vec<String> = (0..record.len()).map(|cell| cell_text(&record, cell)).collect();
        let with_header = is_header(&cells);
        let time = if with_header {
            named_time(&cells)
        } else {
            cells.first().filter(|c| only_a_time(c)).map(|_| 0)
        };
        let is_label = |cell: usize| {
            with_header && LABEL_NAMES.iter().any(|name| cells[cell].eq_ignore_ascii_case(name))
        };
        let (labels, columns): (Vec<usize>, Vec<usize>) =
            (0..cells.len()).filter(|cell| Some(*cell) != time).partition(|cell| is_label(*cell));
        let name = |(place, cell): (usize, &usize)| match cells.get(*cell).filter(|_| with_header) {
            Some(name) if !name.is_empty() => name.split_whitespace().collect::<Vec<_>>().join("_"),
            _ => (place + 1).to_string(),
        };
        let names = columns.iter().enumerate().map(name).collect();
        let left_out = labels.iter().map(|cell| cells[*cell].clone()).collect();
        let first = (some && !with_header).then(|| (rows::line(&reader, &record), record));
        Ok(Self { reader, first, time, columns, names, left_out, count: 0, step })
    }

    /// Names of the metrics: from the header, else their numbers from 1.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Columns that were taken for labels.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The next moment; none at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read further.
    pub fn next_moment(&mut self) -> Result<Option<Moment>, Error> {
        let (line, record) = match self.first.take() {
            Some(first) => first,
            None => {
                let mut record = csv::ByteRecord::new();
                if !self.reader.read_byte_record(&mut record).map_err(Error::Csv)? {
                    return Ok(None);
                }
                (rows::line(&self.reader, &record), record)
            }
        };
        let made_up = self.made_up();
        self.count += 1;
        let (timestamp, at) = match self.time {
            Some(cell) => {
                let text = cell_text(&record, cell);
                let at = times::parse(&text);
                (text, at)
            }
            None => (made_up.map_or_else(String::new, |at| at.to_string()), made_up),
        };
        let value = |cell: &usize| number(&cell_text(&record, *cell)).unwrap_or(f64::NAN);
        let read: Vec<f64> = self.columns.iter().map(value).collect();
        let values = match at {
            None => Err(Refusal::NoTime),
            Some(_) if read.iter().all(|value| value.is_nan()) => Err(Refusal::NoNumber),
            Some(at) => Ok((at, read)),
        };
        Ok(Some(Moment { line, timestamp, values }))
    }

    fn made_up(&self) -> Option<Timestamp> {
        let step = SignedDuration::try_from(self.step).ok()?;
        let after = step.checked_mul(i32::try_from(self.count).ok()?)?;
        Timestamp::UNIX_EPOCH.checked_add(after).ok()
    }
}

impl<R> fmt::Debug for Moments<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moments").field("names", &self.names).finish_non_exhaustive()
    }
}

fn named_time(header: &[String]) -> Option<usize> {
    TIME_NAMES.iter().find_map(|name| header.iter().position(|cell| cell.eq_ignore_ascii_case(name)))
}

/// A number that might be a reading is taken for one, unless it is as large as the seconds of our days.
fn only_a_time(cell: &str) -> bool {
    times::parse(cell).is_some() && number(cell).is_none_or(|number| number > 1e8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(text: &str) -> (Vec<String>, Vec<Moment>) {
        let mut moments = Moments::open(text.as_bytes(), Duration::from_secs(60)).unwrap();
        let names = moments.names().to_vec();
        let mut all = Vec::new();
        while let Some(moment) = moments.next_moment().unwrap() {
            all.push(moment);
        }
        (names, all)
    }

    #[test]
    fn labels_are_never_shown_to_a_detector() {
        let (names, all) = moments("timestamp,cpu,disk io,label\n20190903000200,1,2,1\n");
        assert_eq!(names, ["cpu", "disk_io"]);
        assert_eq!(all[0].values.as_ref().unwrap().1, [1.0, 2.0]);
        assert_eq!(all[0].values.as_ref().unwrap().0.to_string(), "2019-09-03T00:02:00Z");
    }

    #[test]
    fn without_header_and_times_columns_have_numbers_and_rows_a_pace() {
        let (names, all) = moments("0.5,1\n0.25,x\n");
        assert_eq!(names, ["1", "2"]);
        assert_eq!(all[1].timestamp, "1970-01-01T00:01:00Z");
        let (_, values) = all[1].values.clone().unwrap();
        assert!(values[0] == 0.25 && values[1].is_nan(), "a cell that is no number is unknown");
    }

    #[test]
    fn times_are_found_without_a_header_and_bad_rows_refused() {
        let (names, all) = moments("1567468920,7\nnever,1\n1567468980,\n");
        assert_eq!(names, ["1"]);
        assert!(all[0].values.is_ok());
        assert_eq!(all[1].values, Err(Refusal::NoTime));
        assert_eq!(all[2].values, Err(Refusal::NoNumber));
    }
}
