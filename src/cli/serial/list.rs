//! `linli serial list`: the serial ports of this machine. Needs no daemon.

use std::io::Write as _;
use std::path::Path;

use crate::cli::look::{Look, Paint};
use crate::cli::table::{Cell, Column, table};
use crate::cli::words::serial as say;
use crate::cli::{Done, Session};
use crate::links::serial::list::{SerialFile, list};

impl Session {
    pub(super) fn serial_list(&mut self) -> Done {
        let ports = list(Path::new("/"));
        if self.global.json {
            let items: Result<Vec<_>, _> = ports.iter().map(serde_json::to_value).collect();
            return self.array(&items.unwrap_or_default());
        }
        Ok(self.out.write_all(shown(&self.look, &ports).as_bytes())?)
    }
}

fn shown(look: &Look, ports: &[SerialFile]) -> String {
    const HEAD: [Column; 5] = [
        Column::left("PATH FOR THE CONFIGURATION"),
        Column::left("DEVICE"),
        Column::left("DRIVER"),
        Column::stretching("USB"),
        Column::stretching("USED BY"),
    ];
    if ports.is_empty() {
        return format!("{}\n", say::NO_PORTS);
    }
    let rows: Vec<Vec<Cell>> = ports.iter().map(row).collect();
    table(look, &HEAD, &rows)
}

fn row(port: &SerialFile) -> Vec<Cell> {
    let usb = port.usb.as_ref().map(|usb| {
        let mut text = format!("{}:{}", usb.vendor, usb.product);
        for more in [&usb.name, &usb.serial].into_iter().flatten() {
            text.push_str(&format!(" {more}"));
        }
        text
    });
    vec![
        Cell::from(port.path().to_string_lossy()),
        Cell::from(port.device.to_string_lossy()),
        Cell::from(port.driver.as_deref().unwrap_or_default()),
        Cell::from(usb.unwrap_or_default()),
        Cell::painted(port.used_by.join(", "), Paint::Used),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::look::tests::plain;
    use super::*;
    use crate::links::serial::list::Usb;

    #[test]
    fn the_lasting_path_stands_first() {
        let adapter = SerialFile {
            device: "/dev/ttyUSB0".into(),
            by_id: Some("/dev/serial/by-id/usb-FTDI-if00".into()),
            by_path: None,
            usb: Some(Usb {
                vendor: "0403".to_string(),
                product: "6001".to_string(),
                serial: Some("A50285BI".to_string()),
                name: Some("FTDI FT232R".to_string()),
            }),
            driver: Some("ftdi_sio".to_string()),
            used_by: vec!["linli (77)".to_string()],
        };
        let uart = SerialFile {
            device: "/dev/ttyAMA0".into(),
            by_id: None,
            by_path: None,
            usb: None,
            driver: None,
            used_by: Vec::new(),
        };
        let wanted = "\
PATH FOR THE CONFIGURATION       DEVICE        DRIVER    USB                             USED BY
/dev/serial/by-id/usb-FTDI-if00  /dev/ttyUSB0  ftdi_sio  0403:6001 FTDI FT232R A50285BI  linli (77)
/dev/ttyAMA0                     /dev/ttyAMA0
";
        assert_eq!(shown(&plain(None), &[adapter, uart]), wanted);
        assert!(shown(&plain(None), &[]).starts_with("This machine has no serial port."));
    }
}
