//! Who knocked and wasn't let in: kept for a while, for the technician who wonders where a device is.
//!
//! In memory only, and bounded twice: [`KNOCKS_MAX`] different ones, of which [`FROM_ONE_MAX`] may be
//! from one address, so that nobody who knocks under a thousand names pushes the others out. When all
//! is full, the address that has most makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;
use tokio::sync::broadcast;

/// How many different ones are kept.
pub const KNOCKS_MAX: usize = 128;

/// How many different ones are kept from one address (IPv6: from one network of 64 bits). Beyond it
/// the one of them that was heard of longest ago makes room.
pub const FROM_ONE_MAX: usize = 32;

/// The longest name that is kept, in characters.
pub const NAME_MAX_CHARS: usize = 64;

/// How many may wait for somebody who listens live; whoever is slower misses some and is told.
const LIVE_MAX: usize = 256;

/// Why somebody isn't let in: words for programs. What they mean to people stands with the CLI's words.
pub mod why {
    #![allow(missing_docs)]
    /// The first byte wasn't that of an MQTT CONNECT.
    pub const NOT_MQTT: &str = "not-mqtt";
    /// TLS, on the listener without.
    pub const TLS_ON_PLAIN: &str = "tls-on-plain-port";
    /// Connected, and then said nothing.
    pub const SILENT: &str = "silent";
    /// Another version of MQTT than 3.1.1 or 5.
    pub const VERSION: &str = "version";
    /// A first packet against the standard, cut short, or beyond 2 KiB.
    pub const MALFORMED: &str = "malformed";
    /// Enhanced authentication.
    pub const AUTH_METHOD: &str = "auth-method";
    /// The client id is no identifier.
    pub const CLIENT_ID: &str = "client-id";
    /// No device of that name in the configuration.
    pub const UNKNOWN: &str = "unknown-device";
    /// The user name isn't the client id.
    pub const USER_NAME: &str = "user-name";
    /// It showed no password, and needs one.
    pub const NO_PASSWORD: &str = "no-password";
    /// It showed a password, and none is stored for it.
    pub const NONE_STORED: &str = "none-stored";
    /// It showed another password than the one stored.
    pub const WRONG_PASSWORD: &str = "wrong-password";
    /// While it was waited for: a password too short to be taken.
    pub const SHORT_PASSWORD: &str = "short-password";
    /// While it was waited for: it came from another address than the one named.
    pub const OTHER_ADDRESS: &str = "other-address";
    /// Too many wrong passwords from there.
    pub const THROTTLED: &str = "throttled";
    /// A will on another topic than its status.
    pub const WILL_TOPIC: &str = "will-topic";
    /// A will that is neither `online` nor `offline`.
    pub const WILL_PAYLOAD: &str = "will-payload";
    /// A will with QoS 2.
    pub const WILL_QOS: &str = "will-qos";
    /// No room, or stopping.
    pub const NO_ROOM: &str = "no-room";
    /// Behind somebody else's broker: spoke under a name that isn't in the configuration.
    pub const STRANGER: &str = "stranger";
    /// Its certificate names another device, or nobody any more.
    pub const CERTIFICATE_OF_ANOTHER: &str = "certificate-of-another";
    /// What the other side spoke wasn't TLS.
    pub const NO_TLS: &str = "no-tls";
    /// It knows only versions of TLS before 1.2.
    pub const OLD_TLS: &str = "tls-too-old";
    /// It has no cipher, curve or signature in common with us.
    pub const NOTHING_IN_COMMON: &str = "tls-nothing-in-common";
    /// The client doesn't take our certificate.
    pub const OURS_REFUSED: &str = "our-certificate-refused";
    /// To the client our certificate has ended, or doesn't hold yet: its clock is wrong, or ours was.
    pub const OURS_EXPIRED: &str = "our-certificate-expired";
    /// It has shown no certificate, and must.
    pub const MISSING: &str = "certificate-missing";
    /// Its certificate has ended.
    pub const EXPIRED: &str = "certificate-expired";
    /// Its certificate doesn't hold yet: our clock is wrong.
    pub const EARLY: &str = "certificate-not-yet-valid";
    /// Its certificate is of another CA.
    pub const FOREIGN: &str = "certificate-foreign";
    /// Its certificate was revoked.
    pub const REVOKED: &str = "certificate-revoked";
    /// Its certificate isn't for this.
    pub const UNFIT: &str = "certificate-unfit";
    /// Something else in the handshake was against the standard.
    pub const BROKEN: &str = "tls-broken";

