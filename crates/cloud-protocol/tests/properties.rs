//! What always holds: what is written is read again, in both encodings, and no bytes make the
//! readers panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::uplink::{
    ClaimKind, ClaimReport, DemandReport, ParcelReport, ParcelState, Unplaceable,
};
use cloud_protocol::{
    Acked, Batch, Chain, CodeForResident, Downlink, DownlinkItem, Enrolment, GatewayView, Item,
    KeyChange, Lane, LaneBatch, LaneView, NUMBER_MAX, Problem, ProblemType, Received, Report,
    SealedCode, SealingKey,
};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident, Value};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn ident() -> impl Strategy<Value = Ident> {
    "[a-z0-9][a-z0-9-]{0,62}".prop_map(|text| Ident::new(&text).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    "[^\\x00]{1,128}"
}

fn time() -> impl Strategy<Value = i64> {
    0..=i64::try_from(NUMBER_MAX).unwrap()
}

fn counts() -> impl Strategy<Value = BTreeMap<String, u64>> {
    btree_map("[a-z:]{1,12}", any::<u64>(), 0..5)
}

fn code() -> impl Strategy<Value = CodeForResident> {
    (
        "[^\\x00]{1,64}",
        any::<[u8; 32]>(),
        vec(any::<u8>(), 17..=32),
    )
        .prop_map(|(key, enc, ct)| CodeForResident::Sealed(SealedCode { key, enc, ct }))
}

fn parcel_report() -> impl Strategy<Value = Report> {
    let states: Vec<_> = ParcelState::WORDS.iter().map(|(_, state)| *state).collect();
    (
        (name(), select(states), time(), of(code())),
        (of(ident()), of(1..=u16::MAX), of(ident())),
        (any::<bool>(), of(name())),
    )
        .prop_map(|(what, (bank, compartment, desk), (unlisted, return_of))| {
            let (parcel, state, since, code) = what;
            Report::Parcel(ParcelReport {
                parcel,
                state,
                since,
                bank,
                compartment,
                desk,
                code,
                unlisted,
                return_of,
            })
        })
}

fn unplaceable() -> impl Strategy<Value = Report> {
    (name(), ident(), size(), zone(), of(ident())).prop_map(|(parcel, point, size, zone, desk)| {
        Report::Unplaceable(Unplaceable {
            parcel,
            point,
            size,
            zone,
            desk,
        })
    })
}

fn claim() -> impl Strategy<Value = Report> {
    let kinds: Vec<_> = ClaimKind::WORDS.iter().map(|(_, kind)| *kind).collect();
    (
        (name(), select(kinds), "[^\\x00]{1,256}", ident()),
        (
            "[^\\x00]{1,1024}",
            of(0..=NUMBER_MAX),
            any::<bool>(),
            of(name()),
        ),
    )
        .prop_map(|((parcel, claim, operator, desk), rest)| {
            let (note, compensation_fen, keeps, returned_as) = rest;
            Report::Claim(ClaimReport {
                parcel,
                claim,
                operator,
                desk,
                note,
                compensation_fen,
                keeps,
                returned_as,
            })
        })
}

fn fulfilment() -> impl Strategy<Value = Report> {
    prop_oneof![parcel_report(), unplaceable(), claim()]
}

fn size() -> impl Strategy<Value = Size> {
    select(vec![Size::S, Size::M, Size::L])
}

fn zone() -> impl Strategy<Value = Zone> {
    select(vec![Zone::Ambient, Zone::Chilled, Zone::Frozen])
}

fn demand_report() -> impl Strategy<Value = Report> {
    (of(ident()), time(), 1..=44_640u32, 1..=u32::MAX, counts()).prop_map(
        |(building, start, minutes, revision, series)| {
            Report::Demand(DemandReport {
                building,
                start,
                minutes,
                revision,
                series,
            })
        },
    )
}

fn health_report() -> impl Strategy<Value = Report> {
    let audit = (0..=NUMBER_MAX, any::<[u8; 32]>())
        .prop_map(|(entries, head)| Report::Audit { entries, head });
    prop_oneof![counts().prop_map(Report::Health), audit]
}

fn lane_batch(report: impl Strategy<Value = Report>) -> impl Strategy<Value = LaneBatch> {
    (
        0..NUMBER_MAX - 10,
        any::<[u8; 32]>(),
        vec((time(), report), 0..4),
    )
        .prop_map(|(after, chain, items)| LaneBatch {
            after,
            chain: Chain(chain),
            items: (after + 1..)
                .zip(items)
                .map(|(seq, (at, report))| Item { seq, at, report })
                .collect(),
        })
}

fn batch() -> impl Strategy<Value = Batch> {
    (
        0..=NUMBER_MAX,
        of(lane_batch(fulfilment())),
        of(lane_batch(demand_report())),
        of(lane_batch(health_report())),
    )
        .prop_map(|(epoch, fulfilment, demand, health)| Batch {
            epoch,
            lanes: [
                (Lane::Fulfilment, fulfilment),
                (Lane::Demand, demand),
                (Lane::Health, health),
            ]
            .into_iter()
            .filter_map(|(lane, part)| Some((lane, part?)))
            .collect(),
        })
}

fn expected_parcel() -> impl Strategy<Value = Downlink> {
    (
        (name(), name(), size(), zone(), ident()),
        (time(), any::<bool>(), of(any::<u32>())),
        (any::<bool>(), of(name())),
    )
        .prop_map(
            |((parcel, recipient, size, zone, point), stay, (low, return_of))| {
                let (deadline, consent, items) = stay;
                Downlink::ParcelExpected(ExpectedParcel {
                    parcel,
                    recipient,
                    size,
                    zone,
                    point,
                    deadline,
                    consent,
                    items,
                    low,
                    return_of,
                })
            },
        )
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Proof::Badge),
        "[0-9]{1,16}".prop_map(|digits| Proof::Code(Secret::new(digits))),
    ]
}

