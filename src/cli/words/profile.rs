//! What linli says about profiles.

use std::net::SocketAddr;
use std::path::Path;

use crate::cli::look::{Look, Paint, wrap};
use crate::cli::table::{Cell, Column, table};
use crate::control::profiles::{MappedState, MappedView, ProfileDown};

use super::number;

/// The program made no event of the payload.
pub const NOTHING: &str = "the program makes no event of this payload";

/// A password was made for a bridge, or for a device with a profile.
pub fn password_made(id: &str, broker: SocketAddr, file: &Path, old: &str) -> String {
    format!(
        "This is the new password of {id}; it is shown only now, and stored only as a hash in {}.\n\
         {old}Enter it in the device or program: user name {id}, any client id, broker {broker}. It holds from the\n\
         next login on, if that file is the one of your daemon (relative folders are taken from where a command is run).",
        file.display()
    )
}

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

/// A profile isn't run.
pub fn trouble(look: &Look, down: &ProfileDown) -> (String, String) {
    let until = match down.until_ms {
        Some(ms) => format!("isn't run until {}", look.time(ms)),
        None => "can't be used".to_owned(),
    };
    (
        format!(
            "Profile '{}', which {} by, {until}: {}.",
            down.profile,
            match down.devices {
                1 => "1 device goes".to_owned(),
                many => format!("{} devices go", number(many)),
            },
            down.why
        ),
        "What comes of its devices meanwhile is in quarantine. Mend its program, try it with linli profile test, then: linli config reload".to_owned(),
    )
}

/// What is wrong, each once, with what is to be done.
fn troubles(look: &Look, mapped: &[MappedView]) -> Vec<String> {
    let down = ProfileDown::among(mapped);
    let told = down.iter().map(|down| {
        let (what, remedy) = trouble(look, down);
        format!("{what} {remedy}")
    });
    let refused = mapped
        .iter()
        .filter(|view| view.state == MappedState::Works);
    let refused = refused.filter_map(|view| {
        let why = view.last_refusal.as_ref()?;
        Some(format!("{}: last refused: {why}", view.device))
    });
    told.chain(refused).collect()
}
