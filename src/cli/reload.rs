//! `linli config reload`: has the daemon take over the configuration as it is now.

use std::io::Write as _;

use serde::Deserialize as _;
use serde_json::Value as Json;

use super::look::{Look, safe, told, wrap};
use super::stop::{self, Stop};
use super::words::config::reload as words;
use super::{Done, Session};
use crate::control::client::ClientError;
use crate::control::reload::ReloadView;
use crate::control::wire::Request;

impl Session {
    /// `linli config reload`.
    pub(super) fn reload(&mut self) -> Done {
        let claims = std::env::var("SUDO_USER").ok();
        let mut client = self.connect()?;
        let asked = client.one(&Request::Reload { claims });
        let item: Json = asked.map_err(|e| self.stop(&e))?;
        let view = ReloadView::deserialize(&item);
        let view = view.map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
        if self.global.json {
            writeln!(self.out, "{item}")?;
        }
        if let Some(why) = &view.refused {
            self.out.flush()?;
            let message = format!("{}\n{}", words::REFUSED, told(why));
            return Err(Stop::new(stop::FAILED, message));
        }
        if !self.global.json {
            self.out.write_all(drawn(&self.look, &view).as_bytes())?;
        }
        Ok(())
    }
}

fn drawn(look: &Look, view: &ReloadView) -> String {
    let parts = [
        (words::APPLIED, &view.applied),
        (words::AFTER_RESTART, &view.after_restart),
        (words::NOTES, &view.notes),
    ];
    if parts.iter().all(|(_, lines)| lines.is_empty()) {
        return format!("{}\n", words::NOTHING);
    }
    let mut out = String::new();
    for (heading, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        out.push_str(&format!("{heading}\n"));
        for line in lines {
            out.push_str(&wrap("  - ", &safe(line), look.width, "    "));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::plain;
    use super::*;

    #[test]
    fn what_holds_and_what_does_not_yet_is_told_apart() {
        let view = ReloadView {
            applied: vec!["device new: door-9".to_owned()],
            after_restart: vec!["site".to_owned()],
            notes: vec!["2 parcels are expected at bank-b".to_owned()],
            refused: None,
        };
        let text = drawn(&plain(None), &view);
        assert_eq!(
            text,
            "The new configuration holds. Taken over:\n  - device new: door-9\n\
             Only after a restart (systemctl restart linli):\n  - site\n\
             To be seen to:\n  - 2 parcels are expected at bank-b\n"
        );
        let nothing = drawn(&plain(None), &ReloadView::default());
        assert_eq!(nothing.trim_end(), words::NOTHING);
    }
}
