//! Sources under supervision, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod script;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_discovery::{
    Dns, EndpointSink, Failure, Found, Lookup, Resolver, Source, SourceFuture, Sources, StaticList, SystemLookup,
};
use script::{Script, lock, show, start};
use tokio::time::Instant;

/// Names, each looked up every ten seconds.
fn names(script: &Script, cluster: &str, names: &[&str]) -> Sources {
    let resolver = Resolver::new(script.clone());
    names.iter().fold(Sources::new(cluster), |sources, name| {
        let (host, port) = name.rsplit_once(':').unwrap();
        sources.with(Dns::new(&resolver, *name, host, port.parse().unwrap(), Duration::from_secs(10)))
    })
}

fn list(name: &str, addresses: &[&str]) -> StaticList {
    StaticList::new(name, addresses.iter().map(|address| Found::at(address.parse().unwrap())))
}

#[tokio::test(start_paused = true)]
async fn static_lists_are_known_at_once() {
    let (discovery, mut seen) = start();
    let known = discovery.apply(vec![
        Sources::new("c").with(list("b", &["10.0.0.2:80", "10.0.0.1:80"])).with(list("a", &["[::1]:80"])),
        Sources::new("d"),
    ]);
    assert_eq!(show(known[0].found()), "10.0.0.1:80@10.0.0.1:80 10.0.0.2:80@10.0.0.2:80 [::1]:80@[::1]:80");
    assert_eq!((&*known[1].cluster, known[1].found().count()), ("d", 0));
    assert!(discovery.first_round(Duration::ZERO).await);
    let known = discovery.apply(vec![Sources::new("c").with(list("a", &["[::2]:80"]))]);
    assert_eq!(show(known[0].found()), "[::2]:80@[::2]:80");
    assert!(seen.lists.try_recv().is_err(), "nothing comes later");
}

#[tokio::test(start_paused = true)]
async fn every_record_is_an_endpoint_sorted_and_once() {
    let script = Script::default();
    script.answer("app", &[Some(&["2001:db8::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"])]);
    let (discovery, mut seen) = start();
    let known = discovery.apply(vec![names(&script, "c", &["app:81", "app:80", "app:81"])]);
    assert_eq!(known[0].found().count(), 0, "unresolved is an ordinary state");
    assert!(discovery.first_round(Duration::from_secs(1)).await);
    assert_eq!(
        seen.next().await,
        "c: app:81@10.0.0.1:81 app:81@10.0.0.2:81 app:81@[2001:db8::1]:81 \
         app:80@10.0.0.1:80 app:80@10.0.0.2:80 app:80@[2001:db8::1]:80",
        "both answers in one change"
    );
    assert_eq!(script.asked("app").len(), 2, "the same name twice is one lookup");
}

