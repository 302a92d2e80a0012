//! `linli serial monitor`: through the daemon if it has the port, else by listening to it ourselves.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use tokio::io::AsyncReadExt as _;

use super::{runtime, section};
use crate::cli::args::MonitorArgs;
use crate::cli::look::safe;
use crate::cli::stop::{self, Stop};
use crate::cli::words::serial as say;
use crate::cli::{Done, Session, locate};
use crate::config::serial::PortSection;
use crate::control::client::{Client, ClientError};
use crate::control::wire::{FailureKind, Request};
use crate::links::serial::monitor::{Heard, Monitor};
use crate::links::serial::port;

impl Session {
    pub(super) fn serial_monitor(&mut self, args: &MonitorArgs) -> Done {
        let name = args.port.display().to_string();
        let socket = locate::socket(&self.global)?;
        let mut client = match Client::connect(&socket) {
            Ok(client) => client,
            // Whatever keeps us from the daemon: who has the port shows when it is opened.
            Err(_) => return self.listen(args),
        };
        client.patient().map_err(|e| self.stop(&e))?;
        let request = Request::SerialMonitor {
            port: absolute(&args.port),
            raw: args.raw,
        };
        let mut shown = 0;
        let mut printed = Ok(());
        let asked = client.ask(&request, |heard: Heard| {
            if shown == 0 {
                printed = self.news(&say::listening_through_daemon(&name));
            }
            shown += 1;
            if printed.is_ok() {
                printed = self.heard(&heard);
            }
            printed.is_ok() && args.count.is_none_or(|count| shown < count)
        });
        printed?;
        match asked {
            Err(ClientError::Failed(why)) if why.kind == FailureKind::NotFound => self.listen(args),
            Err(why) => Err(self.stop(&why)),
            Ok(_) => Ok(()),
        }
    }

    /// Listens to a port that the daemon hasn't.
    fn listen(&mut self, args: &MonitorArgs) -> Done {
        let port = self.port_to_listen(args)?;
        runtime()?.block_on(async {
            let path = port.path.display().to_string();
            let opened = port::open(&port).map_err(|fault| {
                let words = say::cannot_open(&path, &fault, port.protocol.word(), port.baud());
                Stop::new(stop::FAILED, words)
            });
            let (mut line, _) = opened?;
            self.news(&say::listening(&path, port.protocol.word(), port.baud()))?;
            let now_ms = jiff::Timestamp::now().as_millisecond();
            let mut monitor = Monitor::new(port.protocol, true, args.raw, Instant::now(), now_ms);
            let mut shown = 0;
            loop {
                let due = monitor.due();
                let idle = async {
                    match due {
                        Some(due) => tokio::time::sleep_until(due.into()).await,
                        None => std::future::pending().await,
                    }
                };
                let (mut heard, mut chunk) = (Vec::new(), [0; 256]);
                tokio::select! {
                    read = line.read(&mut chunk) => {
                        let read = read.and_then(|n| match n {
                            0 => Err(io::ErrorKind::UnexpectedEof.into()),
                            n => Ok(n),
                        });
                        let n = read.map_err(|e| Stop::new(stop::FAILED, say::went_away(&path, &e)))?;
                        let bytes = chunk.get(..n).unwrap_or(&[]);
                        monitor.take(Instant::now(), false, bytes, &mut heard);
                    }
                    () = idle => monitor.idle(Instant::now(), &mut heard),
                }
                for heard in &heard {
                    self.heard(heard)?;
                    shown += 1;
                    if args.count.is_some_and(|count| shown >= count) {
                        return Ok(());
                    }
                }
            }
        })
    }

    fn port_to_listen(&self, args: &MonitorArgs) -> Result<PortSection, Stop> {
        let known = self.configured(&args.port);
        let protocol = args.protocol.or(known.as_ref().map(|port| port.protocol));
        let Some(protocol) = protocol else {
            let name = args.port.display().to_string();
            return Err(Stop::new(stop::USAGE, say::which_protocol(&name)));
        };
        let mut port = match known {
            Some(port) => port,
            None => section(&args.port, protocol)?,
        };
        if port.protocol != protocol {
            (port.protocol, port.baud) = (protocol, None);
        }
        port.baud = args.baud.or(port.baud);
        Ok(port)
    }

    fn heard(&mut self, heard: &Heard) -> Done {
        if self.global.json {
            let item = serde_json::to_value(heard).unwrap_or_default();
            writeln!(self.out, "{item}")?;
        } else {
            self.look.now_ms = self.look.now_ms.max(heard.at_ms);
            let line = say::heard(&self.look, heard);
            writeln!(self.out, "{}", safe(&line))?;
            if let Some(hex) = &heard.hex {
                writeln!(self.out, "{}{hex}", " ".repeat(say::HEARD_INDENT))?;
            }
        }
        Ok(self.out.flush()?)
    }

    fn news(&self, text: &str) -> Done {
        // Nobody may be reading it: what was asked for comes on standard output.
        let _ = writeln!(io::stderr(), "{}", safe(text));
        Ok(())
    }
}

/// A port's id as it is, a path from the root: the daemon runs in another folder.
fn absolute(port: &Path) -> String {
    let path = match port.components().count() {
        1 if !port.exists() => port.to_path_buf(),
        _ => std::path::absolute(port).unwrap_or_else(|_| port.to_path_buf()),
    };
    path.display().to_string()
}
