//! The uplink refused: gaps, forks and what can't be read; and that nothing of a refused batch is taken.

use cloud_protocol::{Chain, Lane, Problem, ProblemType};
use firmware_protocols::{Form, Value};

use super::request::Draft;
use super::run::{Judged, Run, acked, refused_with, view};
use super::track::{fields, item, part, plain};

pub(super) async fn run(run: &mut Run) {
    gap(run).await;
    forks(run).await;
    whole(run).await;
    malformed(run).await;
    nothing_was_taken(run).await;
}

/// The problem is about this lane.
fn about(problem: &Problem, lane: &str) -> Judged {
    match problem.lane.as_deref() {
        Some(named) if named == lane => Ok(()),
        _ => Err(format!("'lane' isn't '{lane}'")),
    }
}

async fn refuse(run: &mut Run, clause: &'static str, asked: &str, part: Value, kind: ProblemType) {
    let draft = run.batch(vec![("health", part)], Form::Cbor);
    run.ask(clause, asked, &draft, |answer| {
        refused_with(answer, kind, |problem| about(problem, "health"))
    })
    .await;
}

async fn gap(run: &mut Run) {
    let at_ms = run.now_ms();
    let mut ahead = run.track(Lane::Health).clone();
    let last = ahead.last();
    ahead.push_plain(at_ms, 4);
    for (asked, after, to) in [
        (
            "two items that come three after the last",
            last + 2,
            last + 4,
        ),
        ("no items, after one that isn't there", last + 1, last + 1),
    ] {
        let draft = run.batch(vec![("health", ahead.part(after, to))], Form::Cbor);
        run.ask("uplink.gap", asked, &draft, |answer| {
            refused_with(answer, ProblemType::Gap, |problem| about(problem, "health"))
        })
        .await;
        let draft = run.batch(vec![("health", ahead.part(after, to))], Form::Cbor);
        run.ask("uplink.gap.expected", asked, &draft, |answer| {
            refused_with(answer, ProblemType::Gap, |problem| match problem.expected {
                Some(n) if n == last + 1 => Ok(()),
                _ => Err(format!("'expected' isn't {}", last + 1)),
            })
        })
        .await;
    }
}

async fn forks(run: &mut Run) {
    let track = run.track(Lane::Health).clone();
    let last = track.last();
    let wrong = Chain([0x5a; 32]);
    for (asked, after) in [
        ("another chain at the last item", last),
        ("another chain at item 2", 2),
        ("another chain at the start of the epoch", 0),
    ] {
        let part = part(after, wrong, Vec::new());
        refuse(run, "uplink.fork.chain", asked, part, ProblemType::Fork).await;
    }
    let at_ms = run.now_ms();
    let changed = item(2, at_ms, plain(Lane::Health, 999_999, at_ms));
    let one = part(1, track.chain(1), vec![changed.clone()]);
    let clause = "uplink.fork.item";
    refuse(
        run,
        clause,
        "item 2 again with other content",
        one,
        ProblemType::Fork,
    )
    .await;
    let mut items = vec![changed];
    items.extend(track.items_of(2, last));
    items.push(item(last + 1, at_ms, plain(Lane::Health, 1, at_ms)));
    let all = part(1, track.chain(1), items);
    let asked = "item 2 with other content, the others as they are, and a new one";
    refuse(run, clause, asked, all, ProblemType::Fork).await;
    let rewritten = vec![item(last, at_ms, plain(Lane::Health, 999_999, at_ms))];
    let at_end = part(last - 1, track.chain(last - 1), rewritten);
    refuse(
        run,
        clause,
        "the last item with other content",
        at_end,
        ProblemType::Fork,
    )
    .await;
}

/// One lane is good, another isn't: neither is taken.
async fn whole(run: &mut Run) {
    let clause = "uplink.refused-whole";
    for (good, bad) in [
        (Lane::Fulfilment, Lane::Health),
        (Lane::Health, Lane::Demand),
    ] {
        let at_ms = run.now_ms();
        let (mut new, mut ahead) = (run.track(good).clone(), run.track(bad).clone());
        let (last, behind) = (new.last(), ahead.last());
        new.push_plain(at_ms, 2);
        ahead.push_plain(at_ms, 3);
        let parts = vec![
            (good.name(), new.part(last, last + 2)),
            (bad.name(), ahead.part(behind + 2, behind + 3)),
        ];
        let draft = run.batch(parts, Form::Cbor);
        let asked = format!("good items of {}, and a gap in {}", good.name(), bad.name());
        run.ask(clause, &asked, &draft, |answer| {
            refused_with(answer, ProblemType::Gap, |problem| {
                about(problem, bad.name())
            })
        })
        .await;
    }
    let part = run.track(Lane::Health).clone();
    let at_ms = run.now_ms();
    let last = part.last();
    let items = vec![
        item(last + 1, at_ms, plain(Lane::Health, 1, at_ms)),
        item(last + 2, at_ms, vec![("kind", "health".into())]),
    ];
    let half = super::track::part(last, part.chain(last), items);
    let asked = "a good item, then one that can't be read";
    refuse(run, clause, asked, half, ProblemType::Malformed).await;
    nothing_was_taken(run).await;
}

