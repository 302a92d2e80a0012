//! The topics of publications and wills.

use firmware_protocols::topic::parse;

/// A topic is one of ours only if it is written in exactly the one way there is.
pub fn topic(bytes: &[u8]) {
    let Ok(topic) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some((device, channel)) = parse(topic) {
        assert_eq!(channel.topic(&device), topic);
        assert!(!topic.contains(['+', '#', '\0', '$']));
        assert_eq!(topic.split('/').count(), 4);
    }
}
