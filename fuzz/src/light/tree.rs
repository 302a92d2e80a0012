//! The tree that CBOR and JSON are read into.

use firmware_protocols::Value;
use firmware_protocols::value::{DEPTH_MAX, Key, ReadError};

use super::deterministic::is_deterministic;
use super::sound_reason;

/// Reads the bytes in both forms. A tree is bounded by its bytes, has no key twice, and comes out of
/// its own encodings as it went in; its CBOR is the deterministic one and a fixed point.
pub fn value(bytes: &[u8]) {
    match Value::from_cbor(bytes) {
        Ok(tree) => {
            bounded(&tree, bytes.len());
            let written = cbor(&tree);
            assert!(
                written.len() <= bytes.len() + bytes.len() / 128,
                "{} bytes of CBOR became {}",
                bytes.len(),
                written.len()
            );
            json(&tree, bytes.len());
        }
        Err(error) => sound_reason(&error.to_string()),
    }
    match Value::from_json(bytes) {
        Ok(tree) => {
            bounded(&tree, bytes.len());
            let written = cbor(&tree);
            assert!(written.len() <= 3 * bytes.len() + 9);
            let text = json(&tree, bytes.len());
            let back = Value::from_json(text.as_bytes()).expect("our own JSON is read");
            assert!(same(&back, &tree), "JSON {text} isn't what was read");
        }
        Err(error) => sound_reason(&error.to_string()),
    }
}

/// Writes CBOR and reads it back. Returns what was written.
fn cbor(tree: &Value) -> Vec<u8> {
    let written = tree.to_cbor();
    assert!(is_deterministic(&written), "not deterministic: {tree:?}");
    let back = Value::from_cbor(&written).expect("our own CBOR is read");
    assert!(same(&back, tree), "{back:?} came out of {tree:?}");
    assert_eq!(back.to_cbor(), written, "no fixed point: {tree:?}");
    written
}

/// Writes JSON and reads it back as far as JSON can say it. Returns what was written.
fn json(tree: &Value, read: usize) -> String {
    let text = tree.to_json();
    assert!(
        text.len() <= 10 * read + 10,
        "{read} bytes became {}",
        text.len()
    );
    match Value::from_json(text.as_bytes()) {
        Ok(back) if is_plain(tree) => assert!(same(&back, tree), "JSON of {tree:?}"),
        Ok(_) => {}
        // 1 and "1" are two keys in CBOR and one in JSON.
        Err(ReadError::DuplicateKey(_)) if !is_plain(tree) => {}
        Err(error) => panic!("our own JSON isn't read: {error}: {text}"),
    }
    text
}

/// Whether JSON can say the same: no byte strings, no integer keys, finite numbers.
pub fn is_plain(tree: &Value) -> bool {
    match tree {
        Value::Bytes(_) => false,
        Value::Float(x) => x.is_finite(),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Map(entries) => entries
            .iter()
            .all(|(key, value)| matches!(key, Key::Text(_)) && is_plain(value)),
        _ => true,
    }
}

/// Whether two trees say the same: the order of a map's keys is nothing, and all NaN are one.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float(x), Value::Float(y)) => {
            x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Map(x), Value::Map(y)) => {
            let (x, y) = (sorted(x), sorted(y));
            let pairs = x.iter().zip(&y);
            x.len() == y.len()
                && pairs
                    .into_iter()
                    .all(|(x, y)| x.0 == y.0 && same(&x.1, &y.1))
        }
        _ => one == other,
    }
}

fn sorted(entries: &[(Key, Value)]) -> Vec<&(Key, Value)> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    entries
}

/// No more values than bytes were read, no more text than was there, no key twice, not too deep.
fn bounded(tree: &Value, read: usize) {
    let mut count = Count::default();
    count.add(tree, 0);
    assert!(
        count.values <= read,
        "{} values of {read} bytes",
        count.values
    );
    assert!(
        count.bytes <= read,
        "{} bytes of text of {read}",
        count.bytes
    );
    assert!(count.depth <= DEPTH_MAX, "{} levels deep", count.depth);
}

#[derive(Default)]
struct Count {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Count {
    fn add(&mut self, tree: &Value, depth: usize) {
        self.values += 1;
        match tree {
            Value::Text(text) => self.bytes += text.len(),
            Value::Bytes(bytes) => self.bytes += bytes.len(),
            Value::Array(items) => {
                self.depth = self.depth.max(depth + 1);
                items.iter().for_each(|item| self.add(item, depth + 1));
            }
            Value::Map(entries) => {
                self.depth = self.depth.max(depth + 1);
                let keys = sorted(entries);
                assert!(
                    keys.windows(2).all(|pair| pair[0].0 != pair[1].0),
                    "a key twice"
                );
                for (key, value) in entries {
                    self.bytes += match key {
                        Key::Text(text) => text.len(),
                        Key::Int(_) => 0,
                    };
                    self.add(value, depth + 1);
                }
            }
            _ => {}
        }
    }
}