    /// Whether it means that nobody here goes by that name.
    pub fn is_unknown(why: &str) -> bool {
        [UNKNOWN, STRANGER, CLIENT_ID].contains(&why)
    }
}

/// Somebody that wasn't let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// What it calls itself, cut to [`NAME_MAX_CHARS`]. Empty if it never said.
    pub client_id: String,
    /// The user name that it gave, cut to [`NAME_MAX_CHARS`]. Never a password.
    pub username: Option<String>,
    /// From where; `None` behind somebody else's broker.
    pub from: Option<IpAddr>,
    /// Why it wasn't let in: a word for programs, as in [`why`].
    pub why: &'static str,
}

/// A knock, with when and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who, and why.
    pub knock: Knock,
    /// When it was heard first, ms since the Unix epoch.
    pub first_ms: i64,
    /// When it was heard last, ms since the Unix epoch.
    pub last_ms: i64,
    /// How often.
    pub count: u64,
}

/// Who knocked. Clones share it.
#[derive(Clone)]
pub struct Knocks(Arc<Inner>);

struct Inner {
    /// The one heard last at the end.
    all: Mutex<Vec<Known>>,
    live: broadcast::Sender<Known>,
}

impl Default for Knocks {
    fn default() -> Self {
        let (live, _) = broadcast::channel(LIVE_MAX);
        Self(Arc::new(Inner {
            all: Mutex::default(),
            live,
        }))
    }
}

impl Knocks {
    /// Somebody wasn't let in.
    pub fn note(&self, knock: Knock) {
        self.note_at(knock, jiff::Timestamp::now().as_millisecond());
    }

    /// All that are kept, newest first.
    pub fn all(&self) -> Vec<Known> {
        let all = self.lock();
        all.iter().rev().cloned().collect()
    }

    /// Those to come.
    pub fn listen(&self) -> broadcast::Receiver<Known> {
        self.0.live.subscribe()
    }

    /// A device got in from there: what it tried before, under its name or that user name, is no news.
    pub fn got_in(&self, device: &Ident, from: IpAddr) {
        let name = device.as_str();
        self.lock().retain(|known| {
            let same =
                known.knock.client_id == name || known.knock.username.as_deref() == Some(name);
            !same || known.knock.from != Some(from)
        });
    }

    /// A device is a stranger no more, or is gone: what was heard of that name is no news.
    pub fn forget(&self, name: &str) {
        self.lock().retain(|known| known.knock.client_id != name);
    }

