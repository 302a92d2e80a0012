//! A machine's folders, stood up: an adapter twice, a modem, a port of the board, and ports that the
//! machine doesn't have.

use super::*;
use std::os::unix::fs::symlink;

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// A tty of a device folder in `sys/devices`, as the kernel shows it.
    fn tty(&self, name: &str, device: &str, kind: Option<&str>) {
        self.file(&format!("dev/{name}"), "");
        let class = format!("sys/class/tty/{name}");
        fs::create_dir_all(self.root().join("sys/devices").join(device)).unwrap();
        fs::create_dir_all(self.root().join(&class)).unwrap();
        self.link(
            &format!("{class}/device"),
            &format!("../../../devices/{device}"),
        );
        if let Some(kind) = kind {
            self.file(&format!("{class}/type"), kind);
        }
    }
}

#[test]
fn an_adapter_is_shown_with_what_it_says_of_itself_and_the_names_that_stay() {
    let machine = Machine::new();
    let usb = "usb1/1-1/1-1.2";
    machine.tty("ttyUSB0", &format!("{usb}/1-1.2:1.0/ttyUSB0"), None);
    for (what, text) in [
        ("idVendor", "1a86\n"),
        ("idProduct", "7523\n"),
        ("manufacturer", "QinHeng\u{1b}[2J\n"),
        ("product", "USB Serial\n"),
    ] {
        machine.file(&format!("sys/devices/{usb}/{what}"), text);
    }
    machine.link(
        &format!("sys/devices/{usb}/1-1.2:1.0/ttyUSB0/driver"),
        "../../../../../bus/ch341-uart",
    );
    let id = "dev/serial/by-id/usb-1a86_USB_Serial-if00-port0";
    machine.link(id, "../../ttyUSB0");
    machine.link("dev/serial/by-path/platform-usb-0:1.2", "../../ttyUSB0");
    machine.file("proc/412/comm", "minicom\n");
    machine.link("proc/412/fd/3", "/dev/ttyUSB0");
    machine.file("proc/77/comm", "other\n");
    machine.link("proc/77/fd/3", "/dev/ttyUSB1");
    machine.file("proc/self/fd/0", "");
    let ports = list(machine.root());
    assert_eq!(ports.len(), 1, "{ports:?}");
    let port = &ports[0];
    assert_eq!(port.device, Path::new("/dev/ttyUSB0"));
    assert_eq!(port.path(), Path::new("/").join(id));
    let path = port.by_path.as_deref();
    assert_eq!(
        path,
        Some(Path::new("/dev/serial/by-path/platform-usb-0:1.2"))
    );
    let usb = port.usb.as_ref().unwrap();
    assert_eq!(
        (usb.vendor.as_str(), usb.product.as_str()),
        ("1a86", "7523")
    );
    assert_eq!(usb.serial, None);
    assert_eq!(usb.name.as_deref(), Some("QinHeng[2J USB Serial"));
    assert_eq!(port.driver.as_deref(), Some("ch341-uart"));
    assert_eq!(port.used_by, ["minicom (412)"]);
}

#[test]
fn ports_without_hardware_are_not_shown() {
    let machine = Machine::new();
    machine.tty("ttyS0", "platform/serial8250", Some("4\n"));
    machine.tty("ttyS1", "platform/serial8250", Some("0\n"));
    machine.tty("ttyAMA0", "platform/soc/fe201000.serial", None);
    machine.tty("ttyACM10", "usb1/1-3/1-3:1.0", None);
    machine.tty("ttyACM2", "usb1/1-4/1-4:1.0", None);
    // Not ports: they have no device.
    machine.file("sys/class/tty/tty1/dev", "4:1");
    machine.file("dev/tty1", "");
    let ports = list(machine.root());
    let names = ports.iter().map(|port| port.device.to_str().unwrap());
    let wanted = [
        "/dev/ttyACM2",
        "/dev/ttyACM10",
        "/dev/ttyAMA0",
        "/dev/ttyS0",
    ];
    assert!(names.eq(wanted), "{ports:?}");
    assert!(
        ports
            .iter()
            .all(|port| port.usb.is_none() && port.path() == port.device)
    );
}

#[test]
fn without_sysfs_what_is_plugged_in_is_shown() {
    let machine = Machine::new();
    for name in ["ttyUSB1", "ttyS0", "null", "ttyAMA0"] {
        machine.file(&format!("dev/{name}"), "");
    }
    let names: Vec<_> = list(machine.root())
        .into_iter()
        .map(|port| port.device)
        .collect();
    assert_eq!(
        names,
        [Path::new("/dev/ttyAMA0"), Path::new("/dev/ttyUSB1")]
    );
}

#[test]
fn an_empty_machine_has_none() {
    assert_eq!(list(Machine::new().root()), []);
}
