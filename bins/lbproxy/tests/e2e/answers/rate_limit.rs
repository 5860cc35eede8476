//! Rate limits: one and the burst pass at once, the rest get `Retry-After`.

use super::answering;
use crate::support::{Client, Message, Proxy, config, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    one_and_the_burst_pass_and_the_rest_get_retry_after,
    what_is_counted_is_the_routes_to_choose,
    a_client_is_counted_by_its_own_address_behind_a_trusted_proxy,
    limits_of_one_name_share_one_count,
    a_limited_request_reaches_no_endpoint,
    redirects_and_fixed_answers_are_limited_as_well,
    a_header_is_never_taken_for_an_address,
    no_spelling_makes_a_second_quota,
    a_dry_run_counts_and_refuses_nothing,
    exempt_networks_are_not_limited,
    a_burst_is_held_back_to_the_rate,
    several_limits_are_charged_all_or_none,
    listeners_and_clusters_have_limits_too,
    windows_count_whole_periods,
    clients_are_told_what_is_left,
    a_value_of_the_request_chooses_the_quota,
);

/// The cluster refuses: what passes the limit is a 502.
const CLUSTER: &str = "[cluster.app]\nendpoints = [\"127.0.0.1:1\"]\n";

fn statuses(proxy: &Proxy, path: &str, n: usize) -> Vec<u16> {
    // A connection each: with several workers they share one count.
    (0..n).map(|_| get(proxy.web(), path).status()).collect()
}

fn retry_after(answer: &Message) -> u64 {
    answer.header("Retry-After").expect("it says when").parse().expect("whole seconds")
}

fn one_and_the_burst_pass_and_the_rest_get_retry_after(workers: usize) {
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\nname = \"slow\"\npath = \"/slow\"\ncluster = \"app\"\nrate_limit = {{ rate = \"1/m\", burst = 4 }}\n\
             [[route]]\nname = \"quick\"\npath = \"/quick\"\ncluster = \"app\"\nrate_limit = {{ rate = \"20/s\" }}\n\
             [[route]]\nname = \"other\"\npath = \"/other\"\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\", status = 503 }}\n\
             {CLUSTER}"
        ),
    );
    assert_eq!(statuses(&proxy, "/slow", 8), [502, 502, 502, 502, 502, 429, 429, 429]);
    let answer = get(proxy.web(), "/slow");
    assert!((1..=60).contains(&retry_after(&answer)), "{answer:?}");
    assert!(answer.text().contains("request_id"), "{}", answer.text());
    let line = proxy.wait_log("limiting requests ");
    assert!(line.contains("client=127.0.0.1") && line.contains("route=slow"), "{line}");
    let logged = proxy.wait_access(|line| line["status"] == 429);
    assert_eq!(
        (&logged["cause"], &logged["attempts"], &logged["route"]),
        (&"rate_limited".into(), &0.into(), &"slow".into())
    );
    assert_eq!(proxy.metric("lbproxy_rate_limited_total", &["slow"]), 4.0);

    // Five refusals a few milliseconds apart, and one line a second.
    for _ in 0..50 {
        assert_eq!(get(proxy.web(), "/slow").status(), 429);
    }
    let seconds: std::collections::BTreeSet<_> =
        proxy.log().iter().filter(|line| line.contains("limiting")).map(|line| line[..19].to_owned()).collect();
    let lines = proxy.log().iter().filter(|line| line.contains("limiting requests")).count();
    assert!(lines <= seconds.len() + 1, "{lines} lines in {} seconds", seconds.len());

    // A rate of twenty a second lets another one pass soon, and says a second at least.
    assert_eq!(get(proxy.web(), "/quick").status(), 502);
    let refused = get(proxy.web(), "/quick");
    if refused.status() == 429 {
        assert_eq!(retry_after(&refused), 1);
    }
    wait_until("the next one to pass", || get(proxy.web(), "/quick").status() == 502);
    assert_eq!(statuses(&proxy, "/other", 2), [502, 503]);
}

fn what_is_counted_is_the_routes_to_choose(workers: usize) {
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\", key = \"{{header:x-api-key}}\" }}\n{CLUSTER}"
        ),
    );
    let ask = |key: &str| Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nX-Api-Key: {key}")).status();
    assert_eq!(["a", "b", "a", "b", "c"].map(ask), [502, 502, 429, 429, 502]);
}

