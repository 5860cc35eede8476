//! Ours beside what was published.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::stats::Estimate;

/// How a figure is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judge {
    /// Within this share of the published figure.
    Within(f64),
    /// No further from the published figure than this.
    Near(f64),
    /// No less than the published figure.
    AtLeast,
    /// No more than the published figure.
    AtMost,
    /// No more than so much above the published figure.
    AtMostBeyond(f64),
    /// Not judged: there is nothing to compare it with, or it is shown for comparison.
    Shown,
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Plain,
    /// A share of one, written as a percentage.
    Share,
    /// Seconds, written as milliseconds.
    Millis,
}

impl Unit {
    /// About four digits of the figure, and its interval to the same place: more would pretend to know, fewer would hide.
    fn write(self, value: f64, half_width: f64) -> String {
        let (scale, unit) = match self {
            Self::Plain => (1.0, ""),
            Self::Share => (100.0, " %"),
            Self::Millis => (1_000.0, " ms"),
        };
        let (value, half_width) = (value * scale, half_width * scale);
        let usual = match value.abs() {
            0.0 if half_width <= 0.0 => 0,
            1_000.0.. => 0,
            100.0.. => 1,
            1.0.. => 2,
            _ => 3,
        };
        // An interval shows a digit, so that it does not read as none; one too small for that is left out.
        let shows = |decimals: &usize| half_width * 10_f64.powi(*decimals as i32) >= 0.5;
        let Some(decimals) = (usual..=usual.max(3)).find(shows) else { return format!("{value:.usual$}{unit}") };
        let interval = format!(" ± {half_width:.decimals$}");
        format!("{value:.decimals$}{interval}{unit}")
    }
}

/// One comparison.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is compared.
    pub name: String,
    /// What we found.
    pub ours: Estimate,
    /// What was published or follows from theory; none if neither exists.
    pub published: Option<f64>,
    /// How the two are compared; without a published figure there is nothing to judge.
    pub judge: Judge,
    /// How both are written.
    pub unit: Unit,
}

impl Row {
    /// A comparison of plain numbers.
    #[must_use]
    pub fn new(name: impl Into<String>, ours: Estimate, published: f64, judge: Judge) -> Self {
        Self { name: name.into(), ours, published: Some(published), judge, unit: Unit::Plain }
    }

    /// A figure without one to compare it with.
    #[must_use]
    pub fn shown(name: impl Into<String>, ours: Estimate) -> Self {
        Self { name: name.into(), ours, published: None, judge: Judge::Shown, unit: Unit::Plain }
    }

    /// Sets how the figures are written.
    #[must_use]
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Whether ours is as published, within the tolerance. The mean is judged; its interval is shown.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let Some(published) = self.published else { return true };
        let ours = self.ours.mean;
        match self.judge {
            Judge::Within(share) => (ours - published).abs() <= share * published.abs(),
            Judge::Near(distance) => (ours - published).abs() <= distance,
            // A rounding error of the mean is not a finding.
            Judge::AtLeast => ours >= published - 1e-9,
            Judge::AtMost => ours <= published + 1e-9,
            Judge::AtMostBeyond(distance) => ours <= published + distance + 1e-9,
            Judge::Shown => true,
        }
    }

    fn tolerance(&self) -> String {
        match self.judge {
            Judge::Within(share) => format!("± {} %", trimmed(share * 100.0)),
            Judge::Near(distance) if self.unit == Unit::Share => format!("± {} points", trimmed(distance * 100.0)),
            Judge::Near(distance) => format!("± {}", trimmed(distance)),
            Judge::AtLeast => "at least".to_owned(),
            Judge::AtMost => "at most".to_owned(),
            Judge::AtMostBeyond(distance) => format!("at most + {}", trimmed(distance)),
            Judge::Shown => "shown".to_owned(),
        }
    }

    fn ours_written(&self) -> String {
        self.unit.write(self.ours.mean, self.ours.half_width)
    }

    fn published_written(&self) -> String {
        self.published.map_or_else(|| "–".to_owned(), |published| self.unit.write(published, 0.0))
    }

    fn verdict(&self) -> &'static str {
        match (self.published, self.judge) {
            (None, _) | (_, Judge::Shown) => "",
            _ if self.is_ok() => "ok",
            _ => "NOT OK",
        }
    }
}

