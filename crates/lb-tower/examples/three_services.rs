//! Three endpoints in one process: one fast, one slow, one that fails. Requests go where answers come from.
//!
//! `cargo run -p lb-tower --example three_services --features http`
#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use lb_core::Clock;
use lb_policy::{Cluster, Member, PeakEwma, Update};
use lb_tower::http::RetryHttp;
use lb_tower::{Balance, Passive, PassiveRule, RetryLayer, TimeoutLayer, system_clock, watch_fn};
use tower::{Service, ServiceBuilder, service_fn};

/// What each endpoint answers, and after how long.
const ENDPOINTS: [(&str, u64, bool); 3] = [("fast:3000", 2, true), ("slow:3000", 20, true), ("broken:3000", 1, false)];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let clock = system_clock();
    let cluster = Cluster::new("app");
    let members = ENDPOINTS.map(|(name, delay_ms, works)| {
        let serve = move |request: Request<String>| async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            if works { Ok(Response::new(format!("{} to you", request.body()))) } else { Err("connection reset") }
        };
        Member::new(name, service_fn(serve))
    });
    cluster.apply(Update::Reset(members.into()), clock.now());

    let watch = watch_fn(|endpoint, what| println!("endpoint {endpoint} is {what}"));
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), watch);
    let balance = Balance::builder(cluster.selector(PeakEwma::default())).events(passive).build();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Some(Duration::from_secs(1))))
        .layer(RetryLayer::new(RetryHttp::new()))
        .service(balance);

    let mut answers = BTreeMap::<String, u32>::new();
    for _ in 0..50 {
        // The stack is always ready: no need to wait for it before a call.
        let calls = (0..8).map(|_| service.clone().call(Request::new(String::from("hello"))));
        for result in join_all(calls).await {
            let from = match result {
                Ok(response) => response.body().served().map_or("nobody".into(), |s| s.name.to_string()),
                Err(error) => error.to_string(),
            };
            *answers.entry(from).or_default() += 1;
        }
    }
    for (from, count) in answers {
        println!("{count:>4} answers from {from}");
    }
}
