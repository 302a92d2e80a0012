//! Devices of other makers behind somebody else's broker.

use crate::bed::{Client, How, Login, ONCE, device, kinds, own_profile, wait_there};
use crate::common::mosquitto::Mosquitto;
use crate::common::{Setup, wait_for};

#[test]
fn what_is_published_at_the_operators_broker_is_mapped() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let anybody = |name: &'static str| Login {
        client_id: name,
        ..Login::default()
    };
    let mut device_of = Client::log_in(broker.address, &anybody("mqttjs_1")).unwrap();
    // It lies there before the gateway comes.
    let state = How {
        retain: true,
        ..ONCE
    };
    device_of.publish("reader/gate", "{\"card\":\"04a2\",\"t\":1}", state);

    let mut setup = Setup::new();
    setup.external = Some(broker.address);
    let profile = own_profile(
        &setup,
        "reader",
        r#"
        .payload
        | {kind: "access", door: "gate", outcome: "granted", credential: .card},
          {kind: "reading", senml: [{n: "t", v: .t}]}
        "#,
    );
    setup.more = "\n[[bridge]]\nid = \"z2m\"\n".to_owned();
    setup.more += &device("gate", &profile, "");
    setup.more += &device("cellar", "zigbee2mqtt", "via = \"z2m\"");
    let _gateway = setup.start();
    let has = |device: &str, wanted: &[&str]| {
        wait_for(&format!("{wanted:?} of {device}"), || {
            (kinds(&setup, device) == wanted).then_some(())
        });
    };
    has("gate", &["reading"]);
    device_of.publish("reader/gate", "{\"card\":\"04a3\",\"t\":2}", ONCE);
    has("gate", &["reading", "access", "reading"]);
    device_of.publish(
        "zigbee2mqtt/cellar",
        "{\"contact\":true,\"linkquality\":70}",
        ONCE,
    );
    device_of.publish(
        "zigbee2mqtt/cellar/availability",
        "{\"state\":\"offline\"}",
        state,
    );
    has("cellar", &["reading"]);
    wait_there(&setup, "cellar", false);
    assert_eq!(setup.json(&["quarantine"]), serde_json::json!([]));
}
