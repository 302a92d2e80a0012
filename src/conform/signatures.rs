//! Signatures: every way to leave something out or to get it wrong, the clock, and replay.

use cloud_protocol::ProblemType;
use cloud_protocol::secure::signed::{
    CONTENT_DIGEST, CREATED_WITHIN_S, SIGNATURE, SIGNATURE_INPUT,
};
use firmware_protocols::Form;

use super::enrolment::has_date;
use super::request::{Draft, Signature};
use super::run::{Run, new_key, refused, refused_with, taken};

/// A change to the signature of a request that is otherwise good.
type Change = fn(Signature<'_>) -> Signature<'_>;

pub(super) async fn run(run: &mut Run) {
    missing(run).await;
    wrong(run).await;
    otherwise_written(run).await;
    clock(run).await;
    replay(run).await;
}

/// A batch of nothing: taken if its signature holds.
fn nothing(run: &Run) -> Draft {
    run.batch_of(run.epoch, Vec::new(), Form::Json)
}

async fn missing(run: &mut Run) {
    for header in [CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE] {
        let draft = run.signed(nothing(run)).without(header);
        let asked = format!("a batch without the header {header}");
        run.ask(
            "signature.missing",
            &asked,
            &draft,
            refused(ProblemType::Signature),
        )
        .await;
    }
    for call in ["", "/downlink?after=0&wait=0"] {
        let draft = Draft::get(run.path(call));
        let asked = format!("GET {} without a signature", draft.path);
        run.ask(
            "signature.get",
            &asked,
            &draft,
            refused(ProblemType::Signature),
        )
        .await;
        let draft = run.signed(draft);
        run.ask("signature.get", "the same, signed", &draft, taken)
            .await;
    }
}

async fn wrong(run: &mut Run) {
    let changes: [(&'static str, &str, Change); 11] = [
        ("signature.method", "a POST signed as PUT", |mut s| {
            s.method = "PUT".to_string();
            s
        }),
        (
            "signature.target",
            "a request signed for another path",
            |mut s| {
                s.target_uri = s.target_uri.replace("/uplink", "/key");
                s
            },
        ),
        (
            "signature.target",
            "a request signed for another query",
            |mut s| {
                s.target_uri.push_str("?after=1");
                s
            },
        ),
        (
            "signature.target",
            "a request signed for another host",
            |mut s| {
                s.target_uri = s.target_uri.replacen("://", "://elsewhere.", 1);
                s
            },
        ),
        (
            "signature.covered",
            "a signature that doesn't cover content-digest",
            |mut s| {
                s.covered.retain(|name| *name != CONTENT_DIGEST);
                s
            },
        ),
        (
            "signature.covered",
            "a signature that doesn't cover @target-uri",
            |mut s| {
                s.covered.retain(|name| *name != "@target-uri");
                s
            },
        ),
        ("signature.parameters", "a signature without a nonce", |s| {
            s.no_param("nonce")
        }),
        ("signature.parameters", "a signature without created", |s| {
            s.no_param("created")
        }),
        ("signature.parameters", "a signature without keyid", |s| {
            s.no_param("keyid")
        }),
        (
            "signature.parameters",
            "a signature whose alg is another",
            |s| s.param("alg", "\"rsa-pss-sha512\""),
        ),
        (
            "signature.keyid",
            "a signature whose keyid is another gateway",
            |s| s.param("keyid", "\"conform-another\""),
        ),
    ];
    for (clause, asked, change) in changes {
        let draft = nothing(run);
        let draft = change(run.signature(&draft, &run.key)).onto(draft);
        run.ask(clause, asked, &draft, refused(ProblemType::Signature))
            .await;
    }
    if let Ok(stranger) = new_key() {
        let draft = nothing(run);
        let draft = run.signature(&draft, &stranger).onto(draft);
        run.ask(
            "signature.key",
            "a request signed by another key",
            &draft,
            refused(ProblemType::Signature),
        )
        .await;
    }
    // What was signed is one body, what is sent is another, which would be taken.
    let mut draft = run.signed(nothing(run));
    draft.body.push(b' ');
    run.ask(
        "signature.content",
        "a body with one space more than was signed",
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
    let mut draft = run.signed(nothing(run));
    let tampered = draft
        .headers
        .iter_mut()
        .find(|(name, _)| *name == SIGNATURE);
    if let Some((_, value)) = tampered
        && let Some(at) = value.find("=:").map(|at| at + 2)
    {
        let other = if value[at..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        value.replace_range(at..=at, other);
    }
    run.ask(
        "signature.key",
        "a signature with one letter exchanged for another",
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
}

async fn otherwise_written(run: &mut Run) {
    let draft = nothing(run);
    let mut signature = run.signature(&draft, &run.key).no_param("alg");
    signature.label = "sig1";
    signature.params.reverse();
    signature.covered.reverse();
    let draft = signature.onto(draft);
    let asked = "a good signature with another label, no alg, and the rest in another order";
    run.ask("signature.order", asked, &draft, taken).await;
    let draft = nothing(run);
    let nonce = format!("\"{:a<64}\"", run.now_s());
    let draft = run
        .signature(&draft, &run.key)
        .param("nonce", nonce)
        .onto(draft);
    run.ask("signature.nonce", "a nonce of 64 characters", &draft, taken)
        .await;
}

async fn clock(run: &mut Run) {
    let off = |run: &Run, by_s: i64| {
        let draft = nothing(run);
        let created = (run.now_s() + by_s).to_string();
        run.signature(&draft, &run.key)
            .param("created", created)
            .onto(draft)
    };
    let far = CREATED_WITHIN_S + 60;
    for (clause, by_s) in [("clock.behind", -far), ("clock.ahead", far)] {
        let draft = off(run, by_s);
        let asked = format!("a request created {by_s} s from the cloud's Date");
        run.ask(clause, &asked, &draft, |answer| {
            refused_with(answer, ProblemType::Clock, |_| has_date(answer))
        })
        .await;
    }
    let near = CREATED_WITHIN_S - 30;
    for by_s in [-near, near] {
        let draft = off(run, by_s);
        let asked = format!("a request created {by_s} s from the cloud's Date");
        run.ask("clock.within", &asked, &draft, taken).await;
    }
}

async fn replay(run: &mut Run) {
    let batch = run.signed(nothing(run));
    let view = run.signed(Draft::get(run.path("")));
    for (clause, draft) in [("replay.uplink", batch), ("replay.get", view)] {
        let asked = format!("{} {}", draft.method, draft.path);
        if run.ask(clause, &asked, &draft, taken).await.is_none() {
            continue;
        }
        let again = format!("{asked}, the very same request again");
        run.ask(clause, &again, &draft, refused(ProblemType::Replay))
            .await;
    }
}
