//! Devices that are added to the configuration's file, and taken out of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::bed::{Bed, ESTATE};
use crate::common::text;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_added_and_removed_and_the_file_is_otherwise_as_it_was() {
    let mut bed = Bed::new(ESTATE);
    let before = bed.text();
    fs::set_permissions(bed.config(), fs::Permissions::from_mode(0o640)).unwrap();
    let added = bed.cli(&["device", "add", "door-2"]);
    let told = text(&added.stderr);
    assert!(added.status.success(), "{told}");
    assert!(
        told.contains("in building b1") && told.contains("isn't running"),
        "{told}"
    );
    let password = text(&added.stdout).trim().to_string();
    assert!(!bed.text().contains(&password) && !told.contains(&password));
    assert!(bed.text().starts_with(before.trim_end()), "{}", bed.text());
    let mode = fs::metadata(bed.config()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    bed.start();
    assert!(bed.lets_in("door-2", &password).await);
    let told = bed.fails(&["device", "add", "door-2"], 1);
    assert!(told.contains("line 21 of"), "{told}");
    bed.kill();

    bed.fails(&["device", "remove", "door-2"], 2);
    bed.done(&["device", "remove", "door-2", "--yes"]);
    assert_eq!(bed.text(), before);
    bed.start();
    assert!(!bed.lets_in("door-2", &password).await);
    bed.knocked("door-2", "unknown-device");
    let hashes = fs::read_to_string(bed.dir.path().join("state/passwords")).unwrap();
    assert!(!hashes.contains("door-2"), "{hashes}");
}

#[test]
fn what_would_break_the_configuration_is_refused_and_changes_nothing() {
    let bed = Bed::new(ESTATE);
    let before = bed.text();
    for (args, code, told) in [
        (
            &["device", "add", "door-1"][..],
            1,
            "'door-1' is there already, as a device: line 16",
        ),
        (&["device", "add", "bank-a"], 1, "as a bank"),
        (&["device", "add", "door-2", "--building", "b9"], 1, "b9"),
        (
            &["device", "add", "door-2", "--point", "bank-z"],
            1,
            "bank-z",
        ),
        (
            &["device", "remove", "bank-a", "--yes"],
            1,
            "parcels may be there",
        ),
        (&["device", "remove", "nobody", "--yes"], 4, "nobody"),
    ] {
        let said = bed.fails(args, code);
        assert!(said.contains(told), "{args:?}: {said}");
        assert_eq!(bed.text(), before, "{args:?}");
    }
    assert!(!bed.dir.path().join("state/passwords").exists());
}

#[test]
fn what_others_refer_to_stays_and_what_is_wrong_already_is_not_touched() {
    let bed = Bed::new(ESTATE);
    let whole = bed.text();
    let anonymous = whole.replace("broker = { ", "broker = { anonymous = [\"door-1\"], ");
    fs::write(bed.config(), &anonymous).unwrap();
    let told = bed.fails(&["device", "remove", "door-1", "--yes"], 1);
    assert!(told.contains("broker.anonymous"), "{told}");
    assert_eq!(bed.text(), anonymous);

    let wrong = whole.replace("site = ", "sight = ");
    fs::write(bed.config(), &wrong).unwrap();
    let told = bed.fails(&["device", "add", "door-2"], 1);
    assert!(
        told.contains("wrong already") && told.contains("sight"),
        "{told}"
    );
    assert_eq!(bed.text(), wrong);

    let two = format!("{whole}\n[[building]]\nid = \"b2\"\n");
    fs::write(bed.config(), &two).unwrap();
    let told = bed.fails(&["device", "add", "door-2"], 2);
    assert!(told.contains("--building, one of b1, b2"), "{told}");
    bed.done(&["device", "add", "door-2", "--building", "b2"]);
    assert!(
        bed.text().contains("building = \"b2\"\n\n[[building]]"),
        "{}",
        bed.text()
    );
}
