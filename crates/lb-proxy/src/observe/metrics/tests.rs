use super::*;
use crate::observe::status::{ClusterStatus, EndpointStatus, QueueStatus, RateLimitStatus, State, Status};

const MS: Duration = Duration::from_millis(1);

/// The value of the one sample that begins like this.
fn sample(text: &str, begins: &str) -> Option<f64> {
    let mut hits = text.lines().filter_map(|line| line.strip_prefix(begins)?.strip_prefix(' '));
    let value = hits.next()?.parse().unwrap();
    assert_eq!(hits.next(), None, "{begins} twice");
    Some(value)
}

fn requests(text: &str, route: &str, endpoint: &str, code: u16) -> Option<f64> {
    let labels = format!(r#"listener="web",route="{route}",cluster="n8n",endpoint="{endpoint}",code="{code}""#);
    sample(text, &format!("lbproxy_requests_total{{{labels}}}"))
}

#[test]
fn a_request_shows_under_all_its_labels() {
    let metrics = Arc::new(Metrics::new(2));
    let mut series = metrics.series();
    let (a, b) = (series.endpoint("n8n", "a:1"), series.endpoint("n8n", "b:1"));
    let web = series.listener("web");
    let api = series.route("web", "api", Some("n8n"), &[Arc::clone(&a), Arc::clone(&b)]);
    let none = series.route("web", "", None, &[]);
    series.publish(3);
    web.on_connect();
    web.on_connect();
    web.on_disconnect();
    api.on_request(Some(&a), 200, MS);
    api.on_request(Some(&a), 200, MS);
    api.on_request(Some(&b), 503, 2 * MS);
    api.on_request(None, 429, MS);
    none.on_request(None, 404, Duration::ZERO);
    api.on_retry();
    api.on_rate_limited();
    (0..4).for_each(|_| api.on_rate_limit_passed());
    (0..3).for_each(|_| api.on_rate_delayed());
    (0..2).for_each(|_| api.on_rate_would_limit());
    a.on_head(MS);
    a.on_check(true);
    a.on_check(false);
    a.on_check(false);
    b.on_ejection();
    metrics.on_panic();
    metrics.access_log_dropped().fetch_add(4, Ordering::Relaxed);
    let logins = RateLimitStatus { name: "logins".into(), keys: 7, max_keys: 8, evicted: 5, crowded: 6, top: None };
    let text = metrics.encode(&Status { rate_limits: vec![logins], ..Status::default() });
    assert_eq!(requests(&text, "api", "a:1", 200), Some(2.0), "{text}");
    assert_eq!(requests(&text, "api", "b:1", 503), Some(1.0));
    assert_eq!(requests(&text, "api", "b:1", 200), None);
    assert_eq!(requests(&text, "api", "", 429), Some(1.0));
    for (begins, value) in [
        (r#"lbproxy_requests_total{listener="web",route="",cluster="",endpoint="",code="404"}"#, 1.0),
        (r#"lbproxy_request_duration_seconds_count{listener="web",route="api"}"#, 4.0),
        (r#"lbproxy_request_duration_seconds_sum{listener="web",route="api"}"#, 0.005),
        (r#"lbproxy_request_duration_seconds_bucket{le="0.001",listener="web",route="api"}"#, 3.0),
        (r#"lbproxy_request_duration_seconds_bucket{le="0.0025",listener="web",route="api"}"#, 4.0),
        (r#"lbproxy_request_duration_seconds_bucket{le="+Inf",listener="web",route="api"}"#, 4.0),
        (r#"lbproxy_endpoint_duration_seconds_count{cluster="n8n",endpoint="a:1"}"#, 1.0),
        (r#"lbproxy_endpoint_duration_seconds_count{cluster="n8n",endpoint="b:1"}"#, 0.0),
        (r#"lbproxy_connections{listener="web"}"#, 1.0),
        (r#"lbproxy_retries_total{listener="web",route="api"}"#, 1.0),
        (r#"lbproxy_rate_limited_total{listener="web",route="api"}"#, 1.0),
        (r#"lbproxy_checks_total{cluster="n8n",endpoint="a:1",result="pass"}"#, 1.0),
        (r#"lbproxy_checks_total{cluster="n8n",endpoint="a:1",result="fail"}"#, 2.0),
        (r#"lbproxy_ejections_total{cluster="n8n",endpoint="b:1"}"#, 1.0),
        ("lbproxy_config_generation", 3.0),
        ("lbproxy_panics_total", 1.0),
        (r#"lbproxy_rate_limit_passed_total{listener="web",route="api"}"#, 4.0),
        (r#"lbproxy_rate_limit_delayed_total{listener="web",route="api"}"#, 3.0),
        (r#"lbproxy_rate_limit_would_refuse_total{listener="web",route="api"}"#, 2.0),
        (r#"lbproxy_rate_limit_evicted_total{limit="logins"}"#, 5.0),
        (r#"lbproxy_rate_limit_crowded_total{limit="logins"}"#, 6.0),
        (r#"lbproxy_rate_limit_keys{limit="logins"}"#, 7.0),
        (r#"lbproxy_rate_limit_keys_max{limit="logins"}"#, 8.0),
        ("lbproxy_access_log_dropped_total", 4.0),
    ] {
        assert_eq!(sample(&text, begins), Some(value), "{begins} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_reload_keeps_survivors_counting_and_forgets_the_rest() {
    let metrics = Arc::new(Metrics::new(1));
    let mut series = metrics.series();
    let (a, b) = (series.endpoint("n8n", "a:1"), series.endpoint("n8n", "b:1"));
    let old = series.route("web", "api", Some("n8n"), &[Arc::clone(&a), Arc::clone(&b)]);
    let gone = series.route("web", "gone", Some("n8n"), &[Arc::clone(&a)]);
    series.publish(1);
    old.on_request(Some(&b), 200, MS);
    gone.on_request(Some(&a), 200, MS);

    let mut series = metrics.series();
    let (c, b2) = (series.endpoint("n8n", "c:1"), series.endpoint("n8n", "b:1"));
    assert!(Arc::ptr_eq(&b, &b2));
    let new = series.route("web", "api", Some("n8n"), &[Arc::clone(&c), Arc::clone(&b2)]);
    assert!(metrics.encode(&Status::default()).contains("gone"), "nothing changes before publication");
    series.publish(2);
    new.on_request(Some(&b2), 200, MS);
    // A request that still holds the old snapshot.
    old.on_request(Some(&b), 200, MS);
    old.on_request(Some(&a), 200, MS);
    new.on_request(Some(&c), 201, MS);
    let text = metrics.encode(&Status::default());
    assert_eq!(requests(&text, "api", "b:1", 200), Some(3.0));
    assert_eq!(requests(&text, "api", "c:1", 201), Some(1.0));
    assert!(!text.contains("a:1") && !text.contains("gone"), "{text}");
    assert_eq!(sample(&text, r#"lbproxy_request_duration_seconds_count{listener="web",route="api"}"#), Some(5.0));
}

#[test]
fn the_first_answer_may_come_through_an_old_handle() {
    let metrics = Arc::new(Metrics::new(1));
    let mut series = metrics.series();
    let a = series.endpoint("n8n", "a:1");
    let old = series.route("web", "api", Some("n8n"), &[Arc::clone(&a)]);
    series.publish(1);
    let mut series = metrics.series();
    series.endpoint("n8n", "a:1");
    series.route("web", "api", Some("n8n"), &[Arc::clone(&a)]);
    series.publish(2);
    old.on_request(Some(&a), 200, MS);
    old.on_request(None, 503, MS);
    let text = metrics.encode(&Status::default());
    assert_eq!(requests(&text, "api", "a:1", 200), Some(1.0));
    assert_eq!(requests(&text, "api", "", 503), Some(1.0));
}

#[test]
fn an_endpoint_the_route_does_not_know_is_counted_without_it() {
    let metrics = Arc::new(Metrics::new(1));
    let mut series = metrics.series();
    let stranger = series.endpoint("other", "x:1");
    let a = series.endpoint("n8n", "a:1");
    let api = series.route("web", "api", Some("n8n"), &[a]);
    series.publish(1);
    api.on_request(Some(&stranger), 200, MS);
    assert_eq!(requests(&metrics.encode(&Status::default()), "api", "", 200), Some(1.0));
}

#[test]
fn an_endpoint_that_joins_between_generations_is_counted_at_once_and_kept_by_the_next() {
    let metrics = Arc::new(Metrics::new(1));
    let mut series = metrics.series();
    let a = series.endpoint("n8n", "a:1");
    let api = series.route("web", "api", Some("n8n"), &[a]);
    let other = series.route("web", "other", Some("x"), &[]);
    series.publish(1);
    let late = metrics.endpoint("n8n", "late:1");
    assert!(Arc::ptr_eq(&late, &metrics.endpoint("n8n", "late:1")));
    let gone = metrics.endpoint("n8n", "gone:1");
    api.on_request(Some(&late), 200, MS);
    api.on_request(Some(&gone), 200, MS);
    other.on_request(Some(&late), 200, MS);
    late.on_head(MS);
    let text = metrics.encode(&Status::default());
    assert_eq!(requests(&text, "api", "late:1", 200), Some(1.0), "{text}");
    assert_eq!(requests(&text, "api", "gone:1", 200), Some(1.0));
    assert_eq!(sample(&text, r#"lbproxy_endpoint_duration_seconds_count{cluster="n8n",endpoint="late:1"}"#), Some(1.0));
    assert!(text.contains(r#"route="other",cluster="x",endpoint="",code="200""#), "{text}");
    metrics.forget("n8n", "gone:1");
    assert!(!metrics.encode(&Status::default()).contains("gone:1"));
    let mut series = metrics.series();
    let same = series.endpoint("n8n", "late:1");
    assert!(Arc::ptr_eq(&late, &same));
    let api = series.route("web", "api", Some("n8n"), &[same]);
    series.publish(2);
    api.on_request(Some(&late), 200, MS);
    assert_eq!(requests(&metrics.encode(&Status::default()), "api", "late:1", 200), Some(2.0));
}

#[test]
fn every_endpoint_is_found_whatever_gaps_reloads_left() {
    let metrics = Metrics::new(1);
    let mut series = metrics.series();
    let all: Vec<_> = (0..40).map(|n| series.endpoint("c", &format!("{n}:1"))).collect();
    let odd: Vec<_> = all.iter().filter(|e| e.id % 3 != 0).rev().cloned().collect();
    let route = series.route("web", "r", Some("c"), &odd);
    for endpoint in &all {
        let found = route.pair(endpoint.id).map(|pair| pair.id);
        assert_eq!(found, (endpoint.id % 3 != 0).then_some(endpoint.id));
    }
    assert!(series.route("web", "none", None, &[]).pair(0).is_none());
}

#[test]
fn labels_from_the_file_cannot_break_the_page() {
    let metrics = Arc::new(Metrics::new(1));
    let mut series = metrics.series();
    series.route("web", "~^/\"a\\b\n", None, &[]).on_request(None, 200, MS);
    series.publish(1);
    let text = metrics.encode(&Status::default());
    assert!(text.contains(r#"route="~^/\"a\\b\n",cluster="""#), "{text}");
}

#[test]
fn gauges_come_from_the_status_and_join_addresses_of_one_name() {
    let endpoint = |resolved: &str, eligible, in_flight| EndpointStatus {
        address: "a:1".into(),
        resolved: Some(resolved.to_owned()),
        eligible,
        state: State::Up,
        reason: None,
        since: std::time::UNIX_EPOCH,
        in_flight,
        requests: 0,
        failures: 0,
        requests_per_s: 0.0,
        response: None,
        last_check: None,
        earlier_checks: Vec::new(),
        flaps: 0,
        ejections: 0,
        wait: None,
        outcomes: String::new(),
    };
    let endpoints =
        vec![endpoint("10.0.0.1:1", true, 3), endpoint("10.0.0.2:1", false, 4), endpoint("10.0.0.3:1", true, 0)];
    let queue = QueueStatus { length: 4, ..QueueStatus::default() };
    let cluster = ClusterStatus { name: "n8n".into(), policy: "p2c", panic_picks: 3, ..ClusterStatus::default() };
    let routes = vec![("hooks".into(), "ip_hash")];
    let clusters = vec![ClusterStatus { queue, endpoints, routes, panic: true, ..cluster }];
    let status = Status { clusters, ..Status::default() };
    let text = Arc::new(Metrics::new(1)).encode(&status);
    assert_eq!(sample(&text, r#"lbproxy_in_flight{cluster="n8n",endpoint="a:1"}"#), Some(7.0), "{text}");
    assert_eq!(sample(&text, r#"lbproxy_endpoint_eligible{cluster="n8n",endpoint="a:1"}"#), Some(2.0));
    assert_eq!(sample(&text, r#"lbproxy_queue_length{cluster="n8n"}"#), Some(4.0));
    assert_eq!(sample(&text, r#"lbproxy_cluster_policy{cluster="n8n",policy="p2c"}"#), Some(1.0));
    assert_eq!(sample(&text, r#"lbproxy_route_policy{route="hooks",cluster="n8n",policy="ip_hash"}"#), Some(1.0));
    assert_eq!(sample(&text, r#"lbproxy_panic_mode{cluster="n8n"}"#), Some(1.0));
    assert_eq!(sample(&text, r#"lbproxy_panic_mode_picks_total{cluster="n8n"}"#), Some(3.0));
    assert_eq!(sample(&text, r#"lbproxy_queue_requests_total{cluster="n8n",result="served"}"#), Some(0.0));
    assert_eq!(sample(&text, r#"lbproxy_queue_wait_seconds_total{cluster="n8n"}"#), Some(0.0));
}
