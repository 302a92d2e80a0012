//! A downlink item in the store: its body without `seq`, which is the row's number.

use cloud_protocol::{Downlink, DownlinkItem};
use firmware_protocols::value::{Key, Value};

use super::StoreError;

/// The largest item, bytes.
const ITEM_MAX_BYTES: usize = 64 * 1024;

/// An item to be stored.
pub(super) struct NewItem {
    /// Its fields in deterministic CBOR.
    pub(super) body: Vec<u8>,
    /// The parcel that it announces, if it does.
    pub(super) announces: Option<String>,
    /// Whether a courier's code is in it.
    pub(super) has_code: bool,
}

impl NewItem {
    /// Reads what is to be sent. Whether a gateway can read it is not asked.
    pub(super) fn of(item: Value) -> Result<Self, StoreError> {
        let Value::Map(mut entries) = item else {
            let got = item.kind();
            return Err(StoreError::NotAnItem(format!("expected a map, got {got}")));
        };
        entries.retain(|(key, _)| !is(key, "seq"));
        let announces = announced_parcel(&entries);
        let has_code = entries.iter().any(|(key, _)| is(key, "code"));
        let body = Value::Map(entries).to_cbor();
        if body.len() > ITEM_MAX_BYTES {
            let bound = format!("over {ITEM_MAX_BYTES} bytes");
            return Err(StoreError::NotAnItem(bound));
        }
        Ok(Self {
            body,
            announces,
            has_code,
        })
    }
}

/// A stored item with its number.
pub(super) fn numbered(seq: u64, body: &[u8]) -> Result<Value, StoreError> {
    let mut entries = stored(seq, body)?;
    entries.push((Key::Text("seq".to_string()), seq.into()));
    Ok(Value::Map(entries))
}

/// A stored item without the courier's code in it.
pub(super) fn without_code(seq: u64, body: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut entries = stored(seq, body)?;
    entries.retain(|(key, _)| !is(key, "code"));
    Ok(Value::Map(entries).to_cbor())
}

fn stored(seq: u64, body: &[u8]) -> Result<Vec<(Key, Value)>, StoreError> {
    match Value::from_cbor(body) {
        Ok(Value::Map(entries)) => Ok(entries),
        _ => Err(StoreError::Unreadable(format!("downlink item {seq}"))),
    }
}

fn announced_parcel(entries: &[(Key, Value)]) -> Option<String> {
    let mut item = entries.to_vec();
    item.push((Key::Text("seq".to_string()), 1_u64.into()));
    match DownlinkItem::from_value(&Value::Map(item)).ok()?.what {
        Ok(Downlink::ParcelExpected(parcel)) => Some(parcel.parcel),
        _ => None,
    }
}

fn is(key: &Key, name: &str) -> bool {
    matches!(key, Key::Text(text) if text == name)
}
