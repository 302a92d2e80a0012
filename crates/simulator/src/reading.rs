//! What sensors feel and send: SenML packs (RFC 8428), with integer labels in CBOR and text labels in JSON.

use firmware_protocols::value::{Key, Value};
use firmware_protocols::{Form, Ident, Kind};

use crate::serial::ModbusSlave;

/// A sensor that says nothing by itself: the gateway reads it.
pub trait Probe: Send + Sync {
    /// It feels this many degrees Celsius, and this relative humidity in percent, from now on.
    fn feel(&self, celsius: f64, humidity: f64);
}

/// A Modbus slave with the temperature in one input register and the humidity in the next, both in
/// tenths.
pub struct ClimateSlave {
    /// The slave.
    pub slave: ModbusSlave,
    /// The register of the temperature.
    pub first: u16,
}

impl Probe for ClimateSlave {
    fn feel(&self, celsius: f64, humidity: f64) {
        let tenths = |value: f64| (value * 10.0).round() as i16;
        let (temperature, humidity) = (tenths(celsius), tenths(humidity));
        self.slave
            .set_input(self.first, temperature.cast_unsigned());
        self.slave
            .set_input(self.first + 1, humidity.cast_unsigned());
    }
}

/// A temperature in degrees Celsius and a relative humidity in percent.
pub fn climate(sensor: &Ident, form: Form, celsius: f64, humidity: f64) -> Kind {
    let base = Value::Text(format!("{sensor}/"));
    Kind::Reading {
        senml: Value::Array(vec![
            Value::Map(vec![
                (label(form, -2, "bn"), base),
                (label(form, 0, "n"), "temperature".into()),
                (label(form, 1, "u"), "Cel".into()),
                (label(form, 2, "v"), Value::Float(celsius)),
            ]),
            Value::Map(vec![
                (label(form, 0, "n"), "humidity".into()),
                (label(form, 1, "u"), "%RH".into()),
                (label(form, 2, "v"), Value::Float(humidity)),
            ]),
        ]),
    }
}

/// A contact: a meter cupboard, a cellar window.
pub fn contact(sensor: &Ident, form: Form, closed: bool) -> Kind {
    Kind::Reading {
        senml: Value::Array(vec![Value::Map(vec![
            (label(form, 0, "n"), Value::Text(format!("{sensor}/closed"))),
            (label(form, 4, "vb"), Value::Bool(closed)),
        ])]),
    }
}

fn label(form: Form, number: i64, name: &str) -> Key {
    match form {
        Form::Cbor => Key::Int(number),
        Form::Json => Key::Text(name.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware_protocols::event::{When, decode, encode};
    use firmware_protocols::{Event, senml};

    #[test]
    fn both_forms_say_the_same() {
        let read = |form: Form, kind: Kind| {
            let event = Event {
                boot: 1,
                seq: 1,
                when: When::Unsaid,
                kind,
            };
            let mut events = decode(&encode(&[event], form)).unwrap();
            events.remove(0).unwrap().kind
        };
        for make in [
            |form| climate(&Ident::new("cold-1").unwrap(), form, 3.5, 61.0),
            |form| contact(&Ident::new("cold-1").unwrap(), form, true),
        ] {
            let pack = |form| match read(form, make(form)) {
                Kind::Reading { senml } => senml,
                other => panic!("{other:?} instead of a reading"),
            };
            // The deterministic encoding doesn't depend on the order of the labels.
            assert_eq!(pack(Form::Cbor).to_cbor(), pack(Form::Json).to_cbor());
            assert_eq!(senml::normalise(&pack(Form::Cbor)), Ok(pack(Form::Cbor)));
        }
    }
}
