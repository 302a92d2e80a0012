//! Writes the seeds of the corpus: the contract's test vectors, and examples of all that the vectors
//! don't have. Files that aren't written here stay as they are: they are what was found.

use std::fs;
use std::path::Path;

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::uplink::{
    ClaimKind, ClaimReport, DemandReport, ParcelReport, ParcelState, Unplaceable,
};
use cloud_protocol::{
    Acked, Batch, Chain, CodeForResident, Downlink, DownlinkItem, Item, Lane, LaneBatch, Problem,
    ProblemType, Report, SealedCode,
};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident, Value};
use serde_json::Value as Json;

#[path = "mqtt_seeds.rs"]
mod mqtt;
#[path = "secure_seeds.rs"]
mod secure;
#[path = "serial_seeds.rs"]
mod serial;

/// Writes every seed below `corpus`.
pub fn write(corpus: &Path) {
    let vectors = fs::read(crate::corpus().join("../../firmware-protocols/vectors.json")).unwrap();
    let vectors: Json = serde_json::from_slice(&vectors).unwrap();
    from_vectors(corpus, &vectors);
    senml(corpus);
    topics(corpus);
    serial::boards(corpus);
    cloud(corpus);
    secure::all(corpus);
    config(corpus);
    control(corpus);
    credentials(corpus);
    mqtt::door(corpus);
    mqtt::packets(corpus);
    export(corpus);
    serial::link(corpus);
}

fn put(corpus: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder).unwrap();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    let name: String = words.join("-").chars().take(60).collect();
    fs::write(folder.join(name), bytes).unwrap();
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn from_vectors(corpus: &Path, vectors: &Json) {
    let groups = [
        ("events", "event"),
        ("arrays", "event"),
        ("variants", "event"),
        ("mixed", "event"),
        ("malformed", "event"),
        ("commands", "receipt_command"),
        ("receipts", "receipt_command"),
        ("malformed_commands", "receipt_command"),
        ("malformed_receipts", "receipt_command"),
    ];
    for (group, target) in groups {
        for (n, vector) in vectors[group].as_array().unwrap().iter().enumerate() {
            let name = vector["name"]
                .as_str()
                .or(vector["means"].as_str())
                .unwrap();
            let name = format!("{group} {name}");
            let cbor = vector["cbor"].as_str().map(unhex);
            let json = vector["json"].as_str().map(|text| text.as_bytes().to_vec());
            for (form, bytes) in [("cbor", cbor), ("json", json)] {
                let Some(bytes) = bytes else { continue };
                let target = match target {
                    "event" => format!("event_{form}"),
                    other => other.to_owned(),
                };
                put(corpus, &target, &format!("{form} {name}"), &bytes);
                if group == "variants" || group == "events" && n % 4 == 0 {
                    put(corpus, "value", &format!("{form} {name}"), &bytes);
                }
                if matches!(group, "events" | "arrays" | "mixed")
                    || group == "malformed" && n % 3 == 0
                {
                    put(corpus, "intake", &format!("{form} {name}"), &bytes);
                }
            }
        }
    }
}

fn both(corpus: &Path, target: &str, name: &str, value: &Value) {
    for (form, word) in [(Form::Cbor, "cbor"), (Form::Json, "json")] {
        put(
            corpus,
            target,
            &format!("{word} {name}"),
            &value.write(form),
        );
    }
}

