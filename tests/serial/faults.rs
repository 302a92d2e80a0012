//! Ports that are away, taken, garbled, pulled out and put in again: each is told apart in the
//! status, and found again without a restart.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::bed::{Bed, Socket, Wire, open_tty};
use linli::links::serial::status::{PortFault, PortView};

/// A scanner on a port of this path.
fn scanner_on(path: &Path) -> String {
    format!(
        "[[port]]\nid = \"p1\"\npath = {path:?}\nprotocol = \"lines\"\n\
         [[device]]\nid = \"scanner-1\"\nbuilding = \"b1\"\nserial = {{ port = \"p1\", says = \"scan\" }}\n",
    )
}

fn is_up(port: &PortView) -> bool {
    port.up && port.fault.is_none()
}

fn has(fault: PortFault) -> impl Fn(&PortView) -> bool {
    move |port| port.fault.as_ref() == Some(&fault)
}

/// Another process that has a terminal open, until it is dropped.
struct Other(Child);

impl Other {
    fn with(path: &Path) -> Self {
        let child = Command::new("sleep")
            .arg("1000")
            .stdin(open_tty(path).unwrap())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn fault(&self) -> PortFault {
        let by = Some(format!("sleep ({})", self.0.id()));
        PortFault::InUse { by }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_opened_under_the_name_that_its_link_leads_to() {
    let wire = Wire::new();
    let socket = Socket::with(&wire);
    let bed = Bed::start(&scanner_on(&socket.path())).await;
    let port = bed.port_is("p1", "open", is_up).await;
    assert_eq!(port.device.as_deref(), wire.path().to_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_missing_at_the_start_is_found_when_it_comes() {
    let socket = Socket::new();
    let bed = Bed::start(&scanner_on(&socket.path())).await;
    let missing = bed.port_is("p1", "missing", has(PortFault::Missing)).await;
    assert!(!missing.up && missing.device.is_none());
    let mut wire = Wire::new();
    socket.plug(wire.path());
    bed.port_is("p1", "open", is_up).await;
    wire.say(b"SF100\r").await;
    bed.said("scanner-1", "scan", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_pulled_out_comes_back_under_another_name() {
    let (mut first, mut second) = (Wire::new(), Wire::new());
    let socket = Socket::with(&first);
    let bed = Bed::start(&scanner_on(&socket.path())).await;
    bed.port_is("p1", "open", is_up).await;
    first.say(b"SF1\rSF2-begun").await;
    bed.said("scanner-1", "scan", 1).await;
    socket.unplug();
    drop(first);
    let away = bed
        .port_is("p1", "unplugged", has(PortFault::Unplugged))
        .await;
    assert!(!away.up);
    let asked = bed.linli(&["status", "--json"]).await;
    assert!(asked.status.success(), "the daemon answers meanwhile");
    socket.plug(second.path());
    let back = bed.port_is("p1", "open again", is_up).await;
    assert_eq!(back.device.as_deref(), second.path().to_str());
    assert_eq!(back.opened, 2);
    // What was begun before isn't the beginning of what comes now.
    second.say(b"SF3\r").await;
    let scans = bed.said("scanner-1", "scan", 2).await;
    assert_eq!(scans.len(), 2);
    assert_eq!(scans[0].boot, scans[1].boot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_file_that_goes_while_the_line_is_silent_is_noticed() {
    let wire = Wire::new();
    let folder = tempfile::tempdir().unwrap();
    // A device file of its own for the same terminal, as only root can make.
    let path = folder.path().join("ttyTEST");
    let made = Command::new("cp")
        .arg("-a")
        .arg(wire.path())
        .arg(&path)
        .status();
    if !made.is_ok_and(|made| made.success()) || open_tty(&path).is_err() {
        eprintln!("LEFT OUT: this user can't make device files, so this test didn't run");
        return;
    }
    let bed = Bed::start(&scanner_on(&path)).await;
    bed.port_is("p1", "open", is_up).await;
    fs::remove_file(&path).unwrap();
    bed.port_is("p1", "unplugged", has(PortFault::Unplugged))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_another_process_has_is_left_alone_until_that_ends() {
    let mut wire = Wire::new();
    let other = Other::with(wire.path());
    let bed = Bed::start(&scanner_on(wire.path())).await;
    let used = bed.port_is("p1", "in use", has(other.fault())).await;
    assert!(!used.up);
    drop(other);
    bed.port_is("p1", "open", is_up).await;
    wire.say(b"SF1\r").await;
    bed.said("scanner-1", "scan", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_opens_the_port_later_is_named_as_long_as_it_has_it() {
    let mut wire = Wire::new();
    let bed = Bed::start(&scanner_on(wire.path())).await;
    bed.port_is("p1", "open", is_up).await;
    // Inherited, as a port that is open can't be opened by another process, unless that is root's.
    let other = Other(
        Command::new("sleep")
            .arg("1000")
            .stdin(wire.near())
            .spawn()
            .unwrap(),
    );
    let used = bed.port_is("p1", "in use", has(other.fault())).await;
    assert!(used.up, "it is still tried");
    drop(other);
    bed.port_is("p1", "ours alone", is_up).await;
    wire.say(b"SF1\r").await;
    bed.said("scanner-1", "scan", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_locked_is_in_use() {
    let wire = Wire::new();
    let lock = open_tty(wire.path()).unwrap();
    lock.lock().unwrap();
    let bed = Bed::start(&scanner_on(wire.path())).await;
    let in_use = |port: &PortView| matches!(port.fault, Some(PortFault::InUse { .. }));
    bed.port_is("p1", "in use", in_use).await;
    lock.unlock().unwrap();
    bed.port_is("p1", "open", is_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_serial_port_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.as_path(), folder.path(), Path::new("/dev/null")] {
        let bed = Bed::start(&scanner_on(path)).await;
        bed.port_is("p1", "not serial", has(PortFault::NotSerial))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_whose_bytes_make_no_sense_is_garbled_until_they_do() {
    let mut wire = Wire::new();
    let bed = Bed::start(&scanner_on(wire.path())).await;
    bed.port_is("p1", "open", is_up).await;
    let garble = async {
        loop {
            wire.say(b"\xFE\x80\xFC\r").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let seen = tokio::select! {
        seen = bed.port_is("p1", "garbled", has(PortFault::Garbled)) => seen,
        () = garble => unreachable!(),
    };
    assert!(seen.up, "it stays open");
    let note = seen.slaves[0].note.clone().unwrap();
    assert!(note.contains("baud rate"), "{note}");
    wire.say(b"\rSF1\r").await;
    bed.port_is("p1", "making sense", is_up).await;
    bed.said("scanner-1", "scan", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_away_holds_up_neither_the_others_nor_the_stop() {
    let mut wire = Wire::new();
    let away = Socket::new();
    let more = format!(
        "{}[[port]]\nid = \"p2\"\npath = {:?}\nprotocol = \"modbus\"\n",
        scanner_on(wire.path()),
        away.path()
    );
    let mut bed = Bed::start(&more).await;
    bed.port_is("p2", "missing", has(PortFault::Missing)).await;
    bed.port_is("p1", "open", is_up).await;
    wire.say(b"SF1\r").await;
    bed.said("scanner-1", "scan", 1).await;
    let took = bed.stop().await;
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
}
