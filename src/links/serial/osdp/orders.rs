//! What a reader is asked to do: words and tones become its lights, its buzzer and its display.
//!
//! | asked for | light, three seconds | buzzer |
//! |---|---|---|
//! | `show` ok | green | one beep |
//! | `show` error | red | three |
//! | `show` info | amber | none |
//! | `identify` | amber, blinking, five seconds | five |
//!
//! With a display the words are shown as far as it can: OSDP carries printable ASCII only, so of words in
//! Chinese and English it shows the English, and all else is left to the light. At most [`WAITING_MAX`] commands wait for a reader; one more is refused.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use firmware_protocols::Kind;
use firmware_protocols::command::{Command, Order, Tone};
use firmware_protocols::event::Done;
use osdp::caps::FunctionCode;
use osdp::command::led::{LedPermanent, LedRecord, LedTemporary};
use osdp::command::{
    BuzzerControl, BuzzerTone, Command as Request, LedColor, LedControl, Text, TextCommand,
};
use osdp::reply::PdCap;

/// So many commands may wait for a reader.
const WAITING_MAX: usize = 16;
/// So many commands that were carried out are remembered, to refuse them when they come again.
const REMEMBERED_MAX: usize = 64;
/// What every display shows in one line at least; longer words are cut.
const TEXT_MAX: usize = 32;

/// What a reader can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Able {
    /// It has a light.
    pub light: bool,
    /// It has a buzzer.
    pub buzzer: bool,
    /// It has a display.
    pub display: bool,
}

impl Able {
    /// What is tried at a reader that doesn't say.
    pub const UNKNOWN: Self = Self {
        light: true,
        buzzer: true,
        display: false,
    };

    /// As it says itself.
    pub fn of(caps: &PdCap) -> Self {
        let has = |function| {
            let found = caps.capability(function);
            found.is_some_and(|found| found.compliance > 0)
        };
        Self {
            light: has(FunctionCode::LedControl),
            buzzer: has(FunctionCode::AudibleOutput),
            display: has(FunctionCode::TextOutput),
        }
    }
}

/// The commands for one reader.
#[derive(Default)]
pub struct Orders {
    waiting: VecDeque<Waiting>,
    /// Ids that were carried out, oldest first.
    carried_out: VecDeque<String>,
}

struct Waiting {
    id: String,
    ends: Instant,
    /// What is still to be sent.
    requests: VecDeque<Request>,
    /// One of them was taken, and one wasn't.
    taken: bool,
    refused: bool,
}

impl Orders {
    /// Takes a command that came at `came`. Returns its result if it is known at once.
    pub fn take(
        &mut self,
        command: Command,
        came: Instant,
        now: Instant,
        able: Able,
    ) -> Option<Kind> {
        let id = command.id;
        let ends = came.checked_add(Duration::from_millis(command.ttl_ms));
        let ends = ends.unwrap_or_else(|| came + Duration::from_secs(86_400));
        let known = self.carried_out.contains(&id) || self.waiting.iter().any(|w| w.id == id);
        if known {
            return Some(result(id, Done::Refused, "carried out before"));
        }
        if now >= ends {
            return Some(result(id, Done::Refused, "too late"));
        }
        if self.waiting.len() >= WAITING_MAX {
            return Some(result(
                id,
                Done::Failed,
                "too many commands wait for the reader",
            ));
        }
        let requests = match &command.order {
            Order::Show { text, tone } => show(text, *tone, able),
            Order::Identify => identify(able),
            Order::Open { .. } | Order::Codes { .. } => {
                return Some(result(id, Done::Failed, "a reader has no compartments"));
            }
        };
        if requests.is_empty() {
            return Some(result(
                id,
                Done::Failed,
                "the reader has neither light, buzzer nor display",
            ));
        }
        self.waiting.push_back(Waiting {
            id,
            ends,
            requests: requests.into(),
            taken: false,
            refused: false,
        });
        None
    }

    /// What to ask of the reader next, and the results of commands that ran out.
    pub fn next(&mut self, now: Instant) -> (Option<Request>, Vec<Kind>) {
        let mut late = Vec::new();
        while let Some(first) = self.waiting.front() {
            // Half shown is shown: what has begun goes on.
            let begun = first.taken || first.refused;
            if begun || now < first.ends {
                return (first.requests.front().cloned(), late);
            }
            if let Some(first) = self.waiting.pop_front() {
                late.push(self.end(first.id, Done::Refused, "too late"));
            }
        }
        (None, late)
    }

