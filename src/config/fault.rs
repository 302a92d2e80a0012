//! What is wrong with a configuration: each fault with the key that it stands at and its remedy.

use std::ops::Range;

/// The most faults that are kept. Further ones are only counted.
const FAULTS_MOST: usize = 200;

/// Faults, in the order in which they were found.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    kept: Vec<Fault>,
    /// The one after the last that is kept, to be written to and forgotten.
    beyond: Option<Fault>,
    more: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The key, as `device[2].building` (counted from 0): what is wrong there, or what is missing. Empty
    /// if no key is to blame.
    pub key: String,
    /// What is wrong, and what is allowed or to be done.
    pub what: String,
    rests_on: Vec<String>,
    place: Option<Range<usize>>,
    #[cfg(test)]
    said_at: &'static std::panic::Location<'static>,
}

impl Faults {
    /// Something is wrong at a key. The words say what, and what is allowed or to be done; the key is
    /// told with them.
    #[cfg_attr(test, track_caller)]
    pub fn at(&mut self, key: impl Into<String>, what: impl Into<String>) -> &mut Fault {
        let fault = Fault {
            key: key.into(),
            what: what.into(),
            rests_on: Vec::new(),
            place: None,
            #[cfg(test)]
            said_at: std::panic::Location::caller(),
        };
        if self.kept.len() >= FAULTS_MOST {
            self.more += 1;
            return self.beyond.insert(fault);
        }
        self.kept.push(fault);
        let last = self.kept.len() - 1;
        &mut self.kept[last]
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// All that are kept.
    pub fn all(&self) -> &[Fault] {
        &self.kept
    }

    /// How many there are beside those that are kept.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Adds those of `others` that say something worth saying.
    pub(super) fn add(&mut self, others: Self, worth: impl Fn(&Fault) -> bool) {
        self.more += others.more;
        for fault in others.kept.into_iter().filter(worth) {
            if self.kept.len() >= FAULTS_MOST {
                self.more += 1;
            } else {
                self.kept.push(fault);
            }
        }
    }
}

impl Fault {
    /// It is only there as long as that other key is as it is: `port[].protocol`, where `[]` is any of
    /// them. Nothing is said of it if something else is wrong there.
    pub fn rests_on(&mut self, key: impl Into<String>) -> &mut Self {
        self.rests_on.push(key.into());
        self
    }

    /// It stands there in the text, whatever its key says.
    pub(super) fn placed(&mut self, place: Range<usize>) -> &mut Self {
        self.place = Some(place);
        self
    }

    /// Where it stands in the text, if that was said.
    pub(super) fn place(&self) -> Option<Range<usize>> {
        self.place.clone()
    }

    /// The keys that it is about: its own, and what it rests on.
    pub(super) fn about(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.key)
            .chain(&self.rests_on)
            .map(String::as_str)
    }

    /// The place in our own source that says it, so that a test can tell whether each is tried.
    #[cfg(test)]
    pub(super) fn said_at(&self) -> &'static std::panic::Location<'static> {
        self.said_at
    }
}
