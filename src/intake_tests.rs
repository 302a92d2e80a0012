//! What is kept of a card whose day has no key.

use std::fs;

use estate::{Happening, Now, TimeQuality};
use firmware_protocols::Value;

use super::*;
use crate::config::Config;
use crate::keys::Keys;

const NOW_MS: i64 = 1_780_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// The digest that the estate hears of a card that was used `at_ms`, and what the store keeps of it.
fn card(reader: &Reader, now: Now, at_ms: i64) -> (bool, Value) {
    let device = Ident::new("door-1").unwrap();
    let payload = format!(
        r#"{{"kind":"access","boot":1,"seq":1,"at":{at_ms},"door":"front","outcome":"granted","credential":"card-1"}}"#
    );
    let mut pieces = reader
        .read(now, &device, payload.as_bytes())
        .unwrap()
        .unwrap();
    let Some(Piece::Event(event)) = pieces.all.pop() else {
        panic!("the event is taken");
    };
    let Said::Happening(Happening::Access { credential, .. }) = event.what else {
        panic!("it is an access event");
    };
    let body = Value::from_cbor(&event.body).unwrap();
    (
        credential.is_some(),
        body.get("credential").unwrap().clone(),
    )
}

#[test]
fn a_thousand_old_days_make_no_key_each_and_their_events_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::open(dir.path(), true).unwrap();
    let layout = Config::parse("site = 's'\nbuilding = [{ id = 'b1' }]")
        .unwrap()
        .layout();
    let days = Arc::new(DayKeys::new(dir.path(), 7));
    let reader = Reader::new(keys.codes, days, &layout);
    let day_keys = || fs::read_dir(dir.path()).unwrap().count() - 2;
    let now = |quality| Now {
        tick_ms: 1_000,
        wall_ms: NOW_MS,
        quality,
    };
    let left_out = Value::from("left out: its day's key is gone");
    for day in 0..800 {
        let known = now(TimeQuality::Synchronised);
        let (digested, kept) = card(&reader, known, NOW_MS - day * DAY_MS);
        assert_eq!(digested, day <= 7, "{day}");
        assert_eq!(kept == left_out, day > 7, "{day}");
    }
    assert_eq!(day_keys(), 8);
    // A box that doesn't know the time has its own day, whatever a device says.
    for day in -400..400 {
        let unknown = now(TimeQuality::Unknown);
        assert!(card(&reader, unknown, NOW_MS + day * DAY_MS).0, "{day}");
    }
    assert_eq!(day_keys(), 8);
}