    /// The reader took what [`Self::next`] said, or refused it. Returns the command's result with its
    /// last part.
    pub fn answered(&mut self, taken: bool) -> Option<Kind> {
        let first = self.waiting.front_mut()?;
        first.requests.pop_front();
        first.taken |= taken;
        first.refused |= !taken;
        if !first.requests.is_empty() {
            return None;
        }
        let first = self.waiting.pop_front()?;
        Some(match first.taken {
            true => self.end(first.id, Done::Done, ""),
            false => self.end(first.id, Done::Failed, "the reader refused it"),
        })
    }

    /// Nothing can be done at the moment: the results of all that wait.
    pub fn fail(&mut self, why: &str) -> Vec<Kind> {
        let waiting = std::mem::take(&mut self.waiting);
        let failed = waiting.into_iter();
        failed
            .map(|waiting| result(waiting.id, Done::Failed, why))
            .collect()
    }

    /// Whether there is something to do.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn end(&mut self, id: String, outcome: Done, reason: &str) -> Kind {
        if self.carried_out.len() == REMEMBERED_MAX {
            self.carried_out.pop_front();
        }
        self.carried_out.push_back(id.clone());
        result(id, outcome, reason)
    }
}

/// The result of a command.
pub fn result(command: String, outcome: Done, reason: &str) -> Kind {
    Kind::Result {
        command,
        outcome,
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
    }
}

fn show(text: &str, tone: Tone, able: Able) -> Vec<Request> {
    let (colour, beeps) = match tone {
        Tone::Ok => (LedColor::Green, 1),
        Tone::Error => (LedColor::Red, 3),
        Tone::Info => (LedColor::Amber, 0),
    };
    let mut requests = Vec::new();
    if able.light {
        requests.push(light(colour, colour, 30));
    }
    if able.buzzer && beeps > 0 {
        requests.push(beep(beeps));
    }
    if able.display
        && let Some(text) = displayed(text)
    {
        requests.push(text);
    }
    requests
}

fn identify(able: Able) -> Vec<Request> {
    let mut requests = Vec::new();
    if able.light {
        requests.push(light(LedColor::Amber, LedColor::Black, 50));
    }
    if able.buzzer {
        requests.push(beep(5));
    }
    requests
}

/// A light for so many tenths of a second; of two colours, it blinks.
fn light(on: LedColor, off: LedColor, tenths: u16) -> Request {
    Request::Led(LedControl::new(vec![LedRecord {
        reader: 0,
        led: 0,
        temporary: LedTemporary {
            control: 2,
            on_time: 3,
            off_time: 3,
            on_color: on,
            off_color: off,
            timer: tenths,
        },
        permanent: LedPermanent {
            control: 0,
            on_time: 0,
            off_time: 0,
            on_color: LedColor::Black,
            off_color: LedColor::Black,
        },
    }]))
}

fn beep(times: u8) -> Request {
    Request::Buzzer(BuzzerControl {
        reader: 0,
        tone: BuzzerTone::Default,
        on_time: 1,
        off_time: 1,
        count: times,
    })
}

