//! Every message that a configuration can earn, each with a minimal wrong configuration: where it
//! points, and that it names a remedy. A check that is added without a case here fails
//! `no_check_is_without_a_case`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::read::{judge, load};
use super::{Config, Told};
use cases::{NEIGHBOURS, ON_PORTS, SENSE, STRUCTURE};

mod cases;

/// Stands where the fault is expected, and is taken out before the text is read.
const HERE: char = '¶';

/// What a message must hold one of: what is allowed, or what to do.
const REMEDIES: &[&str] = &[
    "allowed",
    "did you mean",
    "add ",
    "remove ",
    "remove it",
    "set ",
    "write ",
    "name one",
    "give ",
    "correct ",
    "exchange ",
    "use ",
    "make ",
    "leave ",
    "list one",
    "hang ",
    "put ",
    "belongs ",
    "is needed",
    "save it",
];

/// An estate that has some of everything, and nothing wrong.
const ESTATE: &str = r#"site = "s"
state_dir = "state"

[broker]
listen = "127.0.0.1:1883"
anonymous = ["door-1"]

[cloud]
url = "https://cloud.example"

[cloud.line]
wait_s = 60

[limits]
kib_per_s = 128

[rules]
code_min_digits = 6
lockout_first_s = 60
unlisted = "desk"

[[building]]
id = "b1"

[[port]]
id = "bus-1"
path = "/dev/ttyS1"
protocol = "kerong-cu16"

[[port]]
id = "bus-2"
path = "/dev/ttyS2"
protocol = "modbus"

[[port]]
id = "tty-1"
path = "/dev/ttyS3"
protocol = "lines"

[[port]]
id = "bus-3"
path = "/dev/ttyS4"
protocol = "osdp"

[[port]]
id = "link-1"
path = "/dev/ttyS5"
protocol = "linli"

[[bank]]
id = "bank-a"
building = "b1"
compartments = [{ count = 4, size = "S" }]
[[bank.board]]
port = "bus-1"
address = 0
compartments = [1, 2]
[[bank.board]]
port = "bus-1"
address = 1
compartments = [3, 4]

[[bank]]
id = "bank-b"
building = "b1"
compartments = [
    { count = 1, size = "M" },
    { count = 1, size = "L" },
]
[[bank.board]]
port = "bus-2"
address = 10
compartments = [1, 2]
relay = { flash_address = 0x0200 }

[[desk]]
id = "desk-1"
building = "b1"

[[device]]
id = "door-1"
building = "b1"

[[device]]
id = "cold-1"
building = "b1"
[device.serial]
port = "bus-2"
address = 7
registers = [
    { name = "temperature", function = "input", address = 1, scale = 0.1, unit = "Cel" },
    { name = "cellar", function = "discrete", address = 0, door_closed = true, held_open_s = 60 },
]

[[device]]
id = "scanner-1"
building = "b1"
point = "desk-1"
serial = { port = "tty-1", says = "scan" }

[[device]]
id = "reader-1"
building = "b1"
[device.serial]
port = "bus-3"
address = 1
key_file = "reader.key"
door = "door-1"

[[device]]
id = "sensor-1"
building = "b1"
serial = { port = "link-1", address = 1 }
"#;

/// What is written wrongly (what it replaces, and by what), the key that is to be blamed, and a part of
/// the message.
type Case = (&'static str, &'static str, &'static str, &'static str);

fn all_cases() -> impl Iterator<Item = &'static Case> {
    STRUCTURE
        .iter()
        .chain(SENSE)
        .chain(ON_PORTS)
        .chain(NEIGHBOURS)
}

/// The text of a case, and the line that its fault is expected on, if it says.
fn written((right, wrong, ..): &Case) -> (String, Option<usize>) {
    assert!(ESTATE.contains(right), "the estate has no {right}");
    let marked = ESTATE.replacen(right, wrong, 1);
    let line = marked
        .find(HERE)
        .map(|at| marked[..at].matches('\n').count() + 1);
    (marked.replace(HERE, ""), line)
}

#[test]
fn the_estate_itself_is_good() {
    if let Err(errors) = Config::parse(ESTATE) {
        panic!("{}", errors.join("\n"));
    }
}

