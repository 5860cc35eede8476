//! Caution short of an ejection: endpoints that go silent, and endpoints that ask for less.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::{answers, balancing, list};
use crate::support::{Endpoint, Proxy, get, post, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_silent_endpoint_costs_its_requests_a_second_and_no_more,
    nothing_is_cut_short_where_all_are_silent_or_the_endpoint_answers_others,
    an_endpoint_that_asks_for_less_is_picked_last_for_as_long_as_it_says,
);

/// It answers at once while `is_well`, and holds what comes else; `/slow` takes `slow` in any case.
fn moody(name: &'static str, is_well: &Arc<AtomicBool>, slow: Duration) -> Endpoint {
    let is_well = Arc::clone(is_well);
    Endpoint::answering(move |request| {
        let start = Instant::now();
        let is_slow = request.head.target() == "/slow";
        // What hangs polls: the fault ends it, or the end of the test does.
        while (is_slow && start.elapsed() < slow) || (!is_slow && !is_well.load(Ordering::SeqCst)) {
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(2));
        }
        text(200, name)
    })
}

/// Requests to all endpoints, so that it is known what is usual.
fn warm(proxy: &Proxy) {
    answers(proxy, 90);
    // The proxy looks each tenth of a second.
    let start = Instant::now();
    wait_until("it to have learned", || {
        answers(proxy, 90);
        start.elapsed() > Duration::from_millis(400)
    });
}

/// Requests from several clients at once: how long each took, and its status.
fn crowd(proxy: &Proxy, clients: usize, each: usize) -> Vec<(Duration, u16)> {
    std::thread::scope(|scope| {
        let client = || {
            let one = || {
                let start = Instant::now();
                let status = get(proxy.web(), "/").status();
                (start.elapsed(), status)
            };
            (0..each).map(|_| one()).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

fn a_silent_endpoint_costs_its_requests_a_second_and_no_more(workers: usize) {
    let is_well = Arc::new(AtomicBool::new(true));
    let endpoints = [moody("a", &is_well, Duration::ZERO), Endpoint::named("b"), Endpoint::named("c")];
    let proxy = balancing(workers, "", &list(&endpoints), "");
    warm(&proxy);
    is_well.store(false, Ordering::SeqCst);
    let at = endpoints[0].at();
    // Other requests go on, so that it is known that the others answer.
    let found = crowd(&proxy, 6, 400);
    assert!(found.iter().all(|(_, status)| *status == 200), "with the default retry none is lost: {found:?}");
    let longest = found.iter().map(|(took, _)| *took).max().unwrap();
    assert!(longest > Duration::from_millis(900) && longest < Duration::from_secs(8), "{longest:?}");
    proxy.wait_log(&format!("endpoint {at} is suspected: no answer for 1"));
    is_well.store(true, Ordering::SeqCst);
    wait_until("it to take part again", || answers(&proxy, 3).contains('a'));
}

fn nothing_is_cut_short_where_all_are_silent_or_the_endpoint_answers_others(workers: usize) {
    let is_well = Arc::new(AtomicBool::new(true));
    let slow = Duration::from_millis(2_500);
    let endpoints = [moody("a", &is_well, slow), moody("b", &is_well, slow)];
    let proxy = balancing(workers, "", &list(&endpoints), "");
    warm(&proxy);
    // A report, while its endpoint answers others.
    std::thread::scope(|scope| {
        let report = scope.spawn(|| get(proxy.web(), "/slow").status());
        while !report.is_finished() {
            get(proxy.web(), "/");
        }
        assert_eq!(report.join().unwrap(), 200);
    });
    let slow: usize =
        endpoints.iter().map(|it| it.messages().iter().filter(|m| m.head.target() == "/slow").count()).sum();
    assert_eq!(slow, 1, "sent once");
    // A database that stands still.
    is_well.store(false, Ordering::SeqCst);
    let before: usize = endpoints.iter().map(Endpoint::requests).sum();
    let found = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| crowd(&proxy, 4, 1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                wait_until("two seconds", || start.elapsed() > Duration::from_secs(2));
                is_well.store(true, Ordering::SeqCst);
            });
        });
        waiting.join().unwrap()
    });
    assert!(found.iter().all(|(took, status)| *status == 200 && *took > Duration::from_millis(1_900)), "{found:?}");
    assert_eq!(endpoints.iter().map(Endpoint::requests).sum::<usize>(), before + 4, "each was sent once");
    assert!(!proxy.log().iter().any(|line| line.contains("suspected")), "{:#?}", proxy.log());
}

fn an_endpoint_that_asks_for_less_is_picked_last_for_as_long_as_it_says(workers: usize) {
    for (status, header) in [(429, ""), (503, "3600"), (429, "3600")] {
        let answer = Arc::new(AtomicU16::new(status));
        let busy = {
            let answer = Arc::clone(&answer);
            Endpoint::answering(move |_| match answer.load(Ordering::SeqCst) {
                200 => text(200, "a"),
                status if header.is_empty() => text(status, "busy"),
                status => text(status, "busy").replacen("\r\n", &format!("\r\nRetry-After: {header}\r\n"), 1),
            })
        };
        let endpoints = [busy, Endpoint::named("b"), Endpoint::named("c")];
        let at = endpoints[0].at();
        let proxy = balancing(workers, "retry = \"off\"", &list(&endpoints), "");
        let statuses: Vec<u16> = (0..12).map(|_| post(proxy.web(), "/", "x").status()).collect();
        assert_eq!(statuses.iter().filter(|&&it| it == status).count(), 1, "{statuses:?}");
        let line = proxy.wait_log(&format!("endpoint {at} cools down for "));
        assert!(line.contains(&format!("it answered {status}")), "{line}");
        let seen = proxy.endpoint("app", &at);
        assert_eq!(seen["state"], "cooling", "{seen}");
        assert!(
            seen["reason"].as_str().unwrap().starts_with(&format!("it answered {status}, cools down for ")),
            "{seen}"
        );
        assert!(seen["outcomes"].as_str().unwrap().contains('b') && seen["wait_s"].is_number(), "{seen}");
        assert_eq!(proxy.metric("lbproxy_ejections_total", &[&at]), 0.0);
        answer.store(200, Ordering::SeqCst);
        if header.is_empty() {
            proxy.wait_log(&format!("endpoint {at} is up: its cool-down is over"));
            wait_until("it to take part again", || answers(&proxy, 3).contains('a'));
        } else {
            assert!(!answers(&proxy, 12).contains('a'));
        }
    }
}
