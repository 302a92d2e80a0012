//! What linli says to people, in English. All of it stands here and in the help texts of
//! [`super::args`], so that another language needs only another such file.

pub mod audit;
pub mod bank;
pub mod ca;
pub mod cloud;
#[cfg(feature = "osdp")]
pub mod commissioning;
pub mod compartments;
pub mod config;
pub mod conform;
pub mod desk;
pub mod device;
pub mod disk;
pub mod events;
pub mod init;
pub mod profile;
pub mod scan;
pub mod serial;
pub mod slowed;
pub mod sync;

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use crate::control::health::{Health, Trouble};
use crate::control::views::{CompartmentState, DeviceCounts, StateCounts};

use super::look::Look;

/// Below the help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed or refused; the message says what to do
  2   asked for in the wrong way
  3   the daemon isn't running
  4   what was named isn't there
  70  a fault of linli's own: please report it

Environment:
  LINLI_SOCKET  the daemon's socket, if --socket isn't given
  LINLI_LOG     for 'run': what is logged, as in info or warn,linli::journal=debug
  NO_COLOR      print without colour";

/// How a message of error begins.
pub const ERROR: &str = "error:";

// Errors, each with what to do next.

/// Nobody answers at the socket.
pub fn not_running(socket: &Path, config: &Path) -> String {
    format!(
        "linli isn't running (no answer at {}). Start it: systemctl start linli, or linli run --config {}",
        socket.display(),
        config.display()
    )
}

/// The socket can't be used.
pub fn unreachable(socket: &Path, why: &dyn Display) -> String {
    format!(
        "the daemon's socket {} can't be used: {why}. It is open to its owner and group: use sudo, or join the group",
        socket.display()
    )
}

/// The daemon went away.
pub fn broken_off(why: &dyn Display) -> String {
    format!(
        "the daemon broke off: {why}. Is it being restarted? What was asked for may have been done: after an 'open' see linli commands before you try again. Its log: journalctl -u linli"
    )
}

/// The daemon speaks otherwise.
pub fn unreadable(why: &dyn Display) -> String {
    format!(
        "the daemon's answer can't be read: {why}. Is it of another version? Restart it: systemctl restart linli"
    )
}

/// Standard output doesn't take it.
pub fn cannot_print(why: &dyn Display) -> String {
    format!("the output can't be written: {why}")
}

/// `LINLI_LOG` can't be read.
pub fn bad_log(wanted: &str, why: &dyn Display) -> String {
    format!(
        "LINLI_LOG is '{wanted}': {why}. Write a level (error, warn, info, debug, trace), or levels by target, as in warn,linli::journal=debug"
    )
}

/// A panic.
pub const FAULT: &str = "linli itself is at fault, sorry. Please report what stands above";

/// The OSDP readers were left out when it was built.
#[cfg(not(feature = "osdp"))]
pub const NO_OSDP: &str =
    "this linli was built without OSDP: install one built with the feature 'osdp'";

/// A device that isn't configured.
pub fn no_such_device(id: &str, config: &Path) -> String {
    format!(
        "no bank, desk or device '{id}' stands in {0}. Add it: linli device add {id}, or correct the name",
        config.display()
    )
}

/// Devices log in elsewhere.
pub fn not_our_broker(url: &str) -> String {
    format!(
        "devices log in at the broker {url}, not here: make the password there (Mosquitto: mosquitto_passwd)"
    )
}

/// How to use a password that was just made. For standard error: the password itself goes to
/// standard output.
pub fn password_made(id: &str, broker: SocketAddr, file: &Path, old: &str) -> String {
    let host = match broker.ip().is_unspecified() {
        true => "127.0.0.1".to_string(),
        false => broker.ip().to_string(),
    };
    let port = broker.port();
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    // A boot of its own, so that trying it doesn't use up a number of the device's.
    let boot = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs());
    format!(
        "This is the new password of {id}; it is shown only now, and stored only as a hash in {}.
{old}Enter it in the device: user name {id}, client id {id}. It holds from the next login on,
if that file is the one of your daemon (relative folders are taken from where a command is run). To try it:
  mosquitto_pub -h {host} -p {port} -V mqttv5 -q 1 -i {id} -u {id} -P PASSWORD \\
    -t linli/v1/{id}/event -m '{{\"kind\":\"hello\",\"boot\":{boot},\"seq\":1,\"model\":\"test\",\"firmware\":\"0\",\"capabilities\":[]}}'",
        file.display()
    )
}

/// A message goes on.
pub fn lines_left_out(n: usize) -> String {
    format!("[{n} more lines]")
}

/// The list goes on.
pub fn cut(shown: usize) -> String {
    format!("Only {shown} are shown: for more, --limit N")
}

/// An empty list.
pub const NONE: &str = "None.";

