//! Figures with their baselines and aims, as a table and as JSON.

use std::time::Duration;

use crate::machine::Machine;

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// Of the last baseline.
    RatioAtMost(f64),
    /// Of the last baseline.
    RatioAtLeast(f64),
}

/// One figure, to be handed to [`Table::add`].
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    comparisons: Vec<Comparison>,
}

#[derive(Default)]
struct Comparison {
    baseline: Option<(String, f64)>,
    aim: Option<Aim>,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            comparisons: vec![Comparison::default()],
        }
    }

    /// What it is compared with; every baseline makes a row.
    pub fn beside(mut self, name: impl Into<String>, value: f64) -> Self {
        let baseline = Some((name.into(), value));
        match self.comparisons.last_mut() {
            Some(first) if first.baseline.is_none() && first.aim.is_none() => {
                first.baseline = baseline;
            }
            _ => self.comparisons.push(Comparison {
                baseline,
                aim: None,
            }),
        }
        self
    }

    /// What it should be beside the last baseline, or by itself if there is none yet.
    pub fn aim(mut self, aim: Aim) -> Self {
        if let Some(last) = self.comparisons.last_mut() {
            last.aim = Some(aim);
        }
        self
    }
}

#[derive(serde::Serialize)]
struct Entry {
    part: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
    baseline: Option<String>,
    baseline_value: Option<f64>,
    ratio: Option<f64>,
    aim: Option<String>,
    met: Option<bool>,
}

/// All figures of a run.
#[derive(serde::Serialize)]
pub struct Table {
    machine: Machine,
    effort: &'static str,
    entries: Vec<Entry>,
    notes: Vec<String>,
    #[serde(skip)]
    part: &'static str,
}

impl Table {
    pub fn new(machine: Machine, effort: &'static str) -> Self {
        Self {
            machine,
            effort,
            entries: Vec::new(),
            notes: Vec::new(),
            part: "",
        }
    }

    /// The figures that follow are of this part.
    pub fn begin(&mut self, part: &'static str) {
        self.part = part;
        println!("\n{part}");
    }

    pub fn add(&mut self, figure: Figure) {
        for Comparison { baseline, aim } in &figure.comparisons {
            let (baseline, aim) = (baseline.as_ref(), *aim);
            let ratio = baseline
                .map(|(_, value)| figure.value / value)
                .filter(|ratio| ratio.is_finite());
            let entry = Entry {
                part: self.part,
                name: figure.name.clone(),
                value: figure.value,
                unit: figure.unit,
                baseline: baseline.map(|(name, _)| name.clone()),
                baseline_value: baseline.map(|(_, value)| *value),
                ratio,
                aim: aim.map(Aim::words),
                met: aim.and_then(|aim| aim.met(figure.value, ratio)),
            };
            println!("{}", line(&entry));
            self.entries.push(entry);
        }
    }

    /// What else must be known to read the figures: what was left out, what couldn't be kept up.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("  note: {note}");
        self.notes.push(format!("{}: {note}", self.part));
    }

    pub fn print_head(&self) {
        println!("{}\neffort: {}", self.machine, self.effort);
    }

    pub fn print(&self) {
        println!("\n{}\neffort: {}", self.machine, self.effort);
        let mut part = "";
        for entry in &self.entries {
            if entry.part != part {
                part = entry.part;
                println!(
                    "\n{:<58} {:>10} {:<6} {:>10} {:>7}  beside · aim",
                    part, "figure", "", "baseline", "ratio"
                );
            }
            println!("{}", line(entry));
        }
        for note in &self.notes {
            println!("note: {note}");
        }
        let missed = self.entries.iter().filter(|e| e.met == Some(false)).count();
        let aims = self.entries.iter().filter(|e| e.met.is_some()).count();
        println!("\n{} of {aims} aims met", aims - missed);
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap()
    }
}

impl Aim {
    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", short(most)),
            Self::AtLeast(least) => format!("≥ {}", short(least)),
            Self::RatioAtMost(most) => format!("≤ {} of it", short(most)),
            Self::RatioAtLeast(least) => format!("≥ {} of it", short(least)),
        }
    }

    fn met(self, value: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
        }
    }
}

fn line(entry: &Entry) -> String {
    let aim = match (&entry.aim, entry.met) {
        (Some(aim), Some(true)) => format!(" · {aim}"),
        (Some(aim), _) => format!(" · {aim}: MISSED"),
        (None, _) => String::new(),
    };
    format!(
        "{:<58} {:>10} {:<6} {:>10} {:>7}  {}{aim}",
        entry.name,
        short(entry.value),
        entry.unit,
        entry.baseline_value.map(short).unwrap_or_default(),
        entry.ratio.map(|r| format!("{r:.2}")).unwrap_or_default(),
        entry.baseline.as_deref().unwrap_or_default(),
    )
}

/// Three digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value that `percent` of the samples don't exceed.
pub fn percentile(samples: &mut [Duration], percent: f64) -> Duration {
    samples.sort_unstable();
    let rank = (samples.len() as f64 * percent / 100.0).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1]
}

pub fn median(mut samples: Vec<Duration>) -> Duration {
    percentile(&mut samples, 50.0)
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