#[test]
fn each_fault_is_told_at_its_place_and_alone() {
    let mut wrong = Vec::new();
    for case in all_cases() {
        let (text, line) = written(case);
        let (_, _, key, says) = case;
        let told = load(&text).err().map(|(told, _)| told).unwrap_or_default();
        let is_it = |fault: &Told| {
            fault.key == *key
                && fault.what.contains(says)
                && line.is_none_or(|line| fault.line == line)
        };
        if told.len() != 1 || !told.iter().all(is_it) {
            wrong.push(format!("{case:?}, line {line:?}, gave {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_fault_names_a_remedy() {
    for case in all_cases() {
        for fault in load(&written(case).0).err().unwrap_or_default().0 {
            let what = &fault.what;
            let names_one = REMEDIES.iter().any(|remedy| what.contains(remedy));
            assert!(names_one, "what is to be done about this? {what}");
            assert!(!what.contains("secret"), "{what}");
            assert!(what.len() < 400 && !what.contains('\n'), "{what}");
        }
    }
}

/// Says that every call of `Faults::at` in this folder is reached by a case above.
#[test]
fn no_check_is_without_a_case() {
    let mut reached = BTreeSet::new();
    let twenty_one = "x y\n".repeat(25);
    let too_many_registers = {
        let register = |i| format!("{{ name = \"r{i}\", function = \"input\", address = {i} }}");
        let registers: Vec<String> = (0..300).map(register).collect();
        ESTATE.replacen(
            "registers = [",
            &format!("registers = [{},", registers.join(", ")),
            1,
        )
    };
    let texts = all_cases().map(|case| written(case).0);
    for text in texts.chain([twenty_one, too_many_registers]) {
        let (_, _, faults) = judge(&text);
        assert!(!faults.is_empty());
        for fault in faults.all() {
            let said_at = fault.said_at();
            let file = Path::new(said_at.file()).file_name().unwrap();
            reached.insert((file.to_owned(), said_at.line() as usize));
        }
    }
    let mut without = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let ours = text.split("#[cfg(test)]").next().unwrap();
        for (i, line) in ours.lines().enumerate() {
            let calls = line.contains("errors.at(") || line.trim_start().starts_with(".at(");
            // What the schema lets through and the types don't: there is nothing of the kind.
            let never = line.contains("can't be taken");
            let name = file.file_name().unwrap().to_owned();
            if calls && !never && !reached.contains(&(name, i + 1)) {
                without.push(format!("{}:{}", file.display(), i + 1));
            }
        }
    }
    assert!(
        without.is_empty(),
        "add a case to src/config/faults_tests.rs for the checks at\n{}",
        without.join("\n")
    );
}

fn sources() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            match file.is_dir() {
                _ if name.ends_with("_tests") => {}
                true => folders.push(file),
                false => sources.push(file),
            }
        }
    }
    assert!(sources.len() > 10);
    sources
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_lines() {
    let text = "\
sitee = \"s\"
[broker]
listen = 7
max_connections = 0
[rules
code_min_digits = 99
[[building]]
id = \"B 1\"
[[device]]
id = \"door-1\"
building = \"b1\"
point = \"desk-9\"
[[device]]
building = \"b1\"
colour = red
";
    let told = load(text).err().unwrap().0;
    let told: Vec<String> = told
        .iter()
        .map(|fault| format!("{}: {}", fault.line, fault.key))
        .collect();
    assert_eq!(
        told,
        [
            "1: sitee",
            "3: broker.listen",
            "4: broker.max_connections",
            "5: ",
            "8: building[0].id",
            "12: device[door-1].point",
            "15: ",
        ]
    );
}

#[test]
fn a_file_that_is_no_text_or_not_there_is_told_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("linli.toml");
    let said = |file: &Path| Config::read(file).err().unwrap().to_string();
    assert!(said(&file).contains("Write one with 'linli init'"));
    fs::write(&file, b"site = \"s\"\n# \xff\n").unwrap();
    assert!(
        said(&file).contains("linli.toml:2: isn't UTF-8 text"),
        "{}",
        said(&file)
    );
    fs::write(&file, "#".repeat(2 << 20)).unwrap();
    assert!(said(&file).contains("at most 1048576 are allowed"));
    fs::write(&file, "site = 7\n").unwrap();
    let wanted = format!(
        "{0} can't be used:\n  {0}:1: site: is a whole number; text in quotes is allowed, as in \"b1\"",
        file.display()
    );
    assert_eq!(said(&file), wanted);
}
