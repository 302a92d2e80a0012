//! One parcel: its facts, then its whole history as a timeline, with the commands between the steps.

use super::lists::place;
use super::look::{Look, Paint, safe};
use super::words::{self, fact};
use crate::store::read::{CommandRow, ParcelHistory, ParcelRow, TraceRow};

/// A parcel.
pub fn parcel(look: &Look, history: &ParcelHistory) -> String {
    let mut out = facts(look, history);
    out.push_str(&format!("\n{}\n", look.paint(Paint::Bold, words::HISTORY)));
    let lines = timeline(look, history);
    let unsure = lines.iter().any(|line| !line.sure);
    let wide = |of: fn(&Line) -> &str| lines.iter().map(|line| of(line).len()).max().unwrap_or(0);
    let (time, step) = (wide(|line| &line.time), wide(|line| &line.step));
    for line in &lines {
        let head = format!("  {:<time$}  {:<step$}  ", line.time, line.step);
        let text = format!("{head}{}", safe(&line.who_and_more));
        out.push_str(look.paint(line.paint, text.trim_end()).as_ref());
        out.push('\n');
    }
    if unsure {
        out.push_str(&format!(
            "\n{}\n",
            look.paint(Paint::Dim, words::TIME_MARKS)
        ));
    }
    out
}

fn facts(look: &Look, history: &ParcelHistory) -> String {
    let parcel = &history.parcel;
    let since = format!(
        "{}, since {}",
        parcel.state,
        look.date_time(parcel.since_ms)
    );
    let mut facts = vec![
        (fact::STATE, since),
        (fact::PLACE, place(parcel)),
        (fact::NEEDS, needs(parcel)),
        (fact::DEADLINE, look.date_time(parcel.due_ms)),
        (
            fact::CONSENT,
            words::yes_no(Some(parcel.consent)).to_string(),
        ),
    ];
    facts.extend(special(parcel));
    let mut out = format!("{}\n", look.paint(Paint::Bold, &safe(&parcel.parcel)));
    for (label, text) in facts {
        let label = format!("{label:<18}");
        out.push_str(&format!(
            "  {}{}\n",
            look.paint(Paint::Dim, &label),
            safe(&text)
        ));
    }
    out
}

fn needs(parcel: &ParcelRow) -> String {
    let low = if parcel.low { words::LOW } else { "" };
    format!("{}, {}{low}", parcel.size, parcel.zone)
}

/// What not every parcel has.
fn special(parcel: &ParcelRow) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(items) = parcel.items {
        facts.push((fact::ITEMS, items.to_string()));
    }
    if let Some(back) = parcel.back.as_deref().filter(|_| parcel.goes_back()) {
        facts.push((fact::BACK, words::desk::back(back)));
    }
    if let Some(original) = &parcel.return_of {
        facts.push((fact::RETURN_OF, original.clone()));
    }
    if parcel.unlisted {
        facts.push((fact::ANNOUNCED, words::yes_no(Some(false)).to_string()));
    }
    match (&parcel.taker, &parcel.courier) {
        (Some(taker), name) => {
            let (name, desk) = (name.as_deref(), parcel.desk.as_deref());
            facts.push((fact::TAKER, words::desk::taker(taker, name, desk)));
        }
        (None, Some(courier)) => facts.push((fact::COURIER, courier.clone())),
        (None, None) => {}
    }
    facts
}

struct Line {
    at_ms: i64,
    time: String,
    sure: bool,
    step: String,
    who_and_more: String,
    paint: Paint,
}

/// Steps keep their own order, whatever the clock did; each command stands after the last step that
/// isn't later than it.
fn timeline(look: &Look, history: &ParcelHistory) -> Vec<Line> {
    let mut lines: Vec<Line> = history.trace.iter().map(|row| step(look, row)).collect();
    for command in &history.commands {
        let line = commanded(look, command);
        let after = lines.iter().rposition(|other| other.at_ms <= line.at_ms);
        lines.insert(after.map_or(0, |index| index + 1), line);
    }
    lines
}

