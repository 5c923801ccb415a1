//! Numbered places for signals and resources. A reference carries the serial of what it meant, so that a place that was
//! given to another is never mistaken for the first.

/// A place, and what was there when the reference was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRef {
    /// Which place.
    pub index: u32,
    serial: u32,
}

/// Places that are reused.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    serial: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> SlotRef {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return SlotRef { index, serial: slot.serial };
        }
        let index = u32::try_from(self.slots.len()).expect("the limit of signals is far below 2^32");
        self.slots.push(Slot { serial: 0, value: Some(value) });
        SlotRef { index, serial: 0 }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take()?;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    /// What the reference means, if it is still there.
    pub(super) fn follow(&mut self, at: SlotRef) -> Option<&mut T> {
        let slot = self.slots.get_mut(at.index as usize)?;
        slot.value.as_mut().filter(|_| slot.serial == at.serial)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.value.as_ref()?)))
    }

    /// What lies in these places.
    pub(super) fn range(&self, indexes: std::ops::Range<usize>) -> impl Iterator<Item = &T> {
        let end = indexes.end.min(self.slots.len());
        self.slots[indexes.start.min(end)..end].iter().filter_map(|slot| slot.value.as_ref())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
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
}
