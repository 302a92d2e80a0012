//! Requests and answers in zstd, and clouds that don't take it.

use super::*;

#[tokio::test]
async fn requests_and_answers_are_packed_where_it_pays() {
    let cloud = StrangeCloud::that(|asked| {
        let mut answer = good(asked);
        if asked.is_poll() && asked.header("accept-encoding").as_deref() == Some("zstd") {
            let padded = format!("{{\"items\":[]{}}}", " ".repeat(5_000));
            answer.body = cloud_protocol::secure::compressed::pack(padded.as_bytes()).unwrap();
            answer.headers.push_str("content-encoding: zstd\r\n");
        }
        answer
    })
    .await;
    let ledger = parcels(200);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    sync.until("a packed answer is taken", |s| {
        s.downlink.last_success_ms.is_some()
    })
    .await;
    let asked = cloud.asked();
    let uplink = asked.iter().find(|a| a.is_uplink()).unwrap();
    assert_eq!(uplink.header("content-encoding").as_deref(), Some("zstd"));
    assert!(uplink.content.len() < uplink.body.len() / 3);
    // The signature covers what is sent.
    assert!(uplink.signed().is_by(&sync.papers.public_key()));
    sync.stop().await;
}

#[tokio::test]
async fn a_cloud_that_does_not_take_zstd_gets_it_plain_from_then_on() {
    let cloud = StrangeCloud::that(|asked| match asked.header("content-encoding") {
        Some(_) => problem(415, "malformed"),
        None => good(asked),
    })
    .await;
    let ledger = parcels(200);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.all_acked().await;
    ledger.add_parcels(200);
    sync.all_acked().await;
    let packed = |a: &&Asked| a.header("content-encoding").is_some();
    assert_eq!(cloud.asked().iter().filter(packed).count(), 1);
    sync.stop().await;
}

#[tokio::test]
async fn a_bomb_is_not_unpacked() {
    let bomb = cloud_protocol::secure::compressed::pack(&vec![b' '; 64 << 20]).unwrap();
    let cloud = StrangeCloud::that(move |asked| match asked.is_poll() {
        true => Answer {
            status: 200,
            headers: "content-type: application/json\r\ncontent-encoding: zstd\r\n".to_owned(),
            body: bomb.clone(),
        },
        false => good(asked),
    })
    .await;
    let sync = Sync::start(patient(&cloud.url()), &parcels(1));
    sync.until("it is refused", |s| s.downlink.failures == 1)
        .await;
    let error = sync.status().downlink.last_error.unwrap();
    assert!(
        error.starts_with("the cloud's answer can't be read: "),
        "{error}"
    );
    sync.all_acked().await;
    sync.stop().await;
}