fn a_client_is_counted_by_its_own_address_behind_a_trusted_proxy(workers: usize) {
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\nname = \"main\"\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\" }}\n{CLUSTER}\
             [[listener]]\nname = \"behind\"\naddress = \"127.0.0.2:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n"
        ),
    );
    let ask = |listener: &str, client: &str| {
        let request = format!("GET / HTTP/1.1\nX-Forwarded-For: {client}");
        Client::connect(proxy.listener(listener)).ask(&request).status()
    };
    assert_eq!(["203.0.113.1", "203.0.113.2", "203.0.113.1"].map(|client| ask("behind", client)), [502, 502, 429]);
    // IPv6 by /64: one subscriber has as many addresses as he likes.
    assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|client| ask("behind", client)), [502, 429, 502]);
    // A stranger cannot choose what it is counted by.
    assert_eq!(["203.0.113.7", "203.0.113.8"].map(|client| ask("web", client)), [502, 429]);
    proxy.wait_log("limiting requests client=203.0.113.1 route=main");
}

fn limits_of_one_name_share_one_count(workers: usize) {
    let limit = "rate_limit = { rate = \"1/h\", burst = 2, name = \"shared\" }";
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\npath = \"/a\"\ncluster = \"app\"\n{limit}\n[[route]]\npath = \"/b\"\ncluster = \"app\"\n{limit}\n\
             [[route]]\npath = \"/c\"\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\" }}\n{CLUSTER}"
        ),
    );
    let seen = ["/a", "/b", "/a", "/b", "/c"].map(|path| get(proxy.web(), path).status());
    assert_eq!(seen, [502, 502, 502, 429, 502]);
}

fn a_limited_request_reaches_no_endpoint(workers: usize) {
    let endpoint = crate::support::Endpoint::named("ok");
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\" }}\n[cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    );
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").status(), 200);
    // The connection goes on, also past a discarded body.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.answer("POST").status(), 429);
    assert_eq!(client.get("/").status(), 429);
    assert_eq!((endpoint.connections(), endpoint.requests()), (1, 1));
}

fn redirects_and_fixed_answers_are_limited_as_well(workers: usize) {
    let limit = "rate_limit = { rate = \"1/m\" }";
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\nname = \"said\"\npath = \"/said\"\nrespond = {{ body = \"ok\" }}\n{limit}\n\
             [[route]]\npath = \"/moved\"\nredirect = {{ to = \"/there\" }}\n{limit}\n"
        ),
    );
    assert_eq!(statuses(&proxy, "/said", 4), [200, 429, 429, 429]);
    assert_eq!(statuses(&proxy, "/moved", 4), [308, 429, 429, 429]);
    assert!((1..=60).contains(&retry_after(&get(proxy.web(), "/said"))));
    let logged = proxy.wait_access(|line| line["status"] == 429 && line["path"] == "/moved");
    assert_eq!((&logged["cause"], &logged["route"]), (&"rate_limited".into(), &"/moved".into()));
    assert_eq!(proxy.metric("lbproxy_rate_limited_total", &["said"]), 4.0);
}

/// Clients behind a proxy that names them, counted by this key; the statuses of their requests, one after the other.
fn counted(workers: usize, key: &str, requests: &[(&str, &str)]) -> Vec<u16> {
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\", key = \"{key}\" }}\n{CLUSTER}\
             [[listener]]\nname = \"behind\"\naddress = \"127.0.0.2:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n"
        ),
    );
    let ask = |(client, request): &(&str, &str)| {
        let request = format!("{request}\nX-Forwarded-For: {client}");
        Client::connect(proxy.listener("behind")).ask(&request).status()
    };
    requests.iter().map(ask).collect()
}

fn a_header_is_never_taken_for_an_address(workers: usize) {
    // The octets of 65.66.67.68 as a header of another client, and of an IPv6 network's first eight.
    let seen = counted(
        workers,
        "{header:x-api-key}",
        &[
            ("192.0.2.1", "GET / HTTP/1.1\nX-Api-Key: ABCD"),
            ("65.66.67.68", "GET / HTTP/1.1"),
            ("192.0.2.1", "GET / HTTP/1.1\nX-Api-Key: ABCDEFGH"),
            ("4142:4344:4546:4748::1", "GET / HTTP/1.1"),
            ("4142:4344:4546:4748::2", "GET / HTTP/1.1"),
        ],
    );
    assert_eq!(seen, [502, 502, 502, 502, 429]);
    let seen = counted(
        workers,
        "{header:x-a}{header:x-b}",
        &[("192.0.2.1", "GET / HTTP/1.1\nX-A: xy"), ("192.0.2.1", "GET / HTTP/1.1\nX-A: x\nX-B: y")],
    );
    assert_eq!(seen, [502, 502]);
}

