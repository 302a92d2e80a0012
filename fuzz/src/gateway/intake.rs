//! A device's payload as the links hand it in: decoded, digested, and what can't be read kept.

use std::sync::{Arc, OnceLock};

use estate::{Now, TimeQuality};
use firmware_protocols::{EVENTS_PER_PAYLOAD_MAX, Form, Ident, PAYLOAD_MAX_BYTES, Value};
use linli::config::Config;
use linli::intake::{Piece, Pieces, Reader, Said};
use linli::keys::{DayKeys, Keys};
use linli::store::write::QuarantineRow;

use crate::light::disguise::{PERSONAL, disguised};
use crate::light::sound_reason;
use crate::light::tree::is_plain;

/// The longest preview, in characters.
const PREVIEW_MAX: usize = 256;
/// The fewest digits that may be somebody's code.
const CODE_DIGITS: usize = 4;

/// Every piece is an event or a malformed row; an event that is sent again, also in the other form, is
/// known again; a row is bounded
/// and shows no run of digits; nothing personal makes a difference to what is kept of it or printed.
pub fn intake(payload: &[u8]) {
    let read = read(payload);
    match &read {
        Ok(pieces) => {
            assert!((1..=EVENTS_PER_PAYLOAD_MAX).contains(&pieces.all.len()));
            pieces.all.iter().for_each(|piece| judge(piece, payload));
        }
        Err(row) => judge_row(row, payload),
    }
    assert_eq!(fingerprints(&read), fingerprints(&self::read(payload)));
    if let Ok(tree) = Value::read(payload)
        && is_plain(&tree)
    {
        let (cbor, json) = (tree.to_cbor(), tree.to_json().into_bytes());
        // Only an array or a map shows by its first byte that it is JSON.
        if json.len().max(cbor.len()) <= PAYLOAD_MAX_BYTES && Form::of(&json) == Form::Json {
            let one = fingerprints(&self::read(&cbor));
            assert_eq!(
                one,
                fingerprints(&self::read(&json)),
                "sent again, it is another"
            );
        }
    }
    if let Ok(tree) = Value::read(payload)
        && let Some(other) = disguised(&tree, PERSONAL)
    {
        let (one, other) = (tree.to_cbor(), other.to_cbor());
        assert_eq!(kept(&one), kept(&other), "a row tells what was typed");
    }
}

type Read = Result<Pieces, QuarantineRow>;

fn read(payload: &[u8]) -> Read {
    static READER: OnceLock<(Reader, Ident)> = OnceLock::new();
    let (reader, device) = READER.get_or_init(reader);
    let now = Now {
        tick_ms: 1_000_000,
        wall_ms: 1_780_000_000_000,
        quality: TimeQuality::Synchronised,
    };
    reader
        .read(now, device, payload)
        .expect("keys can be made in TMPDIR")
}

fn reader() -> (Reader, Ident) {
    let config = "site = 'fuzz'\nbuilding = [{ id = 'b1' }]\ndesk = [{ id = 'desk-1', building = 'b1' }]\n\
                  [[bank]]\nid = 'bank-a'\nbuilding = 'b1'\ncompartments = [{ count = 8, size = 'S' }]";
    let layout = Config::parse(config).expect("a configuration").layout();
    let folder = super::keys_folder("intake");
    let keys = Keys::open(&folder, true).expect("keys can be made in TMPDIR");
    let days = Arc::new(DayKeys::new(&folder, 7));
    let device = Ident::new("bank-a").expect("an id");
    (Reader::new(keys.codes, days, &layout), device)
}

fn judge(piece: &Piece, payload: &[u8]) {
    match piece {
        Piece::Event(event) => {
            assert!(event.seq >= 1);
            let scan = matches!(event.what, Said::Scan(_));
            assert_eq!(event.body.is_empty(), scan);
            assert!(
                scan || Value::from_cbor(&event.body).is_ok(),
                "the store gets CBOR"
            );
        }
        Piece::Malformed { row, number } => {
            assert!(number.is_none_or(|(_, seq)| seq >= 1));
            judge_row(row, payload);
        }
    }
}

fn judge_row(row: &QuarantineRow, payload: &[u8]) {
    sound_reason(&row.reason);
    assert_eq!(row.size_bytes, payload.len());
    assert!(row.preview.chars().count() <= PREVIEW_MAX);
    let mut run = 0;
    for c in row.preview.chars() {
        run = if c.is_numeric() { run + 1 } else { 0 };
        assert!(
            run < CODE_DIGITS,
            "a run of digits is shown: {}",
            row.preview
        );
    }
}

/// What tells one event from another at redelivery.
fn fingerprints(read: &Read) -> Vec<u64> {
    let pieces = read.as_ref().map_or(&[][..], |pieces| &pieces.all);
    let events = pieces.iter().filter_map(|piece| match piece {
        Piece::Event(event) => Some(event.fingerprint),
        Piece::Malformed { .. } => None,
    });
    events.collect()
}

/// All that is kept or printed of what can't be read.
fn kept(payload: &[u8]) -> Vec<String> {
    let said = |row: &QuarantineRow| format!("{} | {}", row.reason, row.preview);
    match read(payload) {
        Err(row) => vec![said(&row)],
        Ok(pieces) => {
            let rows = pieces.all.iter().filter_map(|piece| match piece {
                Piece::Malformed { row, .. } => Some(said(row)),
                Piece::Event(_) => None,
            });
            rows.collect()
        }
    }
}
