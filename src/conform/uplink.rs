//! The uplink as it goes well: what is acknowledged, what may be sent again, what is kept unread.

use cloud_protocol::secure::sealed::seal;
use cloud_protocol::{Chain, Lane, SealingKey};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Value};

use super::request::Draft;
use super::run::{Run, acked, taken, view};
use super::track::{fields, part, plain};

pub(super) async fn run(run: &mut Run) {
    first(run).await;
    all_lanes(run).await;
    unknown(run).await;
    codes(run).await;
    both_forms(run).await;
    standing(run).await;
}

/// Sends items `after + 1` to `to` of the lane health; the cloud then has it up to its last.
async fn send(run: &mut Run, clause: &'static str, asked: &str, (after, to): (u64, u64)) {
    let track = run.track(Lane::Health);
    let (last, part) = (track.last(), track.part(after, to));
    let draft = run.batch(vec![("health", part)], Form::Cbor);
    run.ask(clause, asked, &draft, acked(&[(Lane::Health, last)]))
        .await;
}

async fn first(run: &mut Run) {
    let at_ms = run.now_ms();
    run.track(Lane::Health).push_plain(at_ms, 3);
    send(
        run,
        "uplink.ack",
        "the first three items of an epoch",
        (0, 3),
    )
    .await;
    send(
        run,
        "uplink.duplicate",
        "the same three items again",
        (0, 3),
    )
    .await;
    run.track(Lane::Health).push_plain(at_ms, 2);
    send(
        run,
        "uplink.overlap",
        "items 2 to 5, of which 2 and 3 are known",
        (1, 5),
    )
    .await;
    send(
        run,
        "uplink.ack-above",
        "items 1 and 2 again, when 5 are known",
        (0, 2),
    )
    .await;
    send(run, "uplink.empty", "no items after 5", (5, 5)).await;
    let nothing = run.batch(Vec::new(), Form::Cbor);
    run.ask(
        "uplink.empty",
        "a batch without lanes",
        &nothing,
        acked(&[]),
    )
    .await;
}

async fn all_lanes(run: &mut Run) {
    let at_ms = run.now_ms();
    let mut parts = Vec::new();
    let mut wanted = Vec::new();
    for lane in Lane::ALL {
        let track = run.track(lane);
        let after = track.last();
        let last = track.push_plain(at_ms, 2).last();
        parts.push((lane.name(), track.part(after, last)));
        wanted.push((lane, last));
    }
    let draft = run.batch(parts, Form::Cbor);
    run.ask(
        "uplink.all-lanes",
        "a batch of all three lanes",
        &draft,
        acked(&wanted),
    )
    .await;
}

/// What a later version may send; the chain of the next batch shows whether it was kept as it came.
async fn unknown(run: &mut Run) {
    let at_ms = run.now_ms();
    let kind = vec![
        ("kind", "of-a-later-version".into()),
        (
            "more",
            fields(vec![(
                "list",
                Value::Array(vec![1_u64.into(), "二".into(), true.into()]),
            )]),
        ),
    ];
    let mut field = plain(Lane::Health, 0, at_ms);
    field.push(("of_a_later_version", fields(vec![("x", (-5_i32).into())])));
    for (clause, asked, item) in [
        (
            "uplink.unknown-kind",
            "an item of a kind that nobody knows",
            kind,
        ),
        (
            "uplink.unknown-field",
            "an item with a field that nobody knows",
            field,
        ),
    ] {
        for form in [Form::Json, Form::Cbor] {
            let track = run.track(Lane::Health);
            let after = track.last();
            let last = track.push(at_ms, item.clone()).last();
            let part = track.part(after, last);
            let draft = run.batch(vec![("health", part)], form);
            run.ask(clause, asked, &draft, acked(&[(Lane::Health, last)]))
                .await;
        }
        let draft = run.next_plain(Lane::Health, 1, Form::Cbor);
        let last = run.track(Lane::Health).last();
        let next = format!("{asked}, then the next batch, whose chain goes over it");
        run.ask(clause, &next, &draft, acked(&[(Lane::Health, last)]))
            .await;
    }
}

