//! What a client can't do to the daemon or to the others: speak too long, keep silent, read nothing,
//! come in numbers, talk nonsense.

use std::io::Write as _;
use std::time::{Duration, Instant};

use firmware_protocols::value::map;
use linli::control::Limits;

use crate::bed::{Bed, PATIENCE};

#[test]
fn an_oversized_request_is_refused_and_the_connection_closed() {
    let bed = Bed::new();
    let mut client = bed.connect();
    let stream = client.0.get_mut();
    // The server may close before all of it is written.
    let _ = stream.write_all(&vec![b'x'; 80 * 1024]);
    let refused = client.hear().unwrap();
    assert_eq!(refused["error"]["kind"], "bad-request");
    assert!(client.hear().is_none());
    assert_eq!(bed.linli(&["banks"]).code, 0);
}

#[test]
fn nonsense_is_answered_and_the_next_request_served() {
    let bed = Bed::new();
    let mut client = bed.connect();
    let nonsense = [
        "",
        "status",
        "[]",
        "{}",
        r#"{"request":"format-disk"}"#,
        r#"{"request":"parcel"}"#,
        r#"{"request":"parcels","limit":-1}"#,
        r#"{"request":"parcels","state":"lost"}"#,
        &"[".repeat(30_000),
        "\u{0}\u{1}",
    ];
    for line in nonsense {
        client.say(line);
        let refused = client.hear().unwrap();
        assert_eq!(refused["error"]["kind"], "bad-request", "{line}: {refused}");
    }
    client.0.get_mut().write_all(b"\xff\xfe\n").unwrap();
    assert_eq!(client.hear().unwrap()["error"]["kind"], "bad-request");
    client.say(r#"{"request":"sync"}"#);
    assert!(client.hear().unwrap()["item"]["lanes"].is_array());
    assert_eq!(
        client.hear().unwrap(),
        serde_json::json!({"end": {"cut": false}})
    );
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let bed = Bed::new();
    let mut client = bed.connect();
    client.say(
        "{\"request\":\"parcel\",\"parcel\":\"P-1\"}\n{\"request\":\"parcel\",\"parcel\":\"P-2\"}",
    );
    assert_eq!(client.hear().unwrap()["item"]["parcel"], "P-1");
    assert!(client.hear().unwrap()["end"].is_object());
    assert_eq!(client.hear().unwrap()["item"]["parcel"], "P-2");
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody_and_loses_its_connection() {
    let bed = Bed::within(Limits {
        write: Duration::from_millis(500),
        ..Limits::default()
    });
    // More than the socket's buffers hold.
    let text = "x".repeat(1_000);
    for _ in 0..2_000 {
        bed.happens(1, "alarm", &map([("alarm", Some(text.as_str().into()))]));
    }
    let mut stuck: Vec<_> = (0..8).map(|_| bed.connect()).collect();
    for client in &mut stuck {
        client.say(r#"{"request":"events","limit":5000}"#);
    }
    let start = Instant::now();
    assert_eq!(bed.linli(&["status"]).code, 0);
    assert_eq!(bed.linli(&["events", "--limit", "5000"]).code, 0);
    assert!(start.elapsed() < PATIENCE / 2);
    // They were cut off in the middle: only what the kernel held for them is left.
    for mut client in stuck {
        wait_until_closed(&client);
        assert!(client.rest() < 2_000_000);
    }
}

/// Waits until the other end has closed: then nothing can be written any more.
fn wait_until_closed(client: &crate::bed::Raw) {
    let start = Instant::now();
    while client.0.get_ref().write_all(b" ").is_ok() {
        assert!(
            start.elapsed() < PATIENCE,
            "the server keeps a stuck client"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_silent_client_is_closed() {
    let bed = Bed::within(Limits {
        idle: Duration::from_millis(100),
        ..Limits::default()
    });
    let mut silent = bed.connect();
    assert!(silent.hear().is_none());
    let mut slow = bed.connect();
    slow.0.get_mut().write_all(b"{\"request\":").unwrap();
    assert!(slow.hear().is_none());
}

#[test]
fn one_too_many_is_told_so_and_a_place_that_is_left_is_taken_again() {
    let bed = Bed::within(Limits {
        connections: 2,
        ..Limits::default()
    });
    let mut first = bed.connect();
    let mut second = bed.connect();
    for client in [&mut first, &mut second] {
        client.say(r#"{"request":"parcel","parcel":"P-1"}"#);
        assert!(client.hear().unwrap()["item"].is_object());
    }
    let refused = bed.linli(&["banks"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("too many are connected"),
        "{refused:?}"
    );
    drop(first);
    let start = Instant::now();
    while bed.linli(&["banks"]).code != 0 {
        assert!(start.elapsed() < PATIENCE, "the place stays taken");
    }
}

#[test]
fn one_who_follows_may_stop_and_ask_on() {
    let bed = Bed::new();
    let mut client = bed.connect();
    client.say(r#"{"request":"events","follow":true,"limit":1}"#);
    assert_eq!(client.hear().unwrap()["item"]["id"], 4);
    client.say(r#"{"request":"parcel","parcel":"P-1"}"#);
    assert!(client.hear().unwrap()["end"].is_object());
    assert_eq!(client.hear().unwrap()["item"]["parcel"], "P-1");
}

#[test]
fn the_socket_is_for_its_owner_and_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = Bed::new();
    let mode = std::fs::metadata(&bed.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