    fn note_at(&self, knock: Knock, now_ms: i64) {
        let knock = Knock {
            client_id: cut(&knock.client_id),
            username: knock.username.as_deref().map(cut),
            ..knock
        };
        let mut all = self.lock();
        let before = all.iter().position(|known| known.knock == knock);
        let mut known = match before {
            Some(index) => all.remove(index),
            None => {
                make_room(&mut all, knock.from);
                Known {
                    knock,
                    first_ms: now_ms,
                    last_ms: now_ms,
                    count: 0,
                }
            }
        };
        known.last_ms = now_ms;
        known.count += 1;
        // Nobody may be listening.
        let _ = self.0.live.send(known.clone());
        all.push(known);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one out if one more from there would be too many.
fn make_room(all: &mut Vec<Known>, from: Option<IpAddr>) {
    let place = place(from);
    let here = all
        .iter()
        .filter(|known| self::place(known.knock.from) == place);
    let crowded = if here.count() >= FROM_ONE_MAX {
        place
    } else if all.len() >= KNOCKS_MAX {
        fullest(all)
    } else {
        return;
    };
    let oldest = all
        .iter()
        .position(|known| self::place(known.knock.from) == crowded);
    if let Some(oldest) = oldest {
        all.remove(oldest);
    }
}

/// The place that has most; among equals the one that was heard of longest ago.
fn fullest(all: &[Known]) -> Option<IpAddr> {
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    for known in all {
        *counts.entry(place(known.knock.from)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or_default();
    let places = all.iter().map(|known| place(known.knock.from));
    let mut full = places.filter(|place| counts.get(place) == Some(&most));
    full.next().flatten()
}

/// Who is taken for one: an address, or a network of 64 bits, as one house has a whole one.
fn place(from: Option<IpAddr>) -> Option<IpAddr> {
    Some(match from?.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    })
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn knock(id: &str, from: IpAddr) -> Knock {
        Knock {
            client_id: id.to_string(),
            username: None,
            from: Some(from),
            why: why::UNKNOWN,
        }
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
    }

    #[test]
    fn the_same_is_counted_and_the_newest_stands_first() {
        let knocks = Knocks::default();
        for (id, at) in [("a", 1), ("b", 2), ("a", 3)] {
            knocks.note_at(knock(id, v4(1)), at);
        }
        let all = knocks.all();
        let told: Vec<_> = all
            .iter()
            .map(|k| (k.knock.client_id.as_str(), k.first_ms, k.last_ms, k.count))
            .collect();
        assert_eq!(told, [("a", 1, 3, 2), ("b", 2, 2, 1)]);
    }

    #[test]
    fn a_flood_from_one_address_leaves_the_others() {
        let knocks = Knocks::default();
        for n in 0..8 {
            knocks.note(knock("quiet", v4(100 + n)));
        }
        for n in 0..10_000 {
            knocks.note(knock(&format!("flood-{n}"), v4(1)));
        }
        let all = knocks.all();
        assert_eq!(all.len(), FROM_ONE_MAX + 8);
        let quiet = all.iter().filter(|k| k.knock.client_id == "quiet");
        assert_eq!(quiet.count(), 8);
        assert_eq!(all[0].knock.client_id, "flood-9999");
    }

    #[test]
    fn one_network_of_ipv6_is_one_address_and_many_addresses_are_bounded_too() {
        let knocks = Knocks::default();
        for n in 0..200_u128 {
            let from = IpAddr::V6(Ipv6Addr::from_bits((0xfd00_u128 << 112) + n));
            knocks.note(knock("x", from));
        }
        assert_eq!(knocks.all().len(), FROM_ONE_MAX);
        for n in 0..1_000 {
            knocks.note(knock("y", v4(n)));
        }
        let all = knocks.all();
        assert_eq!(all.len(), KNOCKS_MAX);
        // The crowded network made room first, and only down to what others have.
        let crowd = all.iter().filter(|k| k.knock.client_id == "x").count();
        assert!(crowd <= 1, "{crowd}");
    }

    #[test]
    fn names_are_cut_and_who_got_in_is_forgotten_there_only() {
        let knocks = Knocks::default();
        let long = "é".repeat(500);
        knocks.note(knock(&long, v4(1)));
        assert_eq!(
            knocks.all()[0].knock.client_id.chars().count(),
            NAME_MAX_CHARS
        );
        knocks.note(knock("door-1", v4(1)));
        knocks.note(knock("door-1", v4(2)));
        knocks.got_in(&Ident::new("door-1").unwrap(), v4(1));
        let left: Vec<_> = knocks.all().into_iter().map(|k| k.knock.from).collect();
        assert_eq!(left, [Some(v4(2)), Some(v4(1))]);
        knocks.forget("door-1");
        assert_eq!(knocks.all().len(), 1);
    }

    #[test]
    fn who_listens_hears_each_of_them() {
        let knocks = Knocks::default();
        let mut live = knocks.listen();
        knocks.note(knock("a", v4(1)));
        knocks.note(knock("a", v4(1)));
        let counts = [
            live.try_recv().unwrap().count,
            live.try_recv().unwrap().count,
        ];
        assert_eq!(counts, [1, 2]);
    }
}