fn senml(corpus: &Path) {
    let packs = [
        ("one value", r#"[{"n":"temp","u":"Cel","v":21.5}]"#),
        (
            "base values",
            r#"[{"bn":"dev-7/","bt":1780000000,"bu":"Cel","bver":10,"v":-4,"n":"t"}]"#,
        ),
        (
            "every kind",
            r#"[{"n":"a","vb":false},{"n":"b","vs":"批次-9"},{"n":"c","vd":"AQID"},{"n":"d","s":0.1,"ut":60}]"#,
        ),
        ("base sums", r#"[{"bn":"x","bv":1,"bs":2,"t":-5}]"#),
        ("unknown label", r#"[{"n":"t","v":1,"more":{"a":[1]}}]"#),
        ("must be understood", r#"[{"n":"t","v":1,"more_":1}]"#),
        (
            "float that is hard to read",
            r#"[{"n":"t","v":2.2250738585072011e-308}]"#,
        ),
    ];
    for (name, text) in packs {
        both(
            corpus,
            "senml",
            name,
            &Value::from_json(text.as_bytes()).unwrap(),
        );
    }
    let labelled = b"\x81\xa5\x21\x64dev:\x22\xf9\x3c\x00\x00\x61t\x01\x63Cel\x02\xf9\x4d\xe0";
    put(corpus, "senml", "cbor integer labels", labelled);
    put(
        corpus,
        "senml",
        "cbor a label in both ways",
        b"\x81\xa2\x00\x61t\x61n\x61t",
    );
}

fn topics(corpus: &Path) {
    let topics = [
        "linli/v1/door-1/event",
        "linli/v1/door-1/receipt",
        "linli/v1/door-1/command",
        "linli/v1/door-1/status",
        "linli/v1/door-1/event/",
        "linli/v1//event",
        "linli/v1/+/event",
        "linli/v1/#",
        "$share/g/linli/v1/door-1/event",
        "/linli/v1/door-1/event",
        "linli/v1/门/status",
    ];
    for (n, topic) in topics.iter().enumerate() {
        put(
            corpus,
            "topic",
            &format!("{n:02} {topic}"),
            topic.as_bytes(),
        );
    }
}

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn cloud(corpus: &Path) {
    let expected = ExpectedParcel {
        parcel: "P-1".into(),
        recipient: "token-of-li".into(),
        size: Size::M,
        zone: Zone::Chilled,
        point: ident("bank-a"),
        deadline: 1_780_000_000_000,
        consent: true,
        items: Some(3),
        low: true,
        return_of: Some("P-0".into()),
    };
    let courier = |proof| Downlink::Courier {
        courier: "sf-22".into(),
        proof,
        valid_until: 1_780_000_000_000,
    };
    let said = [
        ("parcel expected", Downlink::ParcelExpected(expected)),
        (
            "parcel cancelled",
            Downlink::ParcelCancelled {
                parcel: "P-1".into(),
            },
        ),
        (
            "parcel extended",
            Downlink::ParcelExtended {
                parcel: "P-1".into(),
                deadline: 1_780_000_000_000,
            },
        ),
        (
            "code reissue",
            Downlink::CodeReissue {
                parcel: "P-1".into(),
            },
        ),
        ("courier with a badge", courier(Proof::Badge([7; 32]))),
        (
            "courier with a code",
            courier(Proof::Code(Secret::new("482915"))),
        ),
        (
            "settings",
            Downlink::Settings([("retention_h".to_owned(), 48), ("x".to_owned(), -1)].into()),
        ),
    ];
    let items = said.iter().zip(1..).map(|((_, what), seq)| DownlinkItem {
        seq,
        what: Ok(what.clone()),
    });
    let items: Vec<DownlinkItem> = items.collect();
    for ((name, _), item) in said.iter().zip(&items) {
        both(
            corpus,
            "downlink",
            name,
            &DownlinkItem::write_all(std::slice::from_ref(item)),
        );
    }
    both(
        corpus,
        "downlink",
        "all kinds",
        &DownlinkItem::write_all(&items),
    );
    both(corpus, "downlink", "nothing", &DownlinkItem::write_all(&[]));
    put(corpus, "downlink", "json unknown and unreadable", br#"{"items":[{"seq":1,"kind":"new"},{"seq":2,"kind":"courier","code":"482915"},{"seq":3}]}"#);
    answers(corpus);
    uplink(corpus);
}

fn answers(corpus: &Path) {
    let acked = Acked(
        [
            (Lane::Fulfilment, 3),
            (Lane::Health, 0),
            (Lane::Demand, 9_007_199_254_740_991),
        ]
        .into(),
    );
    both(corpus, "cloud_answer", "acked", &acked.to_value());
    both(
        corpus,
        "cloud_answer",
        "nothing acked",
        &Acked::default().to_value(),
    );
    for (urn, kind) in ProblemType::WORDS {
        let problem = Problem {
            kind: Some(*kind),
            status: 409,
            title: "Items are missing".into(),
            detail: Some("第 7 项".into()),
            lane: Some("fulfilment".into()),
            expected: Some(7),
        };
        put(
            corpus,
            "cloud_answer",
            &format!("json {urn}"),
            &problem.to_value().write(Form::Json),
        );
    }
    let strange = br#"{"type":7,"title":"\u0007\u0000","status":"409","detail":"","lane":null,"expected":-1}"#;
    put(
        corpus,
        "cloud_answer",
        "json problem of wrong types",
        strange,
    );
}

fn uplink(corpus: &Path) {
    let parcel = |state, code| ParcelReport {
        parcel: "P-1".into(),
        state,
        since: 1_780_000_000_000,
        bank: Some(ident("bank-a")),
        compartment: Some(7),
        desk: None,
        code,
        unlisted: true,
        return_of: Some("P-0".into()),
    };
    let code = CodeForResident::Sealed(SealedCode {
        key: "k-1".into(),
        enc: [5; 32],
        ct: (0..22).collect(),
    });
    let claim = ClaimReport {
        parcel: "P-1".into(),
        claim: ClaimKind::Damaged,
        operator: "Li Na".into(),
        desk: ident("desk-1"),
        note: "鸡蛋碎了".into(),
        compensation_fen: Some(1_250),
        keeps: false,
        returned_as: Some("P-1-R".into()),
    };
    let unplaceable = Unplaceable {
        parcel: "P-2".into(),
        point: ident("bank-a"),
        size: Size::L,
        zone: Zone::Frozen,
        desk: Some(ident("desk-1")),
    };
    let demand = |building| DemandReport {
        building,
        start: 1_780_000_000_000,
        minutes: 60,
        revision: 1,
        series: [("comings".to_owned(), 12), ("intent:egg".to_owned(), 5)].into(),
    };
    let lanes = [
        (
            "a parcel with its code",
            Lane::Fulfilment,
            Report::Parcel(parcel(ParcelState::Expected, Some(code))),
        ),
        (
            "a parcel in a compartment",
            Lane::Fulfilment,
            Report::Parcel(parcel(ParcelState::Deposited, None)),
        ),
        ("a claim", Lane::Fulfilment, Report::Claim(claim)),
        (
            "no place",
            Lane::Fulfilment,
            Report::Unplaceable(unplaceable),
        ),
        (
            "demand of a building",
            Lane::Demand,
            Report::Demand(demand(Some(ident("b1")))),
        ),
        (
            "demand of the site",
            Lane::Demand,
            Report::Demand(demand(None)),
        ),
        (
            "health",
            Lane::Health,
            Report::Health([("events".to_owned(), 4_294_967_296)].into()),
        ),
        (
            "audit",
            Lane::Health,
            Report::Audit {
                entries: 7,
                head: [9; 32],
            },
        ),
    ];
    let part = |after, report: Report| LaneBatch {
        after,
        chain: Chain([3; 32]),
        items: vec![Item {
            seq: after + 1,
            at: 1_780_000_000_000,
            report,
        }],
    };
    for (name, lane, report) in &lanes {
        let batch = Batch {
            epoch: 1_780_000_000,
            lanes: [(*lane, part(6, report.clone()))].into(),
        };
        both(corpus, "uplink_item", name, &batch.to_value());
    }
    let all = lanes
        .into_iter()
        .map(|(_, lane, report)| (lane, part(0, report)));
    both(
        corpus,
        "uplink_item",
        "all lanes",
        &Batch {
            epoch: 0,
            lanes: all.collect(),
        }
        .to_value(),
    );
    let zero = "A".repeat(43);
    let newer = format!(
        r#"{{"epoch":1,"lanes":{{"health":{{"after":0,"chain":"{zero}","items":[{{"seq":1,"at":1,"kind":"newer","x":{{"y":0.1}}}}]}}}}}}"#
    );
    let plain = format!(
        r#"{{"epoch":1,"lanes":{{"fulfilment":{{"after":0,"chain":"{zero}","items":[{{"seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"code":{{"digits":"482915","salt":"AAECAwQFBgcICQoLDA0ODw"}}}}]}}}}}}"#
    );
    put(corpus, "uplink_item", "json a plain code", plain.as_bytes());
    put(
        corpus,
        "uplink_item",
        "json a kind from the future",
        newer.as_bytes(),
    );
}

fn config(corpus: &Path) {
    let example = include_str!("../../config/linli.toml");
    put(corpus, "config", "the example", example.as_bytes());
    let bank =
        "[[bank]]\nid = 'bank-a'\nbuilding = 'b1'\ncompartments = [{ count = 8, size = 'S' }]\n";
    let start = "site = 'willow'\nbuilding = [{ id = 'b1' }]\n";
    let rules = [
        "command_ttl_s = 10",
        "courier_session_s = 300",
        "door_open_alarm_s = 120",
        "reopen_grace_s = 60",
        "code_rest_h = 24",
        "code_min_digits = 6",
        "code_max_digits = 8",
        "guess_one_in = 1000",
        "lockout_after = 5",
        "lockout_first_s = 60",
        "lockout_longest_s = 900",
        "demand_k = 5",
        "demand_lateness_s = 900",
        "finished_keep_days = 90",
        "share_compartments = true",
        "no_sensor_hold_s = 120",
        "unlisted = 'desk'",
        "unlisted_size = 'M'",
        "retention_h = 48",
        "command_retry_s = 3",
    ];
    let cases = [
        ("the least", "site = 's'".to_owned()),
        ("nothing", String::new()),
        ("a bank", format!("{start}{bank}")),
        ("all rules", format!("{start}{bank}[rules]\n{}\n", rules.join("\n"))),
        ("an external broker", "site = 's'\n[external_broker]\nurl = 'mqtts://broker.example:8883'\nusername = 'g'\npassword_file = 'p'\nclient_id = 'c'\nca_file = 'ca.pem'\nwindow = 64\n".to_owned()),
        ("a cloud", "site = 's'\n[cloud]\nurl = 'https://cloud.example'\ngateway = 'g-1'\n".to_owned()),
        ("both brokers", "site = 's'\n[broker]\n[external_broker]\nurl = 'mqtt://x'\n".to_owned()),
        ("an unknown key", "site = 's'\nsite_name = 'x'\n".to_owned()),
        ("no building", bank.to_owned()),
        ("an id twice", format!("{start}{bank}{bank}")),
        ("a device of no point", format!("{start}[[device]]\nid = 'd'\nbuilding = 'b1'\npoint = 'x'\n")),
        ("too many compartments", format!("{start}[[bank]]\nid = 'a'\nbuilding = 'b1'\ncompartments = [{{ count = 500, size = 'S' }}, {{ count = 13, size = 'X', zone = 'hot', low = true }}]\n")),
        ("a broker", format!("{start}{bank}[broker]\nlisten = '[::1]:1883'\nanonymous = ['bank-a']\nmax_connections = 50\n")),
        ("not TOML", "site = [".to_owned()),
    ];
    for (name, text) in cases {
        put(corpus, "config", name, text.as_bytes());
    }
}

fn control(corpus: &Path) {
    let lines = [
        r#"{"request":"status"}"#,
        r#"{"request":"devices"}"#,
        r#"{"request":"parcels","state":"deposited","limit":2}"#,
        r#"{"request":"parcel","parcel":"P-1"}"#,
        r#"{"request":"events","device":"bank-a","kind":"keypad","after":-1,"limit":5,"follow":true}"#,
        r#"{"request":"quarantine","limit":18446744073709551615}"#,
        r#"{"request":"open","slot":"bank-a/7","reason":"jammed","claims":"wang"}"#,
        r#"{"request":"at-desks","desk":null}"#,
        r#"{"request":"commands","slot":"bank-a/1"}"#,
        r#"{"request":"act","act":"hand-over","code":"48 29 15","claims":"wang"}"#,
        r#"{"request":"act","act":"hand-over","code":482915}"#,
        r#"{"request":"act","act":"receive","parcel":"P-1","courier":"sf-22","desk":"desk-1"}"#,
        r#"{"request":"act","act":"claim","parcel":"P-1","kind":"damaged","note":"wet","paid_fen":1250,"keeps":true,"return_to":"bank-a"}"#,
        r#"{"request":"act","act":"transfer","parcel":"P-1"}"#,
        r#"{"request":"act","act":"retrieve","parcel":"P-1"}"#,
        r#"{"request":"act","act":"reissue","parcel":"P-1"}"#,
        r#"{"request":"act","act":"extend","parcel":"P-1","until_ms":1780000000000,"hours":2}"#,
        r#"{"request":"act","act":"disable","slot":"bank-a/1","reason":"x"}"#,
        r#"{"request":"act","act":"enable","slot":"bank-a/1"}"#,
        r#"{"request":"audit-verify","against":{"entries":7,"head":"00"}}"#,
        r#"{"request":"audit-key"}"#,
        r#"{"request":"serial-monitor","port":"/dev/ttyUSB0","raw":true}"#,
        r#"{"request":"parcel-verify","parcel":"\u0000\ud83d\ude00"}"#,
        r#"{"request":"no such thing"}"#,
        r#"["status"]"#,
    ];
    for (n, line) in lines.iter().enumerate() {
        let words = line.replace("request", "").replace("act\"", "");
        put(
            corpus,
            "control",
            &format!("{n:02} {words}"),
            line.as_bytes(),
        );
    }
}

fn credentials(corpus: &Path) {
    // argon2id of "x" at the least cost that Argon2 knows.
    let cheap = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    let ours = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    let cases = [
        ("ours", format!("# Passwords of devices\nbank-a = {ours}\n\n  desk-1={ours}  \n")),
        ("cheap", format!("a = {cheap}\nb = {cheap}\n")),
        ("one device twice", format!("a = {cheap}\na = {ours}\n")),
        ("nothing", String::new()),
        ("plain", "a = plaintext\n".to_owned()),
        ("no equals sign", "# x\n\nbank-a".to_owned()),
        ("no hash", "a = $argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ\n".to_owned()),
        ("too dear", "a = $argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g\n".to_owned()),
        ("scrypt", "a = $scrypt$ln=14,r=8,p=1$c29tZXNhbHQ$aGFzaA\n".to_owned()),
        ("more parameters", "a = $argon2id$v=19$m=8,t=1,p=1,keyid=eA,data=eA$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g\n".to_owned()),
    ];
    for (name, text) in cases {
        put(corpus, "credentials", name, text.as_bytes());
    }
}

fn export(corpus: &Path) {
    let zero = "0".repeat(64);
    let payload = |steps: &str, entries: u64, chain: &str| {
        format!(
            r#"{{"format": "linli/v1/parcel-history", "site": "willow-court", "version": "0.1.0",
"exported": "2026-11-22T00:00:00.000Z", "exported_ms": 1795305600000, "exported_quality": "synchronised",
"public_key": "KEY", "recipient": null, "parcel": {{"state": "deposited"}}, "parcel_id": "P-1",
"steps": [{steps}], "head": {{"entries": {entries}, "chain": "{chain}"}}}}"#
        )
    };
    let step = |n: u64, chain: &str| {
        format!(
            r#"{{"n": {n}, "time": "1970-01-01T00:00:00.000Z", "at": 0, "quality": "unknown", "tick": 1,
"step": "expected", "who": "cloud", "detail": null, "previous": "{zero}", "chain": "{chain}"}}"#
        )
    };
    let entry = linli::store::trace::Entry {
        n: 1,
        parcel: "P-1",
        at_ms: 0,
        quality: "unknown",
        tick_ms: 1,
        step: "expected",
        who: "cloud",
        detail: None,
    };
    let chain = linli::audit::hex::hex(&entry.chain(Chain::default()).0);
    let cases = [
        ("without steps", payload("", 0, &zero)),
        ("one step that holds", payload(&step(1, &chain), 1, &chain)),
        (
            "one step below the head",
            payload(&step(1, &chain), 9, &zero),
        ),
        (
            "one step of another hash",
            payload(&step(1, &zero), 1, &zero),
        ),
        (
            "a step beyond the head",
            payload(&step(1, &chain), 0, &zero),
        ),
        (
            "twice the same step",
            payload(&[step(1, &chain), step(1, &chain)].join(","), 1, &chain),
        ),
        ("a head that is no hash", payload("", 0, "xyz")),
        ("another format", payload("", 0, &zero).replace("v1", "v2")),
    ];
    for (name, text) in cases {
        put(corpus, "export", name, text.as_bytes());
    }
    put(corpus, "export", "only the frame", b"\n-----BEGIN LINLI SIGNATURE-----\nAA==\n-----END LINLI SIGNATURE-----\n-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n");
}
