//! What linli says about devices that are added, let in and taken out.

use std::fmt::Display;
use std::path::Path;

use super::super::look::Look;
use super::{count, events};
use crate::control::knocks::{KnockView, PairStep};
use crate::credentials::OldPassword;
use crate::knocks::why;

/// It may not, or can't, be written.
pub fn cannot_write(file: &Path, why: &dyn Display, sudo: bool) -> String {
    let remedy = match sudo {
        true => "It belongs to somebody else: use sudo",
        false => "Is it there, is its disk full (df -h) or mounted read-only (mount)?",
    };
    format!("{} can't be changed: {why}. {remedy}", file.display())
}

/// An editor was faster.
pub fn changed_meanwhile(file: &Path) -> String {
    format!(
        "somebody has changed {} just now, so it was left alone: try again",
        file.display()
    )
}

/// It can't be edited by a program.
pub fn cannot_edit(file: &Path, why: &dyn Display) -> String {
    format!("{}: {why}", file.display())
}

/// What is wrong with a configuration.
pub fn cannot_be_used(file: &Path, errors: &str) -> String {
    format!(
        "{}:\n  {}",
        file.display(),
        errors.trim_end().replace('\n', "\n  ")
    )
}

/// It was wrong before.
pub fn wrong_already(errors: &str) -> String {
    format!(
        "the configuration is wrong already, so nothing was changed: put this right first.\n{errors}"
    )
}

/// It would be wrong.
pub fn would_be_wrong(errors: &str) -> String {
    format!("with this device the configuration would be wrong, so nothing was changed.\n{errors}")
}

/// Something else needs the device.
pub fn referred_to(id: &str, errors: &str) -> String {
    format!(
        "something in the configuration refers to {id}, so nothing was changed: remove that first.\n{errors}"
    )
}

/// The id is taken.
pub fn exists(id: &str, kind: &str, file: &Path, line: usize) -> String {
    let more = match kind {
        "device" | "bank" | "desk" => {
            format!(
                "If it needs a password: linli device password {id}. For another device take another id"
            )
        }
        _ => "Take another id".to_string(),
    };
    format!(
        "'{id}' is there already, as a {kind}: line {line} of {}. {more}",
        file.display()
    )
}

/// Several buildings, or none.
pub fn which_building(all: &[&str]) -> String {
    match all {
        [] => "there is no building yet: add [[building]] id = \"b1\" to the configuration first"
            .to_string(),
        all => format!(
            "there are several buildings, so say which: --building, one of {}",
            all.join(", ")
        ),
    }
}

/// Done.
pub fn added(id: &str, building: &str, file: &Path) -> String {
    format!(
        "{id} was added to {}, in building {building}.",
        file.display()
    )
}

/// Done, but for its password.
pub fn added_without(id: &str, why: &str) -> String {
    format!("{id} was added, but it has no password yet: {why}. Then: linli device password {id}")
}

/// It doesn't log in here.
pub fn no_password_needed(via: Option<&str>) -> String {
    let bridge = via.unwrap_or("its bridge");
    format!("It needs no password: {bridge} speaks for it.")
}

/// The daemon goes by it.
pub fn taken(after_restart: &[String]) -> String {
    match after_restart {
        [] => "The daemon has taken it.".to_string(),
        keys => format!(
            "The daemon has taken it. What else has changed in the file holds after a restart (systemctl restart linli): {}",
            keys.join(", ")
        ),
    }
}

/// Nothing runs.
pub const TAKEN_LATER: &str = "The daemon isn't running: it holds when it starts.";

/// The daemon doesn't go by it.
pub fn not_taken(why: &str) -> String {
    format!(
        "The file is changed, but the daemon that runs doesn't go by it yet: {why}. Try linli config reload, or systemctl restart linli"
    )
}

/// The question.
pub fn ask_remove(id: &str) -> String {
    format!("Take {id} out of the configuration, with its password? What it sent stays. [y/N] ")
}

/// The answer was no.
pub const NOT_REMOVED: &str = "nothing was changed";

/// Nobody can be asked.
pub const SAY_YES: &str = "there is no terminal to ask on: say --yes if you mean it";

/// Banks and desks hold parcels.
pub fn not_a_device(id: &str, kind: &str, file: &Path, line: usize) -> String {
    let at = format!("line {line} of {}", file.display());
    match kind {
        "bank" | "desk" => format!(
            "{id} is a {kind}, and parcels may be there or on their way: bring them elsewhere (linli parcels), then take [[{kind}]] out by hand ({at}), and linli config reload"
        ),
        _ => format!(
            "{id} is a {kind}, and devices come through it: take those out first, then [[{kind}]] by hand ({at}), and linli config reload"
        ),
    }
}

