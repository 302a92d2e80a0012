//! Compression: bodies in zstd both ways, and what must not come out of them.

use cloud_protocol::secure::compressed::{ZSTD, pack};
use cloud_protocol::{Lane, ProblemType};
use firmware_protocols::Form;

use super::content::unsupported;
use super::request::Draft;
use super::run::{Run, acked, refused, view};

/// Comes out of a body of some hundred bytes.
const BOMB_BYTES: usize = 16 << 20;

pub(super) async fn run(run: &mut Run) {
    answers(run).await;
    let draft = run
        .batch_of(run.epoch, Vec::new(), Form::Json)
        .with("content-encoding", "x-unknown");
    let draft = run.signed(draft);
    run.ask(
        "content.encoding",
        "a body in a content coding that nobody knows",
        &draft,
        unsupported,
    )
    .await;
    requests(run).await;
}

async fn answers(run: &mut Run) {
    let draft = run.signed(Draft::get(run.path("")).with("accept-encoding", ZSTD));
    let asked = "GET of the gateway with Accept-Encoding: zstd";
    let answer = run.send(&draft).await;
    match answer {
        Ok(answer) if answer.status == 200 && !answer.is_packed() => {
            run.not_shown(
                "zstd.answer",
                "no answer came in zstd: it may be too small, or not worth it",
            );
        }
        answer => {
            run.judge("zstd.answer", asked, answer, |answer| {
                view(answer).map(drop)
            });
        }
    }
}

async fn requests(run: &mut Run) {
    let draft = run.next_plain(Lane::Health, 40, Form::Cbor);
    let last = run.track(Lane::Health).last();
    let Some(packed) = pack(&draft.body) else {
        return;
    };
    let asked = "a batch in zstd";
    let answer = run.send(&in_zstd(run, packed.clone())).await;
    if matches!(&answer, Ok(answer) if answer.status == 415) {
        let why = "this cloud doesn't take zstd, as it may";
        for clause in [
            "zstd.request",
            "zstd.window",
            "zstd.bomb",
            "zstd.damaged",
            "zstd.signed",
        ] {
            run.not_shown(clause, why);
        }
        // The items are known here as sent: they go as they are.
        let _ = run.send(&draft).await;
        return;
    }
    run.judge(
        "zstd.request",
        asked,
        answer,
        acked(&[(Lane::Health, last)]),
    );

    let empty = run.batch_of(run.epoch, Vec::new(), Form::Cbor);
    let draft = in_zstd(run, framed(&empty.body));
    run.ask(
        "zstd.window",
        "a batch in zstd whose window is 8 MiB",
        &draft,
        acked(&[]),
    )
    .await;
    if let Some(bomb) = pack(&vec![0; BOMB_BYTES]) {
        let asked = format!("a body of {} bytes that unpacks to 16 MiB", bomb.len());
        let draft = in_zstd(run, bomb);
        run.ask("zstd.bomb", &asked, &draft, refused(ProblemType::TooLarge))
            .await;
    }
    let broken_off = packed[..packed.len() / 2].to_vec();
    for (asked, body) in [
        ("a body in zstd that breaks off", broken_off),
        ("JSON that says that it is zstd", b"{\"epoch\":1}".to_vec()),
    ] {
        let draft = in_zstd(run, body);
        run.ask(
            "zstd.damaged",
            asked,
            &draft,
            refused(ProblemType::Malformed),
        )
        .await;
    }
    let plain = run.batch_of(run.epoch, Vec::new(), Form::Cbor);
    let mut signature = run.signature(&plain, &run.key);
    signature.content = plain.body.clone();
    let mut draft = plain.with("content-encoding", ZSTD);
    draft.body = framed(&draft.body);
    let draft = signature.onto(draft);
    let asked = "a packed body whose digest is of what comes out of it";
    run.ask(
        "zstd.signed",
        asked,
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
}

/// A batch with this packed body, signed.
fn in_zstd(run: &Run, packed: Vec<u8>) -> Draft {
    let mut draft = run
        .batch_of(run.epoch, Vec::new(), Form::Cbor)
        .with("content-encoding", ZSTD);
    draft.body = packed;
    run.signed(draft)
}

/// One frame with a window of 8 MiB, the body in it as it is (RFC 8878 § 3.1.1). Up to 128 KiB.
fn framed(body: &[u8]) -> Vec<u8> {
    let last_raw_block = u32::try_from(body.len()).unwrap_or(0) << 3 | 1;
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x68".to_vec();
    frame.extend(&last_raw_block.to_le_bytes()[..3]);
    frame.extend(body);
    frame
}
