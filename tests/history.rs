//! The parcels' history with a real daemon and a real cloud: the heads reach it, and a past that is
//! rewritten while the box is off shows, here or there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use cloud_protocol::Chain;
use common::{Gateway, Setup, ident, text, wait_for, wait_until};
use firmware_protocols::Value;
use linli::audit::hex::hex;
use linli::store::trace::Entry;
use reference_cloud::{AuditView, Cloud, Config};
use rusqlite::{Connection, params};

fn start(setup: &mut Setup) -> Gateway {
    tokio::task::block_in_place(|| setup.start())
}

async fn announce(cloud: &Cloud, setup: &Setup, parcel: &str) {
    let item = format!(
        r#"{{"kind":"parcel.expected","parcel":"{parcel}","recipient":"r-1","size":"S",
            "zone":"ambient","point":"bank-a","deadline":4000000000000,"consent":true}}"#
    );
    let item = Value::from_json(item.as_bytes()).unwrap();
    let site = ident("test-site");
    cloud.push_value(&site, item).await.unwrap();
    wait_until("the parcel to be taken on", async || {
        setup
            .cli(&["parcel", parcel])
            .status
            .success()
            .then_some(())
    })
    .await;
}

/// Waits until the cloud's view of the history is as wanted.
async fn cloud_sees(cloud: &Cloud, what: &str, wanted: impl Fn(&AuditView) -> bool) -> AuditView {
    let site = ident("test-site");
    wait_until(what, async || {
        let view = cloud.audit(&site).await.unwrap();
        wanted(&view).then_some(view)
    })
    .await
}

/// What somebody does who knows how the chain is made: a step changed, and every hash made anew.
fn rewrite(store: &Path) {
    let conn = Connection::open(store).unwrap();
    conn.execute("UPDATE trace SET who = 'nobody' WHERE id = 1", [])
        .unwrap();
    let mut chain = Chain::default();
    let entries: i64 = conn
        .query_row("SELECT max(id) FROM trace", [], |row| row.get(0))
        .unwrap();
    for id in 1..=entries {
        let sql =
            "SELECT parcel, at_ms, quality, tick_ms, step, who, detail FROM trace WHERE id = ?1";
        chain = conn
            .query_row(sql, [id], |row| {
                let words = ["unknown", "estimated", "synchronised"];
                let (parcel, step, who): (String, String, String) =
                    (row.get(0)?, row.get(4)?, row.get(5)?);
                let detail: Option<String> = row.get(6)?;
                Ok(Entry {
                    n: id.cast_unsigned(),
                    parcel: &parcel,
                    at_ms: row.get(1)?,
                    quality: words[usize::from(row.get::<_, u8>(2)?)],
                    tick_ms: row.get::<_, i64>(3)?.cast_unsigned(),
                    step: &step,
                    who: &who,
                    detail: detail.as_deref(),
                }
                .chain(chain))
            })
            .unwrap();
        let sql = "UPDATE trace SET chain = ?2 WHERE id = ?1";
        conn.execute(sql, params![id, chain.0]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_is_rewritten_with_all_its_hashes_shows_at_the_cloud() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = start(&mut setup);
    announce(&cloud, &setup, "p-1").await;
    let here = setup.json(&["audit", "verify"]);
    gateway.stop();

    // Told at the next start, and the same again at the one after it.
    for _ in 0..2 {
        let gateway = start(&mut setup);
        let view = cloud_sees(&cloud, "the cloud to have the head", |v| v.latest.is_some()).await;
        let latest = view.latest.unwrap();
        assert_eq!(here["entries"], latest.entries);
        assert_eq!(here["head"], hex(&latest.head));
        assert_eq!(view.contradictions, []);
        gateway.stop();
    }

    rewrite(&setup.store());
    let gateway = start(&mut setup);
    let view = cloud_sees(&cloud, "the cloud to see it", |v| {
        !v.contradictions.is_empty()
    })
    .await;
    let known = view.latest.unwrap();
    assert_eq!(here["head"], hex(&known.head));
    // The chain by itself holds; the cloud's head tells.
    assert_eq!(setup.json(&["audit", "verify"])["unbroken"], true);
    let against = format!("{}:{}", known.entries, hex(&known.head));
    let compared = setup.cli(&["audit", "verify", "--against", &against]);
    assert_eq!(
        compared.status.code(),
        Some(1),
        "{}",
        text(&compared.stdout)
    );
    gateway.stop();

    // An end that is cut off is fewer than were told.
    let conn = Connection::open(setup.store()).unwrap();
    conn.execute("DELETE FROM trace WHERE id > 1", []).unwrap();
    drop(conn);
    let gateway = start(&mut setup);
    cloud_sees(&cloud, "the cloud to see that it is shorter", |view| {
        view.contradictions.iter().any(|head| head.entries == 1)
    })
    .await;
    gateway.stop();
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_is_changed_is_a_trouble_from_the_start() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = start(&mut setup);
    announce(&cloud, &setup, "p-1").await;
    gateway.stop();
    let conn = Connection::open(setup.store()).unwrap();
    conn.execute(
        "UPDATE trace SET chain = zeroblob(9) WHERE id = (SELECT max(id) FROM trace)",
        [],
    )
    .unwrap();
    drop(conn);

    // Residents are served all the same: what comes is taken and written.
    let gateway = start(&mut setup);
    let broken = wait_for("the verification at the start", || {
        let status = setup.json(&["status"]);
        let troubles = status["troubles"].as_array().unwrap().clone();
        troubles
            .into_iter()
            .find(|t| t["trouble"] == "history-broken")
    });
    assert_eq!(broken["broken"]["what"], "changed", "{broken}");
    announce(&cloud, &setup, "p-2").await;
    let sound = setup.cli(&["parcel", "p-2", "--verify"]);
    // Its first step follows the damaged one.
    assert!(!sound.status.success(), "{}", text(&sound.stdout));
    let verified = setup.cli(&["audit", "verify", "--json"]);
    let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified["broken"]["n"], broken["broken"]["n"]);
    gateway.stop();
    cloud.shutdown().await;
}
