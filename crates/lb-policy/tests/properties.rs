//! Sequences of operations against a naive model, for every policy: whatever is done in whatever order, a pick goes to
//! an endpoint that may take it if there is one, slots are counted exactly, and no endpoint is forgotten or mistaken.

use std::collections::BTreeMap;

use lb_core::{Axis, Class, End, InFlightLimit, Mono};
use lb_policy::{
    BuiltIn, Cluster, Entropy, Identity, Member, PanicMode, PickCx, PickError, Ticket, Tried, Uid, Update,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Reset(Vec<(u8, u16, u32, u8)>),
    Upsert(u8, u16, u32, u8),
    Remove(u8),
    Set(u8, usize, bool),
    Maintain,
    Wait(u64),
    Panic(u8),
    /// A pick; how many endpoints count as tried, and whether it sticks to this one.
    Pick(u32, u8, Option<u8>),
    /// Ends the n-th ticket held, in one way or another.
    End(usize, u8),
}

/// What the model knows of an endpoint.
#[derive(Clone, Debug, Default)]
struct Known {
    axes: Vec<Axis>,
    weight: u16,
    limit: u32,
    priority: u8,
    member: bool,
    in_flight: u32,
}

/// What may be ignored where none is left, in this order.
const LENIENCY: [&[Axis]; 4] = [
    &[Axis::CoolDown],
    &[Axis::Check, Axis::CoolDown],
    &[Axis::Ejected, Axis::Breaker, Axis::CoolDown],
    &[Axis::Check, Axis::Ejected, Axis::Breaker, Axis::CoolDown],
];

impl Known {
    fn kept_out(&self, ignoring: &[Axis]) -> bool {
        !self.member || self.weight == 0 || self.axes.iter().any(|axis| !ignoring.contains(axis))
    }

    fn is_full(&self) -> bool {
        self.in_flight >= self.limit
    }
}

fn identity(n: u8) -> Identity {
    Identity::new(format!("app-{n}:80"), format!("10.0.0.{n}:80"))
}

fn member(n: u8, weight: u16, limit: u32, priority: u8) -> Member<u8> {
    Member::new(identity(n), n).weight(weight).limit(InFlightLimit::new(limit)).priority(priority)
}

struct World {
    cluster: Cluster<u8>,
    selector: lb_policy::Selector<BuiltIn, u8>,
    entropy: Entropy,
    now: u64,
    panic: PanicMode,
    known: BTreeMap<u8, Known>,
    uids: BTreeMap<u8, Uid>,
    held: Vec<Ticket<u8>>,
}

