//! Topics on MQTT: `linli/v1/{device}/{channel}`, compared whole, never by prefix.

use alloc::format;
use alloc::string::String;

use crate::Ident;

/// What a topic below a device's id is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Device → gateway, QoS 1: one event, or an array of up to 256.
    Event,
    /// Gateway → device, QoS 1: what is on disk.
    Receipt,
    /// Gateway → device, QoS 1, never retained: one command.
    Command,
    /// Device → gateway, retained, also its will: `online` or `offline`.
    Status,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Event, Self::Receipt, Self::Command, Self::Status];

    /// The last level of the topic.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Receipt => "receipt",
            Self::Command => "command",
            Self::Status => "status",
        }
    }

    /// The whole topic for `device`.
    pub fn topic(self, device: &Ident) -> String {
        format!("linli/v1/{device}/{}", self.name())
    }
}

/// Reads a topic. `None` for anything that isn't exactly one of ours.
pub fn parse(topic: &str) -> Option<(Ident, Channel)> {
    let rest = topic.strip_prefix("linli/v1/")?;
    let (device, channel) = rest.split_once('/')?;
    let channel = Channel::ALL.into_iter().find(|c| c.name() == channel)?;
    Some((Ident::new(device).ok()?, channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_compared_whole() {
        let door = Ident::new("door-1").unwrap();
        for channel in Channel::ALL {
            assert_eq!(parse(&channel.topic(&door)), Some((door.clone(), channel)));
        }
        for foreign in [
            "linli/v1/door-1",
            "linli/v1/door-1/event/",
            "linli/v1/door-1/events",
            "linli/v1/door-1/event\0",
            "linli/v1//event",
            "linli/v1/+/event",
            "/linli/v1/door-1/event",
            "linli/v2/door-1/event",
        ] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
