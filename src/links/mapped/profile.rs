//! Profiles: TOML files that say which topics a maker's devices publish to, and by which program their
//! payloads become our events. Some are shipped.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::frames::PROGRAM_MAX_BYTES;

/// The largest file, bytes.
const FILE_MAX_BYTES: u64 = 128 * 1024;
/// The most topics.
const TOPICS_MAX: usize = 16;
/// The longest topic, bytes.
const TOPIC_MAX_BYTES: usize = 256;
/// What stands in a topic for what the device calls itself.
pub const NAME: &str = "{name}";

/// The profiles that are shipped: their name and their file.
pub const SHIPPED: [(&str, &str); 4] = [
    ("json", include_str!("../../../profiles/json.toml")),
    (
        "shelly-gen2",
        include_str!("../../../profiles/shelly-gen2.toml"),
    ),
    ("tasmota", include_str!("../../../profiles/tasmota.toml")),
    (
        "zigbee2mqtt",
        include_str!("../../../profiles/zigbee2mqtt.toml"),
    ),
];

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is for, in a line.
    pub about: String,
    /// The topics, with `{name}` for what the device calls itself. `+` and `#` as in MQTT.
    pub topics: Vec<String>,
    /// What payloads are.
    pub payload: PayloadForm,
    /// The program, jq.
    pub program: String,
}

/// What payloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadForm {
    /// JSON. Anything else can't be mapped.
    Json,
    /// Text in UTF-8. The program gets it as a string.
    Text,
    /// JSON if it is, else text.
    JsonOrText,
}

impl PayloadForm {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::JsonOrText => "json-or-text",
        }
    }
}

/// The text of a shipped profile.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find_map(|(known, text)| (*known == name).then_some(*text))
}

/// Whether a configuration names a file by this, and not a shipped profile.
pub fn is_file(named: &str) -> bool {
    named.contains('/') || named.ends_with(".toml")
}

impl Profile {
    /// A shipped one, or one from a file.
    ///
    /// # Errors
    /// In words, with what is to be done.
    pub fn load(named: &str) -> Result<Self, String> {
        if let Some(text) = shipped(named) {
            return Self::parse(text);
        }
        if !is_file(named) {
            return Err(format!(
                "no profile '{named}' is shipped (there are {}): name one of them, or a file by its path",
                names()
            ));
        }
        Self::read(Path::new(named))
    }

    /// From a file.
    ///
    /// # Errors
    /// In words, with what is to be done.
    pub fn read(file: &Path) -> Result<Self, String> {
        let told = |e: std::io::Error| format!("{} can't be read: {e}", file.display());
        let size = fs::metadata(file).map_err(told)?.len();
        if size > FILE_MAX_BYTES {
            return Err(format!(
                "{} has {size} bytes, at most {FILE_MAX_BYTES} are read",
                file.display()
            ));
        }
        let text = fs::read_to_string(file).map_err(told)?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// From a text.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let profile: Self =
            toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        profile.check()?;
        Ok(profile)
    }

    /// The topics of a device that calls itself so.
    pub fn topics_of(&self, named: &str) -> Vec<String> {
        let filled = self.topics.iter().map(|topic| topic.replace(NAME, named));
        filled.collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.topics.is_empty() || self.topics.len() > TOPICS_MAX {
            return Err(format!(
                "topics has {} topics, 1 to {TOPICS_MAX} are allowed",
                self.topics.len()
            ));
        }
        for topic in &self.topics {
            if !topic.contains(NAME) {
                return Err(format!(
                    "topics has '{topic}', which doesn't tell one device from another: write {NAME} for what the device calls itself"
                ));
            }
            if !is_filter(&topic.replace(NAME, "x")) {
                return Err(format!(
                    "topics has '{topic}', which is no topic of MQTT: '+' and '#' stand for whole levels, '#' for the last ones; at most {TOPIC_MAX_BYTES} bytes"
                ));
            }
        }
        if self.program.len() > PROGRAM_MAX_BYTES {
            return Err(format!(
                "program has {} bytes, at most {PROGRAM_MAX_BYTES} are allowed",
                self.program.len()
            ));
        }
        Ok(())
    }
}

/// The names of those that are shipped, for people.
pub fn names() -> String {
    SHIPPED.map(|(name, _)| name).join(", ")
}

/// Whether a text is a topic filter (MQTT 5, section 4.7).
fn is_filter(topic: &str) -> bool {
    if topic.is_empty() || topic.len() > TOPIC_MAX_BYTES || topic.contains('\0') {
        return false;
    }
    let mut levels = topic.split('/').peekable();
    while let Some(level) = levels.next() {
        let sound = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            level => !level.contains(['+', '#']),
        };
        if !sound {
            return false;
        }
    }
    true
}

/// Whether a topic is one of a filter (MQTT 5, section 4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_read() {
        for (name, _) in SHIPPED {
            let profile = Profile::load(name).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(!profile.about.is_empty() && !profile.about.contains('\n'));
        }
    }

    #[test]
    fn filters_match_as_in_mqtt() {
        for (filter, topic, is) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+/c", "a//c", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("a/+", "a/b/c", false),
        ] {
            assert_eq!(matches(filter, topic), is, "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_told() {
        let wrong = |topics: &str| {
            let text = format!("about = 'x'\ntopics = {topics}\npayload = 'json'\nprogram = '.'\n");
            Profile::parse(&text).unwrap_err()
        };
        assert!(wrong("[]").contains("1 to 16 are allowed"));
        assert!(wrong("['a/b']").contains("write {name}"));
        assert!(wrong("['{name}/a+']").contains("no topic of MQTT"));
        assert!(wrong("['{name}/#/a']").contains("no topic of MQTT"));
        let said = Profile::parse("about = 'x'\ntopic = []").unwrap_err();
        assert!(said.contains("unknown field `topic`"), "{said}");
        let said = Profile::load("zigbee").unwrap_err();
        assert!(
            said.contains("json, shelly-gen2, tasmota, zigbee2mqtt"),
            "{said}"
        );
        let said = Profile::load("/nowhere/x.toml").unwrap_err();
        assert!(said.contains("/nowhere/x.toml can't be read"), "{said}");
    }
}