impl World {
    fn new(policy: BuiltIn) -> Self {
        let cluster = Cluster::new("properties");
        let selector = cluster.selector(policy);
        Self {
            cluster,
            selector,
            entropy: Entropy::seeded(1),
            now: 0,
            panic: PanicMode::default(),
            known: BTreeMap::new(),
            uids: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    fn join(&mut self, n: u8, weight: u16, limit: u32, priority: u8) {
        let known = self.known.entry(n).or_default();
        if !known.member {
            known.axes.retain(|axis| !matches!(axis, Axis::Check | Axis::Unresolved | Axis::NotReady));
        }
        (known.member, known.weight, known.limit, known.priority) = (true, weight, limit.max(1), priority);
    }

    /// What is ignored of the health of an endpoint of this priority.
    fn ignored(&self, priority: u8) -> &'static [Axis] {
        let members = || self.known.values().filter(|known| known.member);
        if members().all(|known| known.kept_out(&[])) {
            let serves = |ignored: &&&[Axis]| members().any(|known| !known.kept_out(ignored));
            let found = LENIENCY.iter().find(serves).copied().unwrap_or_default();
            return if self.panic == PanicMode::Never && found != LENIENCY[0] { &[] } else { found };
        }
        let PanicMode::Below(threshold) = self.panic else { return &[] };
        let count = |priority, is: &dyn Fn(&Known) -> bool| {
            members().filter(|known| known.priority == priority && !known.kept_out(LENIENCY[3]) && is(known)).count()
        };
        let passing = |priority| count(priority, &|known| !known.axes.contains(&Axis::Check));
        let is_low = |priority| (passing(priority) as f64) < threshold * count(priority, &|_| true) as f64;
        let is_another_well = members().any(|known| passing(known.priority) > 0 && !is_low(known.priority));
        if is_low(priority) && !is_another_well { &[Axis::Check] } else { &[] }
    }

    fn is_panicking(&self) -> bool {
        let is_health = |axis: &Axis| *axis != Axis::CoolDown;
        self.known.values().any(|known| known.member && self.ignored(known.priority).iter().any(is_health))
    }

    /// Whether a request may go there now; `besides` is ignored as well.
    fn may_serve(&self, n: u8, sticky: bool, besides: &[Axis]) -> bool {
        let Some(known) = self.known.get(&n) else { return false };
        let mut ignoring = self.ignored(known.priority).to_vec();
        ignoring.extend(besides);
        if sticky {
            ignoring.extend([Axis::Drain, Axis::DrainOrdered, Axis::CoolDown]);
            return known.member && known.axes.iter().all(|axis| ignoring.contains(axis)) && !known.is_full();
        }
        !known.kept_out(&ignoring) && !known.is_full()
    }

    fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        let now = Mono::from_millis(self.now);
        match op {
            Op::Reset(members) => {
                let listed: Vec<u8> = members.iter().map(|&(n, ..)| n).collect();
                for (n, known) in &mut self.known {
                    known.member &= listed.contains(n);
                }
                for &(n, weight, limit, priority) in &members {
                    self.join(n, weight, limit, priority);
                }
                let members = members.into_iter().map(|(n, weight, limit, p)| member(n, weight, limit, p));
                self.cluster.apply(Update::Reset(members.collect()), now);
            }
            Op::Upsert(n, weight, limit, priority) => {
                self.join(n, weight, limit, priority);
                self.cluster.apply(Update::Upsert(vec![member(n, weight, limit, priority)]), now);
            }
            Op::Remove(n) => {
                if let Some(known) = self.known.get_mut(&n) {
                    known.member = false;
                }
                self.cluster.apply(Update::Remove(vec![identity(n)]), now);
            }
            Op::Set(n, axis, on) => {
                let axis = Axis::ALL[axis % Axis::ALL.len()];
                let Some(uid) = self.cluster.uid_of(&identity(n)) else { return Ok(()) };
                let changed = self.cluster.set(uid, axis, on, now);
                if matches!(axis, Axis::WeightZero | Axis::Removed) {
                    prop_assert!(!changed);
                    return Ok(());
                }
                let axes = &mut self.known.get_mut(&n).expect("the cluster knows it, so it was joined").axes;
                prop_assert_eq!(changed, axes.contains(&axis) != on);
                axes.retain(|&other| other != axis);
                axes.extend(on.then_some(axis));
            }
            Op::Maintain => self.cluster.maintain(now),
            Op::Wait(ms) => self.now += ms,
            Op::Panic(mode) => {
                self.panic = [PanicMode::Never, PanicMode::NoneLeft, PanicMode::Below(0.5)][usize::from(mode)];
                self.cluster.set_panic_mode(self.panic, now);
            }
            Op::Pick(key, tried, sticky) => self.pick(key, tried, sticky)?,
            Op::End(nth, how) => self.end(nth, how),
        }
        Ok(())
    }