fn downlink() -> impl Strategy<Value = Downlink> {
    prop_oneof![
        expected_parcel(),
        name().prop_map(|parcel| Downlink::ParcelCancelled { parcel }),
        (name(), time())
            .prop_map(|(parcel, deadline)| Downlink::ParcelExtended { parcel, deadline }),
        name().prop_map(|parcel| Downlink::CodeReissue { parcel }),
        (name(), proof(), time()).prop_map(|(courier, proof, valid_until)| {
            Downlink::Courier {
                courier,
                proof,
                valid_until,
            }
        }),
        btree_map("[a-z_.]{1,20}", any::<i64>(), 0..5).prop_map(Downlink::Settings),
    ]
}

fn enrolment() -> impl Strategy<Value = Enrolment> {
    ("[^\\x00]{1,256}", ident(), any::<[u8; 32]>()).prop_map(|(token, gateway, public_key)| {
        Enrolment {
            token: Secret::new(token),
            gateway,
            public_key,
        }
    })
}

fn key_change() -> impl Strategy<Value = KeyChange> {
    (any::<[u8; 32]>(), vec(any::<u8>(), 64)).prop_map(|(public_key, proof)| KeyChange {
        public_key,
        proof: proof.try_into().unwrap(),
    })
}

fn gateway_view() -> impl Strategy<Value = GatewayView> {
    let lane = (0..=NUMBER_MAX, any::<[u8; 32]>()).prop_map(|(last, chain)| LaneView {
        last,
        chain: Chain(chain),
    });
    (
        ("[^\\x00]{1,64}", any::<[u8; 32]>()),
        btree_map("[a-z_.]{1,20}", any::<i64>(), 0..5),
        (time(), of(0..=NUMBER_MAX)),
        btree_map(select(Lane::ALL.to_vec()), lane, 0..3),
    )
        .prop_map(
            |((id, public_key), settings, (time, epoch), lanes)| GatewayView {
                sealing_key: SealingKey { id, public_key },
                settings,
                time,
                epoch,
                lanes,
            },
        )
}

fn both_forms(value: &Value) -> [Value; 2] {
    [Form::Cbor, Form::Json].map(|form| Value::read(&value.write(form)).unwrap())
}

