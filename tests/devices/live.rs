//! A daemon that runs takes what is added, and lets go what is removed, without a restart.

use crate::bed::{Bed, Device3, Device5, ESTATE};

const EVENT: &str = r#"{"kind":"access","boot":1,"seq":1,"door":"gate","outcome":"granted"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_added_gets_in_at_once_and_one_that_is_removed_is_put_out() {
    let bed = Bed::running(ESTATE);
    let names = ("door-2", "door-2");
    assert!(Device5::login(bed.address, names, "x").await.is_none());
    bed.knocked("door-2", "unknown-device");
    let added = bed.json(&["device", "add", "door-2"]);
    assert_eq!(added["taken"], true, "{added}");
    let password = added["password"].as_str().unwrap();
    let mut device = Device5::login(bed.address, names, password).await.unwrap();
    device.sends(EVENT).await;
    assert_eq!(bed.knocks(), [], "it is in");
    let removed = bed.json(&["device", "remove", "door-2", "--yes"]);
    assert_eq!(removed["taken"], true, "{removed}");
    device.ends().await;
    assert!(!bed.lets_in("door-2", password).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_waited_for_is_added_and_stays_only_if_it_came() {
    let bed = Bed::running(ESTATE);
    let before = bed.text();
    let mut pair = bed.goes_on(&["device", "pair", "door-2", "--for", "900"]);
    pair.says("Waiting");
    assert!(bed.text().contains("door-2"));
    pair.interrupt();
    let (code, _, err) = pair.ends();
    assert_eq!(code, Some(130));
    assert!(
        err.contains("door-2 was taken out of the configuration again"),
        "{err}"
    );
    assert_eq!(bed.text(), before);
    assert!(!bed.lets_in("door-2", "its-own-password").await);

    let mut pair = bed.goes_on(&["device", "pair", "door-2", "--for", "900"]);
    pair.says("Waiting");
    let names = ("door-2", "door-2");
    let mut device = Device3::login(bed.address, names, "its-own-password")
        .await
        .unwrap();
    device.sends(EVENT).await;
    let (code, out, _) = pair.ends();
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("its first event: access"), "{out}");
    assert!(bed.text().contains("door-2"));
    assert!(bed.lets_in("door-2", "its-own-password").await);
}
