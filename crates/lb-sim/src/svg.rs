//! Small pictures, the same bytes for the same figures.

use std::fmt::Write as _;

/// Points that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// The text of the legend.
    pub(crate) name: String,
    /// x and y.
    pub(crate) points: Vec<(f64, f64)>,
    /// Joined by a line, or dots.
    pub(crate) is_line: bool,
    /// Which of the colours; those of one colour after the first are not in the legend.
    pub(crate) colour: usize,
}

/// A diagram of lines and dots.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Above it.
    pub(crate) title: String,
    /// Below it.
    pub(crate) x_label: String,
    /// Beside it, above the axis.
    pub(crate) y_label: String,
    /// Where lines and labels stand on the x axis; the first and the last are its ends.
    pub(crate) x_ticks: Vec<f64>,
    /// The same for y.
    pub(crate) y_ticks: Vec<f64>,
    /// Whether y is logarithmic; then its ticks must be above zero.
    pub(crate) is_log: bool,
    /// What is shown; points outside the axes are left out.
    pub(crate) series: Vec<Series>,
}

/// Apart for most kinds of colour blindness (Okabe and Ito).
const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#333333"];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 46.0;

impl Chart {
    /// The picture.
    pub(crate) fn to_svg(&self) -> String {
        let mut svg = opening(&self.title, HEIGHT);
        self.axes(&mut svg);
        for series in &self.series {
            self.draw(&mut svg, series);
        }
        let mut named = Vec::new();
        for series in &self.series {
            if !named.contains(&series.colour) {
                let y = TOP + 12.0 + 18.0 * named.len() as f64;
                let _ = writeln!(
                    svg,
                    r#"<rect x="{:.1}" y="{:.1}" width="12" height="4" fill="{}"/>"#,
                    WIDTH - RIGHT + 12.0,
                    y - 6.0,
                    colour(series.colour)
                );
                text(&mut svg, WIDTH - RIGHT + 30.0, y, "start", &series.name);
                named.push(series.colour);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String) {
        for &x in &self.x_ticks {
            let at = self.x(x);
            line(svg, (at, TOP), (at, HEIGHT - BOTTOM));
            text(svg, at, HEIGHT - BOTTOM + 16.0, "middle", &label(x));
        }
        for &y in &self.y_ticks {
            let at = self.y(y);
            line(svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(svg, LEFT - 6.0, at + 4.0, "end", &label(y));
        }
        text(svg, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0, "middle", &self.x_label);
        text(svg, 8.0, TOP - 12.0, "start", &self.y_label);
    }

    fn draw(&self, svg: &mut String, series: &Series) {
        let within = |value: f64, ticks: &[f64]| {
            ticks.first().is_some_and(|&first| value >= first) && ticks.last().is_some_and(|&last| value <= last)
        };
        let shown = series.points.iter().filter(|&&(x, y)| within(x, &self.x_ticks) && within(y, &self.y_ticks));
        let places: Vec<_> = shown.map(|&(x, y)| (self.x(x), self.y(y))).collect();
        let colour = colour(series.colour);
        if series.is_line {
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.8"/>"#,
                path.join(" ")
            );
        } else {
            for (x, y) in places {
                let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.2" fill="{colour}"/>"#);
            }
        }
    }

    fn x(&self, x: f64) -> f64 {
        LEFT + along(x, &self.x_ticks, false) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - along(y, &self.y_ticks, self.is_log) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Bars beside each other, each with its value, in groups.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    /// Above them.
    pub(crate) title: String,
    /// What each bar of a group stands for.
    pub(crate) legend: Vec<String>,
    /// Names of groups, and the values of their bars: 0 to 1, written as percentages.
    pub(crate) groups: Vec<(String, Vec<f64>)>,
}

impl Bars {
    /// The picture.
    pub(crate) fn to_svg(&self) -> String {
        const BAR: f64 = 13.0;
        let group = BAR * self.legend.len() as f64 + 10.0;
        let mut svg = opening(&self.title, TOP + group * self.groups.len() as f64 + 6.0);
        for (place, name) in self.legend.iter().enumerate() {
            let x = 110.0 + 130.0 * place as f64;
            let _ = writeln!(svg, r#"<rect x="{x:.1}" y="34" width="12" height="10" fill="{}"/>"#, colour(place));
            text(&mut svg, x + 18.0, 43.0, "start", name);
        }
        for (place, (name, values)) in self.groups.iter().enumerate() {
            let top = TOP + group * place as f64;
            text(&mut svg, 100.0, top + (group - 10.0) / 2.0 + 4.0, "end", name);
            for (bar, &value) in values.iter().enumerate() {
                let (y, width) = (top + BAR * bar as f64, value.clamp(0.0, 1.0) * (WIDTH - 190.0));
                let _ = writeln!(
                    svg,
                    r#"<rect x="110" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{}"/>"#,
                    BAR - 2.0,
                    colour(bar)
                );
                text(&mut svg, 116.0 + width, y + BAR - 4.0, "start", &format!("{:.1} %", value * 100.0));
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn opening(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let _ = writeln!(
        svg,
        r##"<text x="8" y="20" font-size="14" font-weight="bold" fill="#222222">{}</text>"##,
        escaped(title)
    );
    svg
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#333333")
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        r##"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="#dddddd"/>"##,
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="#444444">{}</text>"##,
        escaped(words)
    );
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn label(value: f64) -> String {
    let text = format!("{value:.3}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How far from the first tick to the last, 0 to 1.
fn along(value: f64, ticks: &[f64], is_log: bool) -> f64 {
    let scale = |value: f64| if is_log { value.ln() } else { value };
    match ticks {
        [first, .., last] => (scale(value) - scale(*first)) / (scale(*last) - scale(*first)),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart {
            title: "a < b & c".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            x_ticks: vec![0.0, 1.0],
            y_ticks: vec![1.0, 10.0, 100.0],
            is_log: true,
            series: vec![Series {
                name: "s".to_owned(),
                points: vec![(0.0, 1.0), (1.0, 100.0), (2.0, 5.0)],
                is_line: true,
                colour: 0,
            }],
        }
    }

    #[test]
    fn points_stand_where_the_axes_say_and_those_outside_are_left_out() {
        let svg = chart().to_svg();
        assert!(svg.contains(r#"points="60.0,314.0 470.0,56.0""#), "{svg}");
        // Ten is half of the way from one to a hundred.
        assert!((chart().y(10.0) - (314.0 + 56.0) / 2.0).abs() < 1e-9);
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
        assert_eq!(svg, chart().to_svg());
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bars =
            Bars { title: String::new(), legend: vec!["l".to_owned()], groups: vec![("g".to_owned(), vec![0.5])] };
        let svg = bars.to_svg();
        assert!(svg.contains(r#"width="225.0""#) && svg.contains("50.0 %"), "{svg}");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([0.95, 1.0, 1_000.0].map(label), ["0.95", "1", "1000"]);
    }
}
