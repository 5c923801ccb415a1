//! Blocks as they travel: a checksum, the length, and the bytes compressed by zstd (RFC 8878).

use super::codec::Damaged;

/// Numbers of doubles compress little at any level; the fastest takes the names and the empty buckets out.
const LEVEL: i32 = 1;
/// Bytes that one block may have when unpacked: 4,096 signals of 16 KiB. What claims more is damaged.
const UNPACKED_MAX: u32 = 64 * 1024 * 1024;

/// Compresses; `None` when there is no memory for it, or it is too long.
pub(super) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= UNPACKED_MAX)?;
    let packed = zstd::bulk::compress(bytes, LEVEL).ok()?;
    let rest = [&length.to_le_bytes()[..], &packed].concat();
    Some([&checksum(&rest).to_le_bytes()[..], &rest].concat())
}

/// The bytes that were packed.
pub(super) fn unpack(body: &[u8]) -> Result<Vec<u8>, Damaged> {
    let damaged = Damaged { at: 0 };
    let (sum, rest) = body.split_first_chunk().ok_or(damaged)?;
    if u64::from_le_bytes(*sum) != checksum(rest) {
        return Err(damaged);
    }
    let (length, packed) = rest.split_first_chunk().ok_or(damaged)?;
    let length = u32::from_le_bytes(*length);
    if length > UNPACKED_MAX {
        return Err(damaged);
    }
    let bytes = zstd::bulk::decompress(packed, length as usize).map_err(|_| damaged)?;
    if bytes.len() == length as usize { Ok(bytes) } else { Err(damaged) }
}

/// FNV-1a over words of eight bytes: a block that was bent on its way must not be believed.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    words.chain([bytes.len() as u64]).fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        // Turned, because a product carries nothing down to its lower bits.
        (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_packed_is_unpacked(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert_eq!(unpack(&pack(&bytes).unwrap()), Ok(bytes));
        }

        #[test]
        fn a_bent_bit_or_a_cut_is_noticed(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            place in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let packed = pack(&bytes).unwrap();
            prop_assert!(unpack(&packed[..place.index(packed.len())]).is_err());
            let mut bent = packed;
            let place = place.index(bent.len());
            bent[place] ^= 1 << bit;
            prop_assert!(unpack(&bent).is_err());
        }
    }

    #[test]
    fn a_block_that_claims_to_be_endless_is_refused() {
        let rest = [&u32::MAX.to_le_bytes()[..], &zstd::bulk::compress(&[0; 64], LEVEL).unwrap()].concat();
        let body = [&checksum(&rest).to_le_bytes()[..], &rest].concat();
        assert!(unpack(&body).is_err());
    }

    #[test]
    fn repetition_takes_little_room() {
        assert!(pack(&[7; 100_000]).unwrap().len() < 200);
    }
}
