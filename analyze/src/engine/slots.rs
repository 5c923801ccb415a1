//! Numbered places for signals and resources. A reference carries the serial of what it meant, so that a place that was
//! given to another is never mistaken for the first.

/// A place, and what was there when the reference was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRef {
    /// Which place.
    pub index: u32,
    serial: u32,
}

/// Places of one chunk: of signals of 2 KiB, 128 KiB. Growing then copies nothing and wastes no more than one chunk; one long row
/// would be copied, and twice as large, each time that it is full.
const CHUNK: usize = 64;

/// Places that are reused.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// All but the last are full.
    chunks: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    serial: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> SlotRef {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slot_mut(index)
        {
            slot.value = Some(value);
            return SlotRef { index, serial: slot.serial };
        }
        let index = u32::try_from(self.places()).expect("the limit of signals is far below 2^32");
        let slot = Slot { serial: 0, value: Some(value) };
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(slot),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(slot);
                self.chunks.push(chunk);
            }
        }
        SlotRef { index, serial: 0 }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slot_mut(index)?;
        let value = slot.value.take()?;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    /// A reference to what is in this place, if anything is.
    pub(super) fn refer(&self, index: u32) -> Option<SlotRef> {
        let slot = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        slot.value.as_ref().map(|_| SlotRef { index, serial: slot.serial })
    }

    /// What the reference means, if it is still there.
    pub(super) fn follow(&mut self, at: SlotRef) -> Option<&mut T> {
        let slot = self.slot_mut(at.index)?;
        slot.value.as_mut().filter(|_| slot.serial == at.serial)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slot_mut(index)?.value.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(self.chunks.iter().flatten())
            .filter_map(|(index, slot)| Some((index, slot.value.as_ref()?)))
    }

    /// What lies in these places.
    pub(super) fn range(&self, indexes: std::ops::Range<usize>) -> impl Iterator<Item = &T> {
        let end = indexes.end.min(self.places());
        (indexes.start..end).filter_map(|index| self.get(u32::try_from(index).ok()?))
    }

    pub(super) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    /// Places in use or free again.
    pub(super) fn places(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_reference_does_not_reach_what_came_after() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.follow(first), Some(&mut "first"));
        slots.remove(first.index);
        let second = slots.insert("second");
        assert_eq!(first.index, second.index);
        assert_eq!(slots.follow(first), None);
        assert_eq!(slots.follow(second), Some(&mut "second"));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn places_are_found_across_chunks() {
        let mut slots = Slots::default();
        let places: Vec<_> = (0..3 * CHUNK + 1).map(|value| slots.insert(value)).collect();
        assert!(
            places
                .iter()
                .enumerate()
                .all(|(i, place)| (place.index as usize, slots.get(place.index)) == (i, Some(&i)))
        );
        assert_eq!(slots.range(CHUNK - 1..CHUNK + 1).copied().collect::<Vec<_>>(), [CHUNK - 1, CHUNK]);
        assert_eq!(slots.range(3 * CHUNK..usize::MAX).count(), 1);
        slots.remove(5);
        assert_eq!((slots.len(), slots.iter().count()), (3 * CHUNK, 3 * CHUNK));
        assert_eq!(slots.insert(5).index, 5);
    }
}