    fn pick(&mut self, key: u32, tried: u8, sticky: Option<u8>) -> Result<(), TestCaseError> {
        let mut list = Tried::new();
        for n in 0..tried {
            if let Some(uid) = self.cluster.uid_of(&identity(n)) {
                list.push(uid);
            }
        }
        let key = key.to_le_bytes();
        let affinity = sticky.map(|n| lb_policy::affinity_of(&identity(n).name));
        let stuck = sticky.filter(|&n| n >= tried && self.may_serve(n, true, &[]));
        let able = |besides: &[Axis]| {
            self.known.keys().copied().filter(|&n| n >= tried && self.may_serve(n, false, besides)).collect::<Vec<u8>>()
        };
        // Those that cool down are for what no other one can take.
        let able = Some(able(&[])).filter(|able| !able.is_empty()).unwrap_or_else(|| able(&[Axis::CoolDown]));
        let mut cx = PickCx::new(Mono::from_millis(self.now), &mut self.entropy)
            .key(Some(&key))
            .tried(&list)
            .preferred(affinity);
        match self.selector.pick(&mut cx) {
            Ok(ticket) => {
                let n = *ticket.endpoint().value();
                match stuck {
                    Some(stuck) => prop_assert_eq!(n, stuck, "it sticks"),
                    None => {
                        prop_assert!(able.contains(&n), "{} of {:?}", n, able);
                        let lowest = able.iter().map(|n| self.known[n].priority).min();
                        prop_assert_eq!(Some(self.known[&n].priority), lowest, "tiers in order");
                    }
                }
                self.known.get_mut(&n).expect("it was joined").in_flight += 1;
                self.held.push(ticket);
            }
            Err(error) => {
                prop_assert!(able.is_empty() && stuck.is_none(), "{} although {:?} may serve", error, able);
                let members = self.known.values().filter(|known| known.member).count();
                prop_assert_eq!(error == PickError::Empty, members == 0);
            }
        }
        Ok(())
    }

    fn end(&mut self, nth: usize, how: u8) {
        if self.held.is_empty() {
            return;
        }
        let mut ticket = self.held.swap_remove(nth % self.held.len());
        let now = Mono::from_millis(self.now);
        self.known.get_mut(ticket.endpoint().value()).expect("it was joined").in_flight -= 1;
        match how % 5 {
            0 => drop(ticket),
            1 => ticket.on_end(End::Completed, now),
            2 => ticket.on_end(End::UpstreamAborted, now),
            3 => ticket.on_end(End::ClientGone, now),
            _ => {
                ticket.on_head(Class::Status(200), now);
                ticket.on_end(End::Completed, now);
            }
        }
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let mut eligible = 0;
        let endpoints = self.cluster.endpoints();
        for endpoint in endpoints.iter() {
            let n = *endpoint.value();
            let known = &self.known[&n];
            prop_assert!(known.member, "{} is listed", n);
            prop_assert_eq!(endpoint.state().in_flight(), known.in_flight, "in flight at {}", n);
            prop_assert_eq!(endpoint.state().is_eligible(), !known.kept_out(&[]), "eligible {}", n);
            let uid = *self.uids.entry(n).or_insert(endpoint.uid());
            prop_assert_eq!(uid, endpoint.uid(), "an identity keeps its uid");
            eligible += usize::from(!known.kept_out(&[Axis::CoolDown]));
        }
        prop_assert_eq!(endpoints.len(), self.known.values().filter(|known| known.member).count());
        prop_assert_eq!(self.cluster.eligible_count(), eligible);
        prop_assert_eq!(self.cluster.is_panicking(), self.is_panicking());
        Ok(())
    }
}

const ENDPOINTS: u8 = 7;

fn op() -> impl Strategy<Value = Op> {
    let endpoint = (0..ENDPOINTS, 0..4_u16, 1..5_u32, 0..2_u8);
    prop_oneof![
        1 => proptest::collection::btree_map(0..ENDPOINTS, (0..4_u16, 1..5_u32, 0..2_u8), 0..6)
            .prop_map(|map| Op::Reset(map.into_iter().map(|(n, (w, l, p))| (n, w, l, p)).collect())),
        3 => endpoint.prop_map(|(n, weight, limit, priority)| Op::Upsert(n, weight, limit, priority)),
        2 => (0..ENDPOINTS).prop_map(Op::Remove),
        6 => (0..ENDPOINTS, 0..Axis::ALL.len(), any::<bool>()).prop_map(|(n, axis, on)| Op::Set(n, axis, on)),
        1 => Just(Op::Maintain),
        2 => (0..30_u64).prop_map(Op::Wait),
        1 => (0..3_u8).prop_map(Op::Panic),
        12 => (any::<u32>(), 0..3_u8, proptest::option::weighted(0.2, 0..ENDPOINTS))
            .prop_map(|(key, tried, sticky)| Op::Pick(key, tried, sticky)),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(nth, how)| Op::End(nth, how)),
    ]
}

