use super::*;

#[test]
fn passwords_are_long_plain_and_never_the_same() {
    let one = generate_password().unwrap();
    assert_eq!(one.len(), PASSWORD_CHARS);
    assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)), "{one}");
    assert_ne!(one, generate_password().unwrap());
    let distinct: std::collections::HashSet<_> = ALPHABET.iter().collect();
    assert_eq!(distinct.len(), 32);
}

#[test]
fn the_file_is_private_and_holds_no_plain_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    let device = Ident::new("bank-a").unwrap();
    set_password(&path, &device, "plain-secret").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("bank-a = $argon2id$v=19$m=4096,t=3,p=1$"),
        "{text}"
    );
    assert!(!text.contains("plain-secret"));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        read(&path),
        Err(CredentialsError::Mode { mode: 0o644, .. })
    ));
}

#[test]
fn the_same_password_is_stored_under_different_salts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    for device in ["a", "b"] {
        set_password(&path, &Ident::new(device).unwrap(), "same").unwrap();
    }
    let hashes = read(&path).unwrap().1.current;
    assert_ne!(
        hashes[&Ident::new("a").unwrap()],
        hashes[&Ident::new("b").unwrap()]
    );
}

#[test]
fn lines_that_are_not_hashes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    let device = Ident::new("a").unwrap();
    set_password(&path, &device, "x").unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        "no equals sign",
        "Upper = $argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo",
        "a = plaintext",
        "a = $argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ",
        "a = $argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
        "a = $scrypt$ln=14,r=8,p=1$c29tZXNhbHQ$aGFzaA",
    ] {
        fs::write(&path, format!("{good}{bad}\n")).unwrap();
        assert!(
            matches!(read(&path), Err(CredentialsError::Line { line: 3, .. })),
            "{bad}"
        );
    }
    assert!(matches!(
        set_password(&path, &device, ""),
        Err(CredentialsError::Length)
    ));
}

#[test]
fn a_lost_folder_says_what_to_do() {
    let error = set_password(
        Path::new("/nonexistent/passwords"),
        &Ident::new("a").unwrap(),
        "x",
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("check that its folder exists"),
        "{error}"
    );
}

fn a() -> Ident {
    Ident::new("a").unwrap()
}

/// 2026-11-23.
const NOW_MS: i64 = 1_795_400_000_000;
const WEEK_MS: i64 = 7 * 86_400_000;

#[test]
fn a_rotation_keeps_the_old_one_until_the_new_one_is_used_or_a_week_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    let first = rotate_password(&path, &a(), "old", NOW_MS).unwrap();
    assert_eq!(first, OldPassword::None);
    let until = Some(NOW_MS + WEEK_MS);
    let old = rotate_password(&path, &a(), "new", NOW_MS).unwrap();
    assert_eq!(old, OldPassword::GoodUntil(until));
    let passwords = read(&path).unwrap().1;
    let good = passwords.good(&a(), NOW_MS);
    assert!(hash::verify(b"old", &good[0]) && hash::verify(b"new", &good[1]));
    assert_eq!(passwords.good(&a(), NOW_MS + WEEK_MS), good[1..]);

    settle(&path, NOW_MS + WEEK_MS - 1).unwrap();
    assert_eq!(read(&path).unwrap().1, passwords);
    settle(&path, NOW_MS + WEEK_MS).unwrap();
    assert_eq!(read(&path).unwrap().1.good(&a(), NOW_MS), good[1..]);
    assert!(!fs::read_to_string(&path).unwrap().contains(&*good[0]));
}

#[test]
fn only_the_new_password_of_the_moment_is_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    for password in ["old", "lost", "new"] {
        rotate_password(&path, &a(), password, NOW_MS).unwrap();
    }
    let good = read(&path).unwrap().1.good(&a(), NOW_MS);
    assert!(
        hash::verify(b"new", &good[1]),
        "the lost one is good no more"
    );
    promote(&path, &a(), &good[0]).unwrap();
    assert_eq!(read(&path).unwrap().1.good(&a(), NOW_MS), good);
    promote(&path, &a(), &good[1]).unwrap();
    assert_eq!(read(&path).unwrap().1.good(&a(), NOW_MS), good[1..]);
}

#[test]
fn setting_and_removing_end_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    set_password(&path, &a(), "old").unwrap();
    rotate_password(&path, &a(), "new", NOW_MS).unwrap();
    set_password(&path, &a(), "third").unwrap();
    let good = read(&path).unwrap().1.good(&a(), NOW_MS);
    assert!(good.len() == 1 && hash::verify(b"third", &good[0]));
    rotate_password(&path, &a(), "fourth", NOW_MS).unwrap();
    remove_password(&path, &a()).unwrap();
    assert_eq!(read(&path).unwrap().1, Passwords::default());
}

#[test]
fn a_clock_that_was_never_set_ends_no_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    set_password(&path, &a(), "old").unwrap();
    let old = rotate_password(&path, &a(), "new", 60_000).unwrap();
    assert_eq!(old, OldPassword::GoodUntil(None));
    assert_eq!(read(&path).unwrap().1.good(&a(), NOW_MS).len(), 2);
}

/// What a linli from before rotations makes of the file: the parser of that time skips comments.
#[test]
fn an_older_linli_reads_the_file_as_if_nothing_was_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    set_password(&path, &a(), "old").unwrap();
    let before = parse_all(&fs::read_to_string(&path).unwrap()).unwrap();
    rotate_password(&path, &a(), "new", NOW_MS).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(parse_all(&text).unwrap(), before);
    for damaged in [
        text.replace(" until=", " until=x"),
        text.replace("#+ a =", "#+ A ="),
        text.replace("#+ a = $argon2id", "#+ a = $scrypt"),
    ] {
        fs::write(&path, damaged).unwrap();
        let passwords = read(&path).unwrap().1;
        assert_eq!(
            (passwords.current, passwords.next.len()),
            (before.clone(), 0)
        );
    }
}

/// A private file with that in it.
fn left(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

/// A power cut leaves the new file's name with any part of its content, or none, beside the file
/// itself, which is only ever replaced by a rename after the content is synced.
#[test]
fn whatever_a_power_cut_leaves_beside_it_the_old_passwords_hold_and_the_next_change_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    set_password(&path, &a(), "old").unwrap();
    let old = fs::read(&path).unwrap();
    rotate_password(&path, &a(), "new", NOW_MS).unwrap();
    let new = fs::read(&path).unwrap();
    let good = read(&path).unwrap().1.good(&a(), NOW_MS);
    let beside = dir.path().join("passwords.new");
    for cut in (0..=new.len()).step_by(7).chain([new.len()]) {
        fs::write(&path, &old).unwrap();
        left(&beside, &new[..cut]);
        assert_eq!(
            read(&path).unwrap().1.good(&a(), NOW_MS),
            good[..1],
            "{cut}"
        );
        fs::rename(&beside, &path).unwrap();
        if cut == new.len() {
            assert_eq!(read(&path).unwrap().1.good(&a(), NOW_MS), good);
        }
        fs::write(&path, &new).unwrap();
        left(&beside, &new[..cut]);
        promote(&path, &a(), &good[1]).unwrap();
        assert_eq!(read(&path).unwrap().1.good(&a(), NOW_MS), good[1..]);
        assert!(!beside.exists());
    }
}
