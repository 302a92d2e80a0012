//! A change of key without a gap, and proofs that don't hold.

use cloud_protocol::ProblemType;
use cloud_protocol::enrol::{KeyChange, key_change_proof};
use firmware_protocols::Form;
use ring::signature::Ed25519KeyPair;

use super::request::Draft;
use super::run::{Run, new_key, public, refused, taken, view};

pub(super) async fn run(run: &mut Run) {
    let (Ok(passed_over), Ok(next)) = (new_key(), new_key()) else {
        return;
    };
    proof(run, &next).await;
    let asked = "a change of key";
    let draft = change(run, &passed_over, &passed_over);
    if run
        .ask("key.change", asked, &draft, |answer| view(answer).map(drop))
        .await
        .is_none()
    {
        return;
    }
    still(
        run,
        "key.old-good",
        "the old key after a change, before the new one was used",
    )
    .await;
    let draft = change(run, &next, &next);
    let asked = "another change before the first was used";
    if run.ask("key.second", asked, &draft, taken).await.is_none() {
        return;
    }
    let draft = change(run, &next, &next);
    run.ask("key.again", "the same change again", &draft, taken)
        .await;
    let asked = "the key of the first change, after a second";
    by(run, "key.second", asked, &passed_over, false).await;
    still(run, "key.old-good", "the old key, after all that").await;

    by(
        run,
        "key.new",
        "the first request by the new key",
        &next,
        true,
    )
    .await;
    let old = std::mem::replace(&mut run.key, next);
    by(
        run,
        "key.old-dead",
        "the old key after the new one was used",
        &old,
        false,
    )
    .await;
    let draft = change_by(run, &old, &old, &old);
    let asked = "a change back to the old key, signed by the old key";
    run.ask(
        "key.old-dead",
        asked,
        &draft,
        refused(ProblemType::Signature),
    )
    .await;
    still(run, "key.new", "the new key again").await;
    run.first_key = Some(old);
}

async fn proof(run: &mut Run, next: &Ed25519KeyPair) {
    let clause = "key.proof";
    let Ok(other) = new_key() else {
        return;
    };
    let draft = change(run, next, &other);
    let asked = "a change to a key, proved by another";
    run.ask(clause, asked, &draft, refused(ProblemType::Signature))
        .await;
    let mut wrong = KeyChange {
        public_key: public(next),
        proof: [0; 64],
    };
    // Of another gateway.
    let message = key_change_proof("conform-another", &wrong.public_key);
    wrong.proof.copy_from_slice(next.sign(&message).as_ref());
    let draft = run.signed(Draft::post(run.path("/key"), &wrong.to_value(), Form::Json));
    let asked = "a change with a proof made for another gateway";
    run.ask(clause, asked, &draft, refused(ProblemType::Signature))
        .await;
    by(run, clause, "the key whose change was refused", next, false).await;
    still(run, clause, "the key in force after refused changes").await;
}

/// A change to a key, signed by the gateway's.
fn change(run: &Run, to: &Ed25519KeyPair, proved_by: &Ed25519KeyPair) -> Draft {
    change_by(run, to, proved_by, &run.key)
}

fn change_by(
    run: &Run,
    to: &Ed25519KeyPair,
    proved_by: &Ed25519KeyPair,
    signed_by: &Ed25519KeyPair,
) -> Draft {
    let public_key = public(to);
    let message = key_change_proof(run.gateway.as_str(), &public_key);
    let mut proof = [0; 64];
    proof.copy_from_slice(proved_by.sign(&message).as_ref());
    let change = KeyChange { public_key, proof };
    let draft = Draft::post(run.path("/key"), &change.to_value(), Form::Json);
    run.signature(&draft, signed_by).onto(draft)
}

/// The gateway's key is taken.
async fn still(run: &mut Run, clause: &'static str, asked: &str) {
    let draft = run.signed(Draft::get(run.path("")));
    run.ask(clause, asked, &draft, taken).await;
}

/// A request by this key is taken, or refused.
async fn by(run: &mut Run, clause: &'static str, asked: &str, key: &Ed25519KeyPair, good: bool) {
    let draft = Draft::get(run.path(""));
    let draft = run.signature(&draft, key).onto(draft);
    match good {
        true => run.ask(clause, asked, &draft, taken).await,
        false => {
            run.ask(clause, asked, &draft, refused(ProblemType::Signature))
                .await
        }
    };
}
