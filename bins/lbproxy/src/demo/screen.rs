//! Where the table goes: redrawn in place on a terminal, a block now and then into anything else.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::sight::View;
use super::table;
use crate::paint::{colour, in_colour, wants_colours};

/// Lines of "what happened" that are kept in sight.
const LAST: usize = 6;
/// Between two blocks where nothing can be redrawn.
const BLOCK_EVERY: Duration = Duration::from_secs(5);

/// The place the demonstration draws on.
#[derive(Debug)]
pub(crate) struct Screen<W: Write> {
    out: W,
    colours: bool,
    how: How,
}

#[derive(Debug)]
enum How {
    InPlace { drawn: usize, happened: Vec<String> },
    Blocks { next: Duration },
}

/// Cursor hidden; lines cut at the edge rather than wrapped, so that as many are drawn as are counted.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

impl Screen<io::Stdout> {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        let out = io::stdout();
        let (colours, is_terminal) = (wants_colours(&out), out.is_terminal());
        Self::new(out, colours, is_terminal)
    }
}

impl<W: Write> Screen<W> {
    fn new(out: W, colours: bool, is_terminal: bool) -> Self {
        let how = if is_terminal {
            How::InPlace { drawn: 0, happened: Vec::new() }
        } else {
            How::Blocks { next: Duration::ZERO }
        };
        let mut screen = Self { out, colours, how };
        if is_terminal {
            screen.write(BEGIN);
        }
        screen
    }

    /// A text that stays.
    pub(crate) fn say(&mut self, text: &str) {
        self.write(text);
    }

    /// Something happened so long after the start.
    pub(crate) fn on_event(&mut self, elapsed: Duration, event: &str) {
        let line = format!("  {:>6.1} s  {event}", elapsed.as_secs_f64());
        match &mut self.how {
            How::InPlace { happened, .. } => {
                happened.push(line);
                if happened.len() > LAST {
                    happened.remove(0);
                }
            }
            How::Blocks { .. } => self.write(&format!("{line}\n")),
        }
    }

    /// Shows the table, if it is time; `is_last` always is.
    pub(crate) fn show(&mut self, elapsed: Duration, view: &View, is_last: bool) {
        let mut lines = table::lines(view, self.colours);
        let text = match &mut self.how {
            How::InPlace { drawn, happened } => {
                let heading = "  what happened";
                lines.push(String::new());
                lines.push(if self.colours { in_colour(colour::BOLD, heading) } else { heading.to_owned() });
                lines.extend(happened.iter().cloned());
                lines.resize(lines.len() + LAST - happened.len(), String::new());
                let up = if *drawn == 0 { String::new() } else { format!("\x1b[{drawn}A") };
                *drawn = lines.len();
                format!("{up}\r{}\x1b[K\n", lines.join("\x1b[K\n"))
            }
            How::Blocks { next } if is_last || elapsed >= *next => {
                while *next <= elapsed {
                    *next += BLOCK_EVERY;
                }
                format!("\n  after {:.0} s\n{}\n\n", elapsed.as_secs_f64(), lines.join("\n"))
            }
            How::Blocks { .. } => return,
        };
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        // The terminal or pipe was closed; the demo ends by signal or after its duration.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if matches!(self.how, How::InPlace { .. }) {
            self.write(END);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sight::Clients;
    use super::*;

    fn view() -> View {
        View { rows: vec![], clients: Clients { requests: 1, rate: 1.0, times: None, failed: 0, retries: 0 } }
    }

    fn drawn(is_terminal: bool, act: impl FnOnce(&mut Screen<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        act(&mut Screen::new(&mut out, false, is_terminal));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_is_redrawn_over_as_many_lines_as_were_drawn() {
        let text = drawn(true, |screen| {
            screen.show(Duration::ZERO, &view(), false);
            for at in 1..=9 {
                screen.on_event(Duration::from_secs(at), &format!("event {at}"));
            }
            screen.show(Duration::from_secs(10), &view(), false);
        });
        let (first, second) = text.split_once("\x1b[11A").expect("heading, clients, legend, gap, heading, six events");
        assert_eq!(first.matches('\n').count(), 11);
        assert_eq!(second.matches('\n').count(), 11);
        assert!(!second.contains("event 3") && second.contains("event 4") && second.contains("event 9"), "{second}");
        assert!(text.starts_with(BEGIN) && text.ends_with(END));
    }

    #[test]
    fn anything_else_gets_blocks_and_no_control_characters() {
        let text = drawn(false, |screen| {
            for half_seconds in 0..=11 {
                screen.show(Duration::from_millis(500 * half_seconds), &view(), false);
            }
            screen.on_event(Duration::from_millis(5_730), "flaky ejected");
            screen.show(Duration::from_millis(5_800), &view(), true);
        });
        assert_eq!(
            text.matches("clients").count(),
            3 + 3,
            "at 0, 5 and the last; once more each in the legend: {text}"
        );
        assert!(text.contains("\n     5.7 s  flaky ejected\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
