//! What is said of the way to the cloud by `linli sync` and its commands.

use std::fmt::Display;
use std::path::Path;

use super::desk::sentence;
use super::{Trouble, length, size};
use crate::cli::look::Look;

/// A step held.
pub const HELD: &str = "ok";
/// A step didn't.
pub const NOT_HELD: &str = "FAIL";

/// Every step held.
pub const ALL_HELD: &str = "All of it holds.";

/// The account ended in the middle.
pub const BROKE_OFF: &str =
    "the account ended before its last step: see linli status, then try again";

/// Steps that didn't hold.
pub fn not_all(failed: &[String], whole: bool) -> String {
    let rest = match whole {
        true => "",
        false => "; what comes after it wasn't tried",
    };
    format!(
        "not all of it holds: {}{rest}. What to do stands beside it",
        failed.join(", ")
    )
}

/// Before the cursor.
pub const ASK_TOKEN: &str = "Enrolment token (it isn't shown): ";

/// Nothing came.
pub const NO_TOKEN: &str = "no token was given: type it when asked, send it as a line, or name its file: linli sync enrol --token-file FILE";

/// What came is no token. It isn't repeated.
pub const NOT_A_TOKEN: &str =
    "a token is one line of 1 to 256 characters: take it as the cloud's operator gave it";

/// Nobody can be asked.
pub fn cannot_ask(why: &dyn Display) -> String {
    format!(
        "the token can't be asked for: {why}. Name its file: linli sync enrol --token-file FILE"
    )
}

/// The token's file can't be read.
pub fn cannot_read(file: &Path, why: &dyn Display) -> String {
    format!(
        "the token's file {} can't be read: {why}. Name another, or leave --token-file out to be asked",
        file.display()
    )
}

/// What a new epoch is.
pub const RESTORED_MEANS: &str = "\
This starts a new epoch. It is right when this store was restored from a backup, or copied to a new
box, and the cloud refuses it (fork, gap, or 'older than what the cloud has heard').
  - What waits for the cloud is numbered anew and sent again.
  - The cloud is told the state of every parcel that this store knows; where the two differ, this
    store's word counts. What happened after the backup is known only to the cloud.
  - Codes that the cloud had acknowledged don't go up again, as only their digests are here. They still
    open; where the cloud lacks one for a notice, it or 'linli reissue PARCEL' makes a new one.
  - An older copy of this store is refused from then on: make sure that only one box runs.
It can't be taken back.";

/// Before the cursor.
pub const ASK_RESTORED: &str = "Start a new epoch? [y/N] ";

/// It wasn't wanted.
pub const NOT_AGREED: &str = "nothing was changed";

/// There is nobody to ask.
pub const SAY_YES: &str =
    "nobody is at a terminal to agree, so nothing was changed: if it is meant, add --yes";

/// Who the gateway is at the cloud.
pub fn enrolled(
    look: &Look,
    gateway: Option<&str>,
    since_ms: Option<i64>,
    key_ms: Option<i64>,
    changing: bool,
) -> String {
    let Some(since_ms) = since_ms else {
        return "not enrolled: linli sync enrol".to_string();
    };
    let name = gateway.map_or_else(String::new, |name| format!("as {name} "));
    let mut text = format!("{name}since {}", look.date_time(since_ms));
    if let Some(key_ms) = key_ms.filter(|ms| *ms != since_ms) {
        text.push_str(&format!(", its key since {}", look.date_time(key_ms)));
    }
    if changing {
        text.push_str("; its key is being changed, and the cloud hasn't used the new one yet");
    }
    text
}

/// A certificate and its end.
pub fn certificate(look: &Look, what: &str, not_after_ms: i64, days_left: i64) -> String {
    format!("{}, {}", whose(what), until(look, not_after_ms, days_left))
}

fn whose(what: &str) -> String {
    match what {
        "client" => "the gateway's own".to_string(),
        "ca" => "the pinned authority's".to_string(),
        "cloud" => "the cloud's".to_string(),
        other => other.to_string(),
    }
}

fn until(look: &Look, not_after_ms: i64, days_left: i64) -> String {
    let end = look.date_time(not_after_ms);
    match days_left {
        ..0 => format!("over since {end}"),
        0 => format!("less than a day left, until {end}"),
        1 => format!("1 day left, until {end}"),
        _ => format!("{days_left} days left, until {end}"),
    }
}

/// How the box's clock stands to the cloud's; `skew_ms` above 0: the box is behind.
pub fn skew(skew_ms: i64) -> String {
    let far = length(skew_ms.unsigned_abs());
    match skew_ms {
        -999..1_000 => "as the cloud's, within a second".to_string(),
        1_000.. => format!("{far} behind the cloud's"),
        _ => format!("{far} ahead of the cloud's"),
    }
}

