//! What came of each clause.

use std::collections::BTreeMap;

use firmware_protocols::Ident;
use serde_json::{Value as Json, json};

use super::clauses::{CLAUSES, Clause};

/// What came of a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Whatever was asked, the answer was as it must be.
    Held,
    /// Once it wasn't.
    Broken {
        /// What was asked.
        asked: String,
        /// What was answered, and what of it is wrong.
        answered: String,
    },
    /// It couldn't be seen.
    NotShown {
        /// Why.
        why: String,
    },
}

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The cloud.
    pub url: String,
    /// The gateway that was enrolled.
    pub gateway: Ident,
    outcomes: BTreeMap<&'static str, Outcome>,
}

impl Report {
    pub(super) fn new(url: String, gateway: Ident) -> Self {
        Self {
            url,
            gateway,
            outcomes: BTreeMap::new(),
        }
    }

    /// A clause may be tried several times: what broke it first stays, and having been seen to hold
    /// counts more than not having been seen.
    pub(super) fn record(&mut self, clause: &'static str, outcome: Outcome) {
        debug_assert!(
            CLAUSES.iter().any(|known| known.id == clause),
            "no clause '{clause}'"
        );
        let before = self.outcomes.get(clause);
        let weight = |outcome: &Outcome| match outcome {
            Outcome::NotShown { .. } => 1,
            Outcome::Held => 2,
            Outcome::Broken { .. } => 3,
        };
        if before.is_none_or(|before| weight(before) < weight(&outcome)) {
            self.outcomes.insert(clause, outcome);
        }
    }

    /// Every clause in the contract's order, with what came of it.
    pub fn clauses(&self) -> impl Iterator<Item = (&'static Clause, Outcome)> {
        CLAUSES.iter().map(|clause| {
            let outcome = self.outcomes.get(clause.id).cloned();
            let untried = || Outcome::NotShown {
                why: "what has to come before it failed".to_string(),
            };
            (clause, outcome.unwrap_or_else(untried))
        })
    }

    /// What came of one clause.
    pub fn outcome(&self, id: &str) -> Option<Outcome> {
        self.clauses()
            .find(|(clause, _)| clause.id == id)
            .map(|(_, outcome)| outcome)
    }

    /// How many clauses held, were broken, weren't shown.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.clauses().fold(
            (0, 0, 0),
            |(held, broken, not), (_, outcome)| match outcome {
                Outcome::Held => (held + 1, broken, not),
                Outcome::Broken { .. } => (held, broken + 1, not),
                Outcome::NotShown { .. } => (held, broken, not + 1),
            },
        )
    }

    /// For programs.
    pub fn to_json(&self) -> Json {
        let clauses = self.clauses().map(|(clause, outcome)| {
            let mut shown = json!({"clause": clause.id, "says": clause.says});
            match outcome {
                Outcome::Held => shown["result"] = "held".into(),
                Outcome::Broken { asked, answered } => {
                    shown["result"] = "broken".into();
                    shown["asked"] = asked.into();
                    shown["answered"] = answered.into();
                }
                Outcome::NotShown { why } => {
                    shown["result"] = "not-shown".into();
                    shown["why"] = why.into();
                }
            }
            shown
        });
        let (held, broken, not_shown) = self.counts();
        json!({
            "cloud": self.url,
            "gateway": self.gateway.as_str(),
            "held": held,
            "broken": broken,
            "not_shown": not_shown,
            "clauses": clauses.collect::<Vec<_>>(),
        })
    }
}