proptest! {
    #[test]
    fn batches_survive_both_encodings(batch in batch()) {
        for value in both_forms(&batch.to_value()) {
            prop_assert_eq!(Batch::from_value(&value).unwrap(), batch.clone());
        }
    }

    #[test]
    fn receivers_find_the_chain_of_the_sender(batch in batch()) {
        for value in both_forms(&batch.to_value()) {
            let received = Received::from_value(&value).unwrap();
            for (lane, part) in &received.lanes {
                for (item, sent) in part.items.iter().zip(&batch.lanes[lane].items) {
                    prop_assert_eq!(part.chain.then_encoded(&item.encoded()), part.chain.then(sent));
                }
            }
        }
    }

    #[test]
    fn downlinks_survive_both_encodings(seq in 1..=NUMBER_MAX, whats in vec(downlink(), 0..4)) {
        let items: Vec<_> = whats.into_iter().map(|what| DownlinkItem { seq, what: Ok(what) }).collect();
        for value in both_forms(&DownlinkItem::write_all(&items)) {
            prop_assert_eq!(DownlinkItem::read_all(&value).unwrap(), items.clone());
        }
    }

    #[test]
    fn answers_survive_both_encodings(acked in btree_map(select(Lane::ALL.to_vec()), any::<u64>(), 0..3)) {
        let acked = Acked(acked);
        for value in both_forms(&acked.to_value()) {
            prop_assert_eq!(Acked::from_value(&value).unwrap(), acked.clone());
        }
    }

    #[test]
    fn problems_survive_both_encodings(
        kind in of(select(ProblemType::WORDS.iter().map(|(_, kind)| *kind).collect::<Vec<_>>())),
        status in 100..600u16,
        title in "\\PC{1,256}",
        detail in of("\\PC{1,1024}"),
        lane in of("[a-z]{1,32}"),
        expected in of(0..=NUMBER_MAX),
    ) {
        let problem = Problem { kind, status, title, detail, lane, expected };
        for value in both_forms(&problem.to_value()) {
            prop_assert_eq!(Problem::from_value(&value).unwrap(), problem.clone());
        }
    }

    #[test]
    fn enrolment_and_keys_survive_both_encodings(
        enrolment in enrolment(),
        change in key_change(),
        view in gateway_view(),
    ) {
        for value in both_forms(&enrolment.to_value()) {
            prop_assert_eq!(Enrolment::from_value(&value).unwrap(), enrolment.clone());
        }
        for value in both_forms(&change.to_value()) {
            prop_assert_eq!(KeyChange::from_value(&value).unwrap(), change.clone());
        }
        for value in both_forms(&view.to_value()) {
            prop_assert_eq!(GatewayView::from_value(&value).unwrap(), view.clone());
        }
    }

    /// A plain code stays inside the gateway: its item is encoded as if it had none.
    #[test]
    fn a_plain_code_is_never_encoded(mut report in parcel_report(), digits in "[0-9]{1,16}") {
        let Report::Parcel(parcel) = &mut report else { unreachable!() };
        parcel.code = None;
        let mut item = Item { seq: 1, at: 1, report };
        let without = item.to_value().to_cbor();
        let Report::Parcel(parcel) = &mut item.report else { unreachable!() };
        parcel.code = Some(CodeForResident::Plain(Secret::new(&*digits)));
        prop_assert_eq!(item.to_value().to_cbor(), without);
        let printed = format!("{:?}", item.report);
        prop_assert!(printed.contains("Plain(***)"));
    }

    /// Digits where a sealed code belongs are refused, and not repeated.
    #[test]
    fn digits_are_no_sealed_code(digits in "[0-9]{6,16}", in_map in any::<bool>()) {
        let code = if in_map { format!(r#"{{"digits":"{digits}","salt":"AAECAwQFBgcICQoLDA0ODw"}}"#) } else { format!("\"{digits}\"") };
        let body = format!(r#"{{"seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"code":{code}}}"#);
        let refused = Item::from_value(&Value::from_json(body.as_bytes()).unwrap()).unwrap_err();
        prop_assert!(!refused.0.contains(&digits));
    }

    /// Neither a debug print nor a refusal repeats the digits of a code.
    #[test]
    fn no_digits_are_printed(digits in "[0-9]{6,16}") {
        let proof = Proof::Code(Secret::new(&*digits));
        let what = Downlink::Courier { courier: "c".to_string(), proof, valid_until: 0 };
        let printed = format!("{what:?}");
        prop_assert!(!printed.contains(&digits));
        let both = format!(r#"{{"seq":1,"kind":"courier","courier":"c","valid_until":0,"code":"{digits}","badge":"{digits}"}}"#);
        let letters = format!(r#"{{"seq":1,"kind":"courier","courier":"c","valid_until":0,"code":"{digits}x"}}"#);
        for body in [both, letters] {
            let item = DownlinkItem::from_value(&Value::from_json(body.as_bytes()).unwrap()).unwrap();
            prop_assert!(!item.what.unwrap_err().0.contains(&digits));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        read_as_everything(&bytes);
    }

    /// Close to the real thing: a good body with one byte changed.
    #[test]
    fn a_damaged_body_is_read_or_refused(
        batch in batch(),
        what in downlink(),
        json in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let form = if json { Form::Json } else { Form::Cbor };
        let items = DownlinkItem::write_all(&[DownlinkItem { seq: 1, what: Ok(what) }]);
        for mut body in [batch.to_value().write(form), items.write(form)] {
            let at = at.index(body.len());
            body[at] = byte;
            read_as_everything(&body);
        }
    }
}

fn read_as_everything(body: &[u8]) {
    let Ok(value) = Value::read(body) else {
        return;
    };
    let _ = Batch::from_value(&value);
    let _ = Acked::from_value(&value);
    let _ = Problem::from_value(&value);
    let _ = Enrolment::from_value(&value);
    let _ = KeyChange::from_value(&value);
    let _ = GatewayView::from_value(&value);
    if let Ok(received) = Received::from_value(&value) {
        for item in received.lanes.values().flat_map(|part| &part.items) {
            let _ = item.encoded();
        }
    }
    if let Ok(items) = DownlinkItem::read_all(&value) {
        let _ = DownlinkItem::write_all(&items).to_cbor();
    }
}
