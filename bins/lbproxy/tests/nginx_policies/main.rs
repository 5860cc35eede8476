//! A real nginx and we choose for the same requests, one after the other; every choice must be the same.
//!
//! Definitions can be misread and vectors copied wrong; the program itself cannot. Its ports, and with them the points on its rings, are
//! other ones in every run. Without nginx the tests are skipped, unless `LBPROXY_REQUIRE_PEERS=1` says that it must be there.

mod ours;
mod program;

use std::net::Ipv4Addr;

use ours::Ours;
use program::{Client, Nginx, Role, Upstream, is_there};

const WEIGHTS: [&[u16]; 8] =
    [&[5, 1, 1], &[3, 2, 1], &[4, 3, 2], &[1, 1, 1], &[4, 2, 2], &[7, 5, 3, 2], &[1, 10], &[1, 2, 3, 4, 5]];

/// Starts nginx with these upstreams, makes each of them ours too, and asks both for each; nothing where there is no nginx.
#[track_caller]
fn compare(policy: &str, upstreams: &[Upstream], mut ask: impl FnMut(&Nginx, usize, &mut Ours) -> [Vec<usize>; 2]) {
    if !is_there() {
        let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
        assert!(!required, "nginx is not installed");
        skipped();
        return;
    }
    let nginx = Nginx::start(upstreams);
    for (number, upstream) in upstreams.iter().enumerate() {
        let mut ours = Ours::new(policy, upstream, nginx.names(number));
        let [theirs, ours] = ask(&nginx, number, &mut ours);
        let differing = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours).count();
        let configuration = &nginx.configuration;
        assert_eq!(theirs, ours, "{differing} of {} differ, up{number} of\n{configuration}", theirs.len());
    }
}

fn skipped() {
    // Not by a macro, whose output is captured in passing tests.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: nginx is not installed\n"));
}

/// So many requests without a key.
fn in_turn(client: &mut Client, number: usize, ours: &mut Ours, requests: usize) -> [Vec<usize>; 2] {
    [(0..requests).map(|_| client.ask(number, "")).collect(), (0..requests).map(|_| ours.ask(None)).collect()]
}

/// A request for each of many keys.
fn by_key(client: &mut Client, number: usize, ours: &mut Ours) -> [Vec<usize>; 2] {
    let keys: Vec<String> =
        (0..250).map(|n| format!("user-{n}")).chain((0..250).map(|n| (n * n).to_string())).collect();
    let theirs = keys.iter().map(|key| client.ask(number, &format!("k={key}"))).collect();
    [theirs, keys.iter().map(|key| ours.ask(Some(key.as_bytes()))).collect()]
}

fn of_all_weights(method: &'static str) -> Vec<Upstream> {
    WEIGHTS.map(|weights| Upstream::new(method, weights)).into()
}

/// Two whole periods and a bit.
fn two_periods(upstream: &Upstream) -> usize {
    2 * upstream.servers.iter().map(|server| usize::from(server.weight)).sum::<usize>() + 3
}

#[test]
fn turns_come_in_the_same_order() {
    let mut upstreams = of_all_weights("");
    upstreams.push(Upstream::new("", &[3, 2, 1, 4]).with(1, Role::IsDown));
    upstreams.push(Upstream::new("", &[1, 1, 1]).with(0, Role::IsDown));
    compare("round_robin", &upstreams, |nginx, number, ours| {
        in_turn(&mut nginx.client(), number, ours, two_periods(&upstreams[number]))
    });
}

#[test]
fn the_least_busy_come_in_the_same_order_while_all_are_idle() {
    let mut upstreams = of_all_weights("least_conn;");
    upstreams.push(Upstream::new("least_conn;", &[3, 2, 1, 4]).with(2, Role::IsDown));
    compare("least_request", &upstreams, |nginx, number, ours| {
        in_turn(&mut nginx.client(), number, ours, two_periods(&upstreams[number]))
    });
}

