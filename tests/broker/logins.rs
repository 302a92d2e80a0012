//! Who gets in.

use crate::BOTH;
use crate::embedded::*;

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_checked() {
    let broker = Broker::start().await;
    let base = |version| Connect::new(version, "bank-a");
    let cases: Vec<(&str, Connect, Connect, u8, u8)> = [
        (
            "wrong password",
            (|c: &mut Connect| c.password = Some(b"wrong".to_vec())) as fn(&mut Connect),
            4,
            0x86,
        ),
        ("no password", |c| c.password = None, 4, 0x86),
        ("empty password", |c| c.password = Some(vec![]), 4, 0x86),
        (
            "no user name",
            |c| {
                c.username = None;
                c.password = None
            },
            4,
            0x86,
        ),
        (
            "another's name",
            |c| c.username = Some(b"door-1".to_vec()),
            4,
            0x86,
        ),
        (
            "another's id",
            |c| c.client_id = b"door-1".to_vec(),
            4,
            0x86,
        ),
        (
            "unknown device",
            |c| {
                c.client_id = b"nobody".to_vec();
                c.username = Some(b"nobody".to_vec())
            },
            4,
            0x86,
        ),
        (
            "no identifier",
            |c| c.client_id = b"Bank A".to_vec(),
            2,
            0x85,
        ),
        ("no id", |c| c.client_id = vec![], 2, 0x85),
        (
            "anonymous, but not allowed to",
            |c| {
                c.username = None;
                c.password = None
            },
            4,
            0x86,
        ),
        (
            "foreign will",
            |c| c.will = Some((b"linli/v1/door-1/status".to_vec(), b"offline".to_vec())),
            5,
            0x87,
        ),
        (
            "will on its event topic",
            |c| c.will = Some((b"linli/v1/bank-a/event".to_vec(), b"offline".to_vec())),
            5,
            0x87,
        ),
        (
            "will with something else",
            |c| c.will = Some((b"linli/v1/bank-a/status".to_vec(), b"dead".to_vec())),
            5,
            0x99,
        ),
    ]
    .into_iter()
    .map(|(name, change, three, five)| {
        let (mut v3, mut v5) = (base(Version::V3), base(Version::V5));
        change(&mut v3);
        change(&mut v5);
        (name, v3, v5, three, five)
    })
    .collect();
    for (name, v3, v5, three, five) in cases {
        for (connect, code) in [(v3, three), (v5, five)] {
            let mut client = Client::open(broker.address).await;
            client.send(&connect.packet()).await;
            let answer = client.packet().await.expect(name);
            assert_eq!((answer.first, answer.body[1]), (0x20, code), "{name}");
            assert!(client.is_closed().await, "{name}");
        }
    }
    assert!(broker.intake.presence.lock().unwrap().is_empty());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_is_for_those_named_and_the_client_id_names_them() {
    let broker = Broker::start().await;
    for version in BOTH {
        for username in [None, Some(b"open-1".to_vec())] {
            let mut connect = Connect::new(version, "open-1");
            connect.username = username;
            connect.password = None;
            let mut client = Client::open(broker.address).await;
            client.send(&connect.packet()).await;
            assert_eq!(client.packet().await.unwrap().body[1], 0);
            client
                .send(&publish(version, "linli/v1/open-1/event", 1, b"x"))
                .await;
            assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        }
    }
    broker.stop().await;
}
