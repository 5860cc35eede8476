//! The table as lines of text.

use std::time::Duration;

use super::sight::{Clients, RATE_OVER, Row, TIMES_OVER, Times, View};
use crate::paint::{colour, in_colour};

/// Width of the bar that shows an endpoint's share of the requests.
const BAR: usize = 10;

/// The table: a heading, a line for each endpoint, one for the clients, and what the columns mean.
///
/// What matters most stands in the first eighty columns; a narrow terminal cuts the rest.
pub(crate) fn lines(view: &View, colours: bool) -> Vec<String> {
    let paint = |colour: &str, text: &str| if colours { in_colour(colour, text) } else { text.to_owned() };
    let heading = ["endpoint", "health", "share", "req/s", "in flight", "p50", "p99", "ejections", "requests", ""]
        .map(str::to_owned);
    let mut lines = vec![paint(colour::BOLD, &line(&heading, str::to_owned))];
    let all: f64 = view.rows.iter().map(|row| row.rate).sum();
    for row in &view.rows {
        let health = if row.is_eligible { colour::GREEN } else { colour::RED };
        lines.push(line(&endpoint(row, all), |text| paint(health, text)));
    }
    let verdict = if view.clients.failed == 0 { colour::GREEN } else { colour::RED };
    lines.push(line(&clients(&view.clients), |text| paint(verdict, text)));
    let legend = format!(
        "  share and req/s of the last {} s · p50 and p99 as clients saw them, last {} s",
        RATE_OVER.as_secs(),
        TIMES_OVER.as_secs()
    );
    lines.push(paint(colour::DIM, &legend));
    lines
}

/// Words to the left, numbers to the right, and what may be long at the end. `health` paints the second.
fn line(cells: &[String; 10], health: impl Fn(&str) -> String) -> String {
    let [name, state, share, rate, in_flight, p50, p99, ejections, requests, reason] = cells;
    let state = health(&format!("{state:<12}"));
    let numbers = format!("{rate:>6}  {in_flight:>9}  {p50:>7}  {p99:>7}  {ejections:>9}  {requests:>8}");
    format!("  {name:<8}  {state}  {share:<16}  {numbers}  {reason}").trim_end().to_owned()
}

fn endpoint(row: &Row, all: f64) -> [String; 10] {
    let (p50, p99) = both(row.times);
    [
        row.name.to_owned(),
        row.health.clone(),
        share(row.rate, all),
        format!("{:.1}", row.rate),
        row.in_flight.to_string(),
        p50,
        p99,
        row.ejections.to_string(),
        row.requests.to_string(),
        row.reason.clone(),
    ]
}

fn clients(clients: &Clients) -> [String; 10] {
    let (p50, p99) = both(clients.times);
    [
        "clients".to_owned(),
        format!("{} failed", clients.failed),
        String::new(),
        format!("{:.1}", clients.rate),
        String::new(),
        p50,
        p99,
        String::new(),
        clients.requests.to_string(),
        format!("{} tried again elsewhere", clients.retries),
    ]
}

/// A bar and a number, `██████▌     64 %`.
fn share(part: f64, all: f64) -> String {
    let share = if all > 0.0 { part / all } else { 0.0 };
    let halves = (share * 2.0 * BAR as f64).round() as usize;
    let bar = "█".repeat(halves / 2) + if halves % 2 == 1 { "▌" } else { "" };
    format!("{bar:<BAR$} {:>3.0} %", share * 100.0)
}

fn both(times: Option<Times>) -> (String, String) {
    times.map_or_else(|| ("–".into(), "–".into()), |times| (time(times.p50), time(times.p99)))
}

/// Two or three digits are all that the eye compares.
fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let times = |p50, p99| Some(Times { p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) });
        let row = |name, rate, times, health: &str, reason: &str| Row {
            name,
            requests: 123_456,
            rate,
            in_flight: 12,
            times,
            ejections: 3,
            is_eligible: health == "up",
            health: health.into(),
            reason: reason.into(),
        };
        View {
            rows: vec![
                row("fast", 32.0, times(4_230, 9_960), "up", ""),
                row("slow", 18.0, times(90_400, 1_240_000), "up", ""),
                row("flaky", 0.0, None, "down 2 s", "status 503"),
            ],
            clients: Clients { requests: 370_000, rate: 50.0, times: times(5_000, 120_000), failed: 0, retries: 7 },
        }
    }

    #[test]
    fn columns_stand_below_one_another() {
        let lines = lines(&view(), false);
        let text = lines.join("\n");
        // Where the column of p99 ends, in characters.
        let ends: Vec<_> = ["p99", "10 ms", "1.2 s", "–  ", "120 ms"]
            .iter()
            .zip(&lines)
            .map(|(cell, line)| {
                let before = line.rsplit_once(cell).unwrap_or_else(|| panic!("{cell} in {text}")).0;
                before.chars().count() + cell.trim_end().chars().count()
            })
            .collect();
        assert_eq!(ends, [79; 5], "on a terminal of 80 columns p99 is still seen\n{text}");
        assert!(lines[3].ends_with(" 123456  status 503"), "{text}");
        assert!(lines[4].ends_with(" 370000  7 tried again elsewhere"), "{text}");
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert!(!lines(&view(), false).concat().contains('\x1b'));
        let painted = lines(&view(), true);
        assert!(painted[1].contains("\x1b[32mup          \x1b[0m"), "{painted:?}");
        assert!(painted[3].contains("\x1b[31mdown 2 s"), "{painted:?}");
    }

    #[test]
    fn shares_are_drawn_to_half_a_tenth() {
        assert_eq!(share(0.0, 0.0), "             0 %");
        assert_eq!(share(1.0, 4.0), "██▌         25 %");
        assert_eq!(share(4.0, 4.0), "██████████ 100 %");
    }

    #[test]
    fn times_have_two_or_three_digits() {
        let of = |micros| time(Duration::from_micros(micros));
        assert_eq!(
            [0, 4_230, 9_949, 9_951, 999_400, 999_600].map(of),
            ["0.0 ms", "4.2 ms", "9.9 ms", "10 ms", "999 ms", "1.0 s"]
        );
    }
}
