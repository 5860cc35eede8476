//! The load that an endpoint reports, in the header `endpoint-load-metrics` of its answers.
//!
//! A balancer guesses how busy an endpoint is; the endpoint knows. ORCA (Open Request Cost Aggregation, of xDS and gRPC) names the figures,
//! and here they are read in the two forms that any application can write:
//!
//! ```text
//! endpoint-load-metrics: TEXT rps_fractional=120.5, eps=0.5, application_utilization=0.62, cpu_utilization=0.4
//! endpoint-load-metrics: JSON {"rps_fractional": 120.5, "eps": 0.5, "cpu_utilization": 0.4}
//! ```
//!
//! Other figures may stand there and are passed over, as is a header that cannot be read: it is a hint, not a part of the answer. The
//! binary form, the trailer and the out-of-band stream of gRPC are not read.

use lb_policy::LoadReport;
use serde::Deserialize;

use crate::message::ResponseHead;

const NAME: &str = "endpoint-load-metrics";

/// The load report in a response head; `None` if there is none or it cannot be parsed. The first header counts.
#[must_use]
pub fn reported(head: &ResponseHead) -> Option<LoadReport> {
    parse(head.header(NAME)?)
}

/// Reads the header's value.
fn parse(value: &[u8]) -> Option<LoadReport> {
    let (form, figures) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let figures = match form {
        "TEXT" => of_text(figures)?,
        "JSON" => serde_json::from_str(figures).ok()?,
        _ => return None,
    };
    let utilization =
        if figures.application_utilization > 0.0 { figures.application_utilization } else { figures.cpu_utilization };
    Some(LoadReport { requests_per_second: figures.rps_fractional, utilization, errors_per_second: figures.eps })
}

/// The figures by their names in ORCA; zero if absent, as in its protobuf.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Figures {
    #[serde(alias = "rpsFractional")]
    rps_fractional: f64,
    eps: f64,
    #[serde(alias = "applicationUtilization")]
    application_utilization: f64,
    #[serde(alias = "cpuUtilization")]
    cpu_utilization: f64,
}

fn of_text(text: &str) -> Option<Figures> {
    let mut figures = Figures::default();
    for figure in text.split(',') {
        let (name, value) = figure.split_once('=')?;
        let figure = match name.trim() {
            "rps_fractional" => &mut figures.rps_fractional,
            "eps" => &mut figures.eps,
            "application_utilization" => &mut figures.application_utilization,
            "cpu_utilization" => &mut figures.cpu_utilization,
            _ => continue,
        };
        *figure = value.trim().parse().ok()?;
    }
    Some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(requests_per_second: f64, utilization: f64, errors_per_second: f64) -> Option<LoadReport> {
        Some(LoadReport { requests_per_second, utilization, errors_per_second })
    }

    #[test]
    fn both_forms_say_the_same() {
        let text =
            "TEXT rps_fractional=120.5, eps=0.5,application_utilization=0.62, cpu_utilization=0.4, mem_utilization=x";
        assert_eq!(parse(text.as_bytes()), report(120.5, 0.62, 0.5));
        let json =
            r#"JSON {"rps_fractional": 120.5, "eps": 0.5, "application_utilization": 0.62, "cpu_utilization": 0.4}"#;
        assert_eq!(parse(json.as_bytes()), report(120.5, 0.62, 0.5));
        let camel = r#"JSON {"rpsFractional": 7, "cpuUtilization": 0.25, "namedMetrics": {"queue": 3}}"#;
        assert_eq!(parse(camel.as_bytes()), report(7.0, 0.25, 0.0));
        assert_eq!(parse(b"TEXT cpu_utilization=0.3"), report(0.0, 0.3, 0.0));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        for value in [
            &b""[..],
            b"TEXT",
            b"TEXT cpu",
            b"TEXT cpu_utilization=half",
            b"JSON 1",
            b"JSON {\"eps\": \"1\"}",
            b"JSON {",
            b"BIN CgQ",
            b"cpu_utilization=0.3",
            b"TEXT \xff=1",
        ] {
            assert_eq!(parse(value), None, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn figures_that_make_no_sense_make_no_weight() {
        for value in
            ["TEXT rps_fractional=nan, cpu_utilization=1", "TEXT rps_fractional=-1, cpu_utilization=1", "TEXT eps=1"]
        {
            let report = parse(value.as_bytes()).expect("it can be read");
            assert_eq!(report.weight(), None, "{value}");
        }
    }

    #[test]
    fn it_is_read_from_the_head() {
        let head =
            ResponseHead::build(200).header("Endpoint-Load-Metrics", "TEXT rps_fractional=1, cpu_utilization=0.5");
        assert_eq!(reported(&head.finish().expect("valid")), report(1.0, 0.5, 0.0));
        assert_eq!(reported(&ResponseHead::build(200).finish().expect("valid")), None);
    }
}