fn trimmed(value: f64) -> String {
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'r> {
            name: &'r str,
            ours: f64,
            interval: f64,
            published: Option<f64>,
            tolerance: String,
            ok: bool,
        }
        let shape = Shape {
            name: &self.name,
            ours: self.ours.mean,
            interval: self.ours.half_width,
            published: self.published,
            tolerance: self.tolerance(),
            ok: self.is_ok(),
        };
        shape.serialize(serializer)
    }
}

/// One table.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was simulated, in a line or two.
    pub title: String,
    /// The comparisons.
    pub rows: Vec<Row>,
}

impl Report {
    /// A table without rows.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// Whether every row is ok.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.rows.iter().all(Row::is_ok)
    }

    /// The table in Markdown, aligned so that a terminal shows it too.
    #[must_use]
    pub fn to_text(&self) -> String {
        let head = ["", "ours (95 %)", "published", "tolerance", ""].map(str::to_owned);
        let cells = |row: &Row| {
            let Row { name, .. } = row;
            [name.clone(), row.ours_written(), row.published_written(), row.tolerance(), row.verdict().to_owned()]
        };
        let lines: Vec<[String; 5]> = std::iter::once(head).chain(self.rows.iter().map(cells)).collect();
        let mut widths = [0; 5];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = format!("{}\n\n", self.title);
        for (number, line) in lines.iter().enumerate() {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let rule = "-".repeat(width + 1);
                    let _ = if column == 0 { write!(text, "|{rule}-") } else { write!(text, "|{rule}:") };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, published: f64, judge: Judge) -> Row {
        Row::new("r", Estimate { mean: ours, half_width: 0.01 }, published, judge)
    }

    #[test]
    fn each_judge_has_its_limit() {
        assert!(row(10.2, 10.0, Judge::Within(0.0201)).is_ok() && !row(10.2, 10.0, Judge::Within(0.0199)).is_ok());
        assert!(row(0.95, 0.96, Judge::Near(0.0101)).is_ok() && !row(0.95, 0.97, Judge::Near(0.0101)).is_ok());
        assert!(row(2.0, 2.0, Judge::AtLeast).is_ok() && !row(1.9, 2.0, Judge::AtLeast).is_ok());
        assert!(row(2.0, 2.0, Judge::AtMost).is_ok() && !row(2.1, 2.0, Judge::AtMost).is_ok());
        assert!(row(2.5, 2.0, Judge::AtMostBeyond(0.5)).is_ok() && !row(2.6, 2.0, Judge::AtMostBeyond(0.5)).is_ok());
        assert!(row(9.0, 2.0, Judge::Shown).is_ok() && Row::shown("x", Estimate::exact(1.0)).is_ok());
        assert!(!row(f64::NAN, 2.0, Judge::AtMost).is_ok(), "what is no number is not ok");
    }

    #[test]
    fn json_has_the_promised_fields() {
        let report = [row(10.0, 10.1, Judge::Within(0.02)), Row::shown("new", Estimate::exact(3.0))];
        let json = serde_json::json!({ "rows": report });
        let first = &json["rows"][0];
        assert_eq!(first["name"], "r");
        assert_eq!((&first["ours"], &first["published"]), (&10.0.into(), &10.1.into()));
        assert_eq!((&first["tolerance"], &first["ok"]), (&"± 2 %".into(), &true.into()));
        assert!(json["rows"][1]["published"].is_null());
    }

    #[test]
    fn figures_have_about_four_digits_and_intervals_as_many_places() {
        assert_eq!(Unit::Plain.write(5.5174, 0.1859), "5.52 ± 0.19");
        assert_eq!(Unit::Share.write(0.9945, 0.0004), "99.45 ± 0.04 %");
        assert_eq!(Unit::Share.write(0.991_204, 0.000_036), "99.120 ± 0.004 %");
        assert_eq!(Unit::Millis.write(2.5514, 0.0), "2551 ms");
        assert_eq!(Unit::Millis.write(0.811_6, 1e-8), "811.6 ms");
        assert_eq!([Unit::Plain.write(0.0, 0.0), Unit::Share.write(0.000_123, 0.0)], ["0", "0.012 %"]);
    }

    #[test]
    fn columns_line_up() {
        let mut report = Report::new("title");
        report.rows = vec![row(10.0, 9.0, Judge::Within(0.02)), row(0.95, 0.95, Judge::Near(0.01)).unit(Unit::Share)];
        let text = report.to_text();
        let widths: Vec<usize> = text.lines().skip(2).map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 4);
        assert!(widths.iter().all(|width| width == widths.first().unwrap()), "{text}");
        assert!(text.contains("NOT OK") && text.contains("95.00 %") && !report.is_ok());
    }
}
