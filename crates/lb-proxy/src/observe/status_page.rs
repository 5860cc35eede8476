//! The status page for people: the same as `/status` says in JSON, as one page of HTML.
//!
//! It needs no script and asks for nothing else, so that it works wherever the admin listener can be reached, through a
//! tunnel as well; it loads itself again every few seconds. What stands in it comes from the configuration, from names
//! that were resolved and from answers to checks, so all of it is escaped.

use std::fmt::{self, Write};

use super::status::{ClusterStatus, EndpointStatus, ListenerStatus, ResponseTimes, State, Status};
use super::timestamp::rfc3339;

/// What a browser may do with the page: show it.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                                 frame-ancestors 'none'";

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>lbproxy</title><style>\
:root{color-scheme:light dark}\
body{font:14px/1.5 system-ui,sans-serif;margin:1.5rem;max-width:80rem}\
h1{font-size:1.3rem;margin:0}h2{font-size:1.1rem;margin:1.5rem 0 .3rem}p{margin:.3rem 0}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}\
th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
.up{color:#0a7d32}.bad{color:#c62828;font-weight:600}.mid{color:#b26a00;font-weight:600}\
@media(prefers-color-scheme:dark){.up{color:#5fd38a}.bad{color:#ff8a80}.mid{color:#ffb74d}}\
</style></head><body>\n";

impl Status {
    /// The page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut out = HEAD.to_owned();
        // Writing to a string cannot fail.
        let _ = write(&mut out, self);
        out.push_str("</body></html>\n");
        out
    }
}

fn write(out: &mut String, status: &Status) -> fmt::Result {
    let Status { version, generation, uptime, .. } = status;
    write!(out, "<h1>lbproxy {}</h1>", Escaped(version))?;
    write!(out, "<p>up {}, configuration {generation}, ", Span(uptime.as_secs()))?;
    write!(out, "{} requests a second{}", status.requests_per_s, Times(status.response.as_ref()))?;
    out.push_str(" · <a href=\"/status?format=json\">JSON</a> · <a href=\"/metrics\">metrics</a></p>\n");
    out.push_str("<h2>Listeners</h2><table><tr><th>name<th>address<th>TLS<th class=n>connections<th class=n>requests");
    out.push_str("<th class=n>a second<th class=n>p50 ms<th class=n>p99 ms</tr>\n");
    status.listeners.iter().try_for_each(|listener| write_listener(out, listener))?;
    out.push_str("</table>\n");
    if !status.certificates.is_empty() {
        out.push_str(
            "<h2>Certificates</h2><table><tr><th>names<th>listener<th>valid until<th class=n>days left</tr>\n",
        );
        for certificate in &status.certificates {
            let class = match certificate.days_left {
                ..=0 => "bad",
                1..14 => "mid",
                _ => "up",
            };
            write!(out, "<tr><td>{}", Escaped(&certificate.names.join(", ")))?;
            write!(out, "<td>{}<td>{}", Escaped(&certificate.listener), rfc3339(certificate.valid_until))?;
            writeln!(out, "<td class=\"n {class}\">{}</tr>", certificate.days_left)?;
        }
        out.push_str("</table>\n");
    }
    status.clusters.iter().try_for_each(|cluster| write_cluster(out, cluster))
}

fn write_listener(out: &mut String, listener: &ListenerStatus) -> fmt::Result {
    let ListenerStatus { name, address, tls, connections, requests, requests_per_s, response } = listener;
    write!(out, "<tr><td>{}<td>{}<td>{}", Escaped(name), Escaped(address), if *tls { "yes" } else { "no" })?;
    write!(out, "<td class=n>{connections}<td class=n>{requests}<td class=n>{requests_per_s}")?;
    writeln!(out, "{}</tr>", TimeCells(response.as_ref()))
}

fn write_cluster(out: &mut String, cluster: &ClusterStatus) -> fmt::Result {
    write!(out, "<h2>Cluster {}</h2><p>{}", Escaped(&cluster.name), Escaped(cluster.policy))?;
    if cluster.panic {
        out.push_str(" · <span class=bad>panic mode: health is ignored</span>");
    }
    if cluster.queue.size > 0 {
        write!(out, " · {} of {} waiting", cluster.queue.length, cluster.queue.size)?;
    }
    out.push_str(
        "</p><table><tr><th>endpoint<th>resolved<th>state<th>why<th>since<th class=n>in flight<th class=n>attempts",
    );
    out.push_str("<th class=n>failures<th class=n>a second<th class=n>p50 ms<th class=n>p99 ms<th>last attempts<th class=n>flaps<th>last check</tr>\n");
    cluster.endpoints.iter().try_for_each(|endpoint| write_endpoint(out, endpoint))?;
    out.push_str("</table>\n");
    Ok(())
}

fn write_endpoint(out: &mut String, endpoint: &EndpointStatus) -> fmt::Result {
    let class = match endpoint.state {
        State::Up => "up",
        State::Warming | State::Drain | State::Maintenance | State::Suspected | State::Probation => "mid",
        _ => "bad",
    };
    write!(out, "<tr><td>{}", Escaped(&endpoint.address))?;
    write!(out, "<td>{}", Escaped(endpoint.resolved.as_deref().unwrap_or("")))?;
    write!(out, "<td class={class}>{}<td>{}", endpoint.state, Escaped(endpoint.reason.as_deref().unwrap_or("")))?;
    write!(out, "<td>{}<td class=n>{}", rfc3339(endpoint.since), endpoint.in_flight)?;
    write!(out, "<td class=n>{}<td class=n>{}", endpoint.requests, endpoint.failures)?;
    write!(out, "<td class=n>{}{}", endpoint.requests_per_s, TimeCells(endpoint.response.as_ref()))?;
    write!(out, "<td><code>{}</code><td class=n>{}", Escaped(&endpoint.outcomes), endpoint.flaps)?;
    match &endpoint.last_check {
        Some(check) => writeln!(out, "<td>{}</tr>", Escaped(&check.detail)),
        None => writeln!(out, "<td></tr>"),
    }
}

/// Text between tags or within a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            char => f.write_char(char),
        })
    }
}

/// Seconds as people say them.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes, seconds) = (self.0 / 86_400, self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {seconds} s"),
            (0, ..) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// Response times in a sentence.
struct Times<'a>(Option<&'a ResponseTimes>);

impl fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ResponseTimes { p50_ms, p99_ms }) = self.0 else { return Ok(()) };
        write!(f, ", half of them within {p50_ms} ms, 99 % within {p99_ms} ms")
    }
}

/// Response times as two cells.
struct TimeCells<'a>(Option<&'a ResponseTimes>);

impl fmt::Display for TimeCells<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ResponseTimes { p50_ms, p99_ms }) => write!(f, "<td class=n>{p50_ms}<td class=n>{p99_ms}"),
            None => f.write_str("<td><td>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_names_hold_is_shown_and_not_obeyed() {
        let listener = ListenerStatus { name: "<script>alert(1)</script>".into(), ..ListenerStatus::default() };
        let cluster = ClusterStatus { name: "a\"b&'c".into(), policy: "p2c", ..ClusterStatus::default() };
        let page = Status { version: "1.2.3", listeners: vec![listener], clusters: vec![cluster], ..Status::default() };
        let page = page.to_html();
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
        assert!(page.contains("Cluster a&quot;b&amp;&#39;c"), "{page}");
        assert!(page.contains("lbproxy 1.2.3") && page.ends_with("</html>\n"), "{page}");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        for (seconds, text) in [(7, "7 s"), (61, "1 min 1 s"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }
}