// Lengths and sizes.

/// A length of time: `0.8 s`, `12 s`, `5 min`, `3 h 5 min`, `4 d 2 h`.
pub fn length(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0..10) => format!("{seconds}.{} s", ms % 1_000 / 100),
        (0, 0, 0, _) => format!("{seconds} s"),
        (0, 0, ..) => format!("{minutes} min"),
        (0, ..) => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// How long ago; a time in the future, from a clock that was set back, is said as such.
pub fn ago(ms: i64) -> String {
    match ms {
        ..-999 => format!("in {}", length(ms.unsigned_abs())),
        -999..1_000 => "now".to_string(),
        _ => format!("{} ago", length(ms.unsigned_abs())),
    }
}

/// A number with its thousands apart.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size.
pub fn size(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_mul(10) / unit;
        format!("{}.{}", number(tenths / 10), tenths % 10)
    };
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{} KiB", tenths(1 << 10)),
        _ => format!("{} MiB", tenths(1 << 20)),
    }
}

// The status.

/// The verdict.
pub const fn health(health: Health) -> &'static str {
    match health {
        Health::Well => "all is well",
        Health::Attention => "works, but somebody should look at this",
        Health::Failing => "somebody isn't served",
    }
}

/// Labels of the status, in its order.
pub mod label {
    #![allow(missing_docs)]
    pub const RUNNING: &str = "running";
    pub const CONFIGURATION: &str = "config";
    pub const DISK: &str = "disk";
    pub const STORE: &str = "store";
    pub const BROKER: &str = "broker";
    pub const KNOCKS: &str = "knocks";
    pub const PASSWORDS: &str = "passwords";
    pub const SLOWED: &str = "slowed";
    pub const SERIAL: &str = "serial";
    pub const BANKS: &str = "banks";
    pub const PARCELS: &str = "parcels";
    pub const CLOUD: &str = "cloud";
    pub const CLOCK: &str = "clock";
    pub const ENROLLED: &str = "enrolled";
    pub const CERTIFICATES: &str = "papers";
    pub const LINE: &str = "line";
}

/// What happened, and what to do about it.
pub fn trouble(look: &Look, trouble: &Trouble) -> (String, String) {
    let (what, remedy) = match trouble {
        Trouble::NotWriting { error, since_ms } => (
            format!(
                "Nothing can be written to the disk{}: {}.",
                since_ms.map_or_else(String::new, |ms| format!(" since {}", look.time(ms))),
                error.as_deref().unwrap_or("why isn't known")
            ),
            "Devices keep their events, and no door opens, until it can. Look for space (df -h) and for a disk that fails (dmesg); it goes on by itself.".to_string(),
        ),
        Trouble::LinkDown { mode, address, error } => (
            format!("The {mode} broker at {address} can't be used: {error}."),
            "No device is heard until it can. Is the address right and free, the network up, the other broker running? It is tried again by itself.".to_string(),
        ),
        Trouble::PartDown { part, restarts, error } => (
            format!(
                "The part '{part}' isn't running{}.",
                error.as_deref().map_or_else(String::new, |error| format!(": {error}"))
            ),
            format!("It was started again {restarts} times and will be again. See the log: journalctl -u linli"),
        ),
        Trouble::BankOffline { bank } => (
            format!("Bank {bank} isn't connected, so its doors can't be opened."),
            format!(
                "Check its power and its network cable. If it was given a wrong password: linli device password {bank} makes a new one, to be entered in it; the old one is replaced."
            ),
        ),
        Trouble::DevicesOffline { devices } => (
            format!("{} not connected: {}.", count(devices.len() as u64, "device is", "devices are"), some(devices)),
            "Check their power and network. See linli devices for when each was last heard.".to_string(),
        ),
        Trouble::CompartmentsFaulty { bank, compartments } => (
            format!(
                "Bank {bank} doesn't use {}: {}.",
                count(compartments.len() as u64, "compartment", "compartments"),
                some(compartments)
            ),
            format!("See linli banks for why. After the repair: linli open {bank}/N --reason TEXT"),
        ),
        Trouble::Backlog { waiting, oldest_ms } => (
            format!(
                "The cloud has taken nothing for a while: {} waiting, the oldest for {}.",
                count(*waiting, "item is", "items are"),
                look.age(*oldest_ms)
            ),
            "Nothing is lost, and residents are served. See linli sync for why; check the antenna and the SIM card.".to_string(),
        ),
        Trouble::CompartmentsDisabled { .. }
        | Trouble::KeypadsLocked { .. }
        | Trouble::DesksLocked { .. }
        | Trouble::DoorsLeftOpen { .. }
        | Trouble::ParcelsGoBack(_)
        | Trouble::CloudRefused(_)
        | Trouble::BootsReused { .. } => desk::trouble(look, trouble),
        Trouble::PortDown { .. }
        | Trouble::SlavesSilent { .. }
        | Trouble::LinePoor { .. }
        | Trouble::SlavesNoted { .. } => serial::trouble(look, trouble),
        Trouble::DiskRefuses { .. } => disk::trouble(look, trouble),
        Trouble::Cloud { .. } => cloud::trouble(look, trouble),
        Trouble::CertificateEnds { .. }
        | Trouble::LineExhausted { .. }
        | Trouble::ClockOff { .. } => sync::trouble(look, trouble),
        Trouble::DevicesSlowed { devices } => slowed::trouble(look, devices),
        Trouble::ProfileDown(down) => profile::trouble(look, down),
        Trouble::ParcelsNotSeen { compartments } => compartments::not_seen(compartments),
        Trouble::NotBooked { slots } => compartments::not_booked(slots),
        Trouble::HistoryBroken { broken } => audit::trouble(look, broken),
        Trouble::ConfigurationRefused { refused, taken_ms } => {
            config::reload::trouble(look, refused, *taken_ms)
        }
        Trouble::ClockUnknown => (
            "Nobody has told this box the time.".to_string(),
            "Events are kept in order, and no code expires by it. Connect it to the network, or set the clock: timedatectl".to_string(),
        ),
    };
    (what.replace("..", "."), remedy)
}

