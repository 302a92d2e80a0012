//! Enrolment: before anybody is known, as it must be, and tried again at the end.

use cloud_protocol::secure::sealed::seal;
use cloud_protocol::{Enrolment, GatewayView, ProblemType};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident};
use jiff::fmt::rfc2822;
use ring::signature::Ed25519KeyPair;

use super::http::Answer;
use super::request::Draft;
use super::run::{Judged, Run, new_key, public, refused, taken, view};
use super::{CannotRun, random_name};

/// How far `time` of an answer may be from its `Date`.
const TIME_WITHIN_S: i64 = 5;

/// First contact, and enrolments that must be refused.
pub(super) async fn strangers(run: &mut Run) -> Result<(), CannotRun> {
    let nobody = random_name()?;
    let ask = |run: &Run| {
        let draft = Draft::get(format!("/v1/gateways/{nobody}"));
        let keyid = format!("\"{nobody}\"");
        let signature = run.signature(&draft, &run.key).param("keyid", keyid);
        signature.onto(draft)
    };
    let first = run.send(&ask(run)).await;
    let answer = first.map_err(|why| CannotRun::Unreachable {
        url: run.http.base().to_string(),
        why,
    })?;
    if let Some(date_s) = date_s(&answer) {
        run.skew_s = date_s - run.now_s();
    }
    let draft = ask(run);
    let asked = "a request of a gateway that was never enrolled";
    run.ask(
        "signature.unknown-gateway",
        asked,
        &draft,
        refused(ProblemType::UnknownGateway),
    )
    .await;

    let stranger = new_key()?;
    let token = Secret::new(format!("not-a-token-{nobody}"));
    let draft = enrolment(run, &token, &nobody, &stranger, &stranger);
    run.ask(
        "enrol.token",
        "an enrolment with a token that nobody made",
        &draft,
        refused(ProblemType::Token),
    )
    .await;
    // With the good token, gateway and key in the body: whoever takes these has lost nothing.
    let draft = enrolment(run, &run.token, &run.gateway, &run.key, &stranger);
    run.ask(
        "enrol.signature",
        "an enrolment signed by another key than the one in it",
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
    let draft = body(run, &run.token, &run.gateway, &run.key);
    let keyid = format!("\"{nobody}\"");
    let draft = run
        .signature(&draft, &run.key)
        .param("keyid", keyid)
        .onto(draft);
    run.ask(
        "enrol.keyid",
        "an enrolment whose keyid is another gateway",
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
    Ok(())
}

/// The enrolment that everything else needs.
pub(super) async fn enrol(run: &mut Run) -> Result<(), CannotRun> {
    let draft = enrolment(run, &run.token, &run.gateway, &run.key, &run.key);
    let refused = |run: &Run, answer: String| CannotRun::NotEnrolled {
        gateway: run.gateway.clone(),
        answer,
    };
    let answer = run.send(&draft).await.map_err(|why| refused(run, why))?;
    if answer.status != 200 {
        return Err(refused(run, answer.shown()));
    }
    let asked = "an enrolment with the token";
    let answer = run.judge("enrol.answer", asked, Ok(answer), |answer| {
        view(answer).map(drop)
    });
    let Some(answer) = answer else {
        return Ok(());
    };
    let Ok(view) = view(&answer) else {
        return Ok(());
    };
    judge_view(run, &answer, &view);
    run.begin_epoch(view.epoch.map_or(0, |epoch| epoch + 1).max(now(run)));
    run.sealing_key = Some(view.sealing_key);

    let draft = enrolment(run, &run.token, &run.gateway, &run.key, &run.key);
    run.ask(
        "enrol.again",
        "the same enrolment, signed anew",
        &draft,
        taken,
    )
    .await;
    Ok(())
}

fn now(run: &Run) -> u64 {
    u64::try_from(run.now_s()).unwrap_or(0)
}

fn judge_view(run: &mut Run, answer: &Answer, view: &GatewayView) {
    let asked = "an enrolment with the token";
    let judged = match date_s(answer).map(|date_s| (view.time / 1_000 - date_s).abs()) {
        Some(off_s) if off_s > TIME_WITHIN_S => Err(format!("'time' is {off_s} s from its Date")),
        _ => Ok(()),
    };
    run.judge("enrol.time", asked, Ok(answer.clone()), |_| judged);
    let sealed = seal(
        &view.sealing_key,
        run.gateway.as_str(),
        "P",
        &Secret::new("0"),
    );
    run.judge("gateway.sealing-key", asked, Ok(answer.clone()), |_| {
        sealed.map(drop).map_err(|e| e.to_string())
    });
    match view.epoch {
        None => run.held("gateway.first"),
        Some(_) => run.not_shown("gateway.first", "this gateway has sent batches before"),
    }
}

/// When the token is used, and the key was changed.
pub(super) async fn again(run: &mut Run) {
    let (Ok(stranger), Ok(nobody)) = (new_key(), random_name()) else {
        return;
    };
    let draft = enrolment(run, &run.token, &run.gateway, &stranger, &stranger);
    let asked = "the used token with another key";
    let other_key = refused(ProblemType::Token);
    run.ask("enrol.other-key", asked, &draft, other_key).await;
    let draft = enrolment(run, &run.token, &nobody, &run.key, &run.key);
    let asked = "the used token with another gateway";
    let other_gateway = refused(ProblemType::Token);
    run.ask("enrol.other-gateway", asked, &draft, other_gateway)
        .await;

    let clause = "enrol.changes-nothing";
    if let Some(first) = run.first_key.take() {
        // Taken or refused: what counts is that the key that was given up stays dead.
        let draft = enrolment(run, &run.token, &run.gateway, &first, &first);
        let _ = run.send(&draft).await;
        let draft = Draft::get(run.path(""));
        let by_first = run.signature(&draft, &first).onto(draft);
        let asked = "the first enrolment again, after a change of key, then a request by its key";
        run.ask(clause, asked, &by_first, refused(ProblemType::Signature))
            .await;
    }
    let draft = run.signed(Draft::get(run.path("")));
    let asked = "a request by the gateway's key, after enrolments that must change nothing";
    run.ask(clause, asked, &draft, taken).await;
}

/// An enrolment that names one key and is signed by another, or the same.
fn enrolment(
    run: &Run,
    token: &Secret,
    gateway: &Ident,
    named: &Ed25519KeyPair,
    by: &Ed25519KeyPair,
) -> Draft {
    let draft = body(run, token, gateway, named);
    let keyid = format!("\"{gateway}\"");
    run.signature(&draft, by).param("keyid", keyid).onto(draft)
}

fn body(_: &Run, token: &Secret, gateway: &Ident, named: &Ed25519KeyPair) -> Draft {
    let enrolment = Enrolment {
        token: token.clone(),
        gateway: gateway.clone(),
        public_key: public(named),
    };
    Draft::post("/v1/enrol", &enrolment.to_value(), Form::Json)
}

/// The header `Date`, seconds since the Unix epoch.
fn date_s(answer: &Answer) -> Option<i64> {
    let date = rfc2822::parse(answer.header("date")?).ok()?;
    Some(date.timestamp().as_second())
}

/// The header `Date`, as an answer of `clock` must have it.
pub(super) fn has_date(answer: &Answer) -> Judged {
    match date_s(answer) {
        Some(_) => Ok(()),
        None => Err("it has no Date to take the time from".to_string()),
    }
}
