//! Saved learner state: blocks of at most 4,096 signals with their resources. After restoring one, decisions go on as if nothing
//! had happened. A block of another format is ignored and its signals are learned anew.

pub(crate) mod codec;

use jiff::Timestamp;

use crate::engine::{Resource, Shard, Signal};
use codec::{Reader, Writer};

pub use codec::Damaged;

/// The format of the bodies written here.
pub const FORMAT: u32 = 2;
/// Signals and resources of one body, at most: a body that claims more is damaged.
const COUNT_MAX: u32 = 4_096;

/// Why a block was not restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Written by another release.
    #[error("format {0} is not known here")]
    Format(u32),
    /// Not what this release writes.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// One saved block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its number within the shard.
    pub number: usize,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Writes the blocks that changed since the last call.
pub fn changed(shard: &mut Shard) -> Vec<Block> {
    shard.take_changed().into_iter().map(|number| Block { number, body: body(shard, number) }).collect()
}

fn body(shard: &Shard, number: usize) -> Vec<u8> {
    let mut writer = Writer::default();
    let (signals, resources) = shard.block(number);
    let resources: Vec<_> = resources.collect();
    writer.put(&(resources.len() as u32));
    resources.into_iter().for_each(|resource| resource.save(&mut writer));
    let signals: Vec<_> = signals.collect();
    writer.put(&(signals.len() as u32));
    signals.into_iter().for_each(|signal| signal.save(&mut writer));
    let mut bytes = writer.into_bytes();
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads a block into the shard, all or nothing; tells how many signals it had.
///
/// # Errors
/// When the format is another or the bytes are damaged.
pub fn restore(shard: &mut Shard, format: u32, body: &[u8], now: Timestamp) -> Result<usize, Error> {
    if format != FORMAT {
        return Err(Error::Format(format));
    }
    let (body, sum) = body.split_last_chunk().ok_or(Damaged { at: body.len() })?;
    if u64::from_le_bytes(*sum) != checksum(body) {
        return Err(Damaged { at: body.len() }.into());
    }
    let mut reader = Reader::new(body);
    let resources =
        (0..count(&mut reader)?).map(|_| Resource::load(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    let signals =
        (0..count(&mut reader)?).map(|_| Signal::load(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    if !reader.is_at_end() {
        return Err(reader.damaged().into());
    }
    resources.into_iter().for_each(|resource| shard.adopt_resource(resource, now));
    Ok(signals.into_iter().map(|signal| shard.adopt_signal(signal, now)).filter(|taken| *taken).count())
}

/// FNV-1a: a block that was bent on its way must not be believed.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn count(reader: &mut Reader<'_>) -> Result<u32, Damaged> {
    let count = reader.get::<u32>()?;
    if count > COUNT_MAX { Err(reader.damaged()) } else { Ok(count) }
}

#[cfg(test)]
mod tests;
