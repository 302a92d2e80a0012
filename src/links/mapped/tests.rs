//! Another configuration while it runs. What a worker makes of payloads is tried on the real daemon.

use async_trait::async_trait;

use super::*;

struct Nobody;

#[async_trait]
impl DeviceIntake for Nobody {
    async fn events(&self, _: &Ident, _: Bytes) -> Answer {
        Answer::Taken
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
    fn presence(&self, _: &Ident, _: bool) {}
    fn command_sent(&self, _: String) {}
}

fn config(devices: &str) -> Config {
    let text =
        format!("site = \"s\"\n[[building]]\nid = \"b1\"\n[[bridge]]\nid = \"z2m\"\n{devices}");
    Config::parse(&text).unwrap()
}

fn device(id: &str, more: &str) -> String {
    format!("[[device]]\nid = \"{id}\"\nbuilding = \"b1\"\n{more}\n")
}

fn mapped(config: &Config) -> Mapped {
    let boots = || Ok(HashMap::from([(Ident::new("a").unwrap(), 7)]));
    Mapped::start(
        config,
        PathBuf::from("/nowhere"),
        Arc::new(Nobody),
        Clock::system(),
        Box::new(boots),
    )
    .unwrap()
}

fn id(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

const DOOR: &str = "profile = \"zigbee2mqtt\"\nnamed = \"door\"\nvia = \"z2m\"";

#[tokio::test]
async fn another_configuration_takes_the_place_of_the_former() {
    let mapped = mapped(&config(&device("a", DOOR)));
    let mut changed = mapped.changed();
    assert!(mapped.is_client(&id("z2m")) && !mapped.is_client(&id("a")));
    assert!(mapped.has_topic("zigbee2mqtt/door"));
    assert!(!mapped.has_topic("zigbee2mqtt/door/set"));
    assert_eq!(mapped.packet_max_bytes(&id("z2m")), BRIDGE_PACKET_MAX_BYTES);
    assert_eq!(mapped.packet_max_bytes(&id("a")), limits::PACKET_MAX_BYTES);
    let lane = Arc::clone(&mapped.plan().devices[&id("a")].lane);

    let named = DOOR.replace("\"door\"", "\"gate\"");
    let two = device("a", &named) + &device("b", "profile = \"tasmota\"");
    mapped.replace(&config(&two)).unwrap();
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    assert!(!mapped.has_topic("zigbee2mqtt/door"));
    assert!(mapped.has_topic("zigbee2mqtt/gate") && mapped.has_topic("tele/b/LWT"));
    assert!(mapped.is_client(&id("b")));
    let plan = mapped.plan();
    assert!(
        Arc::ptr_eq(&lane, &plan.devices[&id("a")].lane),
        "its profile is as it was"
    );
    let numbering = Arc::clone(&plan.devices[&id("a")].numbering);

    // One that comes back goes on with its numbers.
    mapped.replace(&config("")).unwrap();
    assert!(mapped.topics().is_empty() && !mapped.is_client(&id("b")));
    assert!(mapped.is_client(&id("z2m")));
    mapped.replace(&config(&two)).unwrap();
    assert!(Arc::ptr_eq(
        &numbering,
        &mapped.plan().devices[&id("a")].numbering
    ));
}

#[tokio::test]
async fn a_file_that_was_mended_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let named = format!("profile = {:?}", file.to_str().unwrap());
    let config = config(&device("a", &named));
    let mapped = mapped(&config);
    let view = mapped.views().remove(0);
    assert_eq!(view.state, MappedState::Broken);
    assert!(view.why.unwrap().contains("can't be read"));
    std::fs::write(
        &file,
        "about = 'x'\ntopics = ['{name}/x']\npayload = 'json'\nprogram = '.'\n",
    )
    .unwrap();
    mapped.replace(&config).unwrap();
    assert_eq!(mapped.views()[0].state, MappedState::Works);
    assert_eq!(mapped.topics(), ["a/x"]);
}

#[tokio::test]
async fn without_a_worker_nothing_is_taken_and_nothing_is_lost() {
    let mapped = mapped(&config(&device("a", DOOR)));
    let publication = |topic: &str| Publication {
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"{\"contact\":true}"),
        id: Some(1),
        again: false,
        retained: Retained::No,
    };
    assert!(
        mapped
            .publication(&id("z2m"), publication("zigbee2mqtt/x"))
            .is_none()
    );
    assert_eq!(mapped.views()[0].unmapped, 1);
    let taking = mapped.publication(&id("z2m"), publication("zigbee2mqtt/door"));
    let answer = taking.unwrap().await;
    assert!(
        matches!(&answer, Answer::NotTaken(why) if why.contains("the worker can't be started")),
        "{answer:?}"
    );
    assert_eq!(mapped.views()[0].refused, 0);
}
