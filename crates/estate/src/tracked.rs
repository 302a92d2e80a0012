//! Rows in memory that remember which of them must still be written.

use alloc::collections::BTreeSet;
use alloc::collections::btree_map::{self, BTreeMap};
use core::borrow::Borrow;
use core::mem;

/// Rows by key. Whatever hands out a row for changing marks its key; [`Tracked::drain`] gives each
/// marked key once, however often it was changed.
///
/// Two of them are equal if their rows are: what is still to be written doesn't count.
#[derive(Clone)]
pub(crate) struct Tracked<K, V> {
    rows: BTreeMap<K, V>,
    touched: BTreeSet<K>,
}

impl<K: Ord, V: PartialEq> PartialEq for Tracked<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<K, V> From<BTreeMap<K, V>> for Tracked<K, V> {
    fn from(rows: BTreeMap<K, V>) -> Self {
        let touched = BTreeSet::new();
        Self { rows, touched }
    }
}

impl<K: Ord + Clone, V> Tracked<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    pub(crate) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key)
    }

    /// A row for changing, marked.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if !self.touched.contains(key) {
            let (key, _) = self.rows.get_key_value(key)?;
            self.touched.insert(key.clone());
        }
        self.rows.get_mut(key)
    }

    /// A row for changing, marked, made by `new` if there is none yet.
    pub(crate) fn get_or_insert_with(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        self.mark(key);
        self.rows.entry(key.clone()).or_insert_with(new)
    }

    pub(crate) fn insert(&mut self, key: K, row: V) {
        self.mark(&key);
        self.rows.insert(key, row);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.mark(key);
        Some(row)
    }

    /// A row that stands in no store yet and needn't: it follows from the layout.
    pub(crate) fn insert_unmarked_if_absent(&mut self, key: K, row: V) {
        self.rows.entry(key).or_insert(row);
    }

    /// Whether the row has changes that are still to be written.
    pub(crate) fn is_touched(&self, key: &K) -> bool {
        self.touched.contains(key)
    }

    pub(crate) fn iter(&self) -> btree_map::Iter<'_, K, V> {
        self.rows.iter()
    }

    pub(crate) fn range(&self, from: &K, to: &K) -> btree_map::Range<'_, K, V> {
        self.rows.range::<K, _>(from..=to)
    }

    pub(crate) fn values(&self) -> btree_map::Values<'_, K, V> {
        self.rows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

impl<K: Ord + Clone, V: Clone> Tracked<K, V> {
    /// Each marked key once, with its row, or `None` if it is gone; afterwards nothing is marked.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, Option<V>)> + '_ {
        let touched = mem::take(&mut self.touched);
        touched.into_iter().map(|key| {
            let row = self.rows.get(&key).cloned();
            (key, row)
        })
    }
}

impl<K: Ord + Clone, V> Tracked<K, V> {
    fn mark(&mut self, key: &K) {
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
    }
}