fn run(name: &str, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let policy = BuiltIn::from_name(name, []).expect("the name is one of its own");
    let mut world = World::new(policy);
    for op in ops {
        world.apply(op)?;
        world.compare()?;
    }
    world.held.clear();
    let leaked: Vec<u32> = world.cluster.endpoints().iter().map(|e| e.state().in_flight()).filter(|&n| n > 0).collect();
    prop_assert!(leaked.is_empty(), "leaked: {:?}", leaked);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_pick_is_right(
        name in proptest::sample::select(BuiltIn::NAMES.iter().copied().filter(|&name| name != "maglev").collect::<Vec<_>>()),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        run(name, ops)?;
    }
}

proptest! {
    // Its tables take a while to build.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_pick_by_maglev_is_right(ops in proptest::collection::vec(op(), 1..50)) {
        run("maglev", ops)?;
    }
}

/// Policies whose tables draw, and so may miss a needle; those that look at every endpoint have nothing to fall back to.
fn drawing() -> Vec<&'static str> {
    BuiltIn::NAMES
        .iter()
        .copied()
        .filter(|name| !["least_time", "rendezvous", "first", "maglev"].contains(name))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Of so many endpoints, nearly all full or tried, tables give up after a bounded number of draws; the selector then looks for itself.
    #[test]
    fn the_few_usable_of_very_many_are_all_found(
        name in proptest::sample::select(drawing()),
        count in 150..400_usize,
        usable in proptest::collection::btree_set(0..150_usize, 1..4),
        heavy in 0..150_usize,
    ) {
        let cluster = Cluster::new("needles");
        let selector = cluster.selector(BuiltIn::from_name(name, []).expect("the name is one of its own"));
        let weight = |n| if n == heavy { 3 } else { 1 };
        let members = (0..count).map(|n| {
            Member::new(Identity::new(format!("app-{n}:80"), format!("10.0.{}.{}:80", n / 256, n % 256)), n)
                .weight(weight(n))
                .limit(InFlightLimit::new(if usable.contains(&n) { u32::MAX } else { 1 }))
        });
        cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        let mut entropy = Entropy::seeded(1);
        // Full from now on, without a rebuild of the tables.
        let endpoints = cluster.endpoints();
        let mut full = Vec::new();
        for endpoint in endpoints.iter().filter(|endpoint| !usable.contains(endpoint.value())) {
            full.extend(selector.pick_at(endpoint.uid(), Mono::ZERO));
        }
        prop_assert_eq!(full.len(), count - usable.len());
        let mut seen = std::collections::BTreeSet::new();
        for key in 0..400_u32 {
            let key = key.wrapping_mul(0x9e37_79b9).to_le_bytes();
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key));
            let picked = selector.pick(&mut cx).map(|ticket| *ticket.endpoint().value());
            prop_assert!(picked.as_ref().is_ok_and(|n| usable.contains(n)), "{:?} of {:?}", picked, usable);
            seen.extend(picked.ok());
        }
        // The least share is one of five: missing it in 400 has a chance of 0.8^400 = 2e-39.
        prop_assert_eq!(&seen, &usable, "each of them has its share");
        // Of the usable ones, the first has been tried.
        let mut tried = Tried::new();
        let first = *usable.first().expect("there is at least one");
        tried.push(endpoints[first].uid());
        let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(b"key")).tried(&tried);
        match selector.pick(&mut cx) {
            Ok(ticket) => prop_assert!(usable.contains(ticket.endpoint().value()) && *ticket.endpoint().value() != first),
            Err(error) => {
                let counts = error.counts();
                prop_assert!(usable.len() == 1, "{} although there are others", error);
                prop_assert_eq!((counts.full as usize, counts.tried), (count - 1, 1));
            }
        }
        drop(full);
        prop_assert!(endpoints.iter().all(|endpoint| endpoint.state().in_flight() == 0));
    }
}
