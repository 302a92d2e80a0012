//! Passwords that are changed while their device is away.

use std::fs;

use crate::bed::{Bed, ESTATE};

#[tokio::test(flavor = "multi_thread")]
async fn both_passwords_are_good_until_the_device_has_come_with_the_new_one() {
    let mut bed = Bed::running(ESTATE);
    let old = bed.done(&["device", "rotate", "door-1"]).trim().to_string();
    assert!(bed.lets_in("door-1", &old).await);
    let made = bed.json(&["device", "rotate", "door-1"]);
    let new = made["password"].as_str().unwrap().to_string();
    let until_ms = made["old_good_until_ms"].as_i64().unwrap();
    assert!(bed.lets_in("door-1", &old).await, "it wasn't told yet");

    // It is shown that it waits, and until when.
    let devices = bed.json(&["devices"]);
    let mut devices = devices.as_array().unwrap().iter();
    let door = devices.find(|device| device["device"] == "door-1").unwrap();
    assert_eq!(door["rotation"]["until_ms"], until_ms);
    assert!(
        bed.done(&["devices"])
            .contains("door-1 hasn't come with its new password")
    );
    assert!(
        bed.done(&["status"])
            .contains("1 device hasn't come with a new password yet: door-1")
    );
    assert_eq!(
        bed.json(&["status"])["rotating"],
        serde_json::json!(["door-1"])
    );

    assert!(bed.lets_in("door-1", &new).await);
    assert!(!bed.lets_in("door-1", &old).await, "the old one is dropped");
    assert!(!bed.done(&["devices"]).contains("new password"));
    bed.knocked("door-1", "wrong-password");

    // On disk too, and a power cut brings nothing back.
    bed.kill();
    let file = bed.dir.path().join("state/passwords");
    assert_eq!(
        fs::read_to_string(&file)
            .unwrap()
            .matches("argon2id")
            .count(),
        1
    );
    bed.start();
    assert!(!bed.lets_in("door-1", &old).await);
    assert!(bed.lets_in("door-1", &new).await);
    for secret in [&old, &new] {
        assert!(!bed.log().contains(secret), "a password is in the log");
    }
}

#[test]
fn a_password_is_made_only_for_what_logs_in_itself() {
    let estate = format!(
        "{ESTATE}\n[[bridge]]\nid = \"z2m\"\n\n[[device]]\nid = \"window-1\"\nbuilding = \"b1\"\nprofile = \"zigbee2mqtt\"\nvia = \"z2m\"\n"
    );
    let bed = Bed::new(&estate);
    for command in ["password", "rotate"] {
        let told = bed.fails(&["device", command, "window-1"], 1);
        assert!(told.contains("linli device password z2m"), "{told}");
        let told = bed.fails(&["device", command, "nobody"], 4);
        assert!(told.contains("linli device add nobody"), "{told}");
    }
}
