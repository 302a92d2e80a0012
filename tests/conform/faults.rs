//! What a cloud may do wrong, one thing each, and the clauses that it breaks.

use cloud_protocol::secure::compressed::pack;

use super::clouds::{Answer, Asked, Memory};

/// A fault: what is answered in the place of the cloud, what is changed of its answers.
pub struct Fault {
    pub name: &'static str,
    pub before: fn(&Memory, &Asked) -> Option<Answer>,
    pub after: fn(&Memory, &Asked, &mut Answer),
    pub breaks: &'static [&'static str],
}

const NOTHING: Fault = Fault {
    name: "",
    before: |_, _| None,
    after: |_, _, _| {},
    breaks: &[],
};

/// Every fault.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "no Date",
        after: |_, _, answer| {
            answer.headers.remove("date");
        },
        breaks: &["http.date", "clock.behind", "clock.ahead"],
        ..NOTHING
    },
    Fault {
        name: "problems as plain JSON",
        after: |_, _, answer| {
            if answer.status >= 400 {
                let json = "application/json".parse().unwrap();
                answer.headers.insert("content-type", json);
            }
        },
        breaks: &["problem.form"],
        ..NOTHING
    },
    Fault {
        name: "signatures that aren't asked for",
        before: |_, asked| {
            let unsigned = asked.is_uplink() && asked.header("signature").is_empty();
            unsigned.then(|| Answer::json(200, r#"{"acked":{}}"#))
        },
        breaks: &["signature.missing"],
        ..NOTHING
    },
    Fault {
        name: "GETs that needn't be signed",
        before: |_, asked| {
            let unsigned = asked.path.contains("/downlink") && asked.header("signature").is_empty();
            unsigned.then(|| Answer::json(200, r#"{"items":[]}"#))
        },
        breaks: &["signature.get"],
        ..NOTHING
    },
    Fault {
        name: "replays answered as before",
        before: |memory, asked| {
            let answers = memory.answers.lock().unwrap();
            answers.get(asked.header("signature")).cloned()
        },
        after: |memory, asked, answer| {
            let signature = asked.header("signature").to_string();
            if answer.status == 200 {
                memory
                    .answers
                    .lock()
                    .unwrap()
                    .insert(signature, answer.clone());
            }
        },
        breaks: &["replay.uplink", "replay.get"],
    },
    Fault {
        name: "any clock is taken",
        after: |_, _, answer| {
            if answer.is("clock") {
                *answer = Answer::json(200, r#"{"acked":{}}"#);
            }
        },
        breaks: &["clock.behind", "clock.ahead"],
        ..NOTHING
    },
    Fault {
        name: "a token once and never again",
        before: |memory, asked| {
            let enrols = asked.path == "/v1/enrol";
            (enrols && memory.count("enrol") == 5).then(|| problem(403, "token"))
        },
        breaks: &["enrol.again"],
        ..NOTHING
    },
    Fault {
        name: "a used token is good for another gateway",
        after: |memory, asked, answer| {
            // After a token that nobody made, and the used one with another key.
            let refused = asked.path == "/v1/enrol" && answer.is("token");
            if refused && memory.count("token") == 3 {
                *answer = Answer::json(200, "{}");
            }
        },
        breaks: &["enrol.other-gateway"],
        ..NOTHING
    },
    Fault {
        name: "keys that stand twice are taken",
        before: |_, asked| {
            let twice = asked.has(br#""lanes":{},"lanes""#);
            twice.then(|| Answer::json(200, r#"{"acked":{}}"#))
        },
        breaks: &["content.duplicate-key"],
        ..NOTHING
    },
    Fault {
        name: "plain codes are taken",
        before: |_, asked| {
            let plain = asked.has(b"004711");
            plain.then(|| Answer::json(200, r#"{"acked":{"fulfilment":99}}"#))
        },
        breaks: &["code.plain"],
        ..NOTHING
    },
    Fault {
        name: "one more acknowledged than there is",
        after: |memory, asked, answer| {
            let items = asked.is_uplink() && asked.has(b"conform");
            if items && answer.status == 200 && memory.count("items") == 1 {
                *answer = Answer::json(200, r#"{"acked":{"health":9}}"#);
            }
        },
        breaks: &["uplink.ack"],
        ..NOTHING
    },
    Fault {
        name: "unknown kinds refused",
        before: |_, asked| {
            asked
                .has(b"of-a-later-version")
                .then(|| problem(400, "malformed"))
        },
        breaks: &["uplink.unknown-kind"],
        ..NOTHING
    },
    Fault {
        name: "gaps without what is expected",
        after: |_, _, answer| {
            if answer.is("gap") {
                answer.replace("\"expected\"", "\"expects\"");
            }
        },
        breaks: &["uplink.gap.expected", "epoch.starts-at-0"],
        ..NOTHING
    },
    Fault {
        name: "forks that aren't noticed",
        after: |_, _, answer| {
            if answer.is("fork") {
                *answer = Answer::json(200, r#"{"acked":{"health":1}}"#);
            }
        },
        breaks: &["uplink.fork.chain", "uplink.fork.item"],
        ..NOTHING
    },
    Fault {
        name: "old stores go on sending",
        after: |_, _, answer| {
            if answer.is("epoch") {
                *answer = Answer::json(200, r#"{"acked":{"health":1}}"#);
            }
        },
        breaks: &["epoch.lower"],
        ..NOTHING
    },
    Fault {
        name: "malformed items without the lane",
        after: |_, _, answer| {
            if answer.is("malformed") {
                answer.replace("\"lane\"", "\"the-lane\"");
            }
        },
        breaks: &[
            "uplink.malformed.named",
            "uplink.malformed.numbers",
            "uplink.malformed.lane",
            "uplink.refused-whole",
            "code.plain",
        ],
        ..NOTHING
    },
    Fault {
        name: "another chain in what is said of a gateway",
        after: |_, asked, answer| {
            let json = answer.headers["content-type"] == "application/json"
                && !answer.headers.contains_key("content-encoding");
            if asked.method == "GET" && !asked.path.contains("/downlink") && json {
                answer.replace("\"chain\":\"", "\"chain\":\"AAAA");
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                answer.body = shortened(&text).into_bytes();
            }
        },
        breaks: &["gateway.lanes", "at-once.batch"],
        ..NOTHING
    },
    Fault {
        name: "one batch of a gateway at a time",
        before: |memory, asked| {
            // The second of two that come side by side.
            (asked.is_uplink() && asked.has(b"demand") && memory.count("demand") == 5)
                .then(|| problem(503, "busy"))
        },
        breaks: &["at-once.lanes"],
        ..NOTHING
    },
    Fault {
        name: "bombs and bodies over the bound are merely malformed",
        after: |_, _, answer| {
            if answer.status == 413 {
                *answer = problem(400, "malformed");
            }
        },
        breaks: &["content.too-large", "zstd.bomb"],
        ..NOTHING
    },
    Fault {
        name: "zstd for those who don't take it",
        after: |_, asked, answer| {
            let large = vec![b' '; 300];
            if asked.path.contains("/downlink") && asked.header("accept-encoding").is_empty() {
                answer.body.extend(large);
                if let Some(packed) = pack(&answer.body) {
                    answer.body = packed;
                    let zstd = "zstd".parse().unwrap();
                    answer.headers.insert("content-encoding", zstd);
                }
            }
        },
        breaks: &["zstd.not-asked"],
        ..NOTHING
    },
    Fault {
        name: "zstd isn't taken, and not said to be unknown",
        before: |_, asked| {
            (asked.header("content-encoding") == "zstd").then(|| problem(400, "malformed"))
        },
        breaks: &["zstd.request", "zstd.window", "zstd.bomb", "zstd.signed"],
        ..NOTHING
    },
    Fault {
        name: "an unknown coding is merely malformed",
        after: |_, _, answer| {
            if answer.status == 415 {
                *answer = problem(400, "malformed");
            }
        },
        breaks: &["content.type", "content.encoding"],
        ..NOTHING
    },
    Fault {
        name: "any proof of a new key",
        after: |_, asked, answer| {
            if asked.path.ends_with("/key") && answer.is("signature") {
                *answer = Answer::json(200, "{}");
            }
        },
        breaks: &["key.proof", "key.old-dead"],
        ..NOTHING
    },
    Fault {
        name: "long polls that don't wait",
        before: |_, asked| {
            let waits = asked.path.contains("wait=2") || asked.path.contains("wait=100000");
            waits.then(|| Answer::json(200, r#"{"items":[]}"#))
        },
        breaks: &["downlink.wait", "downlink.wait-longest"],
        ..NOTHING
    },
    Fault {
        name: "items that come again",
        after: |_, asked, answer| {
            if asked.path.contains("/downlink?after=0") && answer.status == 200 {
                *answer = Answer::json(
                    200,
                    r#"{"items":[{"seq":2,"kind":"x"},{"seq":1,"kind":"x"}]}"#,
                );
            }
        },
        breaks: &["downlink.rising"],
        ..NOTHING
    },
];

/// A problem of a type.
fn problem(status: u16, kind: &str) -> Answer {
    let body = format!(r#"{{"type":"urn:linli:problem:{kind}","title":"No","status":{status}}}"#);
    let mut answer = Answer::json(status, &body);
    let media_type = "application/problem+json".parse().unwrap();
    answer.headers.insert("content-type", media_type);
    answer
}

/// Chains that got four letters more lose the four at their end.
fn shortened(text: &str) -> String {
    let mut parts = text.split("\"chain\":\"");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (chain, rest) = part.split_once('"').unwrap();
        let chain = &chain[..chain.len().min(43)];
        // The last letter of 43 holds four bits: the others must be 0.
        out.push_str(&format!(
            "\"chain\":\"{}A\"{rest}",
            &chain[..chain.len() - 1]
        ));
    }
    out
}