/// Done.
pub fn removed(id: &str, file: &Path) -> String {
    format!(
        "{id} was taken out of {}. What it sent stays.",
        file.display()
    )
}

/// Its hash couldn't be removed.
pub fn password_stays(id: &str, why: &str) -> String {
    format!(
        "The hash of its password is still there: {why}. It lets nobody in as long as no device is called {id}."
    )
}

/// What becomes of the old password.
pub fn old_password(look: &Look, id: &str, old: OldPassword) -> String {
    match old {
        OldPassword::None => String::new(),
        OldPassword::GoodUntil(Some(ms)) => format!(
            "The old one stays good until {id} has logged in with this one, and until {} at most.\n",
            look.date_time(ms)
        ),
        OldPassword::GoodUntil(None) => format!(
            "The old one stays good until {id} has logged in with this one; this box doesn't know the time, so there is no other end.\n"
        ),
    }
}

/// Its bridge logs in.
pub fn logs_in_elsewhere(id: &str, via: &str) -> String {
    format!("{id} doesn't log in itself, {via} speaks for it: linli device password {via}")
}

/// Its bridge logs in.
pub fn pair_via(id: &str, via: &str) -> String {
    format!(
        "{id} can't be waited for: it doesn't log in itself, {via} speaks for it. Use linli device add {id}"
    )
}

/// The daemon must know the device first.
pub fn pair_needs_reload(id: &str, why: &str) -> String {
    format!(
        "{id} isn't in the configuration that the daemon goes by, and couldn't be added to it, so it was taken out again. {why}"
    )
}

/// Nobody came.
pub fn taken_out_again(id: &str) -> String {
    format!("{id} was taken out of the configuration again.")
}

/// Nobody came, and it couldn't be cleaned up.
pub fn stays_in(id: &str, why: &str) -> String {
    format!(
        "{id} still stands in the configuration, without a password: {why}. Take it out: linli device remove {id}"
    )
}

/// Below the list of devices.
pub fn unknown_knocked(n: u64) -> String {
    format!(
        "{} knocked: linli device knocks",
        count(n, "unknown device", "unknown devices")
    )
}

/// Below the list of devices.
pub fn rotating(look: &Look, id: &str, until_ms: Option<i64>) -> String {
    let until = until_ms.map_or_else(String::new, |ms| {
        format!(", and until {} at most", look.date_time(ms))
    });
    format!("{id} hasn't come with its new password yet: the old one is good until then{until}")
}

/// In the status.
pub fn rotating_all(ids: &[String]) -> String {
    format!(
        "{} come with a new password yet: {}",
        match ids.len() {
            1 => "1 device hasn't".to_string(),
            n => format!("{n} devices haven't"),
        },
        super::some(ids)
    )
}

/// While a device is waited for.
pub fn step(look: &Look, step: &PairStep) -> String {
    let now = look.time(look.now_ms);
    match step {
        PairStep::Open {
            device,
            seconds,
            address,
            ..
        } => format!(
            "Waiting {seconds} s for {device} at {address}. Set in the device: user name {device}, client id {device}, a password of 8 to 128 bytes.
Whoever comes first under this name is taken, also somebody else on this network: compare the address."
        ),
        PairStep::Heard { knock } => {
            let (why, what) = (reason(knock), remedy(knock));
            format!("{now}  {}: {why}\n          {what}", who(knock))
        }
        PairStep::Missed { knocks } => {
            format!("{now}  {} more came too fast to be told: linli device knocks", super::number(*knocks))
        }
        PairStep::NotStored { why } => {
            format!("{now}  it was there, but its password can't be stored: {why}. It is still waited for")
        }
        PairStep::Paired {
            device,
            from,
            mqtt,
            taken,
        } => {
            let how = match taken {
                true => "Its password is stored, as a hash; nobody can read it here",
                false => "It had a password that was good already",
            };
            format!(
                "{now}  {device} is in, from {from}, MQTT {mqtt}. {how}.\n          If that isn't its address: linli device remove {device}"
            )
        }
        PairStep::Event { event } => format!(
            "{now}  its first event: {} {}",
            event.kind,
            events::happening(&event.kind, &event.body)
        ),
        PairStep::Closed { .. } => String::new(),
    }
}

