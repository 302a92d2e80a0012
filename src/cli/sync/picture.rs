//! The way to the cloud on one screen: who we are there, how it goes, what waits, what the line costs.

use serde_json::Value as Json;

use crate::cli::look::Look;
use crate::cli::status::{cloud, direction_words, if_it_lasts, labelled, named};
use crate::cli::table::{Cell, Column, table};
use crate::cli::words::{self, label, sync as said};
use crate::control::health::Trouble;
use crate::control::health::cloud::{lane_troubles, paper_troubles};
use crate::control::views::Sync;
use crate::store::read::LaneRow;

/// The screen.
pub(super) fn sync(look: &Look, sync: &Sync) -> String {
    let mut out = labelled(look, label::CLOUD, &cloud(look, &sync.cloud));
    let down = sync.part.as_ref().filter(|part| !part.running);
    if let Some(part) = down {
        // What it has to show is of another time.
        out.push('\n');
        out.push_str(&named(look, &Trouble::of_part(part)));
    } else if !sync.cloud.is_null() {
        out.push_str(&papers(look, &sync.cloud));
        out.push_str(&ways(look, &sync.cloud));
        out.push_str(&line(look, &sync.cloud["line"]));
    }
    out.push('\n');
    let lanes = lane_troubles(&sync.cloud, look.now_ms, &sync.lanes.lanes);
    for trouble in lanes.iter().chain(&paper_troubles(&sync.cloud)) {
        out.push_str(&named(look, trouble));
        out.push('\n');
    }
    out.push_str(&lane_table(look, &sync.lanes.lanes));
    let traffic = sync.cloud["line"]["traffic"].as_array();
    if let Some(traffic) = traffic.filter(|traffic| !traffic.is_empty()) {
        out.push('\n');
        out.push_str(&traffic_table(look, traffic));
    }
    out
}

/// Who we are there: enrolment, key, certificates, clock.
fn papers(look: &Look, cloud: &Json) -> String {
    let enrolled = said::enrolled(
        look,
        cloud["gateway"].as_str(),
        cloud["enrolled_since_ms"].as_i64(),
        cloud["key_since_ms"].as_i64(),
        cloud["key_changing"].as_bool() == Some(true),
    );
    let mut out = labelled(look, label::ENROLLED, &enrolled);
    let certificates = cloud["certificates"].as_array().into_iter().flatten();
    for (n, certificate) in certificates.enumerate() {
        let label = if n == 0 { label::CERTIFICATES } else { "" };
        let words = said::certificate(
            look,
            certificate["what"].as_str().unwrap_or("?"),
            certificate["not_after_ms"].as_i64().unwrap_or_default(),
            certificate["days_left"].as_i64().unwrap_or_default(),
        );
        out.push_str(&labelled(look, label, &words));
    }
    if let Some(skew_ms) = cloud["skew_ms"].as_i64() {
        out.push_str(&labelled(look, label::CLOCK, &said::skew(skew_ms)));
    }
    out
}

fn ways(look: &Look, cloud: &Json) -> String {
    let mut out = String::new();
    for way in ["uplink", "downlink"] {
        if let Some(direction) = cloud.get(way) {
            out.push_str(&labelled(look, way, &direction_words(look, direction)));
        }
    }
    if let Some(words) = if_it_lasts(cloud) {
        out.push_str(&labelled(look, "", words));
    }
    out
}

/// What may cross the line, what did, and what follows.
fn line(look: &Look, line: &Json) -> String {
    if line.is_null() {
        return String::new();
    }
    let number = |key: &str| line[key].as_u64();
    let time = |key: &str| line[key].as_i64();
    let mut lines = vec![said::used(
        look,
        line["metered"].as_bool() == Some(true),
        number("used_bytes").unwrap_or_default(),
        number("budget_bytes"),
        number("forecast_bytes"),
        time("month_until_ms"),
    )];
    lines.push(said::level(line["level"].as_str().unwrap_or_default()));
    lines.extend(said::next(look, "demand", time("demand_next_ms")));
    lines.extend(said::next(look, "health", time("health_next_ms")));
    lines.extend(time("quiet_until_ms").map(|ms| said::quiet(look, ms)));
    lines.push(said::manner(
        number("wait_s").unwrap_or_default(),
        number("spread_s").unwrap_or_default(),
        number("throughput_bytes_per_s"),
    ));
    let last = &line["last_request"];
    if let Some(what) = last["what"].as_str() {
        let bytes = |key: &str| last[key].as_u64().unwrap_or_default();
        lines.push(said::last_request(
            what,
            bytes("sent"),
            bytes("received"),
            bytes("took_ms"),
        ));
    }
    let labels = std::iter::once(label::LINE).chain(std::iter::repeat(""));
    let drawn = labels.zip(&lines);
    drawn
        .map(|(label, text)| labelled(look, label, text))
        .collect()
}

fn lane_table(look: &Look, lanes: &[LaneRow]) -> String {
    const HEAD: [Column; 5] = [
        Column::left("LANE"),
        Column::right("MADE"),
        Column::right("TAKEN"),
        Column::right("WAITING"),
        Column::left("OLDEST"),
    ];
    let rows: Vec<Vec<Cell>> = lanes
        .iter()
        .map(|lane| {
            let oldest = lane.oldest_waiting_ms.map(|ms| look.age(ms));
            vec![
                Cell::from(&lane.lane),
                Cell::from(words::number(lane.last_seq)),
                Cell::from(words::number(lane.acked_seq)),
                Cell::from(words::number(lane.waiting)),
                Cell::from(oldest.unwrap_or_default()),
            ]
        })
        .collect();
    table(look, &HEAD, &rows)
}

fn traffic_table(look: &Look, traffic: &[Json]) -> String {
    const HEAD: [Column; 5] = [
        Column::left("BYTES"),
        Column::right("MONTH UP"),
        Column::right("MONTH DOWN"),
        Column::right("START UP"),
        Column::right("START DOWN"),
    ];
    let keys = [
        "month_sent",
        "month_received",
        "start_sent",
        "start_received",
    ];
    let rows = traffic.iter().map(|row| {
        let what = Cell::from(row["what"].as_str().unwrap_or("?"));
        let bytes = keys.map(|key| Cell::from(words::size(row[key].as_u64().unwrap_or_default())));
        std::iter::once(what).chain(bytes).collect()
    });
    table(look, &HEAD, &rows.collect::<Vec<Vec<Cell>>>())
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
