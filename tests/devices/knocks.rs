//! Who can't get in is found, with the reason and the remedy.

use std::net::Ipv4Addr;

use crate::bed::{Bed, Device3, Device5, ESTATE};
use crate::common::mosquitto::Mosquitto;
use crate::common::wait_for;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A CONNECT of MQTT 3.1, the one before 3.1.1.
const OLD_MQTT: &[u8] = b"\x10\x12\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04old1";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_let_in_is_listed_with_why_and_what_to_do() {
    let bed = Bed::running(ESTATE);
    let secret = "a-password-nobody-may-see";
    let at = bed.address;
    for (names, why) in [
        (("dves-8a3f", "dves-8a3f"), "unknown-device"),
        (("DVES_8A3F", "DVES_USER"), "client-id"),
        (("door-1", "admin"), "user-name"),
        (("door-1", "door-1"), "none-stored"),
    ] {
        assert!(Device3::login(at, names, secret).await.is_none());
        assert!(Device5::login(at, names, secret).await.is_none());
        bed.knocked(names.0, why);
    }
    bed.done(&["device", "password", "door-1"]);
    assert!(!bed.lets_in("door-1", secret).await);
    bed.knocked("door-1", "wrong-password");
    for (bytes, why) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], "tls-on-plain-port"),
        (b"GET / HTTP/1.1\r\n\r\n", "not-mqtt"),
        (OLD_MQTT, "version"),
        (b"\x10\xff\xff\x7f", "malformed"),
    ] {
        let _open = bed.says(HERE, bytes).await;
        bed.knocked("", why);
    }

    let listed = bed.done(&["device", "knocks"]);
    for wanted in [
        "linli device add dves-8a3f --building b1",
        "its user name must be its client id",
        "linli device rotate door-1",
        "set it to MQTT 3.1.1 or 5",
        "from 127.0.0.1, 2 times since",
    ] {
        assert!(listed.contains(wanted), "{wanted}: {listed}");
    }
    let newest = bed.knocks().into_iter().next().unwrap();
    assert_eq!(newest, (String::new(), "malformed".to_string()));
    assert!(
        bed.done(&["devices"])
            .contains("2 unknown devices knocked: linli device knocks")
    );
    assert!(bed.done(&["status"]).contains("2 unknown devices knocked"));
    let all = format!("{listed}{}", bed.json(&["device", "knocks"]));
    assert!(!all.contains(secret) && !bed.log().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_got_in_is_listed_no_more_and_a_flood_pushes_nobody_out() {
    let bed = Bed::running(ESTATE);
    let password = bed
        .done(&["device", "password", "door-1"])
        .trim()
        .to_string();
    assert!(!bed.lets_in("door-1", "wrong-password").await);
    bed.knocked("door-1", "wrong-password");
    assert!(bed.lets_in("door-1", &password).await);
    assert_eq!(bed.knocks(), []);

    let connect = |id: &str| {
        let mut packet = b"\x00\x04MQTT\x04\x02\x00\x3c".to_vec();
        packet.extend([0, u8::try_from(id.len()).unwrap()]);
        packet.extend(id.as_bytes());
        [&[0x10, u8::try_from(packet.len()).unwrap()][..], &packet].concat()
    };
    let _quiet = bed
        .says(Ipv4Addr::new(127, 0, 0, 2), &connect("quiet"))
        .await;
    bed.knocked("quiet", "unknown-device");
    for n in 0..200 {
        bed.says(HERE, &connect(&format!("flood-{n}"))).await;
    }
    let _last = bed.says(HERE, &connect("last")).await;
    bed.knocked("last", "unknown-device");
    let left = wait_for("the flood to be bounded", || {
        let left = bed.knocks();
        (left.len() <= linli::knocks::FROM_ONE_MAX + 1).then_some(left)
    });
    assert!(left.iter().any(|(id, _)| id == "quiet"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_behind_somebody_elses_broker_are_listed_too() {
    let Some(broker) = tokio::task::block_in_place(Mosquitto::start) else {
        return;
    };
    let mut bed = Bed::new(ESTATE);
    let own = format!("broker = {{ listen = \"{}\" }}", bed.address);
    let other = format!(
        "external_broker = {{ url = \"mqtt://{}\" }}",
        broker.address
    );
    std::fs::write(bed.config(), bed.text().replace(&own, &other)).unwrap();
    bed.start();
    wait_for("the link to the broker", || {
        let status = bed.json(&["status"]);
        status["links"]["last_error"].is_null().then_some(())
    });
    let names = ("window-7", "window-7");
    let mut stranger = Device5::login(broker.address, names, "x").await.unwrap();
    stranger.sends("{\"kind\":\"hello\"}").await;
    bed.knocked("window-7", "stranger");
    let listed = bed.done(&["device", "knocks"]);
    assert!(
        listed.contains("linli device add window-7 --building b1"),
        "{listed}"
    );
    let told = bed.fails(&["device", "pair", "door-1"], 1);
    assert!(told.contains("make the password there"), "{told}");
}