async fn codes(run: &mut Run) {
    let Some(key) = run.sealing_key.clone() else {
        return;
    };
    let unknown = SealingKey {
        id: "conform-unknown".to_string(),
        ..key.clone()
    };
    for (clause, asked, key) in [
        (
            "code.sealed",
            "a parcel with a code sealed to the cloud's key",
            key,
        ),
        (
            "code.unknown-key",
            "a parcel with a code sealed to a key that the cloud doesn't have",
            unknown,
        ),
    ] {
        let at_ms = run.now_ms();
        let gateway = run.gateway.clone();
        let n = run.track(Lane::Fulfilment).last() + 1;
        let digits = Secret::new("004711");
        let Ok(code) = seal(&key, gateway.as_str(), &format!("conform-{n}"), &digits) else {
            continue;
        };
        let track = run.track(Lane::Fulfilment);
        let after = track.last();
        let mut item = plain(Lane::Fulfilment, n, at_ms);
        item.push(("code", code.to_value()));
        track.push(at_ms, item);
        // What ends the parcel follows: its code is of no use to anybody.
        let mut end = plain(Lane::Fulfilment, n, at_ms);
        end.iter_mut()
            .filter(|(name, _)| *name == "state")
            .for_each(|(_, state)| *state = "cancelled".into());
        let last = track.push(at_ms, end).last();
        let part = track.part(after, last);
        let draft = run.batch(vec![("fulfilment", part)], Form::Cbor);
        run.ask(clause, asked, &draft, acked(&[(Lane::Fulfilment, last)]))
            .await;
    }
}

/// Byte strings inside items: the same chain from either form.
async fn both_forms(run: &mut Run) {
    let clause = "uplink.forms-agree";
    let at_ms = run.now_ms();
    let audit = |n: u64| {
        vec![
            ("kind", "audit".into()),
            ("entries", n.into()),
            ("head", Value::Bytes(vec![u8::try_from(n).unwrap_or(0); 32])),
        ]
    };
    for (n, forms) in [(1, [Form::Json, Form::Cbor]), (2, [Form::Cbor, Form::Json])] {
        let track = run.track(Lane::Health);
        let after = track.last();
        let last = track.push(at_ms, audit(n)).last();
        let part = track.part(after, last);
        for form in forms {
            let draft = run.batch(vec![("health", part.clone())], form);
            let asked =
                format!("an item with a byte string, in {form:?}; the same item in the other form");
            run.ask(clause, &asked, &draft, acked(&[(Lane::Health, last)]))
                .await;
        }
    }
}

/// Where the cloud says that the lanes stand.
async fn standing(run: &mut Run) {
    let draft = run.signed(Draft::get(run.path("")));
    let wanted: Vec<(Lane, u64, Chain)> = Lane::ALL
        .map(|lane| {
            let track = run.track(lane);
            (lane, track.last(), track.chain(track.last()))
        })
        .to_vec();
    let epoch = run.epoch;
    let asked = "GET of the gateway after all that was acknowledged";
    run.ask("gateway.lanes", asked, &draft, |answer| {
        let view = view(answer)?;
        if view.epoch != Some(epoch) {
            return Err(format!("its epoch isn't {epoch}"));
        }
        for (lane, last, chain) in wanted {
            let got = view.lanes.get(&lane).copied().unwrap_or_default();
            if got.last != last {
                return Err(format!("{}: 'last' isn't {last}", lane.name()));
            }
            if got.chain != chain {
                return Err(format!(
                    "{}: 'chain' isn't the one up to {last}",
                    lane.name()
                ));
            }
        }
        Ok(())
    })
    .await;
    let after = run.track(Lane::Health).last();
    let chain = run.track(Lane::Health).chain(after);
    let part = part(after, chain, Vec::new());
    let draft = run.batch(vec![("health", part)], Form::Json);
    run.ask("uplink.empty", "no items after the last", &draft, taken)
        .await;
}
