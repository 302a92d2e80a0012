//! A lane as the gateway under test has it: every item of the epoch, and the chain at each.

use cloud_protocol::{Chain, Lane};
use firmware_protocols::value::{Key, Value, map};

/// A lane's items from the start of an epoch.
#[derive(Debug, Clone)]
pub(super) struct Track {
    lane: Lane,
    items: Vec<Value>,
    /// Before the first, and after each.
    chains: Vec<Chain>,
}

impl Track {
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            items: Vec::new(),
            chains: vec![Chain::default()],
        }
    }

    /// The number of the last item.
    pub fn last(&self) -> u64 {
        self.items.len() as u64
    }

    /// The chain up to and including an item; of one that isn't there, 32 bytes that are no chain.
    pub fn chain(&self, seq: u64) -> Chain {
        let at = usize::try_from(seq).ok();
        let found = at.and_then(|at| self.chains.get(at));
        found.copied().unwrap_or(Chain([0xee; 32]))
    }

    /// One more item: `seq`, `at` and these fields.
    pub fn push(&mut self, at_ms: i64, fields: Vec<(&str, Value)>) -> &mut Self {
        let item = item(self.last() + 1, at_ms, fields);
        let chain = self.chain(self.last()).then_encoded(&item.to_cbor());
        self.items.push(item);
        self.chains.push(chain);
        self
    }

    /// So many plain items more.
    pub fn push_plain(&mut self, at_ms: i64, count: usize) -> &mut Self {
        for _ in 0..count {
            let fields = plain(self.lane, self.last() + 1, at_ms);
            self.push(at_ms, fields);
        }
        self
    }

    /// Items `after + 1` to `to`, as a lane of a batch.
    pub fn part(&self, after: u64, to: u64) -> Value {
        part(after, self.chain(after), self.items_of(after, to))
    }

    /// The items `after + 1` to `to`.
    pub fn items_of(&self, after: u64, to: u64) -> Vec<Value> {
        let at = |seq: u64| usize::try_from(seq).map_or(0, |at| at.min(self.items.len()));
        let (from, to) = (at(after), at(to));
        self.items[from..to.max(from)].to_vec()
    }
}

/// A lane of a batch.
pub(super) fn part(after: u64, chain: Chain, items: Vec<Value>) -> Value {
    map([
        ("after", Some(after.into())),
        ("chain", Some(Value::Bytes(chain.0.to_vec()))),
        ("items", Some(Value::Array(items))),
    ])
}

/// A batch of these lanes.
pub(super) fn batch(epoch: u64, parts: Vec<(&str, Value)>) -> Value {
    map([
        ("epoch", Some(epoch.into())),
        ("lanes", Some(fields(parts))),
    ])
}

/// An item.
pub(super) fn item(seq: u64, at_ms: i64, more: Vec<(&str, Value)>) -> Value {
    let mut all = vec![("seq", seq.into()), ("at", at_ms.into())];
    all.extend(more);
    fields(all)
}

/// A map of these fields.
pub(super) fn fields(fields: Vec<(&str, Value)>) -> Value {
    let entries = fields.into_iter();
    Value::Map(
        entries
            .map(|(name, value)| (Key::Text(name.to_string()), value))
            .collect(),
    )
}

/// The fields of an item that says little: a parcel announced, a counter, an hour of the site.
pub(super) fn plain(lane: Lane, n: u64, at_ms: i64) -> Vec<(&'static str, Value)> {
    match lane {
        Lane::Fulfilment => vec![
            ("kind", "parcel".into()),
            ("parcel", format!("conform-{n}").into()),
            ("state", "expected".into()),
            ("since", at_ms.into()),
        ],
        Lane::Health => vec![
            ("kind", "health".into()),
            ("counters", fields(vec![("conform", n.into())])),
        ],
        Lane::Demand => vec![
            ("kind", "demand".into()),
            ("scope", fields(vec![("site", true.into())])),
            ("start", (n * 3_600_000).into()),
            ("minutes", 60_u64.into()),
            ("revision", 1_u64.into()),
            ("series", fields(vec![("comings", n.into())])),
        ],
    }
}
