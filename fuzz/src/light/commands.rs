//! What devices get: commands and receipts, decoded as firmware does it.

use firmware_protocols::command::{BANK_CODES_MAX, BankCode};
use firmware_protocols::{Command, Form, Order, Receipt, Value};

use super::disguise::{KEYS, disguised};
use super::sound_reason;

/// What a device takes comes out of both forms as it went in; no salt and no digest is printed or
/// repeated in a refusal.
pub fn receipt_command(payload: &[u8]) {
    match Command::decode(payload) {
        Ok(command) => taken(&command),
        Err(malformed) => sound_reason(&malformed.0),
    }
    match Receipt::decode(payload) {
        Ok(receipt) => {
            for form in [Form::Cbor, Form::Json] {
                assert_eq!(Receipt::decode(&receipt.encode(form)), Ok(receipt));
            }
        }
        Err(malformed) => sound_reason(&malformed.0),
    }
    if let Ok(tree) = Value::read(payload)
        && let Some(other) = disguised(&tree, KEYS)
        && let (Err(one), Err(other)) = (
            Command::decode(&tree.to_cbor()),
            Command::decode(&other.to_cbor()),
        )
    {
        assert_eq!(one, other, "a refusal tells a secret");
    }
}

fn taken(command: &Command) {
    for form in [Form::Cbor, Form::Json] {
        assert_eq!(Command::decode(&command.encode(form)).as_ref(), Ok(command));
    }
    if let Order::Codes { salt, digests } = &command.order {
        assert!((16..=64).contains(&salt.len()) && digests.len() <= BANK_CODES_MAX);
        let digest = [0; 32];
        let others = digests.iter().map(|code| BankCode { digest, ..*code });
        let order = Order::Codes {
            salt: vec![0; 16],
            digests: others.collect(),
        };
        let other = Command {
            order,
            ..command.clone()
        };
        assert_eq!(
            format!("{command:?}"),
            format!("{other:?}"),
            "a secret is printed"
        );
    }
}
