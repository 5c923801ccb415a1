//! One series from a CSV file, row by row: nothing is looked at ahead, and a row that cannot be used says why.

use super::times;
use jiff::Timestamp;
use std::{fmt, io};

/// Names of a column of times, in the order of preference.
pub(super) const TIME_NAMES: [&str; 5] = ["timestamp", "time", "date", "datetime", "ts"];
const VALUE_NAME: &str = "value";

/// Why a row was not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The cell of the time is missing or not in a known form.
    NoTime,
    /// The cell of the value is missing, empty, no number, or not finite.
    NoNumber,
    /// Not later than the last row that was taken.
    NotLater,
}

/// One row of the file. Both cells stand as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The cell of the time.
    pub timestamp: String,
    /// The cell of the value.
    pub value: String,
    /// What they mean.
    pub sample: Result<(Timestamp, f64), Refusal>,
}

/// Which columns hold what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    time: usize,
    value: usize,
}

/// A file that cannot be read as a series.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no CSV, or cannot be read.
    #[error("cannot read it as CSV")]
    Csv(#[source] csv::Error),
    /// The column that was asked for is not there.
    #[error("there is no column {wanted:?} among {present}")]
    Column {
        /// Asked for.
        wanted: String,
        /// The header's names.
        present: String,
    },
}

/// The rows of one file, in order.
pub struct Rows<R> {
    reader: csv::Reader<R>,
    columns: Columns,
    /// The first record, when it was no header.
    first: Option<(u64, csv::ByteRecord)>,
}

/// A reader that takes ragged lines as they come: each row is judged for itself.
pub fn csv_reader<R: io::Read>(source: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(1 << 16).from_reader(source)
}

impl<R: io::Read> Rows<R> {
    /// Opens a series: `timestamp,value` by name where there is a header, else the first two columns. `column` names another
    /// column of values.
    ///
    /// # Errors
    /// When nothing can be read, or the column is not there.
    pub fn open(source: R, column: Option<&str>) -> Result<Self, Error> {
        let mut reader = csv_reader(source);
        let mut record = csv::ByteRecord::new();
        let some = reader.read_byte_record(&mut record).map_err(Error::Csv)?;
        let cells: Vec<String> = (0..record.len()).map(|cell| cell_text(&record, cell)).collect();
        let is_header = is_header(&cells);
        let columns = columns(if is_header { &cells } else { &[] }, column)?;
        let first = (some && !is_header).then(|| (line(&reader, &record), record));
        Ok(Self { reader, columns, first })
    }

    /// The next row; none at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read further.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if let Some((line, record)) = self.first.take() {
            return Ok(Some(row(line, &record, self.columns)));
        }
        let mut record = csv::ByteRecord::new();
        let some = self.reader.read_byte_record(&mut record).map_err(Error::Csv)?;
        Ok(some.then(|| row(line(&self.reader, &record), &record, self.columns)))
    }
}

impl<R: io::Read> Iterator for Rows<R> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

impl<R> fmt::Debug for Rows<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// A header has neither a time nor a number in it: decided by the first line alone.
pub(super) fn is_header(cells: &[String]) -> bool {
    cells.iter().any(|cell| !cell.is_empty())
        && cells.iter().all(|cell| times::parse(cell).is_none() && number(cell).is_none())
}

fn columns(header: &[String], wanted: Option<&str>) -> Result<Columns, Error> {
    let named = |name: &str| header.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    let time = TIME_NAMES.iter().find_map(|name| named(name)).unwrap_or(0);
    let value = match wanted {
        Some(wanted) => named(wanted).ok_or_else(|| Error::Column {
            wanted: wanted.to_owned(),
            present: if header.is_empty() { "no header".to_owned() } else { header.join(", ") },
        })?,
        None => named(VALUE_NAME).unwrap_or(usize::from(time == 0)),
    };
    Ok(Columns { time, value })
}

/// The line on which a record begins. The reader counts from before the empty lines that it skipped, so the line after the
/// record is looked at too.
pub fn line<R: io::Read>(reader: &csv::Reader<R>, record: &csv::ByteRecord) -> u64 {
    let inside = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
    let before = record.position().map_or(0, csv::Position::line);
    before.max(reader.position().line().saturating_sub(1 + inside))
}

fn row(line: u64, record: &csv::ByteRecord, columns: Columns) -> Row {
    let timestamp = cell_text(record, columns.time);
    let value = cell_text(record, columns.value);
    let sample = match (times::parse(&timestamp), number(&value)) {
        (None, _) => Err(Refusal::NoTime),
        (_, None) => Err(Refusal::NoNumber),
        (Some(at), Some(value)) => Ok((at, value)),
    };
    Row { line, timestamp, value, sample }
}

/// A finite number.
pub fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

pub(super) fn cell_text(record: &csv::ByteRecord, cell: usize) -> String {
    let bytes = record.get(cell).unwrap_or_default();
    String::from_utf8_lossy(bytes).trim().trim_start_matches('\u{feff}').to_owned()
}

impl Refusal {
    /// The rule that the row broke.
    pub fn rule(self) -> &'static str {
        match self {
            Self::NoTime => "the time must be RFC 3339, `YYYY-MM-DD HH:MM:SS` or Unix seconds",
            Self::NoNumber => "the value must be a finite number",
            Self::NotLater => "the time must be later than that of every row before it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, column: Option<&str>) -> Vec<Row> {
        Rows::open(text.as_bytes(), column).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_header_is_optional_and_gives_the_columns() {
        for text in
            ["timestamp,value\n60,1.5\n", "60,1.5\n", "value,timestamp\n1.5,60\n", "\u{feff}time,cpu\n60,1.5"]
        {
            let rows = rows(text, None);
            assert_eq!(rows.len(), 1, "{text}");
            assert_eq!(rows[0].sample, Ok((Timestamp::from_second(60).unwrap(), 1.5)), "{text}");
        }
        assert_eq!(rows("date,HUFL,OT\n60,1,2\n", Some("ot"))[0].value, "2");
        assert!(matches!(Rows::open("date,OT\n".as_bytes(), Some("x")), Err(Error::Column { .. })));
    }

    #[test]
    fn a_bad_row_keeps_its_cells_and_names_its_line_and_rule() {
        let rows = rows("timestamp,value\n60,1\nnever,2\n120,\n180,NaN\n240\n\n300,\"3\"\n", None);
        let said: Vec<_> = rows.iter().map(|row| (row.line, row.sample.err())).collect();
        let expected = [
            (2, None),
            (3, Some(Refusal::NoTime)),
            (4, Some(Refusal::NoNumber)),
            (5, Some(Refusal::NoNumber)),
            (6, Some(Refusal::NoNumber)),
            (8, None),
        ];
        assert_eq!(said, expected);
        assert_eq!((rows[1].timestamp.as_str(), rows[1].value.as_str()), ("never", "2"));
    }

    #[test]
    fn a_bad_first_row_is_data_when_it_holds_a_time_or_a_number() {
        assert_eq!(rows("60,oops\n120,1\n", None).len(), 2);
        assert_eq!(rows("oops,1\n120,1\n", None).len(), 2);
        assert_eq!(rows("", None).len(), 0);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_row_by_row() {
        let mut bytes = b"timestamp,value\n60,".to_vec();
        bytes.extend([0xff, 0xfe, b'\n']);
        bytes.extend(b"120,2\n");
        let rows: Vec<Row> = Rows::open(bytes.as_slice(), None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows[0].sample, Err(Refusal::NoNumber));
        assert!(rows[1].sample.is_ok());
    }
}
