//! Forms: CBOR and JSON, what is asked for, and bodies that aren't what they should be.

use cloud_protocol::{BODY_MAX_BYTES, CBOR, JSON, Lane, ProblemType};
use firmware_protocols::Form;

use super::http::Answer;
use super::request::Draft;
use super::run::{Judged, Run, acked, refused, refused_with, taken, view};
use super::track::batch;

pub(super) async fn run(run: &mut Run) {
    forms(run).await;
    accept(run).await;
    unreadable(run).await;
    too_large(run).await;
}

async fn forms(run: &mut Run) {
    for (clause, form, media_type) in [
        ("content.cbor", Form::Cbor, CBOR),
        ("content.json", Form::Json, JSON),
    ] {
        let draft = run.next_plain(Lane::Health, 1, form);
        let last = run.track(Lane::Health).last();
        let asked = format!("a batch in {media_type}");
        run.ask(clause, &asked, &draft, |answer| {
            acked(&[(Lane::Health, last)])(answer)?;
            in_form(answer, media_type)
        })
        .await;
    }
}

async fn accept(run: &mut Run) {
    let last = run.track(Lane::Health).last();
    for (form, accept) in [(Form::Json, CBOR), (Form::Cbor, JSON)] {
        let part = run.track(Lane::Health).part(last, last);
        let draft = run.batch_of(run.epoch, vec![("health", part)], form);
        let draft = run.signed(draft.with("accept", accept));
        let asked = format!("a batch with Accept: {accept}");
        run.ask("content.accept", &asked, &draft, |answer| {
            acked(&[(Lane::Health, last)])(answer)?;
            in_form(answer, accept)
        })
        .await;
    }
    let draft = Draft::get(run.path(""));
    let packed = run.signed(draft.clone().with("accept", CBOR));
    run.ask(
        "content.accept",
        "GET with Accept: application/cbor",
        &packed,
        |answer| {
            view(answer)?;
            in_form(answer, CBOR)
        },
    )
    .await;
    let plain = run.signed(draft);
    run.ask("content.accept", "GET without Accept", &plain, |answer| {
        view(answer)?;
        in_form(answer, JSON)
    })
    .await;
    // A problem is JSON whatever is asked for.
    let draft = run
        .batch_of(run.epoch, Vec::new(), Form::Cbor)
        .with("accept", CBOR);
    run.ask(
        "problem.form",
        "an unsigned batch with Accept: application/cbor",
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
}

async fn unreadable(run: &mut Run) {
    let epoch = run.epoch;
    let good = batch(epoch, Vec::new());
    for (asked, media_type) in [
        ("a batch as text/plain", Some("text/plain")),
        ("a batch without a Content-Type", None),
    ] {
        let draft = Draft::post(run.path("/uplink"), &good, Form::Json).without("content-type");
        let draft = match media_type {
            Some(media_type) => draft.with("content-type", media_type),
            None => draft,
        };
        let draft = run.signed(draft);
        run.ask("content.type", asked, &draft, unsupported).await;
    }
    let mut twice = b"\xa3\x65epoch\x1b".to_vec();
    twice.extend(epoch.to_be_bytes());
    twice.extend(b"\x65lanes\xa0\x65lanes\xa0");
    let bodies: [(&'static str, &str, Vec<u8>, Form); 6] = [
        (
            "content.duplicate-key",
            "a body in JSON that names a key twice",
            format!(r#"{{"epoch":{epoch},"lanes":{{}},"lanes":{{}}}}"#).into_bytes(),
            Form::Json,
        ),
        (
            "content.duplicate-key",
            "a body in CBOR that names a key twice",
            twice,
            Form::Cbor,
        ),
        (
            "content.malformed",
            "a body that breaks off",
            b"{\"epoch\":".to_vec(),
            Form::Json,
        ),
        (
            "content.malformed",
            "a body that is an array",
            b"[]".to_vec(),
            Form::Json,
        ),
        (
            "content.malformed",
            "JSON that is sent as CBOR",
            good.write(Form::Json),
            Form::Cbor,
        ),
        (
            "content.malformed",
            "a batch without lanes",
            format!(r#"{{"epoch":{epoch}}}"#).into_bytes(),
            Form::Json,
        ),
    ];
    for (clause, asked, body, form) in bodies {
        let mut draft = Draft::post(run.path("/uplink"), &good, form);
        draft.body = body;
        let draft = run.signed(draft);
        run.ask(clause, asked, &draft, refused(ProblemType::Malformed))
            .await;
    }
    let mut draft = Draft::post(run.path("/uplink"), &good, Form::Json);
    draft.body = format!(r#"{{"epoch":{epoch},"lanes":{{}},"of_a_later_version":[{{"x":null}}]}}"#)
        .into_bytes();
    let draft = run.signed(draft);
    run.ask(
        "content.unknown-field",
        "a batch with a field of a later version",
        &draft,
        taken,
    )
    .await;
}

async fn too_large(run: &mut Run) {
    let mut draft = run.batch_of(run.epoch, Vec::new(), Form::Json);
    draft.body.resize(BODY_MAX_BYTES + 1, b' ');
    let draft = run.signed(draft);
    let asked = "a body of 1 MiB and one byte";
    run.ask("content.too-large", asked, &draft, |answer| {
        refused_with(answer, ProblemType::TooLarge, |_| Ok(()))
    })
    .await;
}

/// `415`, of the type `malformed`.
pub(super) fn unsupported(answer: &Answer) -> Judged {
    let kind = answer.problem().and_then(|problem| problem.kind);
    match (answer.status, kind) {
        (415, Some(ProblemType::Malformed)) => Ok(()),
        _ => Err("415 with urn:linli:problem:malformed is wanted".to_string()),
    }
}

fn in_form(answer: &Answer, media_type: &str) -> Judged {
    match answer.media_type() {
        Some(got) if got == media_type => Ok(()),
        got => Err(format!(
            "{media_type} is wanted, not {}",
            got.unwrap_or("nothing")
        )),
    }
}
