//! What a new configuration changes, by its text.

use super::*;

const BASE: &str = "
site = 'court'
[broker]
anonymous = ['door-1']
[[building]]
id = 'b1'
[[bank]]
id = 'bank-a'
building = 'b1'
address = 'Gate'
compartments = [{ count = 4, size = 'S' }]
[[device]]
id = 'door-1'
building = 'b1'
";

fn between(old: &str, new: &str) -> Change {
    let parse = |text: &str| Config::parse(text).unwrap();
    Change::between(&parse(old), &parse(new))
}

/// The base with one text in the place of another.
fn with(from: &str, to: &str) -> Change {
    assert!(BASE.contains(from), "{from}");
    between(BASE, &BASE.replacen(from, to, 1))
}

#[test]
fn the_same_configuration_changes_nothing() {
    let same = between(BASE, &format!("# another comment\n{BASE}"));
    assert!(same.told.is_empty() && same.after_restart.is_empty());
    assert!(same.dismissed.is_empty());
    let any = [same.journal, same.cloud, same.tls, same.mapped];
    assert_eq!(any, [false; 4]);
    // What is left out is what is the default.
    let default = with(
        "[broker]",
        "[broker]\nmax_connections = 1200\nlisten = '127.0.0.1:1883'",
    );
    assert!(default.told.is_empty() && default.after_restart.is_empty());
}

#[test]
fn devices_that_come_go_and_change_are_named() {
    let more = "id = 'door-1'\nbuilding = 'b1'\n[[device]]\nid = 'door-2'\nbuilding = 'b1'";
    let change = with("id = 'door-1'\nbuilding = 'b1'", more);
    assert_eq!(change.told, ["device new: door-2"]);
    assert!(change.journal && change.dismissed.is_empty());
    let other = BASE.replace("anonymous = ['door-1']", "anonymous = []");
    let other = other.replace("id = 'door-1'", "id = 'door-9'");
    let change = between(BASE, &other);
    assert_eq!(
        change.told,
        [
            "device new: door-9",
            "device gone: door-1",
            "broker.anonymous, from the next logins on"
        ]
    );
    assert_eq!(change.dismissed, [Ident::new("door-1").unwrap()]);
    let change = with("count = 4", "count = 5");
    assert_eq!(change.told, ["device set otherwise: bank-a"]);
    assert!(change.journal);
    let many: String = (0..30)
        .map(|n| format!("[[device]]\nid = 'd-{n}'\nbuilding = 'b1'\n"))
        .collect();
    let change = between(BASE, &format!("{BASE}{many}"));
    assert!(change.told[0].starts_with("devices new: d-0, d-1, "));
    assert!(
        change.told[0].ends_with(" and 20 more"),
        "{:?}",
        change.told
    );
}

#[test]
fn a_device_that_moves_to_a_serial_port_is_dismissed_from_mqtt() {
    let port = "[[port]]\nid = 'p1'\npath = '/dev/ttyS1'\nprotocol = 'lines'\n";
    let on =
        "id = 'door-1'\nbuilding = 'b1'\npoint = 'bank-a'\nserial = { port = 'p1', says = 'scan' }";
    let new = BASE.replace("id = 'door-1'\nbuilding = 'b1'", on) + port;
    let change = between(BASE, &new.replace("anonymous = ['door-1']", ""));
    assert_eq!(change.dismissed, [Ident::new("door-1").unwrap()]);
}

#[test]
fn what_needs_a_restart_is_named_and_stays_as_it_is() {
    let change = with(
        "site = 'court'",
        "site = 'park'\nstate_dir = '/tmp/elsewhere'",
    );
    assert_eq!(change.after_restart, ["site", "state_dir"]);
    assert_eq!(change.config.site.as_str(), "court");
    assert!(!change.journal, "the layout has the site that holds");
    let change = with("[broker]", "[control]\nsocket = '/run/x.sock'\n[broker]");
    assert_eq!(change.after_restart, ["control.socket"]);
    assert_eq!(
        change.config.socket(),
        Config::parse(BASE).unwrap().socket()
    );
    let change = with(
        "[broker]",
        "[broker]\nlisten = '0.0.0.0:1883'\nmax_connections = 9",
    );
    assert_eq!(change.after_restart, ["broker.listen"]);
    assert_eq!(change.told, ["broker.max_connections"]);
    let again = Change::between(&change.config, &Config::parse(BASE).unwrap());
    assert!(again.after_restart.is_empty(), "back as it was");
}

#[test]
fn one_kind_of_broker_stays_until_the_restart_and_the_rest_is_taken() {
    let external = BASE.replace(
        "[broker]\nanonymous = ['door-1']",
        "[external_broker]\nurl = 'mqtt://10.0.0.1'",
    );
    let change = between(BASE, &external.replace("count = 4", "count = 6"));
    assert_eq!(change.after_restart, ["external_broker"]);
    assert!(change.config.external_broker.is_none() && change.journal);
    let back = between(&external, BASE);
    assert_eq!(back.after_restart, ["external_broker"]);
    assert!(back.config.external_broker.is_some());
    let other = between(&external, &external.replace("10.0.0.1", "10.0.0.2"));
    assert!(other.after_restart.is_empty());
    let url = other.config.external_broker.unwrap().url;
    assert_eq!(url, "mqtt://10.0.0.2");
}

#[test]
fn the_listener_for_tls_keeps_its_address_and_takes_its_names() {
    let tls = |listen: &str, names: &str| {
        let section = format!("[broker.tls]\nlisten = '{listen}'\nnames = [{names}]\n[[building]]");
        BASE.replacen("[[building]]", &section, 1)
    };
    let (one, other) = (tls("127.0.0.1:8883", ""), tls("127.0.0.1:8884", "'box'"));
    let change = between(&one, &other);
    assert_eq!(change.after_restart, ["broker.tls.listen"]);
    assert!(change.tls);
    let kept = change.config.broker.unwrap().tls.unwrap();
    assert_eq!((kept.listen.port(), kept.names.len()), (8883, 1));
    let added = between(BASE, &one);
    assert_eq!(added.after_restart, ["broker.tls"]);
    assert!(!added.tls && added.config.broker.unwrap().tls.is_none());
}

#[test]
fn the_other_keys_are_told_by_their_names() {
    let sections = [
        ("[rules]\nlockout_after = 9\n", "rules", true),
        ("[limits]\nevents_per_s = 9\n", "limits", false),
        ("[retention]\naccess_days = 3\n", "retention", true),
        ("[journal]\ngather_ms = 0\n", "journal.gather_ms", true),
    ];
    for (section, told, journal) in sections {
        let change = between(
            BASE,
            &BASE.replacen("[[building]]", &format!("{section}[[building]]"), 1),
        );
        assert_eq!(change.told, [told]);
        assert_eq!(change.journal, journal, "{told}");
    }
    let cloud = "[cloud]\nurl = 'https://cloud.example'\n[[building]]";
    assert!(with("[[building]]", cloud).cloud);
    let building = with("[[building]]", "[[building]]\nid = 'b2'\n[[building]]");
    assert_eq!(building.told, ["building new: b2"]);
}
