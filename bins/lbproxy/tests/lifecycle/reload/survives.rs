//! What was learned before a reload is known after it.

use crate::support::{Client, Endpoint, Proxy, config, get, text, wait_until};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(an_ejection_survives, the_verdict_of_checks_survives, sticky_cookies_keep_their_endpoint,);

fn failing() -> Endpoint {
    Endpoint::answering(|_| text(500, "bad"))
}

fn an_ejection_survives(workers: usize) {
    let (bad, good) = (failing(), Endpoint::named("good"));
    let with = |rest: &str| {
        let passive = "health.passive = { failures = 3, eject_for = \"1h\" }\n";
        config(workers, &app(&[&bad.at(), &good.at()], &format!("{passive}{rest}")))
    };
    let mut proxy = Proxy::start(&with(""));
    wait_until("the ejection", || {
        get(proxy.web(), "/");
        proxy.endpoint("app", &bad.at())["state"] == "ejected"
    });
    let since = proxy.endpoint("app", &bad.at())["since"].clone();
    let before = bad.requests();
    for text in [with("policy = \"least_request\""), with("slow_start = \"10s\""), with("").replace("= 3,", "= 4,")] {
        proxy.reload(&text);
        let now = proxy.endpoint("app", &bad.at());
        assert_eq!((&now["state"], &now["since"]), (&"ejected".into(), &since));
        for _ in 0..8 {
            assert_eq!(get(proxy.web(), "/").text(), "good");
        }
    }
    assert_eq!(bad.requests(), before);
    assert_eq!(proxy.metric("lbproxy_ejections_total", &[]), 1.0);
    // Without the rule there is no verdict.
    proxy.reload(&config(workers, &app(&[&bad.at(), &good.at()], "health.passive = \"off\"")));
    assert_ne!(proxy.endpoint("app", &bad.at())["state"], "ejected");
}

fn the_verdict_of_checks_survives(workers: usize) {
    let (bad, good) = (failing(), Endpoint::named("good"));
    let with = |rest: &str, path: &str| {
        let check = format!("health.active = {{ path = \"{path}\", interval = \"100ms\", rise = 2, fall = 1 }}\n");
        config(workers, &app(&[&bad.at(), &good.at()], &format!("{check}{rest}")))
    };
    let mut proxy = Proxy::start(&with("", "/one"));
    wait_until("the verdict", || proxy.endpoint("app", &bad.at())["state"] == "down");
    for text in [with("policy = \"least_request\"", "/one"), with("", "/two"), with("dns_interval = \"1m\"", "/two")] {
        proxy.reload(&text);
        assert_eq!(proxy.endpoint("app", &bad.at())["state"], "down");
        for _ in 0..8 {
            assert_eq!(get(proxy.web(), "/").text(), "good");
        }
    }
    wait_until("a check by the new rule", || good.messages().iter().any(|message| message.head.target() == "/two"));
    let logged = proxy.log().into_iter().filter(|line| line.contains(&format!("endpoint {} is ", bad.at())));
    assert_eq!(logged.count(), 1, "one transition, one line: {:#?}", proxy.log());
}

fn sticky_cookies_keep_their_endpoint(workers: usize) {
    let endpoints = ["a", "b", "c"].map(Endpoint::named);
    let [a, b, c] = endpoints.each_ref().map(Endpoint::at);
    for secret in ["", ", secret = \"long enough to be a secret\""] {
        let with = |all: &[&str], rest: &str| {
            let sticky = format!("sticky = {{ cookie = \"where\"{secret} }}\n[cluster");
            config(workers, &app(all, rest).replace("[cluster", &sticky))
        };
        let mut proxy = Proxy::start(&with(&[&a, &b, &c], ""));
        let stuck: Vec<_> = (0..3)
            .map(|_| {
                let answer = get(proxy.web(), "/");
                let cookie = answer.header("Set-Cookie").unwrap().split(';').next().unwrap().to_owned();
                (cookie, answer.text())
            })
            .collect();
        let expect_stuck = |proxy: &Proxy| {
            for (cookie, name) in &stuck {
                let answer = Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nCookie: {cookie}"));
                assert_eq!((answer.text(), answer.header("Set-Cookie")), (name.clone(), None));
            }
        };
        expect_stuck(&proxy);
        let new = Endpoint::named("new");
        for text in [with(&[&new.at(), &c, &b, &a], ""), with(&[&c, &a, &b], "policy = \"random\"")] {
            proxy.reload(&text);
            expect_stuck(&proxy);
        }
        if !secret.is_empty() {
            drop(proxy);
            expect_stuck(&Proxy::start(&with(&[&b, &a, &c], "")));
        }
    }
}