fn step(look: &Look, row: &TraceRow) -> Line {
    let more = row
        .detail
        .as_deref()
        .map_or_else(String::new, |detail| format!(": {detail}"));
    Line {
        at_ms: row.at_ms,
        time: look.time_of_quality(row.at_ms, &row.quality),
        sure: row.quality == "synchronised",
        step: safe(&row.step).into_owned(),
        who_and_more: format!("{}{more}", row.who),
        paint: Paint::Plain,
    }
}

fn commanded(look: &Look, row: &CommandRow) -> Line {
    let slot = format!("{}/{}", row.bank, row.compartment);
    Line {
        at_ms: row.at_ms,
        time: look.time_of_quality(row.at_ms, &row.quality),
        sure: row.quality == "synchronised",
        step: row.id.clone(),
        who_and_more: words::command(&slot, &row.purpose, &row.state, row.answer.as_deref()),
        paint: match row.state.as_str() {
            "refused" | "failed" | "expired" | "unknown" => Paint::Warn,
            _ => Paint::Dim,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::{NOW_MS, plain};
    use super::*;

    #[test]
    fn a_parcel_shows_its_facts_and_its_whole_history() {
        let trace =
            |id, at_ms, quality: &str, step: &str, who: &str, detail: Option<&str>| TraceRow {
                id,
                at_ms,
                quality: quality.to_string(),
                step: step.to_string(),
                who: who.to_string(),
                detail: detail.map(str::to_string),
            };
        let history = ParcelHistory {
            parcel: ParcelRow {
                parcel: "P-1007".to_string(),
                size: "M".to_string(),
                zone: "chilled".to_string(),
                point: "bank-a".to_string(),
                deadline_ms: NOW_MS + 86_400_000,
                consent: true,
                items: Some(3),
                state: "deposited".to_string(),
                bank: Some("bank-a".to_string()),
                compartment: Some(17),
                desk: None,
                courier: Some("sf-22".to_string()),
                opened: false,
                alarmed: false,
                since_ms: NOW_MS,
                archived: false,
                back: None,
                taker: None,
                unlisted: false,
                low: false,
                to_desk: false,
                due_ms: NOW_MS + 86_400_000,
                return_of: None,
            },
            trace: vec![
                trace(
                    1,
                    NOW_MS - 3_600_000,
                    "estimated",
                    "announced",
                    "cloud",
                    None,
                ),
                trace(
                    2,
                    NOW_MS - 60_000,
                    "synchronised",
                    "deposit-started",
                    "courier sf-22",
                    Some("bank-a/17"),
                ),
                trace(
                    3,
                    NOW_MS,
                    "synchronised",
                    "deposited",
                    "courier sf-22",
                    None,
                ),
            ],
            commands: vec![CommandRow {
                id: "o-1".to_string(),
                bank: "bank-a".to_string(),
                compartment: 17,
                purpose: "deposit".to_string(),
                parcel: Some("P-1007".to_string()),
                operator: None,
                reason: None,
                at_ms: NOW_MS - 60_000,
                quality: "synchronised".to_string(),
                state: "opened".to_string(),
                answer: None,
                sent_ms: None,
                opened_ms: None,
                closed_ms: None,
            }],
        };
        let wanted = "\
P-1007
  state             deposited, since 2026-11-22 17:03:21
  place             bank-a/17
  needs             M, chilled
  may wait until    2026-11-23 17:03:21
  locker agreed to  yes
  items             3
  courier           sf-22

History
  ~16:03:21  announced        cloud
  17:02:21   deposit-started  courier sf-22: bank-a/17
  17:02:21   o-1              open bank-a/17 to deposit, opened
  17:03:21   deposited        courier sf-22

~ the clock was estimated then; ? it wasn't known
";
        assert_eq!(parcel(&plain(None), &history), wanted);
    }
}
