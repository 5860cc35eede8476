//! Any bytes as a sequence of operations on the shared limits, beside a map that forgets nothing, and what must hold after each. The
//! fuzz target `limits` runs the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lb_core::Mono;
use lb_ratelimit::{
    CLASSES, Claim, Gcra, Key, KeyPermit, Keyed, KeyedConcurrency, Order, Quota, Refused, Tat, WaitQueue,
    WaitQueueConfig, charge_all,
};

/// One byte chooses the operation, the next one the key, the third one how much.
pub(crate) fn run(bytes: &[u8]) {
    let Some((settings, operations)) = bytes.split_first_chunk::<4>() else { return };
    let mut world = World::new(settings);
    for operation in operations.chunks_exact(3) {
        world.happens(operation[0], operation[1], u64::from(operation[2]));
        world.check();
    }
}

struct World {
    now: Mono,
    /// The latest time there was. A bucket that was full then may have been forgotten, so `large` and its map go by this one.
    latest: Mono,
    gcra: Gcra,
    burst: u64,
    small: Keyed,
    large: Keyed,
    /// What `large`, which has room for all keys, must hold.
    map: HashMap<u8, Tat>,
    at_once: Arc<KeyedConcurrency>,
    permits: Vec<(u8, KeyPermit)>,
    queue: WaitQueue<(u8, Mono)>,
    max_len: usize,
}

impl World {
    fn new([a, b, c, d]: &[u8; 4]) -> Self {
        let burst = u64::from(b & 15);
        let quota = Quota::per_second(u64::from(*a) + 1).with_burst(burst);
        let order = if c & 1 == 0 { Order::Fifo } else { Order::AdaptiveLifo };
        let max_len = usize::from(c >> 4);
        Self {
            now: Mono::from_millis(1_000_000),
            latest: Mono::from_millis(1_000_000),
            gcra: Gcra::new(&quota),
            burst,
            small: Keyed::new(quota, 192, [1, 2]),
            large: Keyed::new(quota, 64 << 10, [3, 4]),
            map: HashMap::new(),
            at_once: KeyedConcurrency::try_new(u32::from(d & 3), 192, [5, 6]).expect("192 bytes"),
            permits: Vec::new(),
            queue: WaitQueue::new(WaitQueueConfig { max_len, order, ..WaitQueueConfig::default() }),
            max_len,
        }
    }

    fn happens(&mut self, operation: u8, key: u8, amount: u64) {
        self.latest = self.latest.max(self.now);
        let (now, latest, bytes) = (self.now, self.latest, [key]);
        let tat = self.map.get(&key).copied().unwrap_or_default();
        match operation % 10 {
            0 => self.now = now.saturating_add(Duration::from_millis(amount * amount)),
            // Time that goes back is an input like others.
            1 => self.now = now.saturating_sub(Duration::from_millis(amount)),
            2 => {
                let (verdict, next) = self.gcra.decide_cost(tat, amount & 7, latest);
                let decision = self.large.charge(Key::new(&bytes), amount & 7, latest);
                assert_eq!(decision.verdict, verdict);
                assert_eq!(decision.remaining, self.gcra.remaining(next, latest));
                self.map.insert(key, next);
            }
            3 => {
                self.large.refund(&bytes, amount & 3, now);
                self.map.insert(key, self.gcra.refund(tat, amount & 3));
            }
            4 => {
                let (coarse, coarser) = ([key & 0xf0], [key & 0x80]);
                let _ = self.small.check_key(Key { key: &bytes, coarser: &[&coarse, &coarser] }, now);
            }
            5 => self.both(key, amount, tat),
            6 => match self.at_once.try_acquire(&bytes) {
                Ok(permit) => self.permits.push((key, permit)),
                Err(Refused::Limit) => assert_eq!(self.held(key), self.at_once.limit()),
                Err(Refused::NoPlace) => assert_eq!(self.held(key), 0),
            },
            7 if !self.permits.is_empty() => drop(self.permits.swap_remove(amount as usize % self.permits.len())),
            8 => {
                let deadline = now.saturating_add(Duration::from_millis(amount));
                let class = usize::from(key) % (CLASSES + 1);
                if let Ok((waiting, displaced)) = self.queue.push((key, deadline), class, deadline, now) {
                    assert!(displaced.is_none() || class < CLASSES - 1);
                    if amount & 1 == 1 {
                        assert_eq!(self.queue.remove(waiting), Some((key, deadline)));
                    }
                }
            }
            9 => {
                let (before, mut shed) = (self.queue.len(), Vec::new());
                let popped = self.queue.pop(now, &mut shed);
                assert!(popped.is_none_or(|(_, deadline)| deadline > now));
                assert_eq!(before, self.queue.len() + shed.len() + usize::from(popped.is_some()));
            }
            _ => {}
        }
    }

    /// Both tables are charged, or neither.
    fn both(&mut self, key: u8, amount: u64, tat: Tat) {
        let (now, bytes) = (self.latest, [key]);
        let cost = amount & 3;
        let is_small_willing = self.small.peek(&bytes, cost, now).is_pass();
        let before = (self.small.remaining(&bytes, now), self.large.remaining(&bytes, now));
        let [small, large] =
            [&self.small, &self.large].map(|limit| Claim { cost, ..Claim::new(limit, Key::new(&bytes)) });
        let answer = charge_all(&[large, small], now);
        let after = (self.small.remaining(&bytes, now), self.large.remaining(&bytes, now));
        match answer {
            Ok(()) => {
                self.map.insert(key, self.gcra.decide_cost(tat, cost, now).1);
                assert_eq!(after.1, before.1 - cost);
            }
            Err(refusal) => {
                assert!(refusal.retry_after > Duration::ZERO);
                assert_eq!(after, before);
                // Both were looked at, and a coarser key refused: then the charge was given back, which is exact but for a bucket
                // that had been full for a while.
                if refusal.index == 1 && is_small_willing {
                    self.map.insert(key, self.gcra.refund(self.gcra.decide_cost(tat, cost, now).1, cost));
                }
            }
        }
    }

    fn held(&self, key: u8) -> u32 {
        self.permits.iter().filter(|(of, _)| *of == key).count() as u32
    }

    fn check(&self) {
        assert_eq!(self.large.evicted_live(), 0);
        assert!(self.queue.len() <= self.max_len);
        for (key, tat) in &self.map {
            assert_eq!(self.large.remaining(&[*key], self.latest), self.gcra.remaining(*tat, self.latest));
        }
        assert!(self.small.live(self.now) <= self.small.capacity());
        for (key, _) in &self.permits {
            assert_eq!(self.at_once.in_flight(&[*key]), self.held(*key));
        }
        assert!(self.small.remaining(&[0], self.now) <= self.burst + 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_sequence_of_operations_keeps_the_promises(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            super::run(&bytes);
        }

        /// Few keys, so that they meet.
        #[test]
        fn few_keys_that_meet_keep_the_promises(
            settings in prop::array::uniform4(any::<u8>()),
            operations in prop::collection::vec((0_u8..10, 0_u8..12, 0_u8..40), 1..200),
        ) {
            let bytes = operations.into_iter().flat_map(|(operation, key, amount)| [operation, key, amount]);
            super::run(&settings.into_iter().chain(bytes).collect::<Vec<u8>>());
        }
    }
}