/// Nobody came, and who came instead.
pub fn nobody_came(id: &str, seconds: u16, heard: &[&KnockView]) -> String {
    let mut text = format!("{id} didn't come within {seconds} s.");
    if heard.is_empty() {
        text.push_str(" Nobody knocked at all: is the device on, in this network, and set to this box's address and port? Does a firewall stand between (nft list ruleset)? If the broker listens on 127.0.0.1 only, set broker.listen.");
        return text;
    }
    text.push_str(" Who knocked instead:");
    for knock in heard.iter().take(5) {
        text.push_str(&format!(
            "\n  {}: {}\n    {}",
            who(knock),
            reason(knock),
            remedy(knock)
        ));
    }
    if heard.len() > 5 {
        text.push_str("\n  All of them: linli device knocks");
    }
    text
}

/// Who knocked.
pub fn who(knock: &KnockView) -> String {
    let name = match (knock.client_id.as_str(), &knock.username) {
        ("", None) => "somebody".to_string(),
        ("", Some(user)) => format!("user name '{user}'"),
        (id, Some(user)) if user == id => id.to_string(),
        (id, Some(user)) => format!("{id} (user name '{user}')"),
        (id, None) if knock.why == why::STRANGER => id.to_string(),
        (id, None) => format!("{id} (no user name)"),
    };
    match knock.from {
        Some(from) => format!("{name} from {from}"),
        None => name,
    }
}

/// Why it wasn't let in.
pub fn reason(knock: &KnockView) -> String {
    let text = match knock.why.as_str() {
        why::NOT_MQTT => "spoke something else than MQTT",
        why::TLS_ON_PLAIN => "spoke TLS on the port without TLS",
        why::SILENT => "connected and said nothing",
        why::VERSION => "speaks another version of MQTT",
        why::MALFORMED => "sent a CONNECT that breaks the standard, or is longer than 2 KiB",
        why::AUTH_METHOD => "wants enhanced authentication, which isn't offered",
        why::CLIENT_ID => "its client id isn't an identifier (small letters, digits, hyphens)",
        why::UNKNOWN | why::STRANGER => "no device of that name stands in the configuration",
        why::USER_NAME => "its user name isn't its client id",
        why::NO_PASSWORD => "showed no password",
        why::NONE_STORED => "showed a password, and none was ever made for it",
        why::WRONG_PASSWORD => "wrong password",
        why::SHORT_PASSWORD => "its password hasn't 8 to 128 bytes",
        why::OTHER_ADDRESS => "came from another address than the one that was named",
        why::THROTTLED => "too many wrong passwords, so it isn't looked at for a while",
        why::WILL_TOPIC => "its will is on another topic than its status",
        why::WILL_PAYLOAD => "its will says something else than 'offline' or 'online'",
        why::WILL_QOS => "its will has QoS 2",
        why::NO_ROOM => "there was no room, or the broker was stopping",
        why::CERTIFICATE_OF_ANOTHER => "its certificate names another device",
        other => match super::ca::knock(other) {
            Some((reason, _)) => reason,
            None => return format!("wasn't let in ({other})"),
        },
    };
    text.to_string()
}