/// For how long the daemon has been running.
pub fn running(uptime_ms: u64, rss_bytes: Option<u64>) -> String {
    let memory = rss_bytes.map_or_else(String::new, |bytes| {
        format!(", in {} of memory", size(bytes))
    });
    format!("for {}{memory}", length(uptime_ms))
}

/// Whether the journal writes.
pub fn writes(writing: bool, events: u64, commits: u64, waiting: u64, turned_away: u64) -> String {
    let mut text = match writing {
        true => "writes".to_string(),
        false => "doesn't write".to_string(),
    };
    text.push_str(&format!(
        "; since the start {} in {}",
        count(events, "event", "events"),
        count(commits, "commit", "commits")
    ));
    if waiting > 0 {
        text.push_str(&format!(", {} waiting", number(waiting)));
    }
    if turned_away > 0 {
        text.push_str(&format!(
            ", {} turned away (too much at once)",
            number(turned_away)
        ));
    }
    text
}

/// What is in the store.
pub fn store(stored: u64, duplicate: u64, quarantined: u64, bytes: u64) -> String {
    format!(
        "{} stored, {} seen before, {} in quarantine; {}",
        count(stored, "event", "events"),
        number(duplicate),
        number(quarantined),
        size(bytes)
    )
}

/// Who is connected.
pub fn broker(mode: &str, address: &str, devices: &DeviceCounts) -> String {
    format!(
        "{mode}, {address}; {} of {} connected",
        number(devices.online),
        count(devices.configured, "device", "devices")
    )
}

/// Compartments by state.
pub fn compartments(counts: &StateCounts) -> String {
    let parts = [
        (counts.free, CompartmentState::Free),
        (counts.reserved, CompartmentState::Reserved),
        (counts.occupied, CompartmentState::Occupied),
        (counts.open, CompartmentState::Open),
        (counts.faulty, CompartmentState::Faulty),
        (counts.disabled, CompartmentState::Disabled),
    ];
    let shown = parts
        .iter()
        .filter(|(n, state)| *n > 0 || *state == CompartmentState::Free);
    let shown: Vec<String> = shown.map(|(n, s)| format!("{n} {}", state(*s))).collect();
    format!("{} of {} compartments", shown.join(", "), counts.total())
}

/// Parcels that aren't archived, by state.
pub fn parcels<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let shown: Vec<String> = counts
        .map(|(state, n)| format!("{} {state}", number(n)))
        .collect();
    match shown.is_empty() {
        true => "none".to_string(),
        false => shown.join(", "),
    }
}

/// There is no cloud.
pub const NO_CLOUD: &str = "none in the configuration";
/// Nothing waits for the cloud.
pub const NOTHING_WAITS: &str = "; nothing waits";

/// Whether the cloud is reached.
pub fn cloud(look: &Look, url: &str, since_ms: Option<i64>, error: Option<&str>) -> String {
    match (since_ms, error) {
        (Some(since), None) => format!("{url}, reached since {}", look.time(since)),
        (Some(since), Some(error)) => {
            format!("{url}, reached since {}, but: {error}", look.time(since))
        }
        (None, Some(error)) => format!("{url}, not reached: {error}"),
        (None, None) => format!("{url}, not tried yet"),
    }
}

