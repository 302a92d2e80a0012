//! A profile's program: jq, compiled once, run for each payload. Only ever in a worker, as what it does
//! with time and memory is anybody's guess.
//!
//! Nothing that reaches outside is offered: no environment, clock, time zone, module, further input or
//! output.

use std::fmt::{self, Write as _};
use std::io;

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Val, read, write};

use super::frames::{OUTPUT_MAX_BYTES, OUTPUTS_MAX, WHY_MAX_BYTES};

/// What the values are.
type Data = data::JustLut<Val>;

/// Functions of the library that aren't offered.
const NATIVE_WITHHELD: [&str; 7] = [
    "env",
    "now",
    "localtime",
    "strflocaltime",
    "debug_empty",
    "stderr_empty",
    "halt",
];
/// Definitions of the library that rest on them.
const DEFINED_WITHHELD: [&str; 4] = ["stderr", "debug", "halt", "halt_error"];

/// A compiled program.
pub struct Program(jaq_core::Filter<Data>);

impl Program {
    /// Compiles.
    ///
    /// # Errors
    /// With line and column, and what isn't understood there.
    pub fn compile(source: &str) -> Result<Self, String> {
        let defs = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs())
            .filter(|def| !DEFINED_WITHHELD.contains(&def.name));
        let funs = jaq_core::funs()
            .chain(jaq_std::funs())
            .chain(jaq_json::funs())
            .filter(|(name, _, _)| !NATIVE_WITHHELD.contains(name));
        let arena = Arena::default();
        let file = File {
            code: source,
            path: (),
        };
        let modules = Loader::new(defs)
            .load(&arena, file)
            .map_err(|errors| not_loaded(source, &errors))?;
        // What is imported as data isn't asked of the loader.
        load::import(&modules, |_| Err("modules aren't offered".to_owned()))
            .map_err(|errors| not_loaded(source, &errors))?;
        let filter = Compiler::default()
            .with_funs(funs)
            .compile(modules)
            .map_err(|errors| not_compiled(source, &errors))?;
        Ok(Self(filter))
    }

    /// What the program makes of an input, a JSON array.
    ///
    /// # Errors
    /// In words: the program's own, or that it made too much.
    pub fn run(&self, input: &[u8]) -> Result<Vec<u8>, String> {
        let input =
            read::parse_single(input).map_err(|e| format!("the input can't be read: {e}"))?;
        let context = Ctx::<Data>::new(&self.0.lut, Vars::new([]));
        let mut made = Bounded(vec![b'[']);
        for (count, output) in self.0.id.run((context, input)).map(unwrap_valr).enumerate() {
            let output = output.map_err(|e| format!("the program gave: {}", short(&e)))?;
            if count == OUTPUTS_MAX {
                return Err(format!(
                    "the program makes more than {OUTPUTS_MAX} events of one payload"
                ));
            }
            if count > 0 {
                made.0.push(b',');
            }
            let pretty = write::Pp::default();
            write::write(&mut made, &pretty, 0, &output).map_err(|_| {
                format!("the program makes more than {OUTPUT_MAX_BYTES} bytes of one payload")
            })?;
        }
        made.0.push(b']');
        Ok(made.0)
    }
}

/// Takes no more than may be said.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_MAX_BYTES - 1 {
            return Err(io::Error::other("too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As much of something as is worth being told: what a program says can be of any length.
fn short(what: &impl fmt::Display) -> String {
    struct Short(String);
    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for char in text.chars() {
                if self.0.len() + char.len_utf8() > WHY_MAX_BYTES - 40 {
                    return Err(fmt::Error);
                }
                self.0.push(if char.is_control() { ' ' } else { char });
            }
            Ok(())
        }
    }
    let mut said = Short(String::new());
    match write!(said, "{what}") {
        Ok(()) => said.0,
        Err(_) => said.0 + " …",
    }
}

fn not_loaded(source: &str, errors: &load::Errors<&str, ()>) -> String {
    let told = errors.iter().flat_map(|(_, error)| match error {
        load::Error::Io(all) => all
            .iter()
            .map(|(at, _)| told(source, at, "modules aren't offered"))
            .collect::<Vec<_>>(),
        load::Error::Lex(all) => all
            .iter()
            .map(|(expected, at)| told(source, at, &format!("expected {}", expected.as_str())))
            .collect(),
        load::Error::Parse(all) => all
            .iter()
            .map(|(expected, at)| told(source, at, &format!("expected {}", expected.as_str())))
            .collect(),
    });
    joined(told)
}