/// What to do, as a command where there is one.
pub fn remedy(knock: &KnockView) -> String {
    let id = &knock.client_id;
    match knock.why.as_str() {
        why::UNKNOWN | why::STRANGER => add_command(knock, id),
        why::CLIENT_ID => match identifier(id) {
            Some(id) => format!(
                "set its client id and user name to {id} in the device, then: {}",
                add_command(knock, &id)
            ),
            None => "give it a client id of small letters, digits and hyphens, and the same user name".to_string(),
        },
        why::USER_NAME if knock.configured => {
            format!("its user name must be its client id: set it to {id} in the device")
        }
        why::USER_NAME => "its user name must be its client id".to_string(),
        why::NO_PASSWORD | why::NONE_STORED => {
            format!("linli device password {id} makes one, to be entered in it; or take the one it has: linli device pair {id}")
        }
        why::WRONG_PASSWORD => format!("linli device rotate {id} makes a new one, to be entered in it"),
        why::SHORT_PASSWORD => "give it a longer password".to_string(),
        why::OTHER_ADDRESS => "if that is the device, name that address: --from".to_string(),
        why::THROTTLED => "wait a minute; if it goes on, somebody guesses, or the device has an old password".to_string(),
        why::VERSION => "set it to MQTT 3.1.1 or 5".to_string(),
        why::TLS_ON_PLAIN => "take the port of [broker.tls] (8883), or turn TLS off in the device".to_string(),
        why::NOT_MQTT => "is it set to the right address and port? No WebSocket, no HTTP".to_string(),
        why::SILENT => "a port scan or a monitor does that; a device that does has hung: restart it".to_string(),
        why::MALFORMED => "is its MQTT library up to date?".to_string(),
        why::AUTH_METHOD => "turn enhanced authentication off in the device".to_string(),
        why::WILL_TOPIC => format!("set its will's topic to linli/v1/{id}/status, or turn the will off"),
        why::WILL_PAYLOAD => "set its will's text to: offline".to_string(),
        why::WILL_QOS => "set its will's QoS to 0 or 1".to_string(),
        why::NO_ROOM => "if it goes on: raise broker.max_connections".to_string(),
        why::CERTIFICATE_OF_ANOTHER => {
            "its client id must be the one that its certificate names (linli ca list), or make it one of its own: linli ca issue ID".to_string()
        }
        other => match super::ca::knock(other) {
            Some((_, remedy)) => remedy.to_string(),
            None => "see the daemon's log: journalctl -u linli".to_string(),
        },
    }
}

fn add_command(knock: &KnockView, id: &str) -> String {
    let Some(id) = identifier(id) else {
        return "give it an id of small letters, digits and hyphens".to_string();
    };
    let building = knock.building.as_deref().unwrap_or("BUILDING");
    format!("linli device add {id} --building {building}")
}

/// A name as near to what it calls itself as an identifier can be. Safe to be pasted into a shell.
fn identifier(name: &str) -> Option<String> {
    let plain = name
        .to_lowercase()
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' => c,
            _ => '-',
        })
        .collect::<String>();
    let plain: String = plain.trim_matches('-').chars().take(63).collect();
    firmware_protocols::Ident::new(&plain)
        .ok()
        .map(|id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knock(id: &str, why: &str) -> KnockView {
        KnockView {
            client_id: id.to_string(),
            username: Some(id.to_string()),
            from: Some([192, 168, 1, 77].into()),
            why: why.to_string(),
            first_ms: 0,
            last_ms: 0,
            count: 1,
            configured: false,
            building: Some("b1".to_string()),
        }
    }

    #[test]
    fn the_remedy_is_a_command_that_can_be_pasted() {
        let add = remedy(&knock("dves-8a3f", why::UNKNOWN));
        assert_eq!(add, "linli device add dves-8a3f --building b1");
        let named = remedy(&knock("DVES_8A3F", why::CLIENT_ID));
        assert!(
            named.ends_with("linli device add dves-8a3f --building b1"),
            "{named}"
        );
        for nasty in ["; rm -rf /", "$(reboot)", "a`b", "x\n\u{1b}[2J"] {
            for why in [why::CLIENT_ID, why::UNKNOWN] {
                let told = remedy(&knock(nasty, why));
                let command = told.split("linli ").nth(1).unwrap_or_default();
                assert!(!command.contains(['$', ';', '`', '\u{1b}', '\n']), "{told}");
            }
        }
        assert_eq!(identifier("???"), None);
    }

    /// Every word that the daemon may say has its own sentence and remedy.
    #[test]
    fn every_reason_has_words_and_a_remedy() {
        let all = [
            why::NOT_MQTT,
            why::TLS_ON_PLAIN,
            why::SILENT,
            why::VERSION,
            why::MALFORMED,
            why::AUTH_METHOD,
            why::CLIENT_ID,
            why::UNKNOWN,
            why::USER_NAME,
            why::NO_PASSWORD,
            why::NONE_STORED,
            why::WRONG_PASSWORD,
            why::SHORT_PASSWORD,
            why::OTHER_ADDRESS,
            why::THROTTLED,
            why::WILL_TOPIC,
            why::WILL_PAYLOAD,
            why::WILL_QOS,
            why::NO_ROOM,
            why::STRANGER,
            "tls-handshake",
        ];
        for word in all {
            let knock = knock("door-1", word);
            assert!(
                !reason(&knock).contains(word) || !word.contains('-'),
                "{word}"
            );
            assert!(!remedy(&knock).contains("journalctl"), "{word}");
        }
        assert!(remedy(&knock("x", "something-new")).contains("journalctl"));
    }
}
