//! Profiles: listed, shown, tried.
//!
//! Trying one needs no daemon: the program runs in a worker of this command's own, with the daemon's
//! bounds.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use firmware_protocols::value::{Key, Value};
use firmware_protocols::{Event, Ident};
use serde_json::json;

use super::args::{ProfileCommand, TestArgs};
use super::stop::{self, Stop};
use super::{Done, Session, look, words};
use crate::control::client::ClientError;
use crate::control::profiles::MappedView;
use crate::control::wire::Request;
use crate::links::mapped::child::Worker;
use crate::links::mapped::frames::PAYLOAD_MAX_BYTES;
use crate::links::mapped::output::{Output, outputs};
use crate::links::mapped::profile::{self, Profile, SHIPPED};
use crate::links::mapped::{EXE, input, worker};

impl Session {
    /// `linli profile …`.
    pub(super) fn profile(&mut self, command: ProfileCommand) -> Done {
        match command {
            ProfileCommand::List => self.profile_list(),
            ProfileCommand::Show { name } => self.profile_show(&name),
            ProfileCommand::Test(args) => self.profile_test(&args),
        }
    }

    /// `linli map-worker`.
    pub(super) fn map_worker(self) -> Done {
        // Standard output is the worker's.
        drop(self);
        worker::run().map_err(|e| Stop::new(stop::FAILED, e.to_string()))
    }

    fn profile_list(&mut self) -> Done {
        let asked = self.connect().and_then(|mut client| {
            let mapped: Result<(Vec<MappedView>, _), ClientError> = client.all(&Request::Mapped);
            mapped.map(|(all, _)| all).map_err(|e| self.stop(&e))
        });
        // What is shipped can be told without a daemon.
        let (mapped, why) = match asked {
            Ok(mapped) => (mapped, None),
            Err(stop) => (Vec::new(), Some(stop)),
        };
        if self.global.json {
            let shipped = SHIPPED.map(|(name, _)| json!({"profile": name, "about": about(name)}));
            let item = json!({
                "shipped": shipped,
                "daemon": why.is_none(),
                "devices": mapped,
            });
            writeln!(self.out, "{item}")?;
            return Ok(());
        }
        let text = words::profile::list(
            &self.look,
            &SHIPPED.map(|(name, _)| (name, about(name))),
            &mapped,
        );
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        if let Some(why) = why {
            let note = words::profile::without_daemon(&why.words());
            writeln!(io::stderr(), "{}", look::told(&note))?;
        }
        Ok(())
    }

    fn profile_show(&mut self, name: &str) -> Done {
        let Some(text) = profile::shipped(name) else {
            let message = words::profile::no_such(name);
            return Err(Stop::new(stop::NOT_FOUND, message));
        };
        if self.global.json {
            let profile = Profile::parse(text).map_err(|why| Stop::new(stop::INTERNAL, why))?;
            let item = json!({
                "profile": name,
                "about": profile.about,
                "topics": profile.topics,
                "payload": profile.payload.word(),
                "program": profile.program,
            });
            writeln!(self.out, "{item}")?;
            return Ok(());
        }
        Ok(self.out.write_all(text.as_bytes())?)
    }

    fn profile_test(&mut self, args: &TestArgs) -> Done {
        let failed = |why: String| Stop::new(stop::FAILED, why);
        let profile = to_try(&args.profile)?;
        let topics = profile.topics_of(&args.named);
        let first = topics.first().cloned().unwrap_or_default();
        let topic = args.topic.clone().unwrap_or(first);
        if !topics.iter().any(|filter| profile::matches(filter, &topic)) {
            let note = words::profile::not_its_topic(&topic, &topics);
            writeln!(io::stderr(), "{}", look::told(&note))?;
        }
        let payload = from_stdin().map_err(|e| failed(e.to_string()))?;
        let device = Ident::new(&args.named).or_else(|_| Ident::new("device"));
        let device = device.map_err(|e| failed(e.to_string()))?;
        let input = input::input(profile.payload, &topic, &args.named, &device, &payload);
        let made = input
            .and_then(|input| run(&profile.program, &input))
            .and_then(|made| outputs(&made))
            .map_err(failed)?;
        for output in &made {
            writeln!(self.out, "{}", line(output))?;
        }
        self.out.flush()?;
        if made.is_empty() {
            writeln!(io::stderr(), "{}", words::profile::NOTHING)?;
        }
        Ok(())
    }
}

fn about(name: &str) -> String {
    Profile::load(name).map_or_else(|why| why, |profile| profile.about)
}

/// A shipped one by its name, else a file.
fn to_try(named: &Path) -> Result<Profile, Stop> {
    let name = named.to_string_lossy();
    if profile::shipped(&name).is_some() {
        return Profile::load(&name).map_err(|why| Stop::new(stop::INTERNAL, why));
    }
    if !named.exists() && !profile::is_file(&name) {
        return Err(Stop::new(stop::NOT_FOUND, words::profile::no_such(&name)));
    }
    Profile::read(named).map_err(|why| Stop::new(stop::FAILED, why))
}

fn from_stdin() -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    let most = PAYLOAD_MAX_BYTES as u64 + 1;
    io::stdin().lock().take(most).read_to_end(&mut payload)?;
    // What an editor or a shell puts behind it is no part of a payload.
    while payload.last().is_some_and(u8::is_ascii_whitespace) {
        payload.pop();
    }
    Ok(payload)
}

fn run(program: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let started = Worker::start(Path::new(EXE), program).await;
        let mut worker = started.map_err(|e| e.to_string())?;
        worker.ask(input).await.map_err(|e| e.to_string())?
    })
}

/// An event as a line of JSON, without the numbers that the gateway gives it.
fn line(output: &Output) -> String {
    let (when, kind) = match output {
        Output::Status(online) => {
            let status = if *online { "online" } else { "offline" };
            return json!({"kind": "status", "status": status}).to_string();
        }
        Output::Event { when, kind } => (*when, kind.clone()),
    };
    let event = Event {
        boot: 0,
        seq: 1,
        when,
        kind,
    };
    let Value::Map(mut fields) = event.to_value() else {
        return String::new();
    };
    let own = |key: &Key| matches!(key, Key::Text(key) if key == "boot" || key == "seq");
    fields.retain(|(key, _)| !own(key));
    Value::Map(fields).to_json()
}
