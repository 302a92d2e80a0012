use super::*;
use crate::config::Config;

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn added(text: &str) -> String {
    let (id, building) = (ident("new-1"), ident("b1"));
    let device = NewDevice {
        id: &id,
        building: &building,
        point: None,
        profile: None,
        named: None,
        via: None,
    };
    add(text, &device).unwrap()
}

fn devices(text: &str) -> Vec<String> {
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{e:?}: {text}"));
    config
        .devices
        .iter()
        .map(|device| device.id.to_string())
        .collect()
}

const BLOCK: &str =
    "\n# Added by 'linli device add'.\n[[device]]\nid = \"new-1\"\nbuilding = \"b1\"\n";

const HEAD: &str = "# Our house.\nsite = \"s\" # the site\n\n[[building]]\nid = \"b1\"\n";

/// What is added stands behind the last device, what is removed again leaves the text as it was, byte
/// by byte.
#[test]
fn a_device_comes_behind_the_last_one_and_goes_without_a_trace() {
    let device = "\n# The gate.\n[[device]]\nid = \"gate\"   # north\nbuilding = \"b1\"  # ours\n";
    let port = "\n# Serial lines\n[[port]]\nid = \"p\"\npath = \"/dev/ttyX\"\nprotocol = \"kerong-cu16\"\n";
    let nested = "[device.serial]\nport = \"p\"\naddress = 1 # DIP\n";
    for (before, after) in [
        (HEAD.to_string(), String::new()),
        (format!("{HEAD}{device}"), String::new()),
        (format!("{HEAD}{device}"), port.to_string()),
        (format!("{HEAD}{device}\n"), String::new()),
        (format!("{HEAD}{device}{nested}"), port.to_string()),
        // The device's own table may stand behind others.
        (
            format!("{HEAD}{device}{port}{nested}"),
            "# The end.\n".to_string(),
        ),
    ] {
        let text = format!("{before}{after}");
        let with = added(&text);
        let trimmed = before.trim_end_matches('\n');
        assert!(with.starts_with(trimmed), "{with}");
        assert!(with.ends_with(&after), "{with}");
        assert!(with.contains(BLOCK), "{with}");
        let document = Document::parse(with.as_str()).unwrap();
        let all = document
            .get("device")
            .and_then(Item::as_array_of_tables)
            .unwrap();
        let last = all.iter().last().unwrap();
        assert_eq!(last.get("id").and_then(Item::as_str), Some("new-1"));
        assert!(last.get("serial").is_none(), "{with}");
        let again = remove(&with, &ident("new-1")).unwrap().unwrap();
        // Where nothing stood apart, a blank line stays.
        let apart = after.is_empty() || after.starts_with('\n');
        let lines = |text: &str| {
            let lines = text.trim_end().lines().map(str::to_string);
            let kept = lines.filter(|line| apart || !line.is_empty());
            kept.collect::<Vec<_>>()
        };
        assert_eq!(lines(&again), lines(&text));
    }
}

#[test]
fn a_file_without_a_last_newline_and_one_of_windows_stay_so() {
    let with = added(HEAD.trim_end());
    assert_eq!(with, format!("{HEAD}{BLOCK}"));
    assert_eq!(devices(&with), ["new-1"]);
    let windows = HEAD.replace('\n', "\r\n");
    let with = added(&windows);
    assert_eq!(with, format!("{HEAD}{BLOCK}").replace('\n', "\r\n"));
    assert_eq!(devices(&with), ["new-1"]);
    assert_eq!(remove(&with, &ident("new-1")).unwrap().unwrap(), windows);
}

#[test]
fn arrays_inline_grow_and_shrink_too() {
    let one_line = "site = \"s\"\ndevice = [{ id = \"gate\", building = \"b1\" }] # all\n[[building]]\nid = \"b1\"\n";
    let lines = "site = \"s\"\ndevice = [\n    # the gate\n    { id = \"gate\", building = \"b1\" }, # north\n]\n[[building]]\nid = \"b1\"\n";
    let empty = "site = \"s\"\ndevice = []\n[[building]]\nid = \"b1\"\n";
    for (text, before) in [(one_line, 1), (lines, 1), (empty, 0)] {
        let with = added(text);
        assert_eq!(devices(&with).len(), before + 1, "{with}");
        for kept in ["# all", "# the gate", "# north"] {
            assert_eq!(with.contains(kept), text.contains(kept), "{with}");
        }
        let again = remove(&with, &ident("new-1")).unwrap().unwrap();
        assert_eq!(devices(&again).len(), before, "{again}");
    }
    assert!(added(lines).contains("\n    { id = \"new-1\", building = \"b1\" }"));
    let without = remove(lines, &ident("gate")).unwrap().unwrap();
    assert!(devices(&without).is_empty(), "{without}");
}

#[test]
fn a_device_goes_with_its_own_comment_and_no_other() {
    let text = format!(
        "{HEAD}\n# --- Devices ---\n\n# The gate,\n# north.\n[[device]]\nid = \"gate\"\nbuilding = \"b1\"\n\n# The yard.\n[[device]]\nid = \"yard\"\nbuilding = \"b1\"\n"
    );
    let first = remove(&text, &ident("gate")).unwrap().unwrap();
    let wanted = format!(
        "{HEAD}\n# --- Devices ---\n\n# The yard.\n[[device]]\nid = \"yard\"\nbuilding = \"b1\"\n"
    );
    assert_eq!(first, wanted);
    let last = remove(&text, &ident("yard")).unwrap().unwrap();
    assert!(
        last.ends_with("id = \"gate\"\nbuilding = \"b1\"\n"),
        "{last:?}"
    );
    assert_eq!(remove(&text, &ident("nobody")).unwrap(), None);
}

#[test]
fn what_has_a_name_is_found_with_its_line() {
    let text = format!(
        "{HEAD}[[desk]]\nid = \"d\"\nbuilding = \"b1\"\n[[device]]\nid = \"x\"\nbuilding = \"b1\"\n"
    );
    let at = |id: &str| find(&text, &ident(id)).unwrap().map(|f| (f.kind, f.line));
    assert_eq!(at("d"), Some(("desk", 6)));
    assert_eq!(at("x"), Some(("device", 9)));
    assert_eq!(at("b1"), None);
    let inline = "site = \"s\"\ndevice = [\n { id = \"x\", building = \"b1\" },\n]\n";
    let found = find(inline, &ident("x")).unwrap().unwrap();
    assert_eq!((found.kind, found.line), ("device", 3));
}

#[test]
fn every_key_is_written_as_toml_wants_it() {
    let (id, building, via) = (ident("new-1"), ident("b1"), ident("z2m"));
    let device = NewDevice {
        id: &id,
        building: &building,
        point: None,
        profile: Some("/etc/a \"quoted\" one.toml"),
        named: Some("Küche/Fenster \\ 1"),
        via: Some(&via),
    };
    let with = add(HEAD, &device).unwrap();
    let table: toml::Table = toml::from_str(&with).unwrap();
    let new = &table["device"][0];
    assert_eq!(new["profile"].as_str(), device.profile);
    assert_eq!(new["named"].as_str(), device.named);
    assert_eq!(new["via"].as_str(), Some("z2m"));
}

#[test]
fn what_is_no_list_of_devices_is_left_alone() {
    let text = "site = \"s\"\n[device]\nid = \"x\"\n";
    assert!(matches!(remove(text, &ident("x")), Err(EditError::Form)));
    assert!(matches!(
        remove("= nothing", &ident("x")),
        Err(EditError::Syntax(_))
    ));
}
