//! A port over a pseudo-terminal, with drivers that fail.

use super::*;
use std::fs::File;
use std::os::fd::OwnedFd;

use crate::links::serial::plan::PortPlan;
use crate::pace::Limits;
use firmware_protocols::topic::Channel;
use nix::pty::openpty;

/// Takes everything.
struct Nobody;

#[async_trait]
impl DeviceIntake for Nobody {
    async fn events(&self, _: &Ident, _: Bytes) -> Answer {
        Answer::Taken
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
    fn presence(&self, _: &Ident, _: bool) {}
    fn command_sent(&self, _: String) {}
}

/// Fails as the test wants, and notes what happens to it.
struct Failing {
    how: How,
    happened: Arc<Mutex<Vec<&'static str>>>,
    runs: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    PanicsAtFirst,
    PanicsEverywhere,
    /// It never looks whether the gateway stops.
    Deaf,
}

#[async_trait]
impl Driver for Failing {
    async fn run(&mut self, line: Line, bus: &mut Bus) -> LineError {
        self.runs += 1;
        self.note("run");
        tokio::task::yield_now().await;
        assert!(self.how == How::Deaf || self.runs > 1, "as the test wants");
        assert!(self.how != How::PanicsEverywhere, "as the test wants");
        let _line = line;
        if self.how == How::Deaf {
            std::future::pending::<()>().await;
        }
        let _ = bus.stopped.wait_for(|stop| *stop).await;
        LineError::Stopped
    }

    fn away(&mut self, _: Outgoing, _: &str) {
        self.note("away");
        assert!(self.how != How::PanicsEverywhere, "as the test wants");
    }

    fn lost(&mut self, _: &Bus) {
        self.note("lost");
        assert!(self.how != How::PanicsEverywhere, "as the test wants");
    }
}

impl Failing {
    fn note(&self, what: &'static str) {
        self.happened.lock().unwrap().push(what);
    }
}

struct Bench {
    status: Arc<PortStatus>,
    send: mpsc::Sender<Outgoing>,
    stop: watch::Sender<bool>,
    happened: Arc<Mutex<Vec<&'static str>>>,
    task: JoinHandle<()>,
    /// The far and the near end.
    _pty: (OwnedFd, OwnedFd),
}

impl Bench {
    fn start(how: How) -> Self {
        let pty = openpty(None, None).unwrap();
        let near = File::from(pty.slave.try_clone().unwrap());
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&near));
        let path = std::fs::read_link(link).unwrap();
        let text = format!("id = \"p1\"\npath = {path:?}\nprotocol = \"lines\"");
        let plan = PortPlan {
            port: toml::from_str(&text).unwrap(),
            banks: Vec::new(),
            devices: Vec::new(),
        };
        let status = Arc::new(PortStatus::new(plan.port.clone()));
        let (send, outbound) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let happened = Arc::default();
        let port = Port {
            driver: Box::new(Failing {
                how,
                happened: Arc::clone(&happened),
                runs: 0,
            }),
            bus: Bus {
                port: plan.port,
                status: Arc::clone(&status),
                intake: Arc::new(Nobody),
                pace: Arc::new(Pace::new(Limits::NONE, [])),
                outbound,
                stopped,
            },
            said: None,
            was_open: false,
        };
        Self {
            status,
            send,
            stop,
            happened,
            task: tokio::spawn(port.keep_open()),
            _pty: (pty.master, pty.slave),
        }
    }

    fn times(&self, what: &str) -> usize {
        let happened = self.happened.lock().unwrap();
        happened.iter().filter(|it| **it == what).count()
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "in vain: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn broke_down(fault: Option<&PortFault>) -> bool {
    matches!(fault, Some(PortFault::Other { error }) if error.contains("broke down"))
}

#[tokio::test]
async fn a_driver_that_panics_is_shown_and_begins_again_with_its_state() {
    let bench = Bench::start(How::PanicsAtFirst);
    let shown = |bench: &Bench| broke_down(bench.status.view().fault.as_ref());
    bench.until("the fault to be shown", shown).await;
    assert!(!bench.status.view().up);
    assert_eq!(bench.times("lost"), 1);
    bench
        .until("it to run again", |bench| bench.status.view().up)
        .await;
    bench
        .until("its second run", |bench| bench.times("run") == 2)
        .await;
    assert_eq!(bench.status.view().fault, None);
    bench.stop.send_replace(true);
    timeout(Duration::from_secs(5), bench.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_driver_that_panics_wherever_it_can_is_tried_again_and_commands_are_still_taken() {
    let bench = Bench::start(How::PanicsEverywhere);
    let shown = |bench: &Bench| broke_down(bench.status.view().fault.as_ref());
    bench.until("the fault to be shown", shown).await;
    for _ in 0..2 {
        let message = ToDevice {
            device: Ident::new("x").unwrap(),
            channel: Channel::Command,
            payload: Bytes::new(),
            expiry_ms: None,
            open: None,
        };
        let came = Instant::now();
        bench.send.send(Outgoing { message, came }).await.unwrap();
    }
    bench
        .until("both commands", |bench| bench.times("away") == 2)
        .await;
    bench
        .until("a second run", |bench| bench.times("run") >= 2)
        .await;
    bench.stop.send_replace(true);
    timeout(Duration::from_secs(5), bench.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_driver_that_does_not_hear_the_stop_is_ended() {
    let bench = Bench::start(How::Deaf);
    bench
        .until("it to run", |bench| bench.times("run") == 1)
        .await;
    let stopped = Instant::now();
    bench.stop.send_replace(true);
    timeout(Duration::from_secs(5), bench.task)
        .await
        .unwrap()
        .unwrap();
    assert!(stopped.elapsed() >= ENDING);
}
