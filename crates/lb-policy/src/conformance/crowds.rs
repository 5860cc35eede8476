//! The checks with very many endpoints, and with a stalled thread.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use lb_core::{Axis, Mono};

use super::bench::{Bench, key, member};
use super::checks::{Suite, Verdict};
use crate::{Entropy, PickCx, Policy, Table, Tried, Update};

const MANY: usize = 100_000;

/// Picks a promise is tried by; some policies look at every endpoint each time.
const LOOKS: u32 = 20;

/// Longer than any pick may take on any machine, and what a policy that fails costs.
const PATIENCE: Duration = Duration::from_secs(10);

impl<P: Policy> Suite<'_, P> {
    pub(super) fn crowd(&self) -> Verdict {
        let bench = Bench::new((self.make)(), &[]);
        let (ill, gone, late) = (1, MANY - 1, MANY - MANY / 100);
        let members = (0..MANY).map(|place| member(place, 1).axis(Axis::Check, place == ill));
        bench.cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        bench.expect(|place| place != ill, "all but one are eligible")?;
        let members = (0..gone).map(|place| member(place, 1).axis(Axis::Drain, place < late));
        bench.cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        bench.expect(
            |place| place >= late && place != gone,
            "only those of the last hundredth are eligible, and one left",
        )?;
        bench.expect_honesty()?;
        match bench.in_flight().iter().filter(|&&in_flight| in_flight > 0).count() {
            0 => Ok(()),
            leaks => Err(format!("{leaks} endpoints have requests in flight when all is over")),
        }
    }

    /// One thread stops in the middle of a pick; the others must go on picking, and changes must be published.
    pub(super) fn stalls(&self) -> Verdict {
        let bench = Bench::new((self.make)(), &[1, 1, 1]);
        let (stopped, is_stopped) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let gate = Mutex::new(Some((stopped.clone(), may_go)));
        let tried = Tried::stalling(move || {
            let first = gate.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((stopped, may_go)) = first {
                // Whoever listens has given up waiting if these fail; then the pick goes on.
                let _ = stopped.send(());
                let _ = may_go.recv();
            }
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut entropy = Entropy::seeded(1);
                let _ =
                    bench.selector.pick(&mut PickCx::new(Mono::ZERO, &mut entropy).key(Some(b"key!")).tried(&tried));
                // A table that checks no endpoint cannot be stopped.
                let _ = stopped.send(());
            });
            let _ = is_stopped.recv_timeout(PATIENCE);
            let (done, is_done) = mpsc::channel();
            let bench = &bench;
            scope.spawn(move || {
                for round in 0..3 {
                    bench.counts(100);
                    bench.cluster.apply(Update::Upsert(vec![member(3, round)]), Mono::from_millis(u64::from(round)));
                }
                let _ = done.send(());
            });
            let verdict = is_done.recv_timeout(PATIENCE);
            drop(go);
            verdict.map_err(|_| "a thread stands in its pick, and no other can pick".to_owned())
        })
    }
}

impl<P: Policy> Bench<P> {
    /// A few picks all find an endpoint for which this holds.
    fn expect(&self, holds: impl Fn(usize) -> bool, when: &str) -> Verdict {
        let wrong = (0..LOOKS).map(|n| self.place(n)).find(|place| !place.is_some_and(&holds));
        wrong.map_or(Ok(()), |place| Err(format!("{when}, and a pick found {place:?}")))
    }

    /// The table names only usable endpoints; its selector would not let others through.
    fn expect_honesty(&self) -> Verdict {
        let mut entropy = Entropy::seeded(5);
        let wrong = (0..LOOKS).find_map(|n| {
            let key = key(n);
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key));
            let answer = self.selector.inspect(|table, view| {
                let index = table.pick(view, &mut cx)?;
                (!view.is_usable(index, &cx)).then_some(index.get())
            });
            answer.flatten()
        });
        wrong.map_or(Ok(()), |place| Err(format!("the table answered endpoint {place}, which is not usable")))
    }
}
