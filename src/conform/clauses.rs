//! The clauses of the contract that a run tries, in its order. The ids are stable: scripts may name them.

/// A clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    /// Its id.
    pub id: &'static str,
    /// What the contract says, in a sentence.
    pub says: &'static str,
}

const fn clause(id: &'static str, says: &'static str) -> Clause {
    Clause { id, says }
}

/// Every clause.
pub const CLAUSES: &[Clause] = &[
    clause("http.date", "every answer has the header Date"),
    clause(
        "problem.form",
        "a refusal is application/problem+json with type and title, whatever Accept says",
    ),
    clause(
        "enrol.token",
        "a token that nobody made is refused with 403 token",
    ),
    clause(
        "enrol.signature",
        "an enrolment is signed by the key that is in it, else 401 signature",
    ),
    clause(
        "enrol.keyid",
        "the keyid of an enrolment is the gateway that is in it, else 401 signature",
    ),
    clause(
        "enrol.answer",
        "an enrolment is answered with 200 and the gateway: sealing key, time, lanes",
    ),
    clause(
        "enrol.time",
        "'time' is the cloud's time, the one of its Date",
    ),
    clause(
        "enrol.again",
        "the same token with the same gateway and key again is 200",
    ),
    clause(
        "enrol.other-key",
        "a used token with another key is refused with 403 token",
    ),
    clause(
        "enrol.other-gateway",
        "a used token with another gateway is refused with 403 token",
    ),
    clause(
        "enrol.changes-nothing",
        "enrolments with a used token change no key, neither the one in force nor one given up",
    ),
    clause(
        "gateway.sealing-key",
        "the sealing key is one that codes can be sealed to",
    ),
    clause(
        "gateway.first",
        "before the first batch a gateway has no epoch",
    ),
    clause(
        "gateway.lanes",
        "GET of the gateway says its epoch, and of each lane the last item and the chain up to it",
    ),
    clause(
        "signature.unknown-gateway",
        "a gateway that isn't enrolled is refused with 404 unknown-gateway",
    ),
    clause(
        "signature.missing",
        "without one of the three headers: 401 signature",
    ),
    clause(
        "signature.get",
        "requests without a body are signed as well, else 401 signature",
    ),
    clause(
        "signature.key",
        "a signature that isn't by the gateway's key: 401 signature",
    ),
    clause(
        "signature.content",
        "a body that isn't the one of the digest: 401 signature",
    ),
    clause(
        "signature.method",
        "a signature made for another method: 401 signature",
    ),
    clause(
        "signature.target",
        "a signature made for another host, path or query: 401 signature",
    ),
    clause(
        "signature.covered",
        "a signature that doesn't cover @method, @target-uri and content-digest: 401 signature",
    ),
    clause(
        "signature.parameters",
        "a signature without created, nonce or keyid, or with another alg: 401 signature",
    ),
    clause(
        "signature.keyid",
        "a signature whose keyid isn't the gateway of the path: 401 signature",
    ),
    clause(
        "signature.order",
        "any label, components and parameters in any order, and no alg are taken",
    ),
    clause("signature.nonce", "a nonce of up to 64 characters is taken"),
    clause(
        "clock.behind",
        "created more than 300 s ago: 401 clock, with a Date",
    ),
    clause(
        "clock.ahead",
        "created more than 300 s ahead: 401 clock, with a Date",
    ),
    clause("clock.within", "created within 300 s is taken"),
    clause(
        "replay.uplink",
        "a batch that comes again with its nonce: 401 replay",
    ),
    clause(
        "replay.get",
        "a GET that comes again with its nonce: 401 replay",
    ),
    clause(
        "content.cbor",
        "a batch in CBOR is taken, and answered in CBOR",
    ),
    clause(
        "content.json",
        "a batch in JSON is taken, and answered in JSON",
    ),
    clause(
        "content.accept",
        "the answer comes in the form that Accept names; of a GET without it, in JSON",
    ),
    clause(
        "content.type",
        "a body that says that it is neither CBOR nor JSON: 415 malformed",
    ),
    clause(
        "content.encoding",
        "a content coding that isn't known: 415 malformed",
    ),
    clause(
        "content.malformed",
        "a body that can't be read: 400 malformed",
    ),
    clause(
        "content.duplicate-key",
        "a body that names a key twice: 400 malformed",
    ),
    clause(
        "content.unknown-field",
        "a field that isn't known is no reason to refuse a batch",
    ),
    clause("content.too-large", "a body over 1 MiB: 413 too-large"),
    clause("zstd.request", "a batch in zstd is taken"),
    clause("zstd.window", "a frame whose window is 8 MiB is taken"),
    clause(
        "zstd.signed",
        "the digest of a packed body is of what is sent, else 401 signature",
    ),
    clause(
        "zstd.bomb",
        "more than 1 MiB out of a packed body: 413 too-large",
    ),
    clause(
        "zstd.damaged",
        "a packed body that is broken off or isn't zstd: 400 malformed",
    ),
    clause("zstd.answer", "an answer in zstd can be unpacked"),
    clause(
        "zstd.not-asked",
        "no answer comes in zstd unless Accept-Encoding says so",
    ),
    clause(
        "uplink.ack",
        "a batch is answered with the last item of each of its lanes that the cloud has",
    ),
    clause(
        "uplink.duplicate",
        "items that are known are acknowledged again",
    ),
    clause(
        "uplink.overlap",
        "of a batch that repeats known items the new ones are taken",
    ),
    clause(
        "uplink.ack-above",
        "when more is known than the batch has, that is what is acknowledged",
    ),
    clause(
        "uplink.empty",
        "a lane without items and a batch without lanes are taken",
    ),
    clause("uplink.all-lanes", "a batch may have several lanes"),
    clause(
        "uplink.unknown-kind",
        "an item of an unknown kind is taken, acknowledged and part of the chain",
    ),
    clause(
        "uplink.unknown-field",
        "an unknown field of an item is part of the chain",
    ),
    clause(
        "uplink.forms-agree",
        "an item with byte strings is the same item in CBOR and in JSON",
    ),
    clause("code.sealed", "a sealed code is taken"),
    clause(
        "code.unknown-key",
        "a code that the cloud can't open is no reason to refuse the batch",
    ),
    clause(
        "code.plain",
        "a code that isn't sealed: 400 malformed, and the answer doesn't repeat it",
    ),
    clause(
        "uplink.gap",
        "items are missing before the batch's first: 409 gap, with the lane",
    ),
    clause(
        "uplink.gap.expected",
        "of a gap the number that is expected next",
    ),
    clause(
        "uplink.fork.chain",
        "another chain at a known position: 409 fork, with the lane",
    ),
    clause(
        "uplink.fork.item",
        "a known item with other content: 409 fork, with the lane",
    ),
    clause(
        "uplink.refused-whole",
        "of a refused batch nothing is taken, not from its good lanes either",
    ),
    clause(
        "uplink.malformed.named",
        "an item that can't be read: 400 malformed, with the lane; detail names lane, item and field",
    ),
    clause(
        "uplink.malformed.numbers",
        "items that aren't numbered one after the other, or out of range: 400 malformed",
    ),
    clause(
        "uplink.malformed.lane",
        "a lane that isn't, or a known kind in another lane: 400 malformed, with the lane",
    ),
    clause(
        "at-once.lanes",
        "batches of two lanes at the same time are both taken",
    ),
    clause(
        "at-once.batch",
        "one batch several times at once is taken once, and acknowledged each time",
    ),
    clause(
        "epoch.lower",
        "a lower epoch: 409 epoch, with the cloud's own",
    ),
    clause(
        "epoch.starts-at-0",
        "the first batch of a higher epoch begins after 0, else 409 gap, expected 1",
    ),
    clause(
        "epoch.refused",
        "a refused batch of a higher epoch doesn't begin it",
    ),
    clause(
        "epoch.higher",
        "a higher epoch is taken, and every lane starts over",
    ),
    clause(
        "epoch.at-once",
        "the first batches of two lanes may bring a higher epoch at the same time",
    ),
    clause(
        "key.proof",
        "a new key is proved by its own signature for this gateway, else 401 signature, and nothing changes",
    ),
    clause(
        "key.change",
        "a change of key is answered with 200 and the gateway",
    ),
    clause("key.again", "the same change again is 200"),
    clause(
        "key.second",
        "a second change before the first was used replaces the new key",
    ),
    clause(
        "key.old-good",
        "the old key stays good until the new one is used",
    ),
    clause("key.new", "the new key is taken"),
    clause(
        "key.old-dead",
        "once the new key was used the old one is dead: 401 signature",
    ),
    clause(
        "downlink.items",
        "the downlink is answered with 200 and items",
    ),
    clause(
        "downlink.rising",
        "items come with rising numbers above 'after'",
    ),
    clause(
        "downlink.empty",
        "without 'wait' the answer comes at once; 'after' and 'wait' may be left out",
    ),
    clause(
        "downlink.wait",
        "without items the answer waits as long as was asked for, and is then empty",
    ),
    clause(
        "downlink.wait-longest",
        "more than 600 s asked for counts as 600",
    ),
    clause(
        "downlink.numbers",
        "an 'after' that is no number from 0 to 2^53 - 1: 400 malformed",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_sentences_are_lines() {
        for (at, clause) in CLAUSES.iter().enumerate() {
            assert!(CLAUSES[..at].iter().all(|before| before.id != clause.id));
            assert!(clause.says.chars().count() <= 120, "{}", clause.id);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            assert!(clause.id.chars().all(plain), "{}", clause.id);
        }
    }

    /// Each is in the page about the run, with its sentence.
    #[test]
    fn the_document_has_every_clause() {
        let document = include_str!("../../docs/conformance.md");
        for clause in CLAUSES {
            let line = format!("| `{}` | {} |", clause.id, clause.says);
            assert!(document.contains(&line), "{line}");
        }
        let rows = document.matches("\n| `").count();
        assert_eq!(rows, CLAUSES.len());
    }
}
