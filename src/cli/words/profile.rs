//! What linli says about profiles.

use crate::cli::look::{Look, Paint, wrap};
use crate::cli::table::{Cell, Column, table};
use crate::control::profiles::{MappedState, MappedView};

use super::number;

/// The program made no event of the payload.
pub const NOTHING: &str = "the program makes no event of this payload";

/// Nothing is shipped by this name.
pub fn no_such(name: &str) -> String {
    format!(
        "no profile '{name}' is shipped: 'linli profile list' names those that are; a file is named by its path, as in ./{name}.toml"
    )
}

/// The profile would never see such a publication.
pub fn not_its_topic(topic: &str, topics: &[String]) -> String {
    format!(
        "note: nothing that is published to {topic} gets to this profile, only to {}",
        topics.join(", ")
    )
}

/// How profiles are doing couldn't be asked.
pub fn without_daemon(why: &str) -> String {
    format!("how those in use are doing isn't known: {why}")
}

/// What is shipped, and the devices with a profile.
pub fn list(look: &Look, shipped: &[(&str, String)], mapped: &[MappedView]) -> String {
    const SHIPPED: [Column; 3] = [
        Column::left("PROFILE"),
        Column::right("DEVICES"),
        Column::stretching("ABOUT"),
    ];
    let rows = shipped.iter().map(|(name, about)| {
        let devices = mapped.iter().filter(|view| view.profile == *name).count();
        vec![
            Cell::from(name),
            Cell::from(number(devices as u64)),
            Cell::from(about),
        ]
    });
    let mut text = lines(table(look, &SHIPPED, &rows.collect::<Vec<_>>()));
    if mapped.is_empty() {
        return text;
    }
    text.push('\n');
    text.push_str(&lines(devices(look, mapped)));
    for told in troubles(look, mapped) {
        text.push('\n');
        text.push_str(&wrap("", &told, look.width, ""));
        text.push('\n');
    }
    text
}

/// A text of whole lines.
fn lines(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn devices(look: &Look, mapped: &[MappedView]) -> String {
    const HEAD: [Column; 8] = [
        Column::left("DEVICE"),
        Column::stretching("PROFILE"),
        Column::left("STATE"),
        Column::left("VIA"),
        Column::left("HEARD"),
        Column::right("PAYLOADS"),
        Column::right("EVENTS"),
        Column::right("REFUSED"),
    ];
    let rows = mapped.iter().map(|view| {
        let heard = view.heard_ms.map(|ms| look.ago(ms)).unwrap_or_default();
        let bad = |is: bool| if is { Paint::Warn } else { Paint::Plain };
        let (state, paint) = match view.state {
            MappedState::Works => ("works", Paint::Plain),
            MappedState::Suspended => ("suspended", Paint::Bad),
            MappedState::Broken => ("broken", Paint::Bad),
        };
        vec![
            Cell::from(&view.device),
            Cell::from(&view.profile),
            Cell::painted(state, paint),
            Cell::from(view.via.as_deref().unwrap_or_default()),
            Cell::from(heard),
            Cell::from(number(view.payloads)),
            Cell::from(number(view.events)),
            Cell::painted(number(view.refused), bad(view.refused > 0)),
        ]
    });
    table(look, &HEAD, &rows.collect::<Vec<_>>())
}

/// What is wrong, each once, with what is to be done.
fn troubles(look: &Look, mapped: &[MappedView]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut tell = |text: String| {
        if !told.contains(&text) {
            told.push(text);
        }
    };
    for view in mapped {
        let why = view.why.as_deref().unwrap_or_default();
        let profile = &view.profile;
        match view.state {
            MappedState::Suspended => {
                let until = view.until_ms.map(|ms| look.time(ms)).unwrap_or_default();
                tell(format!(
                    "profile '{profile}' is suspended until {until}: {why}. What comes meanwhile is in quarantine. Mend its program (linli profile test), then: linli config reload"
                ));
            }
            MappedState::Broken => tell(format!(
                "profile '{profile}' can't be used: {why}. Mend it, then: linli config reload"
            )),
            MappedState::Works => {
                if let Some(why) = &view.last_refusal {
                    tell(format!("{}: last refused: {why}", view.device));
                }
            }
        }
    }
    told
}
