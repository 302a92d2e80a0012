//! Zigbee2MQTT, Tasmota and Shelly, as they log in, publish and leave.

use serde_json::json;

use crate::bed::{
    Client, How, Login, ONCE, device, events, kinds, mapped, password, quarantined, wait_there,
};
use crate::common::Setup;

#[test]
fn zigbee2mqtt_speaks_for_its_devices() {
    let mut setup = Setup::new();
    setup.more = "\n[[bridge]]\nid = \"z2m\"\n".to_owned();
    setup.more += &device(
        "cellar",
        "zigbee2mqtt",
        "named = \"Keller/Tür 1\"\nvia = \"z2m\"",
    );
    setup.more += &device("climate", "zigbee2mqtt", "via = \"z2m\"");
    let _gateway = setup.start();
    let password = password(&setup, "z2m");
    let login = Login {
        client_id: "mqttjs_8d4f5b2c",
        user: Some("z2m"),
        password: Some(&password),
        will: Some(("zigbee2mqtt/bridge/state", "{\"state\":\"offline\"}")),
    };
    let wrong = Login {
        password: Some("wrong"),
        ..login.clone()
    };
    assert_eq!(Client::log_in(setup.address(), &wrong).err(), Some(4));
    let no_bridge = Login {
        user: Some("z3m"),
        ..login.clone()
    };
    assert!(Client::log_in(setup.address(), &no_bridge).is_err());

    let mut bridge = Client::log_in(setup.address(), &login).unwrap();
    assert_eq!(bridge.subscribe("zigbee2mqtt/#"), 1);
    let kept = How {
        retain: true,
        ..ONCE
    };
    bridge.publish("zigbee2mqtt/bridge/state", "{\"state\":\"online\"}", kept);
    // The list of all devices is larger than any packet of ours may be.
    let list = format!("[{}]", vec!["\"0x00158d00018255df\""; 20_000].join(","));
    assert!(list.len() > 300_000);
    bridge.publish("zigbee2mqtt/bridge/devices", &list, kept);
    let closed = r#"{"contact":true,"linkquality":110,"battery":100,"voltage":3015}"#;
    bridge.publish("zigbee2mqtt/Keller/Tür 1", closed, ONCE);
    bridge.publish(
        "zigbee2mqtt/climate",
        r#"{"temperature":27.34,"humidity":44.72}"#,
        ONCE,
    );
    // At QoS 0, as it does out of the box, and behind it something that is acknowledged.
    bridge.send(
        "zigbee2mqtt/Keller/Tür 1",
        br#"{"contact":false,"linkquality":110,"battery":100,"voltage":3015}"#,
        How::default(),
    );
    bridge.publish(
        "zigbee2mqtt/Keller/Tür 1/availability",
        "{\"state\":\"online\"}",
        kept,
    );

    assert_eq!(
        events(&setup, "cellar"),
        [
            reading(&json!([{"n":"open","vb":false},{"n":"battery","u":"%EL","v":100}])),
            reading(&json!([{"n":"open","vb":true},{"n":"battery","u":"%EL","v":100}])),
        ]
    );
    assert_eq!(kinds(&setup, "climate"), ["reading"]);
    wait_there(&setup, "cellar", true);
    wait_there(&setup, "climate", true);
    bridge.publish("zigbee2mqtt/climate/availability", "offline", kept);
    wait_there(&setup, "climate", false);
    let view = mapped(&setup, "cellar");
    assert_eq!(view["payloads"], 3, "{view}");
    assert_eq!(view["unmapped"], 2, "{view}");
    assert_eq!(setup.json(&["quarantine"]), json!([]));

    // When it is gone, so are its devices.
    drop(bridge);
    wait_there(&setup, "cellar", false);
    assert_eq!(setup.json(&["quarantine"]), json!([]));
}

fn reading(senml: &serde_json::Value) -> (String, serde_json::Value) {
    ("reading".to_owned(), json!({"senml": senml}))
}