fn not_compiled(source: &str, errors: &jaq_core::compile::Errors<&str, ()>) -> String {
    let told = errors.iter().flat_map(|(_, all)| {
        all.iter().map(|(at, undefined)| {
            told(
                source,
                at,
                &format!("there is no {} '{at}'", undefined.as_str()),
            )
        })
    });
    joined(told)
}

fn joined(told: impl Iterator<Item = String>) -> String {
    let told: Vec<String> = told.take(5).collect();
    match told.is_empty() {
        true => "the program can't be understood".to_owned(),
        false => short(&told.join("; ")),
    }
}

/// A fault with its place: `at` is a part of `source`, or else stands nowhere in it.
fn told(source: &str, at: &str, what: &str) -> String {
    let start = (at.as_ptr() as usize).checked_sub(source.as_ptr() as usize);
    let Some(before) = start.and_then(|start| source.get(..start)) else {
        return what.to_owned();
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let here = at.lines().next().unwrap_or("").trim();
    let here: String = here.chars().take(30).collect();
    match here.is_empty() {
        true => format!("line {line}, column {column}, at the end: {what}"),
        false => format!("line {line}, column {column}, at '{here}': {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(program: &str, input: &str) -> Result<String, String> {
        let bytes = Program::compile(program)?.run(input.as_bytes())?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_program_makes_any_number_of_values() {
        assert_eq!(made("empty", "{}").unwrap(), "[]");
        assert_eq!(
            made(
                ".payload | keys[] | {n: ., u: ascii_upcase}",
                r#"{"payload":{"b":1,"a":2}}"#
            )
            .unwrap(),
            r#"[{"n":"a","u":"A"},{"n":"b","u":"B"}]"#
        );
        assert_eq!(made(".v * 10", r#"{"v":2.15}"#).unwrap(), "[21.5]");
        assert_eq!(
            made(
                r#".n | test("^door-[0-9]+$"), capture("(?<x>[0-9]+)").x"#,
                r#"{"n":"door-17"}"#
            )
            .unwrap(),
            r#"[true,"17"]"#
        );
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        let said = made(".payload\n  | map(", "{}").unwrap_err();
        assert!(said.contains("line 2, column"), "{said}");
        let said = made(".payload\n  | wether(.x)", "{}").unwrap_err();
        assert!(said.contains("line 2, column 5, at 'wether"), "{said}");
        assert!(said.contains("there is no filter 'wether'"), "{said}");
        let said = made(
            ".payload.x + 1 | error(\"it is \\(.)\")",
            r#"{"payload":{"x":1}}"#,
        )
        .unwrap_err();
        assert_eq!(said, r#"the program gave: "it is 2""#);
    }

    #[test]
    fn nothing_reaches_outside() {
        for program in [
            "env",
            "$ENV",
            "$ENV.PATH",
            "now",
            "input",
            "inputs",
            "input_filename",
            "debug",
            "debug(1)",
            "stderr",
            "halt",
            "halt_error",
            "localtime",
            "strflocaltime(\"%H\")",
            "$__prog_args",
            "import \"x\" as x; .",
            "include \"x\"; .",
            "import \"/etc/passwd\" as $x; $x",
            "get_search_list",
        ] {
            assert!(Program::compile(program).is_err(), "{program}");
        }
    }

    #[test]
    fn what_is_made_is_bounded() {
        let said = made("range(257)", "{}").unwrap_err();
        assert!(said.contains("more than 256 events"), "{said}");
        assert!(made("range(256)", "{}").is_ok());
        let said = made("repeat(1)", "{}").unwrap_err();
        assert!(said.contains("more than 256 events"), "{said}");
        let said = made("\"x\" * 70000", "{}").unwrap_err();
        assert!(said.contains("more than 65536 bytes"), "{said}");
        let said = made("error(\"x\" * 70000)", "{}").unwrap_err();
        assert!(said.len() <= WHY_MAX_BYTES, "{}", said.len());
    }
}