fn no_spelling_makes_a_second_quota(workers: usize) {
    let paths = ["/rl/a", "//rl/a", "/rl//a", "/rl/%61", "/rl/./a", "/rl/b"];
    let requests = paths.map(|path| ("192.0.2.1", format!("GET {path} HTTP/1.1")));
    let requests: Vec<_> = requests.iter().map(|(client, request)| (*client, request.as_str())).collect();
    assert_eq!(counted(workers, "{client_ip} {path}", &requests), [502, 429, 429, 429, 429, 502]);
    // One IPv6 subscriber has as many addresses as it likes, also beside a path.
    let clients = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"];
    let requests = clients.map(|client| (client, "GET /a HTTP/1.1"));
    assert_eq!(counted(workers, "{client_ip}{path}", &requests), [502, 429, 429, 502]);
    let hosts = ["h", "H", "h.", "h.:80", "i"].map(|host| format!("GET / HTTP/1.1\nHost: {host}"));
    let requests: Vec<_> = hosts.iter().map(|request| ("192.0.2.1", request.as_str())).collect();
    assert_eq!(counted(workers, "{host}", &requests), [502, 429, 429, 429, 502]);
}

fn a_dry_run_counts_and_refuses_nothing(workers: usize) {
    let limit = "rate_limit = { rate = \"1/h\", burst = 1, dry_run = true, memory = \"4KiB\" }";
    let proxy = answering(workers, &format!("[[route]]\nname = \"dark\"\ncluster = \"app\"\n{limit}\n{CLUSTER}"));
    assert_eq!(statuses(&proxy, "/", 5), [502; 5]);
    assert_eq!(proxy.metric("lbproxy_rate_limit_would_refuse_total", &["dark"]), 3.0);
    assert_eq!(proxy.metric("lbproxy_rate_limit_passed_total", &["dark"]), 2.0);
    assert_eq!(proxy.metric("lbproxy_rate_limited_total", &["dark"]), 0.0);
    let line = proxy.wait_log("would limit requests ");
    assert!(line.contains("client=127.0.0.1") && line.contains("route=dark"), "{line}");
    let status = &proxy.status()["rate_limits"]["dark"];
    assert_eq!(
        (&status["keys"], &status["evicted"], &status["crowded"]),
        (&1.into(), &0.into(), &0.into()),
        "{status}"
    );
}

fn exempt_networks_are_not_limited(workers: usize) {
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\", exempt = [\"203.0.113.0/24\", \"2001:db8::/32\"] }}\n\
             {CLUSTER}[[listener]]\nname = \"behind\"\naddress = \"127.0.0.2:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n"
        ),
    );
    let ask = |client: &str| {
        let request = format!("GET / HTTP/1.1\nX-Forwarded-For: {client}");
        Client::connect(proxy.listener("behind")).ask(&request).status()
    };
    let clients = ["203.0.113.1", "203.0.113.1", "2001:db8::1", "2001:db8::1", "198.51.100.1", "198.51.100.1"];
    assert_eq!(clients.map(ask), [502, 502, 502, 502, 502, 429]);
}

fn a_burst_is_held_back_to_the_rate(workers: usize) {
    let limit = "rate_limit = { rate = \"10/s\", burst = 4, delay = 1 }";
    let proxy = answering(workers, &format!("[[route]]\nname = \"even\"\ncluster = \"app\"\n{limit}\n{CLUSTER}"));
    let start = std::time::Instant::now();
    // Connected before the first of them asks, so that they come at once.
    let clients: Vec<Client> = (0..6).map(|_| Client::connect(proxy.web())).collect();
    let threads: Vec<_> =
        clients.into_iter().map(|mut client| std::thread::spawn(move || client.get("/").status())).collect();
    let mut statuses: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let took = start.elapsed();
    statuses.sort_unstable();
    // Two at once, and three a tenth of a second apart; the sixth may have come late enough to pass as well.
    assert!([[429, 502, 502, 502, 502, 502], [502; 6]].contains(statuses.first_chunk().unwrap()), "{statuses:?}");
    let delayed = proxy.metric("lbproxy_rate_limit_delayed_total", &["even"]);
    // Timers and the limiter's clock count in steps of their own, well below a tenth of the interval.
    let least = std::time::Duration::from_millis(100 * delayed as u64).mul_f64(0.9);
    assert!(took >= least, "{delayed} were held back, and all was over after {took:?}: {statuses:?}");
    assert!((1.0..=4.0).contains(&delayed), "{delayed}");
}

