//! Rows in memory that remember which of them must still be written.

use alloc::borrow::ToOwned;
use alloc::collections::btree_map::{BTreeMap, Entry};
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::mem;

/// Rows by key. Whatever hands out a row for changing marks it; [`Tracked::drain`] gives each marked
/// key once, however often it was changed.
///
/// Two of them are equal if their rows are: what is still to be written doesn't count.
#[derive(Clone)]
pub(crate) struct Tracked<K, V> {
    rows: BTreeMap<K, Row<V>>,
    /// The keys of marked rows, and of removed ones.
    touched: Vec<K>,
}

#[derive(Clone)]
struct Row<V> {
    value: V,
    marked: bool,
}

impl<K: Ord + Clone, V: PartialEq> PartialEq for Tracked<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.rows.len() == other.rows.len() && self.iter().eq(other.iter())
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Tracked<K, V> {
    /// Rows as they stand in the store: none is marked.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let unmarked = |(key, value)| (key, Row::new(value, false));
        Self {
            rows: rows.into_iter().map(unmarked).collect(),
            touched: Vec::new(),
        }
    }
}

impl<V> Row<V> {
    const fn new(value: V, marked: bool) -> Self {
        Self { value, marked }
    }
}

impl<K: Ord + Clone, V> Tracked<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.rows.get(key).map(|row| &row.value)
    }

    pub(crate) fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.rows.contains_key(key)
    }

    /// A row for changing, marked.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let row = self.rows.get_mut(key)?;
        if !row.marked {
            row.marked = true;
            self.touched.push(key.to_owned());
        }
        Some(&mut row.value)
    }

    /// A row for changing, marked, made by `new` if there is none yet.
    pub(crate) fn get_or_insert_with(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        let row = match self.rows.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Row::new(new(), false)),
        };
        if !row.marked {
            row.marked = true;
            self.touched.push(key.clone());
        }
        &mut row.value
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.touched.push(key.clone());
        self.rows.insert(key, Row::new(value, true));
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.touched.push(key.clone());
        Some(row.value)
    }

    /// A row that stands in no store yet and needn't: it follows from the layout.
    pub(crate) fn insert_unmarked_if_absent(&mut self, key: K, value: V) {
        self.rows.entry(key).or_insert(Row::new(value, false));
    }

    /// Forgets rows, without a trace in the store; those that are still to be written stay.
    pub(crate) fn drop_unmarked(&mut self, which: impl Fn(&K, &V) -> bool) {
        self.rows
            .retain(|key, row| row.marked || !which(key, &row.value));
    }

    /// Whether the row has changes that are still to be written.
    pub(crate) fn is_touched(&self, key: &K) -> bool {
        self.rows.get(key).is_some_and(|row| row.marked)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, &row.value))
    }

    pub(crate) fn range(&self, from: K, to: K) -> impl Iterator<Item = (&K, &V)> + Clone {
        let range = self.rows.range(from..=to);
        range.map(|(key, row)| (key, &row.value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values().map(|row| &row.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Each touched key once, in order, with its row, or `None` if it is gone, made into what is to
    /// be written; afterwards nothing is marked.
    pub(crate) fn drain<T>(
        &mut self,
        mut write: impl FnMut(K, Option<&V>) -> Option<T>,
        out: &mut impl Extend<T>,
    ) {
        let mut touched = mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        out.extend(touched.into_iter().filter_map(|key| {
            let row = self.rows.get_mut(&key);
            let value = row.map(|row| {
                row.marked = false;
                &row.value
            });
            write(key, value)
        }));
    }
}
