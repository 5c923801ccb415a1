//! The bytes of snapshots: little-endian numbers, lengths before texts and lists. Reading trusts nothing.

use jiff::Timestamp;

/// Longest list or text that a snapshot may hold: all signals of a block, each with one entry in the largest list.
const LENGTH_MAX: u32 = 1 << 20;

/// The bytes are not what this program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot is damaged at byte {at}")]
pub struct Damaged {
    /// Where it stopped making sense.
    pub at: usize,
}

/// What can be written into a snapshot and read back without loss.
pub(crate) trait Stored: Sized {
    fn save(&self, writer: &mut Writer);
    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged>;
}

/// Collects bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn put<T: Stored>(&mut self, value: &T) -> &mut Self {
        value.save(self);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.length(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn list<T: Stored>(&mut self, list: &[T]) -> &mut Self {
        self.length(list.len());
        list.iter().for_each(|value| value.save(self));
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn length(&mut self, length: usize) {
        self.put(&u32::try_from(length).unwrap_or(u32::MAX));
    }
}

/// Takes bytes apart.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn get<T: Stored>(&mut self) -> Result<T, Damaged> {
        T::load(self)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.length()?;
        let damaged = self.damaged();
        std::str::from_utf8(self.take(length)?).map_err(|_| damaged)
    }

    /// Reads a text that has a meaning.
    pub(crate) fn parse<T: std::str::FromStr>(&mut self) -> Result<T, Damaged> {
        let damaged = self.damaged();
        self.text()?.parse().map_err(|_| damaged)
    }

    pub(crate) fn list<T: Stored>(&mut self) -> Result<Vec<T>, Damaged> {
        let length = self.length()?;
        // Room for all of it at once: a list that grows by doubling stays up to twice as large as it has to be. No more than the
        // bytes that are left could fill, whatever a damaged length says.
        let mut list = Vec::with_capacity(length.min(self.bytes.len() - self.at));
        for _ in 0..length {
            list.push(T::load(self)?);
        }
        Ok(list)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn damaged(&self) -> Damaged {
        Damaged { at: self.at }
    }

    fn length(&mut self) -> Result<usize, Damaged> {
        let length = self.get::<u32>()?;
        if length > LENGTH_MAX { Err(self.damaged()) } else { Ok(length as usize) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(self.damaged())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

macro_rules! number {
    ($($number:ty),+) => {$(
        impl Stored for $number {
            fn save(&self, writer: &mut Writer) {
                writer.bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
                let bytes = reader.take(size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().expect("as many bytes were taken")))
            }
        }
    )+};
}
number!(u8, u16, u32, u64, i32, i64, f32, f64);

impl Stored for bool {
    fn save(&self, writer: &mut Writer) {
        u8::from(*self).save(writer);
    }
    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        match reader.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(reader.damaged()),
        }
    }
}

impl<T: Stored> Stored for Option<T> {
    fn save(&self, writer: &mut Writer) {
        self.is_some().save(writer);
        if let Some(value) = self {
            value.save(writer);
        }
    }
    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        if reader.get()? { reader.get().map(Some) } else { Ok(None) }
    }
}

impl<T: Stored> Stored for Box<T> {
    fn save(&self, writer: &mut Writer) {
        (**self).save(writer);
    }
    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        reader.get().map(Box::new)
    }
}

impl<T: Stored, const N: usize> Stored for [T; N] {
    fn save(&self, writer: &mut Writer) {
        self.iter().for_each(|value| value.save(writer));
    }
    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let values: Vec<T> = (0..N).map(|_| reader.get()).collect::<Result<_, _>>()?;
        values.try_into().map_err(|_| reader.damaged())
    }
}

impl Stored for Timestamp {
    fn save(&self, writer: &mut Writer) {
        self.as_millisecond().save(writer);
    }
    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let millis = reader.get()?;
        Timestamp::from_millisecond(millis).map_err(|_| reader.damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer
            .put(&7_u8)
            .put(&-1.5_f64)
            .put(&true)
            .put(&Some(3_u64))
            .put(&None::<u64>)
            .text("söt")
            .list(&[1_i32, -2]);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.get::<u8>(), Ok(7));
        assert_eq!(reader.get::<f64>(), Ok(-1.5));
        assert_eq!(reader.get::<bool>(), Ok(true));
        assert_eq!((reader.get::<Option<u64>>(), reader.get::<Option<u64>>()), (Ok(Some(3)), Ok(None)));
        assert_eq!(reader.text(), Ok("söt"));
        assert_eq!(reader.list::<i32>(), Ok(vec![1, -2]));
        assert!(reader.is_at_end());
    }

    #[test]
    fn short_or_absurd_bytes_are_refused() {
        assert!(Reader::new(&[1, 2]).get::<u32>().is_err());
        assert!(Reader::new(&[255, 255, 255, 255, 0]).text().is_err());
        assert!(Reader::new(&[2]).get::<bool>().is_err());
        assert!(Reader::new(&[1, 0, 0, 0, 0xff]).text().is_err());
    }
}
