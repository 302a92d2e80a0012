//! `linli device pair`: waits for a device that is being set up, and shows who knocks meanwhile.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::args::PairArgs;
use super::super::look::safe;
use super::super::stop::{self, Stop};
use super::super::{Done, Session, locate, words};
use super::{put_in, take_out};
use crate::control::client::{Client, ClientError};
use crate::control::knocks::{KnockView, PairStep};
use crate::control::wire::Request;

/// The most different ones that are told while it goes on; the rest is in 'linli device knocks'.
const TOLD_MAX: usize = 100;

impl Session {
    pub(super) fn device_pair(&mut self, args: &PairArgs) -> Done {
        let config = locate::config(&self.global)?;
        let id = args.device.id.as_str();
        if let Some(broker) = &config.external_broker {
            return Err(Stop::new(stop::FAILED, words::not_our_broker(&broker.url)));
        }
        let via = config
            .devices
            .iter()
            .find(|device| device.id == args.device.id);
        let via = via
            .and_then(|device| device.via.as_ref())
            .or(args.device.via.as_ref());
        if let Some(via) = via {
            return Err(Stop::new(
                stop::USAGE,
                words::device::pair_via(id, via.as_str()),
            ));
        }
        // Whether it runs at all comes first: then nothing has changed yet.
        let client = self.connect()?;
        let added = !config.device_ids().contains(&args.device.id);
        if added {
            self.add_for_now(args)?;
        }
        let mut heard = Heard::default();
        let waited = self.wait_for_it(client, args, &mut heard);
        let paired = matches!(waited, Ok(true));
        if added && !paired {
            self.take_out_again(args);
        }
        if waited? {
            return Ok(());
        }
        if !self.global.json {
            self.say(&words::device::nobody_came(
                id,
                args.for_s,
                &heard.summary(),
            ));
        }
        self.out.flush()?;
        Err(Stop::Told(stop::FAILED))
    }

    /// Adds the device, without a password, and has the daemon take it.
    fn add_for_now(&self, args: &PairArgs) -> Done {
        let mut held = self.hold()?;
        let before = held.text().to_string();
        put_in(&mut held, &args.device)?;
        drop(held);
        let reloaded = self.have_reloaded();
        if reloaded.taken() == Some(true) {
            return Ok(());
        }
        let mut held = self.hold()?;
        if take_out(held.text(), &args.device.id, held.file()).is_ok_and(|text| text == before) {
            held.replace(&before)?;
        }
        let message = words::device::pair_needs_reload(args.device.id.as_str(), &reloaded.words());
        Err(Stop::new(stop::FAILED, message))
    }

    /// Nobody came, so the device that was added for it goes again.
    fn take_out_again(&self, args: &PairArgs) {
        let id = &args.device.id;
        let gone = self.hold().and_then(|mut held| {
            let text = take_out(held.text(), id, held.file())?;
            held.replace(&text)
        });
        match gone {
            Ok(()) => {
                self.say(&words::device::taken_out_again(id.as_str()));
                let reloaded = self.have_reloaded();
                if reloaded.taken() == Some(false) {
                    self.say(&reloaded.words());
                }
            }
            Err(stop) => self.say(&words::device::stays_in(id.as_str(), &stop.words())),
        }
    }

    /// Whether it came.
    fn wait_for_it(
        &mut self,
        mut client: Client,
        args: &PairArgs,
        heard: &mut Heard,
    ) -> Result<bool, Stop> {
        let request = Request::Pair {
            device: args.device.id.to_string(),
            seconds: args.for_s,
            replace: args.replace,
            from: args.from,
            claims: std::env::var("SUDO_USER").ok(),
        };
        client.patient().map_err(|e| self.stop(&e))?;
        let interrupted = interruptible(&client)?;
        let mut paired = false;
        let mut printed = Ok(());
        let asked = client.ask(&request, |step: PairStep| {
            paired |= matches!(step, PairStep::Paired { .. });
            printed = self.tell_step(&step, heard);
            printed.is_ok()
        });
        if interrupted.load(Ordering::SeqCst) && !paired {
            return Err(Stop::Told(stop::INTERRUPTED));
        }
        match asked {
            // The device is in, whatever came after.
            Err(ClientError::BrokenOff(_)) if paired => {}
            asked => drop(asked.map_err(|e| self.stop(&e))?),
        }
        printed?;
        Ok(paired)
    }

    fn tell_step(&mut self, step: &PairStep, heard: &mut Heard) -> Done {
        if self.global.json {
            let item = serde_json::to_value(step).unwrap_or_default();
            writeln!(self.out, "{item}")?;
            return Ok(self.out.flush()?);
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        self.look.now_ms = self.look.now_ms.max(now_ms);
        let text = match step {
            PairStep::Heard { knock } if !heard.is_new(knock) => return Ok(()),
            step => words::device::step(&self.look, step),
        };
        for line in text.lines() {
            writeln!(self.out, "{}", safe(line))?;
        }
        Ok(self.out.flush()?)
    }
}

/// Who was heard while the device was waited for, and why it wasn't taken.
#[derive(Default)]
struct Heard(BTreeMap<(String, Option<String>, String, String), KnockView>);

impl Heard {
    /// Whether it wasn't told before, and may be told.
    fn is_new(&mut self, knock: &KnockView) -> bool {
        let from = knock.from.map(|from| from.to_string()).unwrap_or_default();
        let key = (
            knock.client_id.clone(),
            knock.username.clone(),
            from,
            knock.why.clone(),
        );
        if self.0.len() >= TOLD_MAX && !self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, knock.clone()).is_none()
    }

    fn summary(&self) -> Vec<&KnockView> {
        self.0.values().collect()
    }
}

/// On Ctrl-C, a hangup or SIGTERM the connection is closed, so that the daemon waits no more and what
/// was added can be taken out again.
fn interruptible(client: &Client) -> Result<Arc<AtomicBool>, Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = Arc::new(AtomicBool::new(false));
    let (flag, line) = (Arc::clone(&interrupted), client.line()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let signals = {
        let _inside = runtime.enter();
        let all = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        all.map(signal)
    };
    let [int, term, hup] = signals;
    let (mut int, mut term, mut hup) = (int?, term?, hup?);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
        });
        flag.store(true, Ordering::SeqCst);
        // Closed already: then all is over.
        let _ = line.shutdown(Shutdown::Both);
    });
    Ok(interrupted)
}
