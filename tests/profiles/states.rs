//! What is said again makes nothing happen twice.

use crate::bed::{Client, How, Login, ONCE, device, kinds, mapped, own_profile, password};
use crate::common::Setup;

/// A reader of cards that says who came, and how warm it is.
const READER: &str = r#"
.payload
| {kind: "access", door: "gate", outcome: "granted", method: "card", credential: .card},
  {kind: "reading", senml: [{n: "t", v: .t}]}
"#;

#[test]
fn a_state_that_is_said_again_lets_nobody_in_again() {
    let mut setup = Setup::new();
    let profile = own_profile(&setup, "reader", READER);
    setup.more = device("gate", &profile, "");
    let _gateway = setup.start();
    let password = password(&setup, "gate");
    let login = Login {
        client_id: "reader-7",
        user: Some("gate"),
        password: Some(&password),
        will: None,
    };
    let state = How {
        retain: true,
        ..ONCE
    };
    let first = r#"{"card":"04a2","t":1}"#;
    let mut reader = Client::log_in(setup.address(), &login).unwrap();
    // Whether the first is news nobody knows; then it is the same again, after a reconnect too.
    reader.publish("reader/gate", first, state);
    reader.publish("reader/gate", first, state);
    drop(reader);
    let mut reader = Client::log_in(setup.address(), &login).unwrap();
    reader.publish("reader/gate", first, state);
    assert_eq!(kinds(&setup, "gate"), ["reading"; 3]);
    // Another state is news, and what is no state is news each time.
    reader.publish("reader/gate", r#"{"card":"04a3","t":1}"#, state);
    assert_eq!(kinds(&setup, "gate")[3..], ["access", "reading"]);
    reader.publish("reader/gate", first, ONCE);
    reader.publish("reader/gate", first, ONCE);
    assert_eq!(
        kinds(&setup, "gate")[5..],
        ["access", "reading", "access", "reading"]
    );
}

#[test]
fn a_delivery_that_is_repeated_is_acknowledged_and_no_more() {
    let mut setup = Setup::new();
    let profile = own_profile(&setup, "reader", READER);
    setup.more = device("gate", &profile, "");
    let _gateway = setup.start();
    let password = password(&setup, "gate");
    let login = Login {
        client_id: "reader-7",
        user: Some("gate"),
        password: Some(&password),
        will: None,
    };
    let came = r#"{"card":"04a2","t":1}"#;
    let mut reader = Client::log_in(setup.address(), &login).unwrap();
    reader.publish("reader/gate", came, ONCE);
    drop(reader);
    // As if the PUBACK had been lost.
    let mut reader = Client::log_in(setup.address(), &login).unwrap();
    let again = How {
        again: Some(1),
        ..ONCE
    };
    reader.publish("reader/gate", came, again);
    assert_eq!(kinds(&setup, "gate"), ["access", "reading"]);
    assert_eq!(mapped(&setup, "gate")["repeated"], 1);
    // The same id with something else is something else.
    reader.publish("reader/gate", r#"{"card":"04a2","t":2}"#, again);
    assert_eq!(kinds(&setup, "gate").len(), 4);
    // And so is the same once more, by a client that doesn't say that it is a repetition.
    reader.publish("reader/gate", came, ONCE);
    assert_eq!(kinds(&setup, "gate").len(), 6);
}
