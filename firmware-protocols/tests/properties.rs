//! What always holds of commands, receipts and keypad events: what is written is read again, in both
//! forms, and no bytes make a reader panic or print a secret.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use firmware_protocols::command::BankCode;
use firmware_protocols::event::{self, Secret, When};
use firmware_protocols::{Command, Event, Form, Kind, Order, Receipt, Tone};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const FORMS: [Form; 2] = [Form::Cbor, Form::Json];

fn order() -> impl Strategy<Value = Order> {
    let tones: Vec<Tone> = Tone::WORDS.iter().map(|(_, tone)| *tone).collect();
    prop_oneof![
        (1..=u16::MAX).prop_map(|compartment| Order::Open { compartment }),
        ("[^\\x00]{1,256}", select(tones)).prop_map(|(text, tone)| Order::Show { text, tone }),
        (
            vec(any::<u8>(), 16..=64),
            btree_map(any::<[u8; 32]>(), 1..=u16::MAX, 0..20)
        )
            .prop_map(|(salt, codes)| Order::Codes {
                salt,
                digests: bank_codes(codes),
            }),
        Just(Order::Identify),
    ]
}

fn bank_codes(codes: BTreeMap<[u8; 32], u16>) -> Vec<BankCode> {
    codes
        .into_iter()
        .map(|(digest, compartment)| BankCode {
            digest,
            compartment,
        })
        .collect()
}

fn command() -> impl Strategy<Value = Command> {
    ("[^\\x00]{1,64}", 0..=i64::MAX, any::<u64>(), order()).prop_map(
        |(id, expires, ttl_ms, order)| Command {
            id,
            expires,
            ttl_ms,
            order,
        },
    )
}

fn keypad() -> impl Strategy<Value = Event> {
    let when = prop_oneof![
        (0..=i64::MAX).prop_map(When::At),
        any::<u64>().prop_map(When::Age),
        Just(When::Unsaid)
    ];
    (
        any::<u32>(),
        1..=u64::MAX,
        when,
        "[0-9]{1,16}",
        of(1..=u16::MAX),
    )
        .prop_map(|(boot, seq, when, digits, opened)| Event {
            boot,
            seq,
            when,
            kind: Kind::Keypad {
                code: Secret::new(digits),
                opened,
            },
        })
}

proptest! {
    #[test]
    fn commands_survive_both_forms(command in command()) {
        for form in FORMS {
            prop_assert_eq!(Command::decode(&command.encode(form)).unwrap(), command.clone());
        }
    }

    #[test]
    fn keypad_events_survive_both_forms(events in vec(keypad(), 1..5)) {
        for form in FORMS {
            let back = event::decode(&event::encode(&events, form)).unwrap();
            let back: Vec<_> = back.into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(&back, &events);
        }
    }

    /// Close to the real thing: one byte changed, or the rest missing.
    #[test]
    fn damaged_payloads_are_read_or_refused(
        command in command(),
        event in keypad(),
        form in select(FORMS.to_vec()),
        at in any::<Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        for mut payload in [command.encode(form), event::encode(std::slice::from_ref(&event), form)] {
            let at = at.index(payload.len());
            match cut {
                true => payload.truncate(at),
                false => payload[at] = byte,
            }
            let _ = Command::decode(&payload);
            let _ = Receipt::decode(&payload);
            let _ = event::decode(&payload);
        }
    }

    /// Neither the debug print nor a refusal gives away what was typed or how codes are salted.
    #[test]
    fn no_secret_is_printed(digits in "[0-9]{6,16}", salt in any::<[u8; 32]>(), digest in any::<[u8; 32]>()) {
        let code = Secret::new(&*digits);
        let kind = Kind::Keypad { code, opened: Some(7) };
        let printed = format!("{kind:?}");
        prop_assert!(!printed.contains(&digits));

        let digests = vec![BankCode { digest, compartment: 7 }; 2];
        let order = Order::Codes { salt: salt.to_vec(), digests };
        let command = Command { id: "k-1".to_string(), expires: 0, ttl_ms: 0, order };
        let refused = Command::decode(&command.encode(Form::Cbor)).unwrap_err().0;
        prop_assert_eq!(&refused, "field 'digests': expected each digest once, got one twice");
        for secret in [salt, digest] {
            let (printed, secret) = (format!("{command:?}"), format!("{secret:?}"));
            prop_assert!(!printed.contains(&secret));
        }
    }
}
