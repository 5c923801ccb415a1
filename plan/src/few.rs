//! A handful of values in place: planning allocates nothing for a resource at which nothing changes.

/// At most `N` values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Few<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// The first `N` of these.
    pub(crate) fn of(values: impl IntoIterator<Item = T>) -> Self {
        let mut few = Self { items: [T::default(); N], len: 0 };
        for value in values.into_iter().take(N) {
            few.items[few.len] = value;
            few.len += 1;
        }
        few
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        &self.items[..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items[..self.len]
    }

    /// Takes the last one away.
    pub(crate) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}

impl<const N: usize> Few<f64, N> {
    /// The middle one, of an even number the upper.
    pub(crate) fn median(mut self) -> Option<f64> {
        let values = self.as_mut_slice();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_first_of_many_and_finds_their_middle() {
        let mut few = Few::<f64, 3>::of([3.0, 1.0, 2.0, 9.0]);
        assert_eq!((few.as_slice(), few.median()), (&[3.0, 1.0, 2.0][..], Some(2.0)));
        few.pop();
        assert_eq!(few.median(), Some(3.0));
        assert_eq!(Few::<f64, 3>::of([]).median(), None);
    }
}