#[tokio::test(start_paused = true)]
async fn only_changes_are_published_and_the_order_of_records_is_none() {
    let script = Script::default();
    let (ab, ba): (&[_], &[_]) = (&["10.0.0.1", "10.0.0.2"], &["10.0.0.2", "10.0.0.1"]);
    script.answer("app", &[Some(ab), Some(ba), Some(ab), Some(&["10.0.0.3"])]);
    let (discovery, mut seen) = start();
    discovery.apply(vec![names(&script, "c", &["app:80"])]);
    let began = Instant::now();
    assert_eq!(seen.next().await, "c: app:80@10.0.0.1:80 app:80@10.0.0.2:80");
    assert_eq!(seen.next().await, "c: app:80@10.0.0.3:80");
    // Three intervals of 10 s, each up to a tenth shorter.
    let took = began.elapsed().as_secs_f64();
    assert!((27.0..=30.1).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn the_last_good_list_outlives_failures_and_retries_come_sooner() {
    let script = Script::default();
    script.answer("app", &[Some(&["10.0.0.1"]), None, None, Some(&[]), None, None, None, Some(&["10.0.0.2"])]);
    let (discovery, mut seen) = start();
    discovery.apply(vec![names(&script, "c", &["app:80"])]);
    assert_eq!(seen.next().await, "c: app:80@10.0.0.1:80");
    assert_eq!(seen.next().await, "c: app:80@10.0.0.2:80", "nothing published in between");
    let asked = script.asked("app");
    let waits: Vec<f64> = asked.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect();
    let planned = [10.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0];
    assert_eq!(waits.len(), planned.len());
    for (wait, planned) in waits.iter().zip(planned) {
        assert!((planned * 0.9..=planned + 0.01).contains(wait), "{waits:?}");
    }
    let lines: Vec<_> = std::iter::from_fn(|| seen.line()).collect();
    assert_eq!(
        lines,
        [
            "c app:80=app:80@10.0.0.1:80",
            "c app:80: no such name, kept app:80@10.0.0.1:80",
            "c app:80=app:80@10.0.0.2:80"
        ],
        "transitions only"
    );
}

#[tokio::test(start_paused = true)]
async fn reports_give_age_and_failures() {
    let script = Script::default();
    script.answer("app", &[Some(&["10.0.0.1", "10.0.0.2"]), None]);
    let (discovery, mut seen) = start();
    discovery.apply(vec![names(&script, "c", &["app:80"])]);
    seen.next().await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let reports = discovery.reports();
    let report = &reports[0];
    assert_eq!((&*report.cluster, &*report.source, report.endpoints), ("c", "app:80", 2));
    assert_eq!(report.why, Some(Failure::Unanswered("no such name".to_owned())));
    assert!(report.failures >= 1 && report.age.unwrap() >= Duration::from_secs(11), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_hangs_is_given_up_and_delays_no_other() {
    let script = Script::default();
    script.answer("quick", &[Some(&["10.0.0.1"])]);
    let (discovery, mut seen) = start();
    discovery.apply(vec![names(&script, "c", &["hangs:80", "quick:80"])]);
    assert_eq!(seen.next().await, "c: quick:80@10.0.0.1:80");
    assert!(!discovery.first_round(Duration::from_secs(5)).await, "still waiting for the one that hangs");
    assert!(discovery.first_round(Duration::from_secs(10)).await);
    script.answer("hangs", &[Some(&["10.0.0.9"])]);
    assert_eq!(seen.next().await, "c: hangs:80@10.0.0.9:80 quick:80@10.0.0.1:80");
}

#[tokio::test(start_paused = true)]
async fn a_change_keeps_lists_and_schedule_of_what_stays() {
    let script = Script::default();
    for name in ["a", "b", "c"] {
        script.answer(name, &[Some(&["10.0.0.1"])]);
    }
    let (discovery, mut seen) = start();
    let same = || names(&script, "same", &["a:80"]);
    discovery.apply(vec![same(), names(&script, "grows", &["b:80"]), names(&script, "goes", &["c:80"])]);
    for _ in 0..3 {
        seen.next().await;
    }
    let known = discovery.apply(vec![names(&script, "grows", &["c:80", "b:80"]), same()]);
    assert_eq!(show(known[0].found()), "b:80@10.0.0.1:80", "a name's list stays with its cluster");
    assert_eq!(show(known[1].found()), "a:80@10.0.0.1:80");
    assert_eq!(seen.next().await, "grows: c:80@10.0.0.1:80 b:80@10.0.0.1:80");
    assert_eq!((script.asked("a").len(), script.asked("b").len()), (1, 1), "what stays is not asked again");
    let known = discovery.apply(vec![Sources::new("same").with(Dns::new(
        &Resolver::new(script.clone()),
        "a:80",
        "a",
        80,
        Duration::from_secs(99),
    ))]);
    assert_eq!(show(known[0].found()), "a:80@10.0.0.1:80", "another interval takes over the list");
    assert!(discovery.first_round(Duration::ZERO).await, "and is not waited for");
    discovery.apply(Vec::new());
    let asked = lock(&script.0).asked.len();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(lock(&script.0).asked.len(), asked, "what is gone is not looked up");
    assert!(seen.lists.try_recv().is_err());
    assert!(discovery.first_round(Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn names_taken_away_before_their_first_answer_are_not_waited_for() {
    let script = Script::default();
    let (discovery, _seen) = start();
    discovery.apply(vec![names(&script, "c", &["hangs:80"])]);
    discovery.apply(vec![Sources::new("c").with(list("l", &["10.0.0.1:80"]))]);
    assert!(discovery.first_round(Duration::ZERO).await);
}

/// Panics, ends, and reports, in turns; from a task of its own once it reports.
struct Shaky(Mutex<u32>);

impl Source for Shaky {
    fn name(&self) -> Arc<str> {
        "shaky".into()
    }

    fn run(self: Arc<Self>, sink: EndpointSink) -> SourceFuture {
        let turn = *lock(&self.0);
        *lock(&self.0) += 1;
        Box::pin(async move {
            match turn {
                0 => panic!("the first turn"),
                1 => {}
                _ => {
                    tokio::spawn(async move {
                        sink.set(vec![Found::at("10.0.0.7:80".parse().unwrap())]);
                    });
                    std::future::pending::<()>().await;
                }
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_or_ends_is_started_again_and_disturbs_no_other() {
    let script = Script::default();
    script.answer("app", &[Some(&["10.0.0.1"])]);
    let (discovery, mut seen) = start();
    let began = Instant::now();
    discovery.apply(vec![Sources::new("c").with(Shaky(Mutex::default())), names(&script, "d", &["app:80"])]);
    assert!(discovery.first_round(Duration::from_secs(1)).await, "a panic is a failure to report");
    assert_eq!(seen.next().await, "d: app:80@10.0.0.1:80");
    assert_eq!(discovery.reports()[0].why, Some(Failure::Local("the source has panicked".to_owned())));
    assert_eq!(seen.next().await, "c: 10.0.0.7:80@10.0.0.7:80");
    let took = began.elapsed().as_secs_f64();
    assert!((2.7..=3.1).contains(&took), "after 1 s and 2 s, each up to a tenth shorter: {took}");
}

#[tokio::test]
async fn the_system_resolves_localhost() {
    let addresses = SystemLookup.lookup("localhost", 80).await.unwrap();
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{addresses:?}");
    assert!(!addresses.is_empty());
}
