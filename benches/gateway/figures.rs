//! Figures with their baselines, as a table and as JSON.

use std::time::Duration;

#[derive(serde::Serialize)]
struct Row {
    what: String,
    figure: f64,
    unit: &'static str,
    baseline: Option<f64>,
    beside: String,
    ratio: Option<f64>,
}

#[derive(Default, serde::Serialize)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub fn add(
        &mut self,
        what: impl Into<String>,
        figure: f64,
        unit: &'static str,
        baseline: Option<(f64, &str)>,
    ) {
        let row = Row {
            what: what.into(),
            figure,
            unit,
            baseline: baseline.map(|(n, _)| n),
            beside: baseline
                .map(|(_, name)| name.to_owned())
                .unwrap_or_default(),
            ratio: baseline.map(|(n, _)| figure / n),
        };
        println!("{}", line(&row));
        self.rows.push(row);
    }

    pub fn print(&self) {
        println!(
            "\n{:<46} {:>12} {:<5} {:>12} {:>7}  beside",
            "", "figure", "", "baseline", "ratio"
        );
        for row in &self.rows {
            println!("{}", line(row));
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap()
    }
}

fn line(row: &Row) -> String {
    let number = |n: Option<f64>, digits| n.map_or(String::new(), |n| format!("{n:.digits$}"));
    let digits = if row.figure < 100.0 { 2 } else { 0 };
    format!(
        "{:<46} {:>12.digits$} {:<5} {:>12} {:>7}  {}",
        row.what,
        row.figure,
        row.unit,
        number(row.baseline, digits),
        number(row.ratio, 2),
        row.beside,
    )
}

/// The value below which `percent` of the samples lie.
pub fn percentile(samples: &mut [Duration], percent: f64) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let at = (last as f64 * percent / 100.0).round() as usize;
    samples[at.min(last)]
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
