//! What is a line, and what isn't.

use super::*;
use proptest::prelude::*;

fn typing(says: LineMeaning, terminator: Option<&str>, prefix: Option<&str>) -> Typing {
    Typing::new(&OnPort {
        port: firmware_protocols::Ident::new("p1").unwrap(),
        address: None,
        key_file: None,
        insecure: false,
        door: None,
        registers: Vec::new(),
        says: Some(says),
        terminator: terminator.map(str::to_owned),
        prefix: prefix.map(str::to_owned),
    })
}

type Line = Result<String, PassedOver>;

fn lines(typing: &mut Typing, bytes: &[u8]) -> Vec<Line> {
    let lines = bytes.iter().filter_map(|byte| typing.typed(*byte));
    lines
        .map(|line| line.map(|secret| secret.reveal().to_owned()))
        .collect()
}

fn good(text: &str) -> Line {
    Ok(text.to_owned())
}

use LineMeaning::{Keypad, Scan};

#[test]
fn any_newline_ends_a_line_and_empty_lines_are_none() {
    let mut scanner = typing(Scan, None, None);
    let typed = b"SF1\rSF2\nSF3\r\n\r\n  \nSF4";
    assert_eq!(
        lines(&mut scanner, typed),
        [good("SF1"), good("SF2"), good("SF3")]
    );
    assert_eq!(lines(&mut scanner, b"5\r"), [good("SF45")]);
}

#[test]
fn a_terminator_of_its_own_ends_a_line_and_newlines_do_not() {
    let mut keypad = typing(Keypad, Some("#"), None);
    assert_eq!(
        lines(&mut keypad, b"123456#77#"),
        [good("123456"), good("77")]
    );
    let mut scanner = typing(Scan, Some("\u{3}\u{4}"), Some("\u{2}"));
    assert_eq!(
        lines(&mut scanner, b"\x02SF 1\x03\x04\x02SF2\x03\x04"),
        [good("SF 1"), good("SF2")]
    );
}

#[test]
fn with_an_empty_terminator_a_pause_ends_a_line() {
    let mut scanner = typing(Scan, Some(""), None);
    assert_eq!(scanner.waits(), None);
    assert_eq!(lines(&mut scanner, b"SF1"), []);
    assert_eq!(scanner.waits(), Some(IDLE));
    assert_eq!(scanner.paused().unwrap().unwrap().reveal(), "SF1");
    assert_eq!(scanner.waits(), None);
    assert_eq!(scanner.paused(), None);
}

#[test]
fn what_stands_before_a_line_is_cut_off_and_lines_without_it_are_passed_over() {
    let mut scanner = typing(Scan, None, Some("]C1"));
    assert_eq!(
        lines(&mut scanner, b"]C1SF1\rSF2\r]C1\r"),
        [good("SF1"), Err(PassedOver::NoPrefix)]
    );
}

#[test]
fn a_keypad_types_digits_only() {
    let mut keypad = typing(Keypad, None, None);
    assert_eq!(
        lines(
            &mut keypad,
            b"0123\r 45 \r12a4\r1234567890123456\r12345678901234567\r"
        ),
        [
            good("0123"),
            good("45"),
            Err(PassedOver::NotDigits),
            good("1234567890123456"),
            Err(PassedOver::NotDigits),
        ]
    );
}

#[test]
fn a_line_as_long_as_may_be_and_one_longer() {
    let mut scanner = typing(Scan, None, Some("P"));
    let most = "x".repeat(LINE_MAX);
    let typed = format!("P{most}\rPx{most}\rP{most}{most}{most}\rPok\r");
    assert_eq!(
        lines(&mut scanner, typed.as_bytes()),
        [
            good(&most),
            Err(PassedOver::TooLong),
            Err(PassedOver::TooLong),
            good("ok")
        ]
    );
}

#[test]
fn a_long_line_with_a_terminator_of_its_own_ends_too() {
    let mut scanner = typing(Scan, Some("END"), None);
    let long = format!("{}ENDokEND", "E".repeat(3 * LINE_MAX + 1));
    assert_eq!(
        lines(&mut scanner, long.as_bytes()),
        [Err(PassedOver::TooLong), good("ok")]
    );
}

#[test]
fn what_does_not_print_is_passed_over_and_chinese_is_not() {
    let mut scanner = typing(Scan, None, None);
    let typed = b"a\x07b\r\xff\xfe\r\xe5\x8f\x96\xe4\xbb\xb6\r\xe5\x8f\r";
    assert_eq!(
        lines(&mut scanner, typed),
        [
            Err(PassedOver::NotPrinting),
            Err(PassedOver::NotPrinting),
            good("取件"),
            Err(PassedOver::NotPrinting)
        ]
    );
}

#[test]
fn a_line_that_was_begun_and_abandoned_does_not_begin_the_next() {
    let mut scanner = typing(Scan, None, None);
    assert_eq!(lines(&mut scanner, b"SF1"), []);
    assert_eq!(scanner.waits(), Some(ABANDONED));
    assert_eq!(scanner.paused(), Some(Err(PassedOver::NoEnd)));
    assert_eq!(lines(&mut scanner, b"SF2\r"), [good("SF2")]);
}

proptest! {
    #[test]
    fn any_bytes_are_bounded_and_the_line_after_them_is_found(
        noise in prop::collection::vec(any::<u8>(), 0..2_000),
        terminator in prop_oneof![Just(None), Just(Some("\n")), Just(Some("##"))],
        keypad in any::<bool>(),
    ) {
        let mut typing = typing(if keypad { Keypad } else { Scan }, terminator, None);
        for byte in &noise {
            if let Some(Ok(line)) = typing.typed(*byte) {
                prop_assert!((1..=LINE_MAX).contains(&line.reveal().len()));
            }
            prop_assert!(typing.line.len() <= LINE_MAX + 2);
        }
        let end = terminator.unwrap_or("\r");
        // The noise's own end; then a line. What stands between the noise and its end keeps a
        // half terminator in the noise from taking half of it.
        lines(&mut typing, format!("x{end}").as_bytes());
        let typed = format!("1234{end}");
        prop_assert_eq!(lines(&mut typing, typed.as_bytes()), [good("1234")]);
    }
}
