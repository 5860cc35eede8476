//! Our picks beside those of pingora-load-balancing and loadwise, in one run: `cargo bench`, in this directory.
//!
//! Each is asked the way its documentation asks it, over the same number of equal and healthy endpoints. Theirs choose
//! only; ours are shown both so (`table`) and with the slot in flight taken and given back (`reader`).

use std::fmt::Debug;
use std::hint::black_box;
use std::time::{Duration, Instant};

use lb_benches::{Layer, Results, Shape, Subject, measure, policy, subject, tower_bare, tower_in_buffer};
use loadwise::strategy::{ConsistentHash, LeastLoad, PowerOfTwoChoices, RoundRobin, WeightedRoundRobin};
use loadwise::{LoadMetric, Node, SelectionContext, Strategy, Weighted};
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{self, BackendIter, BackendSelection};

const ROUNDS: usize = 21;

fn main() {
    let mut results = Results::default();
    for endpoints in [2, 10, 100, 1000] {
        let turns = vec![
            subject("round_robin, table", policy("round_robin"), Shape::even(endpoints), Layer::Table),
            subject("round_robin, reader", policy("round_robin"), Shape::even(endpoints), Layer::Reader),
            pingora::<selection::RoundRobin>("pingora RoundRobin", endpoints),
            loadwise("loadwise RoundRobin", RoundRobin::new(), endpoints),
            loadwise("loadwise WeightedRoundRobin", WeightedRoundRobin::new(), endpoints),
        ];
        let load = vec![
            subject("p2c, table", policy("p2c"), Shape::even(endpoints), Layer::Table),
            subject("p2c, reader", policy("p2c"), Shape::even(endpoints), Layer::Reader),
            tower_bare(endpoints),
            tower_in_buffer(endpoints),
            loadwise("loadwise PowerOfTwoChoices", PowerOfTwoChoices::new(), endpoints),
            subject("least_request, table", policy("least_request"), Shape::even(endpoints), Layer::Table),
            subject("least_request, reader", policy("least_request"), Shape::even(endpoints), Layer::Reader),
            loadwise("loadwise LeastLoad", LeastLoad::new(), endpoints),
        ];
        let hashes = vec![
            subject("maglev, table", policy("maglev"), Shape::even(endpoints), Layer::Table),
            subject("maglev, reader", policy("maglev"), Shape::even(endpoints), Layer::Reader),
            subject("ring_hash, table", policy("ring_hash"), Shape::even(endpoints), Layer::Table),
            subject("ring_hash, reader", policy("ring_hash"), Shape::even(endpoints), Layer::Reader),
            pingora::<selection::Consistent>("pingora Consistent (ketama)", endpoints),
            pingora::<selection::FNVHash>("pingora FNVHash", endpoints),
            loadwise("loadwise ConsistentHash", ConsistentHash::default(), endpoints),
        ];
        for (section, subjects) in [("turns", turns), ("load", load), ("hashes", hashes)] {
            for measured in measure(subjects, ROUNDS) {
                results.add(section, measured);
            }
        }
    }
    println!("{results}");
}

fn address(place: usize) -> String {
    format!("10.{}.{}.{}:80", place >> 16, (place >> 8) & 255, place & 255)
}

fn repeated(name: &str, endpoints: usize, mut pick: impl FnMut(u64) + 'static) -> Subject {
    Subject::new(name, endpoints, move |repeat| -> Duration {
        let start = Instant::now();
        for n in 0..repeat {
            pick(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        start.elapsed()
    })
}

fn pingora<S>(name: &str, endpoints: usize) -> Subject
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
    S::Config: Send + Sync,
{
    let balancer = LoadBalancer::<S>::try_from_iter((0..endpoints).map(address)).expect("literal addresses");
    repeated(name, endpoints, move |key| {
        black_box(balancer.select(&u128::from(key).to_le_bytes(), 256)).expect("all are healthy");
    })
}

/// An endpoint as loadwise wants it.
#[derive(Debug)]
struct Known {
    id: String,
    load: f64,
}

impl Node for Known {
    type Id = String;

    fn id(&self) -> &String {
        &self.id
    }
}

impl Weighted for Known {
    fn weight(&self) -> u32 {
        1
    }
}

impl LoadMetric for Known {
    fn load_score(&self) -> f64 {
        self.load
    }
}

fn loadwise(name: &str, strategy: impl Strategy<Known> + Debug + 'static, endpoints: usize) -> Subject {
    let known: Vec<_> = (0..endpoints).map(|place| Known { id: address(place), load: 1.0 }).collect();
    repeated(name, endpoints, move |key| {
        let context = SelectionContext { hash_key: Some(key), ..SelectionContext::default() };
        black_box(strategy.select(&known, &context)).expect("there are some");
    })
}
