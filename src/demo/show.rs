//! How the evening is shown: live on a terminal, as plain lines elsewhere, as JSON for machines.
//! A thread of its own, so that a slow terminal never holds up the estate.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::screen::Screen;
use super::story::{Line, clock};
use super::view::Sources;

/// How often the picture is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A live view, if the output is a terminal that is large enough; else plain lines.
    People,
    /// One JSON object a line.
    Json,
}

/// The thread that shows.
pub(super) struct Show {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Show {
    /// Starts to show.
    pub(super) fn start(form: Form, title: String, sources: Sources) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("demo-screen".to_string())
            .spawn(move || show(form, title, sources, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Shows what is left and gives the terminal back.
    pub(super) fn end(self) {
        // The thread may have ended by itself when the output was closed.
        let _ = self.stop.try_send(());
        let _ = self.thread.join();
    }
}

fn show(form: Form, title: String, mut sources: Sources, stopped: &Receiver<()>) {
    let mut screen = match form {
        Form::People if io::stdout().is_terminal() => Screen::open(title),
        _ => None,
    };
    loop {
        let last = stopped.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout);
        let lines = sources.story.take_lines();
        let shown = match &mut screen {
            Some(screen) => screen.draw(&lines, &sources.view()),
            None => print(form, &lines),
        };
        // Nobody reads any more: the evening goes on, and its exit code still says how it ended.
        if last || shown.is_err() {
            return;
        }
    }
}

fn print(form: Form, lines: &[Line]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        match form {
            Form::People => writeln!(out, "{} {}", clock(line.at_ms, "%H:%M"), line.text)?,
            Form::Json => {
                let object = serde_json::json!({
                    "at": clock(line.at_ms, "%Y-%m-%dT%H:%M:%S%:z"),
                    "at_ms": line.at_ms,
                    "what": line.what,
                    "text": line.text,
                });
                writeln!(out, "{object}")?;
            }
        }
    }
    out.flush()
}
