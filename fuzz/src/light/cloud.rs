//! What gateway and cloud say to each other: the downlink, answers, problems, and the uplink as the
//! cloud reads it.

use cloud_protocol::downlink::Proof;
use cloud_protocol::{
    Acked, Batch, CodeForResident, Downlink, DownlinkItem, Item, Problem, Received, Report,
};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Value};

use super::disguise::disguised;
use super::sound_reason;

const FORMS: [Form; 2] = [Form::Cbor, Form::Json];

/// The body in whichever form its media type names: both are tried.
fn bodies(bytes: &[u8]) -> impl Iterator<Item = Value> {
    [Value::from_cbor(bytes), Value::from_json(bytes)]
        .into_iter()
        .flatten()
}

fn again(value: &Value, form: Form) -> Value {
    Value::read(&value.write(form)).expect("our own body is read")
}

/// A batch of the downlink: each item is judged by itself, and what is read survives both forms. No
/// courier's code is printed or repeated in a refusal.
pub fn downlink(bytes: &[u8]) {
    for body in bodies(bytes) {
        let items = match DownlinkItem::read_all(&body) {
            Ok(items) => items,
            Err(malformed) => {
                sound_reason(&malformed.0);
                continue;
            }
        };
        items.iter().for_each(downlink_item);
        let good: Vec<_> = items.into_iter().filter(|item| item.what.is_ok()).collect();
        for form in FORMS {
            let back = DownlinkItem::read_all(&again(&DownlinkItem::write_all(&good), form));
            assert_eq!(back.as_ref(), Ok(&good), "{form:?}");
        }
        if let Some(other) = disguised(&body, &["code"]) {
            assert_eq!(refusals(&body), refusals(&other), "a refusal tells a code");
        }
    }
}

fn downlink_item(item: &DownlinkItem) {
    assert!((1..=cloud_protocol::NUMBER_MAX).contains(&item.seq));
    match &item.what {
        Err(malformed) => sound_reason(&malformed.0),
        Ok(Downlink::Courier {
            courier,
            proof: Proof::Code(_),
            valid_until,
        }) => {
            let other = DownlinkItem {
                seq: item.seq,
                what: Ok(Downlink::Courier {
                    courier: courier.clone(),
                    proof: Proof::Code(Secret::new("other")),
                    valid_until: *valid_until,
                }),
            };
            assert_eq!(
                format!("{item:?}"),
                format!("{other:?}"),
                "a code is printed"
            );
        }
        Ok(_) => {}
    }
}

fn refusals(body: &Value) -> Vec<String> {
    match DownlinkItem::read_all(body) {
        Err(malformed) => vec![malformed.0],
        Ok(items) => {
            let refused = items.into_iter().filter_map(|item| item.what.err());
            refused.map(|malformed| malformed.0).collect()
        }
    }
}

/// The other answers: what is acknowledged, and problems. A problem is always one that can be shown.
pub fn cloud_answer(bytes: &[u8]) {
    for body in bodies(bytes) {
        match Acked::from_value(&body) {
            Ok(acked) => {
                for form in FORMS {
                    let back = Acked::from_value(&again(&acked.to_value(), form));
                    assert_eq!(back.as_ref(), Ok(&acked));
                }
            }
            Err(malformed) => sound_reason(&malformed.0),
        }
        if let Ok(problem) = Problem::from_value(&body) {
            shown(&problem);
        }
    }
}

fn shown(problem: &Problem) {
    assert!((100..=599).contains(&problem.status));
    let texts = [
        Some(&problem.title),
        problem.detail.as_ref(),
        problem.lane.as_ref(),
    ];
    for (text, most) in texts.into_iter().zip([256, 1024, 32]) {
        let Some(text) = text else { continue };
        assert!((1..=most).contains(&text.chars().count()));
        assert!(!text.chars().any(char::is_control));
    }
    for form in FORMS {
        let back = Problem::from_value(&again(&problem.to_value(), form));
        assert_eq!(back.as_ref(), Ok(problem));
    }
}

/// A batch as the cloud reads it: numbered without a gap, each kind in its lane, the chain the same
/// from both forms. A pickup code is sealed, and a refusal repeats nothing of what stands in its place.
pub fn uplink_item(bytes: &[u8]) {
    for body in bodies(bytes) {
        let received = match Received::from_value(&body) {
            Ok(received) => received,
            Err(refused) => {
                sound_reason(&refused.reason.0);
                if let Some(other) = disguised(&body, &["digits", "code", "ct"])
                    && let Err(other) = Received::from_value(&other)
                {
                    assert_eq!(refused, other, "a refusal tells a code");
                }
                assert!(refused.lane.is_none_or(|lane| lane.chars().count() <= 32));
                continue;
            }
        };
        for lane in received.lanes.values() {
            for (seq, item) in (lane.after + 1..).zip(&lane.items) {
                assert_eq!(item.seq, seq);
            }
        }
        if let Ok(batch) = received.into_batch() {
            whole(&batch);
        }
    }
}

/// A batch of known kinds comes out of both forms as it went in, and so do the bytes that its chain
/// is made of.
fn whole(batch: &Batch) {
    let value = batch.to_value();
    for form in FORMS {
        let received = Received::from_value(&again(&value, form)).expect("our own batch is read");
        for (lane, part) in &received.lanes {
            for (got, sent) in part.items.iter().zip(&batch.lanes[lane].items) {
                assert_eq!(got.encoded(), sent.to_value().to_cbor(), "another chain");
            }
        }
        assert_eq!(received.into_batch().as_ref(), Ok(batch), "{form:?}");
    }
    batch
        .lanes
        .values()
        .flat_map(|lane| &lane.items)
        .for_each(sealed);
}

fn sealed(item: &Item) {
    if let Report::Parcel(report) = &item.report {
        let plain = report.code.as_ref().and_then(CodeForResident::plain);
        assert!(plain.is_none(), "a plain code came over the wire");
    }
}
