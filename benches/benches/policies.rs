//! What a pick costs, by policy, cluster size and layer, beside tower's: `cargo bench -p lb-benches --bench policies`.
//!
//! A further argument keeps only the policies whose name has it: `-- p2c`.
#![allow(clippy::print_stdout, reason = "the tables are the result")]

use lb_benches::{
    Layer, POLICIES, Results, Shape, Subject, lb_tower, measure, policy, subject, tower_bare, tower_in_buffer,
    while_updating, with_two_threads,
};

const SIZES: [usize; 6] = [2, 10, 100, 1000, 10_000, 100_000];
const ROUNDS: usize = 21;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &&&str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let mut results = Results::default();
    for &name in POLICIES.iter().filter(is_wanted) {
        for endpoints in SIZES {
            run(&mut results, layers(name, endpoints));
        }
        for endpoints in SIZES {
            run(&mut results, crowds(name, endpoints));
        }
    }
    for endpoints in [10, 100, 1000] {
        run(&mut results, beside_tower(endpoints));
    }
    let floor = measure(vec![lb_benches::floor()], ROUNDS);
    println!("F, an uncontended relaxed fetch_add: {:.1} ns", floor.first().map_or(f64::NAN, |it| it.ns));
    println!("{results}");
}

/// Measures these against one another; each goes to its section.
fn run(results: &mut Results, subjects: Vec<(&str, Subject)>) {
    let (sections, subjects): (Vec<_>, Vec<_>) = subjects.into_iter().unzip();
    for (section, measured) in sections.into_iter().zip(measure(subjects, ROUNDS)) {
        results.add(section, measured);
    }
}

fn layers(name: &str, endpoints: usize) -> Vec<(&'static str, Subject)> {
    let even = Shape::even(endpoints);
    let mut layers = vec![
        ("table", subject(name, policy(name), even, Layer::Table)),
        ("table, all busy", subject(name, policy(name), Shape { is_busy: true, ..even }, Layer::Table)),
        ("slot", subject(name, policy(name), even, Layer::Slot)),
        ("reader", subject(name, policy(name), even, Layer::Reader)),
    ];
    if endpoints <= 1000 {
        layers.push(("selector", subject(name, policy(name), even, Layer::Selector)));
    }
    layers
}

/// Shapes that are less even, and company.
fn crowds(name: &str, endpoints: usize) -> Vec<(&'static str, Subject)> {
    let even = Shape::even(endpoints);
    let skewed = Shape { is_skewed: true, ..even };
    let threads = |shape| with_two_threads(name, policy(name), shape);
    vec![
        ("slot, weights 10 and 1", subject(name, policy(name), skewed, Layer::Slot)),
        ("slot, 30 % full", subject(name, policy(name), Shape { is_crowded: true, ..even }, Layer::Slot)),
        ("reader, weights 10 and 1", subject(name, policy(name), skewed, Layer::Reader)),
        ("reader, 30 % full", subject(name, policy(name), Shape { is_crowded: true, ..even }, Layer::Reader)),
        ("reader, weights 10 and 1, 30 % full", {
            subject(name, policy(name), Shape { is_crowded: true, ..skewed }, Layer::Reader)
        }),
        ("reader, two threads", threads(even)),
        ("reader, two threads, weights 10 and 1", threads(skewed)),
        ("reader, two threads, 30 % full", threads(Shape { is_crowded: true, ..even })),
        ("reader, 100 updates a second", while_updating(name, policy(name), even)),
    ]
}

fn beside_tower(endpoints: usize) -> Vec<(&'static str, Subject)> {
    let even = Shape::even(endpoints);
    vec![
        ("beside tower", subject("p2c, slot", policy("p2c"), even, Layer::Slot)),
        ("beside tower", subject("p2c, reader", policy("p2c"), even, Layer::Reader)),
        ("beside tower", lb_tower(endpoints)),
        ("beside tower", tower_bare(endpoints)),
        ("beside tower", tower_in_buffer(endpoints)),
    ]
}
