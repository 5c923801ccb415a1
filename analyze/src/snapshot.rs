//! Saved learner state: compressed blocks of at most 4,096 signals with their resources. After restoring one, decisions go on as if
//! nothing had happened. A block of another format is ignored and its signals are learned anew.

pub(crate) mod codec;
mod packing;

use std::sync::Arc;

use jiff::Timestamp;
use proto::model::ResourceId;

use crate::engine::{Resource, Shard, Signal};
use codec::{Reader, Writer};

pub use codec::Damaged;

/// The format of the bodies written here.
pub const FORMAT: u32 = 7;
/// Bytes of a signal in memory without its names and histograms: what a sample touches, beside one bucket of these.
pub const SIGNAL_BYTES: usize = size_of::<Signal>();
/// Signals and resources of one body, at most: a body that claims more is damaged.
const COUNT_MAX: u32 = 4_096;

/// Why a block was not saved or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Written by another release.
    #[error("format {0} is not known here")]
    Format(u32),
    /// Not what this release writes.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// There was no memory for it.
    #[error("a block of {0} bytes cannot be compressed")]
    Compress(usize),
}

/// One saved block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its number within the shard.
    pub number: usize,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// One block as it was at one moment, not compressed yet: compressing takes longer than writing, and needs no shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    number: usize,
    bytes: Vec<u8>,
}

/// What one block holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    resources: Vec<Resource>,
    signals: Vec<Signal>,
}

/// Writes and compresses the blocks that changed since the last call.
///
/// # Errors
/// When there is no memory to compress a block.
pub fn changed(shard: &mut Shard) -> Result<Vec<Block>, Error> {
    take_changed(shard).into_iter().map(|number| write(shard, number).compress()).collect()
}

/// Numbers of the blocks that changed since the last call.
pub fn take_changed(shard: &mut Shard) -> Vec<usize> {
    shard.take_changed()
}

/// Writes one block.
#[must_use]
pub fn write(shard: &Shard, number: usize) -> Written {
    let (signals, resources) = shard.block(number);
    Written::of(number, resources, signals)
}

impl Written {
    fn of<'a>(
        number: usize,
        resources: impl Iterator<Item = &'a Resource>,
        signals: impl Iterator<Item = &'a Signal>,
    ) -> Self {
        let (resources, signals): (Vec<_>, Vec<_>) = (resources.collect(), signals.collect());
        let mut writer = Writer::default();
        writer.put(&(resources.len() as u32));
        resources.into_iter().for_each(|resource| resource.save(&mut writer));
        writer.put(&(signals.len() as u32));
        signals.into_iter().for_each(|signal| signal.save(&mut writer));
        Self { number, bytes: writer.into_bytes() }
    }

    /// Makes it small.
    ///
    /// # Errors
    /// When there is no memory for that.
    pub fn compress(self) -> Result<Block, Error> {
        let body = packing::pack(&self.bytes).ok_or(Error::Compress(self.bytes.len()))?;
        Ok(Block { number: self.number, body })
    }
}

/// Reads a block into the shard, all or nothing; tells how many signals it had.
///
/// # Errors
/// When the format is another or the bytes are damaged.
pub fn restore(shard: &mut Shard, format: u32, body: &[u8], now: Timestamp) -> Result<usize, Error> {
    Ok(read(format, body)?.adopt(shard, now))
}

/// Reads a block.
///
/// # Errors
/// When the format is another or the bytes are damaged.
pub fn read(format: u32, body: &[u8]) -> Result<Saved, Error> {
    if format != FORMAT {
        return Err(Error::Format(format));
    }
    let bytes = packing::unpack(body)?;
    let mut reader = Reader::new(&bytes);
    let resources =
        (0..count(&mut reader)?).map(|_| Resource::load(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    let signals =
        (0..count(&mut reader)?).map(|_| Signal::load(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    if !reader.is_at_end() {
        return Err(reader.damaged().into());
    }
    Ok(Saved { resources, signals })
}

impl Saved {
    /// Gives it to the shard, unless that has learned as much already; tells how many signals it had.
    pub fn adopt(self, shard: &mut Shard, now: Timestamp) -> usize {
        self.resources.into_iter().for_each(|resource| shard.adopt_resource(resource, now));
        self.signals.into_iter().map(|signal| shard.adopt_signal(signal, now)).filter(|taken| *taken).count()
    }

    /// How many signals it holds.
    #[must_use]
    pub fn signals(&self) -> usize {
        self.signals.len()
    }

    /// The same as if all of it had been learned of another resource: so a large plant can be had without waiting for one to be
    /// learned.
    #[must_use]
    pub fn renamed(&self, resource: &ResourceId) -> Self {
        let mut copy = self.clone();
        let resource = Arc::new(resource.clone());
        copy.resources.iter_mut().for_each(|one| one.id = resource.clone());
        copy.signals.iter_mut().for_each(|one| one.id.resource = resource.clone());
        copy
    }

    /// Takes in what another holds.
    pub fn append(&mut self, mut other: Self) {
        self.resources.append(&mut other.resources);
        self.signals.append(&mut other.signals);
    }

    /// Writes it as a block.
    #[must_use]
    pub fn write(&self, number: usize) -> Written {
        Written::of(number, self.resources.iter(), self.signals.iter())
    }
}

fn count(reader: &mut Reader<'_>) -> Result<u32, Damaged> {
    let count = reader.get::<u32>()?;
    if count > COUNT_MAX { Err(reader.damaged()) } else { Ok(count) }
}

#[cfg(test)]
mod tests;
