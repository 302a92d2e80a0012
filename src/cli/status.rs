//! The status on one screen: first whether all is well and what to do if not, then what it rests on.

use super::look::{Look, Paint, safe, wrap};
use super::words::{self, label};
use crate::control::health::{Health, Trouble};
use crate::control::views::Status;
use crate::store::read::LaneRow;

/// The status.
pub fn status(look: &Look, status: &Status) -> String {
    let mut out = verdict(look, status);
    let report = &status.report;
    let journal = &report.journal;
    let mut line = |label: &str, text: String| out.push_str(&labelled(look, label, &text));
    line(
        label::RUNNING,
        words::running(report.uptime_ms, report.memory_rss_bytes),
    );
    let configuration = &report.configuration;
    if configuration.taken_ms > 0 {
        let words = words::config::reload::line(look, configuration);
        line(label::CONFIGURATION, words);
    }
    line(
        label::DISK,
        words::writes(
            journal.writing,
            journal.events_taken,
            journal.commits,
            journal.queue_depth,
            journal.turned_away,
        ),
    );
    let store = status.store.as_ref();
    let unread = || words::disk::UNREAD.to_string();
    let stored = store.map(|store| {
        words::store(
            store.stored,
            store.duplicate,
            store.quarantined,
            store.size_bytes,
        )
    });
    line(label::STORE, stored.unwrap_or_else(unread));
    line(
        label::BROKER,
        words::broker(&report.links.mode, &report.links.address, &status.devices),
    );
    if report.links.unknown_knocks > 0 {
        let text = words::device::unknown_knocked(report.links.unknown_knocks);
        line(label::KNOCKS, text);
    }
    if !status.rotating.is_empty() {
        line(
            label::PASSWORDS,
            words::device::rotating_all(&status.rotating),
        );
    }
    let limits = &report.links.limits;
    for (n, slowed) in limits.slowed.iter().enumerate() {
        let label = if n == 0 { label::SLOWED } else { "" };
        line(label, words::slowed::line(look, slowed));
    }
    if limits.episodes > 0 {
        let label = if limits.slowed.is_empty() {
            label::SLOWED
        } else {
            ""
        };
        let totals = words::slowed::since_start(limits.episodes, limits.held_ms, limits.put_off);
        line(label, totals);
    }
    for (n, port) in report.serial.iter().enumerate() {
        let label = if n == 0 { label::SERIAL } else { "" };
        line(label, words::serial::line(port));
    }
    let compartments = status.compartments.as_ref().map(words::compartments);
    line(label::BANKS, compartments.unwrap_or_else(unread));
    let parcels = store.map(|store| {
        let counts = store.parcels.iter();
        words::parcels(counts.map(|(state, n)| (state.as_str(), *n)))
    });
    line(label::PARCELS, parcels.unwrap_or_else(unread));
    let waits = status.lanes.lanes.iter().any(|lane| lane.waiting > 0);
    let mut way = cloud(look, &report.cloud);
    if store.is_some() && !report.cloud.is_null() && !waits {
        way.push_str(words::NOTHING_WAITS);
    }
    line(label::CLOUD, way);
    if let Some(words) = if_it_lasts(&report.cloud) {
        line("", words.to_string());
    }
    for lane in waiting(&status.lanes.lanes) {
        line("", lane_words(look, lane));
    }
    line(
        label::CLOCK,
        words::clock(look, report.clock.wall_ms, &report.clock.quality),
    );
    out
}

fn verdict(look: &Look, status: &Status) -> String {
    let paint = match status.health {
        Health::Well => Paint::Good,
        Health::Attention => Paint::Warn,
        Health::Failing => Paint::Bad,
    };
    let name = format!("linli {} at {}:", status.report.version, status.report.site);
    let mut out = format!(
        "{} {}\n\n",
        look.paint(Paint::Bold, &safe(&name)),
        look.paint(paint, words::health(status.health))
    );
    for trouble in &status.troubles {
        out.push_str(&named(look, trouble));
        out.push('\n');
    }
    out
}

/// A trouble and its remedy.
pub(super) fn named(look: &Look, trouble: &Trouble) -> String {
    let (what, remedy) = words::trouble(look, trouble);
    let paint = match trouble.health() {
        Health::Failing => Paint::Bad,
        _ => Paint::Warn,
    };
    let what = wrap("! ", &safe(&what), look.width, "  ");
    let remedy = wrap("  ", &safe(&remedy), look.width, "  ");
    format!("{}\n{remedy}\n", look.paint(paint, &what))
}

pub(super) fn cloud(look: &Look, cloud: &serde_json::Value) -> String {
    if cloud.is_null() {
        return words::NO_CLOUD.to_string();
    }
    let since = cloud["connected_since_ms"].as_i64();
    let error = ["uplink", "downlink"]
        .iter()
        .filter(|way| cloud[**way]["failures"].as_u64() != Some(0))
        .find_map(|way| cloud[*way]["last_error"].as_str());
    words::cloud(look, cloud["url"].as_str().unwrap_or("?"), since, error)
}

/// What to do about a failure that names no remedy; nothing if all is well, or another one is named.
pub(super) fn if_it_lasts(cloud: &serde_json::Value) -> Option<&'static str> {
    let ways = ["uplink", "downlink"].map(|way| &cloud[way]);
    let failing = |way: &serde_json::Value| way["failures"].as_u64().is_some_and(|n| n > 0);
    let named = ways.iter().any(|way| way["remedy"].is_string());
    let fails = ways.into_iter().any(failing);
    (fails && !named).then_some(words::cloud::IF_IT_LASTS)
}

pub(super) fn direction_words(look: &Look, direction: &serde_json::Value) -> String {
    let failing = direction["failures"].as_u64() != Some(0);
    let error = direction["last_error"].as_str().filter(|_| failing);
    words::cloud::direction(
        look,
        direction["last_success_ms"].as_i64(),
        error,
        direction["next_try_ms"].as_i64(),
    )
}

fn waiting(lanes: &[LaneRow]) -> impl Iterator<Item = &LaneRow> {
    lanes.iter().filter(|lane| lane.waiting > 0)
}

fn lane_words(look: &Look, lane: &LaneRow) -> String {
    words::waiting(look, &lane.lane, lane.waiting, lane.oldest_waiting_ms)
}

/// A line with its label, wrapped under itself.
pub(super) fn labelled(look: &Look, label: &str, text: &str) -> String {
    let text = wrap(
        &format!("  {label:<10}"),
        &safe(text),
        look.width,
        "            ",
    );
    if label.is_empty() {
        return format!("{text}\n");
    }
    let painted = look.paint(Paint::Dim, label);
    format!("{}\n", text.replacen(label, &painted, 1))
}

#[cfg(test)]
mod tests;
