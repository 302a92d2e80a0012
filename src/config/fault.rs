//! What is wrong with a configuration: each fault with the key that it stands at and its remedy.

/// Faults, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, as `device[2].building` (counted from 0): what is wrong there, or what is missing. Empty
    /// if no key is to blame.
    pub key: String,
    /// What is wrong, and what is allowed or to be done.
    pub what: String,
}

impl Faults {
    /// Something is wrong at a key.
    pub fn at(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault {
            key: key.into(),
            what: what.into(),
        });
    }

    /// Something is wrong, and no key is to blame.
    pub fn push(&mut self, what: String) {
        self.at("", what);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it.
    pub fn all(&self) -> &[Fault] {
        &self.0
    }

    /// All of it in words.
    pub fn told(self) -> Vec<String> {
        self.0.into_iter().map(|fault| fault.what).collect()
    }
}