/// Words on the display for five seconds: those behind the last character that it can't show, which is
/// the English of words that stand there in Chinese and English.
fn displayed(text: &str) -> Option<Request> {
    let plain = |byte: &u8| (0x20..=0x7E).contains(byte);
    let words = text.as_bytes().rsplit(|byte| !plain(byte)).next()?;
    let words = words.trim_ascii();
    if words.is_empty() {
        return None;
    }
    Some(Request::Text(Text {
        reader: 0,
        command: TextCommand::TemporaryWrap,
        temp_time_s: 5,
        row: 1,
        column: 1,
        text: words.iter().copied().take(TEXT_MAX).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Able = Able {
        light: true,
        buzzer: true,
        display: true,
    };

    fn command(id: &str, ttl_ms: u64, order: Order) -> Command {
        Command {
            id: id.to_owned(),
            expires: 0,
            ttl_ms,
            order,
        }
    }

    fn ok(id: &str) -> Command {
        let order = Order::Show {
            text: "open".to_owned(),
            tone: Tone::Ok,
        };
        command(id, 5_000, order)
    }

    fn outcome(kind: &Kind) -> (&str, Done) {
        match kind {
            Kind::Result {
                command, outcome, ..
            } => (command, *outcome),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tone_is_a_light_beeps_and_words() {
        let cases = [
            (Tone::Ok, LedColor::Green, Some(1)),
            (Tone::Error, LedColor::Red, Some(3)),
            (Tone::Info, LedColor::Amber, None),
        ];
        for (tone, colour, beeps) in cases {
            let requests = show("take it", tone, ALL);
            let Request::Led(led) = &requests[0] else {
                panic!("{requests:?}");
            };
            assert_eq!(led.records[0].temporary.on_color, colour);
            let beeped = requests.iter().find_map(|request| match request {
                Request::Buzzer(buzzer) => Some(buzzer.count),
                _ => None,
            });
            assert_eq!(beeped, beeps);
            assert!(
                matches!(requests.last(), Some(Request::Text(text)) if text.text == b"take it")
            );
        }
    }

    #[test]
    fn what_a_display_can_not_show_is_left_to_the_light() {
        assert_eq!(show("请取件", Tone::Ok, ALL).len(), 2);
        let requests = show("取件成功，谢谢 Collected, thank you", Tone::Ok, ALL);
        let shown = b"Collected, thank you";
        assert!(matches!(requests.last(), Some(Request::Text(text)) if text.text == shown));
        assert!(displayed("").is_none());
        let Some(Request::Text(text)) = displayed(&"a".repeat(100)) else {
            panic!("no text");
        };
        assert_eq!(text.text.len(), TEXT_MAX);
    }

    #[test]
    fn a_command_is_done_with_its_last_part() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        assert_eq!(orders.take(ok("a"), now, now, ALL), None);
        for _ in 0..2 {
            assert!(orders.next(now).0.is_some());
            assert_eq!(orders.answered(true), None);
        }
        let done = orders.answered(true).unwrap();
        assert_eq!(outcome(&done), ("a", Done::Done));
        assert!(orders.is_empty() && orders.next(now).0.is_none());
    }

    #[test]
    fn one_part_that_is_taken_is_enough_and_none_is_not() {
        for (taken, expected) in [(true, Done::Done), (false, Done::Failed)] {
            let (mut orders, now) = (Orders::default(), Instant::now());
            orders.take(ok("a"), now, now, ALL);
            orders.answered(false);
            orders.answered(taken);
            assert_eq!(outcome(&orders.answered(false).unwrap()).1, expected);
        }
    }

    #[test]
    fn late_and_repeated_commands_do_nothing_and_say_so() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        let late = now + Duration::from_secs(5);
        let refused = orders.take(ok("a"), now, late, ALL).unwrap();
        assert_eq!(outcome(&refused), ("a", Done::Refused));
        assert_eq!(orders.take(ok("b"), now, now, ALL), None);
        let again = orders.take(ok("b"), now, now, ALL).unwrap();
        assert_eq!(outcome(&again), ("b", Done::Refused));
        // It waited too long for the reader.
        let (request, results) = orders.next(late);
        assert!(request.is_none());
        assert_eq!(outcome(&results[0]), ("b", Done::Refused));
        let again = orders.take(ok("b"), late, late, ALL).unwrap();
        assert_eq!(outcome(&again), ("b", Done::Refused));
    }

    #[test]
    fn what_has_begun_goes_on() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        orders.take(ok("a"), now, now, ALL);
        orders.answered(true);
        assert!(orders.next(now + Duration::from_secs(60)).0.is_some());
    }

    #[test]
    fn no_more_wait_than_may() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        for n in 0..WAITING_MAX {
            assert_eq!(orders.take(ok(&n.to_string()), now, now, ALL), None);
        }
        let full = orders.take(ok("more"), now, now, ALL).unwrap();
        assert_eq!(outcome(&full), ("more", Done::Failed));
        assert_eq!(orders.fail("away").len(), WAITING_MAX);
        assert_eq!(orders.take(ok("more"), now, now, ALL), None);
    }

    #[test]
    fn what_a_reader_can_not_do_fails_at_once() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        let nothing = Able {
            light: false,
            buzzer: false,
            display: false,
        };
        let open = command("o", 5_000, Order::Open { compartment: 1 });
        for (command, able) in [(ok("a"), nothing), (open, ALL)] {
            let failed = orders.take(command, now, now, able).unwrap();
            assert_eq!(outcome(&failed).1, Done::Failed);
        }
    }

    #[test]
    fn a_reader_says_what_it_can_do() {
        let caps = PdCap::decode(&[4, 1, 1, 5, 0, 0, 6, 1, 1]).unwrap();
        let able = Able::of(&caps);
        assert!(able.light && !able.buzzer && able.display);
    }
}