#[test]
fn tasmota_and_shelly_log_in_themselves() {
    let mut setup = Setup::new();
    setup.more = device("plug", "tasmota", "named = \"tasmota_1A2B3C\"");
    setup.more += &device("ht", "shelly-gen2", "named = \"shellyplusht-b8d61a8b17cc\"");
    let _gateway = setup.start();
    let (plug, ht) = (password(&setup, "plug"), password(&setup, "ht"));

    let mut tasmota = Client::log_in(
        setup.address(),
        &Login {
            client_id: "DVES_1A2B3C",
            user: Some("plug"),
            password: Some(&plug),
            will: Some(("tele/tasmota_1A2B3C/LWT", "Offline")),
        },
    )
    .unwrap();
    assert_eq!(tasmota.subscribe("cmnd/tasmota_1A2B3C/#"), 1);
    let kept = How {
        qos: 0,
        retain: true,
        again: None,
    };
    tasmota.send("tele/tasmota_1A2B3C/LWT", b"Online", kept);
    tasmota.send(
        "tele/tasmota_1A2B3C/STATE",
        br#"{"Uptime":"0T00:00:05"}"#,
        How::default(),
    );
    let sensor = r#"{"Time":"2019-01-01T00:00:00","DS18B20":{"Temperature":49.7},"TempUnit":"C"}"#;
    tasmota.publish("tele/tasmota_1A2B3C/SENSOR", sensor, ONCE);

    let mut shelly = Client::log_in(
        setup.address(),
        &Login {
            client_id: "shellyplusht-b8d61a8b17cc",
            user: Some("ht"),
            password: Some(&ht),
            will: Some(("shellyplusht-b8d61a8b17cc/online", "false")),
        },
    )
    .unwrap();
    shelly.publish(
        "shellyplusht-b8d61a8b17cc/online",
        "true",
        How {
            retain: true,
            ..ONCE
        },
    );
    let status = include_str!("../../profiles/tests/shelly-gen2/climate.json");
    shelly.publish("shellyplusht-b8d61a8b17cc/events/rpc", status, ONCE);

    let temperature = json!([{"n":"DS18B20/temperature","u":"Cel","v":49.7}]);
    assert_eq!(events(&setup, "plug"), [reading(&temperature)]);
    assert_eq!(kinds(&setup, "ht"), ["reading"]);
    wait_there(&setup, "plug", true);
    drop(tasmota);
    wait_there(&setup, "plug", false);
    assert_eq!(setup.json(&["quarantine"]), json!([]));

    // Another's topics are nothing to it, and make nobody else say anything.
    shelly.publish("tele/tasmota_1A2B3C/SENSOR", sensor, ONCE);
    assert_eq!(kinds(&setup, "plug").len(), 1);
    // What can't be mapped is kept with the reason.
    shelly.publish("shellyplusht-b8d61a8b17cc/events/rpc", "{\"method\":", ONCE);
    let why = quarantined(&setup, "ht");
    assert!(
        why.len() == 1 && why[0].contains("the payload isn't JSON"),
        "{why:?}"
    );
}

#[test]
fn a_restart_numbers_on() {
    let mut setup = Setup::new();
    setup.more = device("cellar", "json", "named = \"sensors/cellar\"");
    let say = |setup: &Setup, password: &str| {
        let login = Login {
            client_id: "ESP-1",
            user: Some("cellar"),
            password: Some(password),
            will: None,
        };
        let mut sensor = Client::log_in(setup.address(), &login).unwrap();
        sensor.publish("sensors/cellar", "{\"t\":4.5}", ONCE);
    };
    let gateway = setup.start();
    let password = password(&setup, "cellar");
    say(&setup, &password);
    gateway.kill();
    let _gateway = setup.start();
    say(&setup, &password);
    let stored = setup.stored();
    let of: Vec<_> = stored
        .keys()
        .filter(|(device, _, _)| device == "cellar")
        .collect();
    assert_eq!(
        of.len(),
        4,
        "a hello and a reading in each of two boots: {of:?}"
    );
    assert!(of[0].1 < of[3].1);
}
