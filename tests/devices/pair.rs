//! A device that is being set up is waited for.

use std::net::Ipv4Addr;

use crate::bed::{Bed, Device3, Device5, ESTATE};
use crate::common::wait_for;

const EVENT: &str = r#"{"kind":"access","boot":1,"seq":1,"door":"gate","outcome":"granted"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_comes_under_the_name_is_taken_and_no_other() {
    let bed = Bed::running(ESTATE);
    let names = ("door-1", "door-1");
    assert!(!bed.lets_in("door-1", "its-own-password").await);
    let mut pair = bed.goes_on(&["device", "pair", "door-1", "--for", "900"]);
    pair.says("Waiting 900 s for door-1");

    // Others that knock are told, and what they must change.
    for (names, password, told) in [
        (
            ("door-2", "door-2"),
            "its-own-password",
            "linli device add door-2",
        ),
        (
            ("door-1", "admin"),
            "its-own-password",
            "its user name must be its client id",
        ),
        (names, "short", "its password hasn't 8 to 128 bytes"),
    ] {
        assert!(Device5::login(bed.address, names, password).await.is_none());
        pair.says(told);
    }
    let told = bed.fails(&["device", "pair", "bank-a"], 1);
    assert!(told.contains("somebody waits for door-1"), "{told}");

    let mut device = Device3::login(bed.address, names, "its-own-password")
        .await
        .unwrap();
    pair.says("door-1 is in, from 127.0.0.1, MQTT 3.1.1");
    assert!(
        !bed.lets_in("door-1", "another-password").await,
        "one is enough"
    );
    device.sends(EVENT).await;
    let (code, out, _) = pair.ends();
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("its first event: access"), "{out}");

    // From now on it is a device like any other.
    assert!(bed.lets_in("door-1", "its-own-password").await);
    assert!(!bed.lets_in("door-1", "another-password").await);
    let told = bed.fails(&["device", "pair", "door-1"], 1);
    assert!(told.contains("linli device rotate door-1"), "{told}");
    let log = bed.log();
    assert!(
        log.contains("a device is waited for") && log.contains("operator"),
        "{log}"
    );
    assert!(!log.contains("its-own-password"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_there_is_replaced_only_when_asked_and_from_where_was_said() {
    let bed = Bed::running(ESTATE);
    bed.done(&["device", "password", "door-1"]);
    let args = [
        "device",
        "pair",
        "door-1",
        "--replace",
        "--json",
        "--from",
        "127.0.0.3",
    ];
    let mut pair = bed.goes_on(&args);
    pair.says("\"step\":\"open\"");
    assert!(!bed.lets_in("door-1", "its-own-password").await);
    pair.says("other-address");
    let connect =
        b"\x10\x2a\x00\x04MQTT\x04\xc2\x00\x3c\x00\x06door-1\x00\x06door-1\x00\x0aits-own-pw";
    let length = u8::try_from(connect.len() - 2).unwrap();
    let connect = [&[0x10, length], &connect[2..]].concat();
    let _device = bed.says(Ipv4Addr::new(127, 0, 0, 3), &connect).await;
    pair.says("\"step\":\"paired\"");
    let out = wait_for("the end", || {
        let out = pair.out();
        out.contains("\"step\":\"closed\"").then_some(out)
    });
    let steps: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let paired = steps.iter().find(|step| step["step"] == "paired").unwrap();
    assert_eq!(
        (&paired["from"], &paired["taken"]),
        (&"127.0.0.3".into(), &true.into())
    );
    assert_eq!(pair.ends().0, Some(0));
    assert!(bed.lets_in("door-1", "its-own-pw").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_closes_in_time_and_with_its_command() {
    let bed = Bed::running(ESTATE);
    let mut pair = bed.goes_on(&["device", "pair", "door-1", "--for", "900"]);
    pair.says("Waiting");
    pair.interrupt();
    assert_eq!(pair.ends().0, Some(130));

    let mut pair = wait_for("the window to be closed", || {
        let mut pair = bed.goes_on(&["device", "pair", "door-1", "--for", "10"]);
        wait_for("an answer", || {
            let over = pair.child.try_wait().unwrap().is_some();
            (over || pair.out().contains("Waiting")).then_some(())
        });
        pair.out().contains("Waiting").then_some(pair)
    });
    assert!(
        Device5::login(bed.address, ("door-2", "door-2"), "x")
            .await
            .is_none()
    );
    pair.says("door-2");
    let (code, _, err) = pair.ends();
    assert_eq!(code, Some(1));
    assert!(err.contains("door-1 didn't come within 10 s"), "{err}");
    assert!(
        err.contains("linli device add door-2 --building b1"),
        "{err}"
    );
    assert!(
        !bed.lets_in("door-1", "its-own-password").await,
        "it is over"
    );
}