/// Items that wait in a lane.
pub fn waiting(look: &Look, lane: &str, waiting: u64, oldest_ms: Option<i64>) -> String {
    let oldest = oldest_ms.map_or_else(String::new, |ms| format!(", oldest {}", look.age(ms)));
    format!("{lane}: {} waiting{oldest}", number(waiting))
}

/// What the box knows about the time.
pub fn clock(look: &Look, wall_ms: i64, quality: &str) -> String {
    format!("{}, {quality}", look.date_time(wall_ms))
}

// Lists.

/// `yes`, `no` or `?`.
pub const fn yes_no(known: Option<bool>) -> &'static str {
    match known {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
}

/// A device that was never heard.
pub const NEVER: &str = "never";

/// Gaps in a sequence: `5-6, 10`, and how many more.
pub fn gaps(gaps: &[(u64, u64)]) -> String {
    let shown: Vec<String> = gaps
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    some(&shown)
}

/// A state of a compartment.
pub const fn state(state: CompartmentState) -> &'static str {
    match state {
        CompartmentState::Free => "free",
        CompartmentState::Reserved => "reserved",
        CompartmentState::Occupied => "occupied",
        CompartmentState::Open => "open",
        CompartmentState::Faulty => "faulty",
        CompartmentState::Disabled => "out of use",
    }
}

/// A bank's heading.
pub fn online(online: Option<bool>) -> &'static str {
    match online {
        Some(true) => "connected",
        Some(false) => "NOT CONNECTED",
        None => "not heard of yet",
    }
}

/// The marks of the zones, for the legend.
pub const ZONES: &str = "* chilled  ** frozen";

/// A sensor sees something that no parcel accounts for.
pub const NO_PARCEL: &str = "something lies in it, though no parcel is known to";

/// Several parcels of one recipient in a compartment.
pub fn several(parcels: &[String]) -> String {
    format!(
        "{}: {}",
        count(parcels.len() as u64, "parcel", "parcels"),
        some(parcels)
    )
}

/// A technician took it out of use.
pub fn out_of_use(reason: &str) -> String {
    format!("out of use: {reason}")
}

/// The mark of low compartments, for the legend.
pub const LOW_MARK: &str = "_ within reach from a wheelchair";

/// There is no bank.
pub const NO_BANKS: &str = "No banks stand in the configuration.";

// One parcel.

/// Labels of a parcel's facts.
pub mod fact {
    #![allow(missing_docs)]
    pub const STATE: &str = "state";
    pub const PLACE: &str = "place";
    pub const NEEDS: &str = "needs";
    pub const ITEMS: &str = "items";
    pub const DEADLINE: &str = "may wait until";
    pub const CONSENT: &str = "locker agreed to";
    pub const COURIER: &str = "courier";
    pub const BACK: &str = "goes back";
    pub const RETURN_OF: &str = "return of";
    pub const ANNOUNCED: &str = "announced";
    pub const TAKER: &str = "being taken by";
}

/// Beside the size of a parcel whose recipient needs that.
pub const LOW: &str = ", low";

/// Over a parcel's history.
pub const HISTORY: &str = "History";

/// A command in a parcel's history.
pub fn command(slot: &str, purpose: &str, state: &str, answer: Option<&str>) -> String {
    let answer = answer.map_or_else(String::new, |answer| format!(": {answer}"));
    format!("open {slot} to {purpose}, {state}{answer}")
}

/// Beside times that can't be trusted wholly.
pub const TIME_MARKS: &str = "~ the clock was estimated then; ? it wasn't known";

fn count(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        _ => format!("{} {many}", number(n)),
    }
}

/// The first few, and how many more.
fn some(all: &[impl Display]) -> String {
    const SHOWN: usize = 8;
    let mut text = all
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short() {
        let pairs = [
            (0, "0.0 s"),
            (850, "0.8 s"),
            (12_999, "12 s"),
            (60_000, "1 min"),
            (3_900_000, "1 h 5 min"),
            (7_200_000, "2 h"),
            (90_000_000, "1 d 1 h"),
        ];
        for (ms, words) in pairs {
            assert_eq!(length(ms), words);
        }
        assert_eq!(ago(500), "now");
        assert_eq!(ago(5_000), "5.0 s ago");
        assert_eq!(ago(-120_000), "in 2 min");
    }

    #[test]
    fn numbers_and_sizes_can_be_read() {
        assert_eq!(number(7), "7");
        assert_eq!(number(1_204_233), "1,204,233");
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(16_252_928), "15.5 MiB");
        assert_eq!(gaps(&[(5, 6), (10, 10)]), "5-6, 10");
        let many: Vec<(u64, u64)> = (1..=10).map(|n| (n * 2, n * 2)).collect();
        assert_eq!(gaps(&many), "2, 4, 6, 8, 10, 12, 14, 16 and 2 more");
    }
}
