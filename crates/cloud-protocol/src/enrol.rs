//! Enrolment, the change of a gateway's key, and what the cloud says of a gateway.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::{Key, Value, map};

use crate::code::SealingKey;
use crate::read::{bytes, name_of, time, within};
use crate::{Chain, Lane, NUMBER_MAX};

/// The domain that separates the proof of a new key from any other signature.
pub const KEY_CHANGE_DOMAIN: &[u8] = b"linli/v1/key-change\0";
/// The longest enrolment token, characters.
pub const TOKEN_MAX: usize = 256;

/// The body of `POST /v1/enrol`, signed by the key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Given once by the operator: text of 1 to 256 characters.
    pub token: Secret,
    /// The gateway's name.
    pub gateway: Ident,
    /// Ed25519.
    pub public_key: [u8; 32],
}

/// The body of `POST /v1/gateways/{gateway}/key`, signed by the key in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The new key, Ed25519.
    pub public_key: [u8; 32],
    /// That the sender has its private half: its signature over [`key_change_proof`].
    pub proof: [u8; 64],
}

/// What the new key signs: [`KEY_CHANGE_DOMAIN`], the gateway's name, a zero byte, the new key.
pub fn key_change_proof(gateway: &str, public_key: &[u8; 32]) -> Vec<u8> {
    [KEY_CHANGE_DOMAIN, gateway.as_bytes(), b"\0", public_key].concat()
}

/// What the cloud says of a gateway: the answer of enrolment, of a change of key, and of
/// `GET /v1/gateways/{gateway}`.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayView {
    /// To what codes are sealed from now on.
    pub sealing_key: SealingKey,
    /// Numbers by name, as in the downlink's `settings`.
    pub settings: BTreeMap<String, i64>,
    /// The cloud's time, ms since the Unix epoch.
    pub time: i64,
    /// The epoch that the cloud has; `None` before the first batch.
    pub epoch: Option<u64>,
    /// Where each lane of that epoch stands at the cloud.
    pub lanes: BTreeMap<Lane, LaneView>,
}

/// Where a lane stands at the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneView {
    /// The last item that it has.
    pub last: u64,
    /// The chain up to it.
    pub chain: Chain,
}

impl Enrolment {
    /// The body.
    pub fn to_value(&self) -> Value {
        map([
            ("token", Some(self.token.reveal().into())),
            ("gateway", Some(self.gateway.as_str().into())),
            ("public_key", Some(Value::Bytes(self.public_key.to_vec()))),
        ])
    }

    /// Reads the body.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        Ok(Self {
            token: Secret::new(f.text("token", TOKEN_MAX)?),
            gateway: f.ident("gateway")?,
            public_key: bytes(f, "public_key")?,
        })
    }
}

impl KeyChange {
    /// The body.
    pub fn to_value(&self) -> Value {
        map([
            ("public_key", Some(Value::Bytes(self.public_key.to_vec()))),
            ("proof", Some(Value::Bytes(self.proof.to_vec()))),
        ])
    }

    /// Reads the body.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        Ok(Self {
            public_key: bytes(f, "public_key")?,
            proof: bytes(f, "proof")?,
        })
    }
}

impl GatewayView {
    /// The body of the answer.
    pub fn to_value(&self) -> Value {
        let settings = self.settings.iter();
        let settings: Vec<_> = settings
            .map(|(name, n)| (Key::Text(name.clone()), (*n).into()))
            .collect();
        let lanes = self.lanes.iter().map(|(lane, view)| {
            let view = map([
                ("last", Some(view.last.into())),
                ("chain", Some(Value::Bytes(view.chain.0.to_vec()))),
            ]);
            (Key::Text(lane.name().to_string()), view)
        });
        map([
            ("sealing_key", Some(self.sealing_key.to_value())),
            (
                "settings",
                (!settings.is_empty()).then_some(Value::Map(settings)),
            ),
            ("time", Some(self.time.into())),
            ("epoch", self.epoch.map(Value::from)),
            ("lanes", Some(Value::Map(lanes.collect()))),
        ])
    }

    /// Reads the answer. Lanes that this version doesn't know are passed over.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let sealing_key = SealingKey::from_value(f.need("sealing_key")?)
            .map_err(|e| within("field 'sealing_key'", &e))?;
        let mut lanes = BTreeMap::new();
        for (name, view) in entries(f, "lanes")? {
            let Some(lane) = Lane::from_name(&name) else {
                continue;
            };
            let place = |e: Malformed| within(&name, &e);
            let f = Fields::of(view).map_err(place)?;
            let last = f.uint("last", 0, NUMBER_MAX).map_err(place)?;
            let chain = Chain(bytes(f, "chain").map_err(place)?);
            lanes.insert(lane, LaneView { last, chain });
        }
        let settings = match f.get("settings") {
            Some(_) => crate::downlink::settings(f)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            sealing_key,
            settings,
            time: time(f, "time")?,
            epoch: f.uint_opt("epoch", 0, NUMBER_MAX)?,
            lanes,
        })
    }
}

/// The entries of an optional map by name.
fn entries<'a>(f: Fields<'a>, field: &str) -> Result<Vec<(String, &'a Value)>, Malformed> {
    match f.get(field) {
        None => Ok(Vec::new()),
        Some(Value::Map(entries)) => entries
            .iter()
            .map(|(key, value)| Ok((name_of(key, field)?, value)))
            .collect(),
        Some(other) => Err(Malformed::field(field, "a map by name", other.kind())),
    }
}
