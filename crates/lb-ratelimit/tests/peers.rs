//! The rules that promise nginx's and HAProxy's numbers, beside the nginx and HAProxy of the distribution.
//!
//! Each request's answer tells what the peer decided and at which millisecond, so that the machine's load moves the times, and never
//! the comparison. Where a peer is missing its test is skipped, with a note; with `LBPROXY_REQUIRE_PEERS=1` it fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "the peers go by the clock of the machine")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lb_core::Mono;
use lb_ratelimit::{Frequency, LeakyBucket, Level, Shaped};

#[path = "../../../bins/lbproxy/tests/programs/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves other tests as well")]
mod programs;

use programs::{Haproxy, Nginx, Ports, has_haproxy, has_nginx};

mod support {
    use std::time::{Duration, Instant};

    #[track_caller]
    pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < end, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Asks for these paths at these milliseconds from now, each on a connection of its own; the answers in that order.
fn ask(address: SocketAddr, requests: &[(u64, String)]) -> Vec<String> {
    let start = Instant::now() + Duration::from_millis(50);
    std::thread::scope(|scope| {
        let ask_one = |(ms, path): &(u64, String)| {
            let mut connection = TcpStream::connect(address).unwrap();
            let due = start + Duration::from_millis(*ms);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            write!(connection, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            answer
        };
        let threads: Vec<_> = requests.iter().map(|request| scope.spawn(move || ask_one(request))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The words behind a header's name.
fn words(answer: &str, header: &str) -> Vec<String> {
    let line =
        answer.lines().find_map(|line| line.strip_prefix(header)).unwrap_or_else(|| panic!("{header} in {answer}"));
    line.split_whitespace().map(str::to_owned).collect()
}

fn milliseconds(seconds: &str) -> u64 {
    let (whole, thousandths) = seconds.split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000 + thousandths.parse::<u64>().unwrap()
}

/// What nginx did with a request: when it came, whether it was rejected, and for how long it was held back.
#[derive(Debug)]
struct Limited {
    at_ms: u64,
    is_rejected: bool,
    held_ms: u64,
}

impl Limited {
    fn read(answer: &str) -> Self {
        let words = words(answer, "X-Limit: ");
        let held_ms = milliseconds(&words[2]);
        Self { at_ms: milliseconds(&words[1]) - held_ms, is_rejected: words[0] == "REJECTED", held_ms }
    }
}

/// Compares each decision with that of the rule at the same millisecond; how many there were.
///
/// nginx counts by a clock of its own whose milliseconds may begin elsewhere: where the rule itself decides differently two
/// milliseconds sooner or later, both answers are right.
#[track_caller]
fn compare(rule: LeakyBucket, mut answers: Vec<Limited>) -> usize {
    answers.sort_by_key(|it| (it.at_ms, it.is_rejected, it.held_ms));
    let (mut level, mut compared) = (Level::default(), 0);
    for answer in &answers {
        let [early, exact, late] =
            [answer.at_ms - 2, answer.at_ms, answer.at_ms + 2].map(|ms| rule.decide(level, Mono::from_millis(ms)));
        let rejects = |decided: &(Shaped, Level)| decided.0 == Shaped::Reject;
        if rejects(&early) == rejects(&late) {
            assert_eq!(rejects(&exact), answer.is_rejected, "{answer:?} with {level:?} of {rule:?}");
            compared += 1;
        }
        let taken = [exact, early, late].into_iter().find(|decided| rejects(decided) == answer.is_rejected);
        let (shaped, next) = taken.expect("one of them agrees");
        if let Shaped::After { delay_ms } = shaped {
            // Its timer may be late, and its request has a time of its own.
            let held = answer.held_ms;
            assert!(held + 3 >= delay_ms && (delay_ms > 3 || held < 2_000), "{answer:?} for {delay_ms} of {rule:?}");
            assert!(held < delay_ms + 2_000, "{answer:?} for {delay_ms} of {rule:?}");
        }
        level = next;
    }
    compared
}

#[test]
fn the_leaky_bucket_decides_as_nginx() {
    if !has_nginx() {
        return;
    }
    // Rate, burst, and what nginx is told besides.
    let rules = [
        ("10r/s", "burst=5", LeakyBucket::new(10, 1, 5)),
        ("10r/s", "burst=5 delay=3", LeakyBucket::new(10, 1, 5).with_delay(3)),
        ("10r/s", "burst=5 nodelay", LeakyBucket::new(10, 1, 5).without_delay()),
        ("30r/s", "", LeakyBucket::new(30, 1, 0)),
        ("7r/s", "burst=2 nodelay", LeakyBucket::new(7, 1, 2).without_delay()),
        ("90r/m", "burst=1", LeakyBucket::new(90, 60, 1)),
        ("1r/m", "burst=1 nodelay", LeakyBucket::new(1, 60, 1).without_delay()),
    ];
    let zones: String = rules
        .iter()
        .enumerate()
        .map(|(n, (rate, ..))| format!("limit_req_zone $uri zone=z{n}:1m rate={rate};\n"))
        .collect();
    let locations = rules
        .iter()
        .enumerate()
        .map(|(n, (_, keys, _))| format!("location /{n} {{ limit_req zone=z{n} {keys}; alias DIR/body; }}\n"));
    let locations: String = locations.collect();
    let http = format!(
        "{zones} server {{ listen PORT0; add_header X-Limit \"$limit_req_status $msec $request_time\" always;\n{locations} }}"
    );
    let ports = Ports::new(1);
    let _nginx = Nginx::start("", &http, &ports, |directory| std::fs::write(directory.join("body"), "a").unwrap());
    // All at once, then a few at times that lie between those at which one is due.
    let times: Vec<u64> =
        [0; 8].into_iter().chain([150, 155, 350, 350, 360, 650, 1_250, 1_250, 1_250, 1_850, 1_860]).collect();
    let requests: Vec<(u64, String)> =
        (0..rules.len()).flat_map(|n| times.iter().map(move |ms| (*ms, format!("/{n}")))).collect();
    let answers = ask(ports.at(0), &requests);
    let mut compared = 0;
    for (n, (.., rule)) in rules.iter().enumerate() {
        let of_rule = &answers[n * times.len()..(n + 1) * times.len()];
        compared += compare(*rule, of_rule.iter().map(|answer| Limited::read(answer)).collect());
    }
    assert!(compared * 10 >= answers.len() * 8, "only {compared} of {} were unambiguous", answers.len());
}

#[test]
fn the_frequency_is_haproxys_at_every_phase_of_its_clock() {
    if !has_haproxy() {
        return;
    }
    let sections = "frontend web\n  mode http\n  bind PORT0\n  stick-table type string len 32 size 1k expire 60s store \
                    http_req_rate(1s),http_req_cnt\n  http-request track-sc0 path\n  http-request return status 200 \
                    content-type text/plain lf-string \"rate %[date(0,ms)] %[sc_http_req_rate(0)] %[sc_http_req_cnt(0)]\"\n";
    let ports = Ports::new(1);
    let _haproxy = Haproxy::start(sections, &ports);
    // Keys that begin at 20 phases of a second; each with events in three periods, and after an idle one.
    let times = [0, 0, 0, 105, 210, 420, 840, 1_050, 1_300, 1_990, 2_400, 4_700, 4_800];
    let requests: Vec<(u64, String)> =
        (0..20).flat_map(|phase| times.iter().map(move |ms| (phase * 50 + ms, format!("/{phase}")))).collect();
    let answers = ask(ports.at(0), &requests);
    for (phase, answers) in answers.chunks(times.len()).enumerate() {
        // When, the rate and how many so far, this one included.
        let numbers = |answer: &String| words(answer, "rate ").iter().map(|word| word.parse().unwrap()).collect();
        let mut events: Vec<Vec<u64>> = answers.iter().map(numbers).collect();
        events.sort_by_key(|event| event[2]);
        let mut frequency = Frequency::new(Duration::from_secs(1));
        for (count, event) in (1..).zip(&events) {
            let [ms, rate, so_far] = event[..] else { panic!("{event:?}") };
            assert_eq!(so_far, count);
            let _ = frequency.on_event(Mono::from_millis(ms));
            // Its periods begin at even milliseconds of a clock whose milliseconds begin elsewhere.
            let around = [ms.saturating_sub(3), ms + 3].map(|ms| frequency.rate(Mono::from_millis(ms)));
            assert!((around[1]..=around[0]).contains(&rate), "phase {phase}: {event:?}, ours {around:?}");
        }
    }
}