#[test]
fn hashed_keys_go_to_the_same_endpoints() {
    let method = "hash $arg_k;";
    let mut upstreams = of_all_weights(method);
    upstreams.push(Upstream::new(method, &[1, 1, 1]).with(1, Role::IsDown));
    // So much of the weight is down that a third of the keys give up hashing and take turns.
    upstreams.push(Upstream::new(method, &[60, 2, 1]).with(0, Role::IsDown));
    upstreams.push(Upstream::new(method, &[2, 2, 1, 1]).with(0, Role::Refuses).with(3, Role::IsDown));
    compare("hash", &upstreams, |nginx, number, ours| by_key(&mut nginx.client(), number, ours));
}

#[test]
fn consistently_hashed_keys_go_to_the_same_endpoints() {
    let method = "hash $arg_k consistent;";
    let mut upstreams = of_all_weights(method);
    upstreams.push(Upstream::new(method, &[1, 1, 1]).with(1, Role::IsDown));
    // So much of the weight is down that a third of the keys give up hashing and take turns.
    upstreams.push(Upstream::new(method, &[60, 2, 1]).with(0, Role::IsDown));
    upstreams.push(Upstream::new(method, &[2, 2, 1, 1]).with(0, Role::Refuses).with(3, Role::IsDown));
    upstreams.push(Upstream::new(method, &[3, 2, 1]).by_path());
    compare("ring_hash", &upstreams, |nginx, number, ours| by_key(&mut nginx.client(), number, ours));
}

#[test]
fn requests_without_a_key_take_the_same_turns() {
    for (policy, method) in [("hash", "hash $arg_k;"), ("ring_hash", "hash $arg_k consistent;")] {
        let upstreams = of_all_weights(method);
        compare(policy, &upstreams, |nginx, number, ours| {
            in_turn(&mut nginx.client(), number, ours, two_periods(&upstreams[number]))
        });
    }
}

#[test]
fn clients_go_to_the_same_endpoints() {
    let mut upstreams = of_all_weights("ip_hash;");
    upstreams.push(Upstream::new("ip_hash;", &[1, 1, 1]).with(1, Role::IsDown));
    upstreams.push(Upstream::new("ip_hash;", &[60, 2, 1]).with(0, Role::IsDown));
    upstreams.push(Upstream::new("ip_hash;", &[2, 2, 1, 1]).with(0, Role::Refuses).with(3, Role::IsDown));
    // Every network of /24 counts as one client.
    let clients: Vec<Ipv4Addr> =
        (0..60).map(|n| Ipv4Addr::new(127, (n * 37 % 256) as u8, n as u8, 1 + n as u8)).collect();
    compare("ip_hash", &upstreams, |nginx, number, ours| {
        let theirs = clients.iter().map(|&client| nginx.client_from(client).ask(number, "")).collect();
        [theirs, clients.iter().map(|client| ours.ask(Some(&client.octets()))).collect()]
    });
}

#[test]
fn held_requests_are_spread_evenly_in_each_round() {
    // Which of several tied ones comes first differs, as `least_request` says; whom a whole round goes to does not.
    let held = |weights: &[u16]| {
        let places = 0..weights.len();
        places.fold(Upstream::new("least_conn;", weights), |upstream, place| upstream.with(place, Role::Holds))
    };
    let upstreams = WEIGHTS.map(held);
    compare("least_request", &upstreams, |nginx, number, ours| {
        let round: usize = upstreams[number].servers.iter().map(|server| usize::from(server.weight)).sum();
        let mut holding = Vec::new();
        let mut rounds = [Vec::new(), Vec::new()];
        for cycle in 0..4 {
            let mut picks = [Vec::new(), Vec::new()];
            for turn in 0..round {
                let mut client = nginx.client();
                let arguments = format!("n={cycle}-{turn}");
                client.send(number, &arguments);
                let (theirs, connection) = nginx.held(number, &arguments);
                let (own, ticket) = ours.hold();
                picks[0].push(theirs);
                picks[1].push(own);
                holding.push((client, connection, ticket));
            }
            for (picks, rounds) in picks.iter_mut().zip(&mut rounds) {
                picks.sort_unstable();
                rounds.append(picks);
            }
        }
        rounds
    });
}