fn several_limits_are_charged_all_or_none(workers: usize) {
    // Two an hour for each key, and four an hour for all of them.
    let route = |name: &str, action: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\n{action}\nrate_limit = [{{ rate = \"1/h\", burst = 1, key = \"{{header:x-key}}\", memory = \"4KiB\" }}, \
             {{ rate = \"1/h\", burst = 3, status = 503, memory = \"4KiB\" }}, {{ rate = \"1/h\", dry_run = true }}]\n"
        )
    };
    let routes = [
        route("app", "cluster = \"app\""),
        route("said", "respond = { status = 200, body = \"ok\" }"),
        route("moved", "redirect = { to = \"/x\", status = 308 }"),
    ];
    let proxy = answering(workers, &format!("{}{CLUSTER}", routes.concat()));
    for (path, passes) in [("app", 502), ("said", 200), ("moved", 308)] {
        let ask = |key: &str| Client::connect(proxy.web()).ask(&format!("GET /{path} HTTP/1.1\nX-Key: {key}")).status();
        // What the first limit refuses is not charged to the second one.
        assert_eq!(["a", "a", "a", "a", "a"].map(ask), [passes, passes, 429, 429, 429], "{path}");
        assert_eq!(["b", "c", "d", "b"].map(ask), [passes, passes, 503, 503], "{path}");
        // Nor the other way round: `b` and `c` have one left each, `d` both, which nobody can use for now.
        let metric = |name: &str| proxy.metric(&format!("lbproxy_rate_limit{name}_total"), &[path]);
        assert_eq!([metric("ed"), metric("_passed"), metric("_would_refuse")], [5.0, 1.0, 3.0], "{path}");
    }
    let limits = proxy.status()["rate_limits"].clone();
    assert_eq!(
        (&limits["said#1"], &limits["said"]["keys"], &limits["said#2"]["keys"]),
        (&().into(), &3.into(), &1.into()),
        "{limits}"
    );
}

fn listeners_and_clusters_have_limits_too(workers: usize) {
    let all = format!(
        "[[route]]\nname = \"a\"\npath = \"/a\"\ncluster = \"app\"\n[[route]]\nname = \"b\"\npath = \"/b\"\ncluster = \"app\"\n\
         [[route]]\nname = \"said\"\npath = \"/said\"\nrespond = {{ body = \"ok\" }}\nrate_limit = {{ rate = \"1/h\", burst = 9, name = \"shared\" }}\n\
         {CLUSTER}rate_limit = {{ rate = \"1/h\", burst = 2 }}\n\
         [[listener]]\nname = \"limited\"\naddress = \"127.0.0.2:0\"\nrate_limit = {{ rate = \"1/h\", burst = 4 }}\n\
         [[listener]]\nname = \"shared\"\naddress = \"127.0.0.3:0\"\nrate_limit = {{ rate = \"1/h\", burst = 9, name = \"shared\" }}\n"
    );
    let proxy = answering(workers, &all);
    let ask = |listener: &str, path: &str| get(proxy.listener(listener), path).status();
    // The cluster's three, whatever route and listener they come by.
    let seen = [("web", "/a"), ("web", "/b"), ("limited", "/a"), ("web", "/a"), ("web", "/said"), ("web", "/none")];
    assert_eq!(seen.map(|(listener, path)| ask(listener, path)), [502, 502, 502, 429, 200, 404]);
    // The listener's five: one was for the cluster, and what the cluster refuses does not count.
    assert_eq!(ask("limited", "/b"), 429);
    let paths = ["/none", "/said", "/none", "/said", "/none", "/said", "/b"];
    assert_eq!(paths.map(|path| ask("limited", path)), [404, 200, 404, 200, 429, 429, 429]);
    assert_eq!(proxy.metric("lbproxy_rate_limited_total", &["limited", "route=\"\""]), 1.0);
    // A client has a line a second, whatever limit it is.
    wait_until("a line of the listener's limit", || {
        assert_eq!(ask("limited", "/none"), 429);
        proxy
            .log()
            .iter()
            .any(|line| line.contains("limiting requests client=127.0.0.1 route=limited limit=listener:limited"))
    });
    // The same limit on both counts a request once: three are used, seven are left.
    let left = (0..8).map(|_| ask("shared", "/said")).collect::<Vec<_>>();
    assert_eq!(left, [200, 200, 200, 200, 200, 200, 200, 429]);
}

fn windows_count_whole_periods(workers: usize) {
    let route = |name: &str, limit: &str| {
        format!(
            "[[route]]\npath = \"/{name}\"\ncluster = \"app\"\nrate_limit = {{ {limit}, algorithm = \"{name}\" }}\n"
        )
    };
    let (sliding, fixed) = (route("sliding_window", "rate = \"3/h\""), route("fixed_window", "rate = \"3/365d\""));
    let mut proxy = answering(workers, &format!("{sliding}{fixed}{CLUSTER}"));
    for path in ["/sliding_window", "/fixed_window"] {
        assert_eq!(statuses(&proxy, path, 5), [502, 502, 502, 429, 429], "{path}");
        assert!((1..=365 * 86_400).contains(&retry_after(&get(proxy.web(), path))));
    }
    // A reload keeps what was counted, also under another limit.
    let wider = config(workers, &format!("{}{fixed}{CLUSTER}", sliding.replace("3/h", "5/h")));
    proxy.reload(&wider);
    assert_eq!(statuses(&proxy, "/sliding_window", 3), [502, 502, 429]);
    assert_eq!(statuses(&proxy, "/fixed_window", 1), [429]);
}

fn clients_are_told_what_is_left(workers: usize) {
    let endpoint = crate::support::Endpoint::answering(|_| {
        "HTTP/1.1 200 OK\r\nRateLimit: \"inner\";r=1;t=1\r\nX-RateLimit-Limit: 7\r\nContent-Length: 0\r\n\r\n".into()
    });
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\nname = \"api\"\ncluster = \"app\"\nrate_limit = [{{ rate = \"1/h\", burst = 1, headers = \"both\" }}, \
             {{ rate = \"9/h\", algorithm = \"fixed_window\", headers = true }}, {{ rate = \"1/s\", burst = 99 }}]\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    );
    let first = get(proxy.web(), "/");
    assert_eq!(first.header("RateLimit-Policy"), Some("\"api\";q=2;w=7200, \"api#2\";q=9;w=3600"));
    let told = first.head.all("RateLimit").join(", ");
    assert!(told.contains("\"inner\";r=1;t=1") && told.contains("\"api\";r=1;t=3600, \"api#2\";r=8;t="), "{told}");
    assert_eq!((first.head.all("X-RateLimit-Limit"), first.header("X-RateLimit-Remaining")), (vec!["2"], Some("1")));
    assert_eq!(first.header("X-RateLimit-Reset"), Some("3600"));
    let _ = get(proxy.web(), "/");
    let refused = get(proxy.web(), "/");
    assert_eq!((refused.status(), refused.header("X-RateLimit-Remaining")), (429, Some("0")));
    let told = refused.header("RateLimit").unwrap();
    assert!(told.starts_with("\"api\";r=0;t=7") && told.contains(", \"api#2\";r=7;t="), "{told}");
}

fn a_value_of_the_request_chooses_the_quota(workers: usize) {
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\nname = \"api\"\ncluster = \"app\"\nrate_limit = {{ rate = \"1/h\", key = \"{{header:x-key}}\", memory = \"4KiB\", \
             quotas = {{ \"{{header:x-plan}}\" = {{ pro = {{ rate = \"1/h\", burst = 2 }}, free = \"1/d\" }} }} }}\n{CLUSTER}"
        ),
    );
    let ask = |key: &str, plan: &str| {
        Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nX-Key: {key}\nX-Plan: {plan}")).status()
    };
    assert_eq!((0..5).map(|_| ask("a", "pro")).collect::<Vec<_>>(), [502, 502, 502, 429, 429]);
    assert_eq!([ask("b", "free"), ask("b", "free"), ask("c", "other"), ask("c", "other")], [502, 429, 502, 429]);
    let limits = proxy.status()["rate_limits"].clone();
    assert_eq!((&limits["api[pro]"]["keys"], &limits["api"]["keys"]), (&1.into(), &1.into()), "{limits}");
    // The heaviest key, of which only a hash is known.
    assert!(limits["api"]["top"].is_null());
    let page: serde_json::Value = serde_json::from_str(&proxy.ask_admin("/status?top").text()).unwrap();
    let [top] = page["rate_limits"]["api[pro]"]["top"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!((&top["refused"], top["key"].as_str().unwrap().len()), (&true.into(), 16), "{top}");
    let left = top["full_after_s"].as_f64().unwrap();
    assert!((3.0 * 3_600.0 - 60.0..=3.0 * 3_600.0).contains(&left), "{top}");
}
