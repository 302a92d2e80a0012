//! Texts of a certain form in the configuration: names, addresses. Each form is given as a pattern
//! (for editors), in words (for people) and as a function (for us).

use std::borrow::Cow;
use std::net::SocketAddr;

use firmware_protocols::Ident;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The longest name of a register and the longest unit, in bytes.
const TEXT_MAX_BYTES: usize = 64;

/// A form that texts can have.
pub(super) struct Form {
    /// Its name: `format` in the schema.
    pub name: &'static str,
    /// As an ECMA 262 pattern; it may let through a little more.
    pattern: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// An example.
    example: &'static str,
    /// Whether a text has it.
    pub fits: fn(&str) -> bool,
}

const NAME: Form = Form {
    name: "linli-name",
    pattern: "^[a-z0-9][a-z0-9-]{0,62}$",
    allowed: "1 to 63 of a-z, 0-9 and '-' are allowed, not beginning with '-'",
    example: "b1",
    fits: |text| Ident::new(text).is_ok(),
};

const ADDRESS: Form = Form {
    name: "linli-address",
    pattern: "^([0-9]{1,3}([.][0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5}$",
    allowed: "an IP address and a port are allowed, as in 127.0.0.1:1883, 0.0.0.0:1883 or [::]:1883",
    example: "127.0.0.1:1883",
    fits: |text| text.parse::<SocketAddr>().is_ok(),
};

const REGISTER: Form = Form {
    name: "linli-register",
    pattern: "^[A-Za-z0-9:./_-]{1,64}$",
    allowed: "1 to 64 letters, digits and -:./_ are allowed",
    example: "temperature",
    fits: |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-:./_".contains(c);
        !text.is_empty() && text.len() <= TEXT_MAX_BYTES && text.chars().all(allowed)
    },
};

const UNIT: Form = Form {
    name: "linli-unit",
    pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,64}$",
    allowed: "one of RFC 8428 is allowed, such as Cel or %RH, or leave it out",
    example: "Cel",
    fits: |text| {
        !text.is_empty() && text.len() <= TEXT_MAX_BYTES && !text.chars().any(char::is_control)
    },
};

const FORMS: [&Form; 4] = [&NAME, &ADDRESS, &REGISTER, &UNIT];

/// The form of that name.
pub(super) fn form(name: &str) -> Option<&'static Form> {
    FORMS.into_iter().find(|form| form.name == name)
}

/// In place of [`Ident`] in the schema.
pub(super) struct Name;
/// In place of [`SocketAddr`] in the schema.
pub(super) struct Address;
/// A register's name in the schema.
pub(super) struct RegisterName;
/// A unit in the schema.
pub(super) struct Unit;

macro_rules! has_form {
    ($($type:ty: $form:expr),*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($form.name)
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "format": $form.name,
                    "pattern": $form.pattern,
                    "examples": [$form.example],
                })
            }
        }
    )*};
}

has_form!(Name: NAME, Address: ADDRESS, RegisterName: REGISTER, Unit: UNIT);

/// One of some words.
pub(super) fn one_of<T>(words: &[(&str, T)]) -> Schema {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json_schema!({ "type": "string", "enum": words })
}
