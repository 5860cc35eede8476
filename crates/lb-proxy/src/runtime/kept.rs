//! Objects that successive configurations share: an object that is named again is the same one, others are forgotten.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Objects by key, renewed round by round.
pub(super) struct Kept<K, V> {
    /// Each with whether this round has named it.
    objects: HashMap<K, (V, bool)>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { objects: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Kept<K, V> {
    /// The object of this key, which stays for another round; made if there is none.
    pub(super) fn name(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (object, is_named) = self.objects.entry(key).or_insert_with(|| (make(), true));
        *is_named = true;
        object
    }

    /// Ends the round: returns what was not named in it, and is forgotten.
    pub(super) fn end_round(&mut self) -> Vec<V> {
        let gone = self.objects.extract_if(|_, (_, is_named)| !std::mem::take(is_named));
        gone.map(|(_, (object, _))| object).collect()
    }

    /// The object of this key.
    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.objects.get_mut(key).map(|(object, _)| object)
    }

    /// All objects, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.objects.values().map(|(object, _)| object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_are_named_again_stay_and_others_are_returned() {
        let mut kept = Kept::default();
        assert_eq!(*kept.name("a", || 1), 1);
        assert_eq!(*kept.name("b", || 2), 2);
        assert_eq!(kept.end_round(), [0; 0]);
        assert_eq!(*kept.name("a", || 3), 1);
        assert_eq!(kept.end_round(), [2]);
        assert_eq!(*kept.name("b", || 4), 4);
        assert_eq!(kept.end_round(), [1]);
        assert_eq!(kept.values().collect::<Vec<_>>(), [&4]);
    }
}