/// What crossed the line this month.
pub fn used(
    look: &Look,
    metered: bool,
    used: u64,
    budget: Option<u64>,
    forecast: Option<u64>,
    until_ms: Option<i64>,
) -> String {
    let kind = if metered { "metered; " } else { "" };
    let of = budget.map_or_else(String::new, |budget| format!(" of {}", size(budget)));
    let until = until_ms.map_or_else(String::new, |ms| format!(" by {}", look.date_time(ms)));
    let forecast = forecast.map_or_else(String::new, |bytes| {
        format!("; if it goes on like this {}{until}", size(bytes))
    });
    let limit = match budget {
        Some(_) => "",
        None => ", no budget",
    };
    format!("{kind}{}{of} this month{forecast}{limit}", size(used))
}

/// What follows from the budget.
pub fn level(level: &str) -> String {
    match level {
        "short" => "the forecast is over the budget: demand goes every 6 hours, summed up by the hour; parcels as ever".to_string(),
        "exhausted" => "what is left of the budget is kept for parcels: demand and health go once a day, demand summed up by the day".to_string(),
        _ => "everything is sent as it comes".to_string(),
    }
}

/// When what waits is sent.
pub fn next(look: &Look, what: &str, ms: Option<i64>) -> Option<String> {
    Some(format!("{what} is sent next {}", look.ago(ms?)))
}

/// The cloud wants to be left alone.
pub fn quiet(look: &Look, ms: i64) -> String {
    format!("the cloud asked to be left alone until {}", look.time(ms))
}

/// How the line is used.
pub fn manner(wait_s: u64, spread_s: u64, throughput: Option<u64>) -> String {
    let spread = match spread_s {
        0 => "nothing is spread".to_string(),
        _ => format!(
            "what isn't urgent is spread over {}",
            length(spread_s * 1_000)
        ),
    };
    let throughput = throughput.map_or_else(String::new, |bytes| {
        format!("; it carries about {} a second", size(bytes))
    });
    let news = match wait_s {
        0 => "doesn't ask for news yet".to_owned(),
        _ => format!("asks for news every {wait_s} s"),
    };
    format!("{news}; {spread}{throughput}")
}

/// What the last request cost.
pub fn last_request(what: &str, sent: u64, received: u64, took_ms: u64) -> String {
    format!(
        "last request: {what}, {} up, {} down, {}",
        size(sent),
        size(received),
        length(took_ms)
    )
}

/// What is said of [`Trouble::CertificateEnds`], [`Trouble::LineExhausted`] and [`Trouble::ClockOff`].
pub fn trouble(look: &Look, trouble: &Trouble) -> (String, String) {
    match trouble {
        Trouble::CertificateEnds {
            what,
            not_after_ms,
            days_left,
        } => (
            sentence(&format!(
                "{} certificate: {}",
                whose(what),
                until(look, *not_after_ms, *days_left)
            )),
            renewal(what),
        ),
        Trouble::LineExhausted {
            used_bytes,
            budget_bytes,
            until_ms,
        } => {
            let until = until_ms.map_or_else(String::new, |ms| {
                format!(" until {}", look.date_time(ms))
            });
            (
                format!(
                    "The line's budget is used up but for parcels{until}: {} of {}.",
                    size(*used_bytes),
                    size(*budget_bytes)
                ),
                "Parcels and their codes go as ever; demand and health go once a day. See linli sync for what used it. To have more, raise cloud.line.monthly_mib, if the tariff has it.".to_string(),
            )
        }
        Trouble::ClockOff { skew_ms } => (
            sentence(&format!("this box's clock is {}", skew(*skew_ms))),
            "Connect it to a time server, or set it: timedatectl. Codes and deadlines run by it; the cloud still takes what is sent.".to_string(),
        ),
        _ => (String::new(), String::new()),
    }
}

fn renewal(what: &str) -> String {
    match what {
        "client" => "From then on the cloud doesn't let this gateway in. Get a new one from the cloud's operator, put it and its key where cloud.client_certificate_file and cloud.client_key_file name them, and restart: systemctl restart linli",
        "ca" => "From then on the cloud isn't trusted any more. Get the authority's new certificate from the cloud's operator, put it into the file of cloud.ca_file beside the old one, and restart: systemctl restart linli",
        _ => "From then on it can't be reached. Tell the cloud's operator to renew it; there is nothing to do here.",
    }
    .to_string()
}
