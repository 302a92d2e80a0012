//! The devices' password file.

use linli::credentials::{file::parse_all, verify};

/// A text is a set of hashes that the box can afford to check, or the first wrong line is named. What
/// was read is read again out of a file that is written from it.
pub fn credentials(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let hashes = match parse_all(text) {
        Ok(hashes) => hashes,
        Err(number) => {
            let line = text
                .lines()
                .nth(number - 1)
                .expect("the line is there")
                .trim();
            assert!(!line.is_empty() && !line.starts_with('#'));
            return;
        }
    };
    let lines = hashes
        .iter()
        .map(|(device, hash)| format!("{device} = {hash}\n"));
    assert_eq!(parse_all(&lines.collect::<String>()).as_ref(), Ok(&hashes));
    for hash in hashes.values().filter(|hash| is_cheap(hash)) {
        assert!(!verify(b"not this one", hash), "anything opens {hash}");
    }
}

/// Whether a check costs little enough to be done for each input.
fn is_cheap(hash: &str) -> bool {
    let number = |name: &str| -> Option<u32> {
        let parameters = hash.split('$').find(|part| part.starts_with("m="))?;
        let parameter = parameters
            .split(',')
            .find_map(|part| part.strip_prefix(name))?;
        parameter.parse().ok()
    };
    number("m=").is_some_and(|kib| kib <= 64) && number("t=").is_some_and(|passes| passes <= 2)
}