async fn malformed(run: &mut Run) {
    let at_ms = run.now_ms();
    let last = run.track(Lane::Health).last();
    let chain = run.track(Lane::Health).chain(last);
    let n = last + 1;
    let of_lane = |items: Vec<Value>| part(last, chain, items);
    // The item, and what of it is to be named.
    let cases: [(&'static str, &str, Value, &[&str]); 5] = [
        (
            "uplink.malformed.named",
            "an item without its field 'counters'",
            of_lane(vec![item(n, at_ms, vec![("kind", "health".into())])]),
            &["health", "counters"],
        ),
        (
            "uplink.malformed.named",
            "an item without 'at'",
            of_lane(vec![fields(vec![
                ("seq", n.into()),
                ("kind", "health".into()),
                ("counters", fields(Vec::new())),
            ])]),
            &["health", "at"],
        ),
        (
            "uplink.malformed.numbers",
            "items 1 and 3 after the last",
            of_lane(vec![
                item(n, at_ms, plain(Lane::Health, n, at_ms)),
                item(n + 2, at_ms, plain(Lane::Health, n, at_ms)),
            ]),
            &["health"],
        ),
        (
            "uplink.malformed.numbers",
            "an item with the number 2 to the power of 53",
            part(1 << 53, chain, Vec::new()),
            &["health"],
        ),
        (
            "uplink.malformed.lane",
            "an item of demand in the lane health",
            of_lane(vec![item(n, at_ms, plain(Lane::Demand, n, at_ms))]),
            &["health"],
        ),
    ];
    for (clause, asked, part, named) in cases {
        let draft = run.batch(vec![("health", part)], Form::Json);
        run.ask(clause, asked, &draft, |answer| {
            refused_with(answer, ProblemType::Malformed, |problem| {
                about(problem, "health")?;
                names(problem, named)?;
                names(problem, &[&n.to_string()]).or_else(|e| match clause {
                    "uplink.malformed.named" => Err(e),
                    _ => Ok(()),
                })
            })
        })
        .await;
    }
    let draft = run.batch(vec![("gossip", of_lane(Vec::new()))], Form::Json);
    let asked = "a lane that isn't";
    run.ask("uplink.malformed.lane", asked, &draft, |answer| {
        refused_with(answer, ProblemType::Malformed, |problem| {
            about(problem, "gossip")
        })
    })
    .await;
    plain_code(run).await;
}

/// `detail` names these.
fn names(problem: &Problem, words: &[&str]) -> Judged {
    let detail = problem.detail.as_deref().unwrap_or_default();
    match words.iter().find(|word| !detail.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("'detail' doesn't name '{word}'")),
    }
}

async fn plain_code(run: &mut Run) {
    let at_ms = run.now_ms();
    let track = run.track(Lane::Fulfilment);
    let (last, chain) = (track.last(), track.chain(track.last()));
    for code in [
        fields(vec![
            ("digits", "004711".into()),
            ("salt", Value::Bytes(vec![0; 16])),
        ]),
        "004711".into(),
    ] {
        let mut parcel = plain(Lane::Fulfilment, last + 1, at_ms);
        parcel.push(("code", code));
        let part = part(last, chain, vec![item(last + 1, at_ms, parcel)]);
        let draft = run.batch(vec![("fulfilment", part)], Form::Cbor);
        run.ask(
            "code.plain",
            "a parcel whose code isn't sealed",
            &draft,
            |answer| {
                refused_with(answer, ProblemType::Malformed, |problem| {
                    about(problem, "fulfilment")?;
                    match String::from_utf8_lossy(&answer.body).contains("004711") {
                        true => Err("the answer repeats the digits".to_string()),
                        false => Ok(()),
                    }
                })
            },
        )
        .await;
    }
}

/// After all those refusals the lanes stand where they stood, and go on.
async fn nothing_was_taken(run: &mut Run) {
    let clause = "uplink.refused-whole";
    let draft = run.signed(Draft::get(run.path("")));
    let wanted = Lane::ALL.map(|lane| (lane, run.track(lane).last()));
    let asked = "GET of the gateway after refused batches";
    run.ask(clause, asked, &draft, |answer| {
        let view = view(answer)?;
        for (lane, last) in wanted {
            let got = view.lanes.get(&lane).map_or(0, |view| view.last);
            if got != last {
                return Err(format!("{}: 'last' isn't {last} as before", lane.name()));
            }
        }
        Ok(())
    })
    .await;
    let draft = run.next_plain(Lane::Health, 1, Form::Cbor);
    let last = run.track(Lane::Health).last();
    run.ask(
        clause,
        "the next good item after refused batches",
        &draft,
        acked(&[(Lane::Health, last)]),
    )
    .await;
}
