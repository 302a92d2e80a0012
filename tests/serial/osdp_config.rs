//! What must be right in the configuration of an OSDP reader.

use linli::config::Config;

fn errors(serial: &str, point: bool) -> Vec<String> {
    let point = if point { "point = \"desk-1\"\n" } else { "" };
    let text = format!(
        "site = \"s\"\nstate_dir = \"state\"\n[[building]]\nid = \"b1\"\n\
         [[desk]]\nid = \"desk-1\"\nbuilding = \"b1\"\n\
         [[port]]\nid = \"p1\"\npath = \"/dev/ttyS9\"\nprotocol = \"osdp\"\n\
         [[device]]\nid = \"reader-1\"\nbuilding = \"b1\"\n{point}\
         serial = {{ port = \"p1\", address = 1, {serial} }}\n"
    );
    Config::parse(&text).err().unwrap_or_default()
}

#[test]
fn a_reader_needs_a_key_file_or_the_word_that_it_does_without() {
    assert!(errors("key_file = \"reader.key\"", true).is_empty());
    assert!(errors("insecure = true", true).is_empty());
    let neither = errors("door = \"gate-1\"", true);
    assert!(
        neither[0].contains("linli serial commission reader-1"),
        "{neither:?}"
    );
    let both = errors("insecure = true, key_file = \"reader.key\"", true);
    assert!(both[0].contains("remove 'insecure'"), "{both:?}");
}

#[test]
fn somebody_must_know_what_its_cards_mean() {
    assert!(errors("insecure = true, door = \"gate-1\"", false).is_empty());
    let nobody = errors("insecure = true", false);
    assert!(nobody[0].contains("serial.door"), "{nobody:?}");
}
