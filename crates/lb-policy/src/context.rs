//! The input of one pick, and the endpoints it must not repeat.

#[cfg(feature = "conformance")]
use std::{fmt, sync::Arc};

use lb_core::Mono;

use crate::entropy::Entropy;
use crate::estimate::probe_pool::ProbePool;
use crate::identity::{Uid, Zone};
use crate::index::Index;
use crate::witness::{Explaining, Live};

/// What a pick may know about its request. Built per attempt on the stack; nothing in it allocates.
///
/// ```
/// use lb_core::Mono;
/// use lb_policy::{Entropy, PickCx, Tried};
///
/// let mut entropy = Entropy::seeded(42);
/// let tried = Tried::new();
/// let cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(b"/index.html")).tried(&tried);
/// assert_eq!(cx.now, Mono::ZERO);
/// ```
#[derive(Debug)]
pub struct PickCx<'a, W = Live> {
    /// The time now, read once per event by the caller. It may be anything where [`Selector::needs_time`](crate::Selector::needs_time) says no; a policy
    /// that reads it declares [`Signals::TIME`](crate::Signals::TIME).
    pub now: Mono,
    /// The caller's generator.
    pub entropy: &'a mut Entropy,
    /// The raw bytes a hash policy hashes; for `ip_hash` the 4 or 16 octets of the client's address. Without a key
    /// a hash policy takes turns.
    pub key: Option<&'a [u8]>,
    /// The affinity of the endpoint this request sticks to, tried before the policy is asked.
    pub preferred: Option<u64>,
    /// Endpoints this request has tried already; they are never picked again.
    pub tried: &'a Tried,
    /// The zone the request came in by.
    pub zone: Option<Zone>,
    /// The worker's probe answers, for `prequal`.
    pub probes: Option<&'a mut ProbePool>,
    /// An endpoint passed over in this pick only (slow start).
    pub(crate) passed_over: Option<Index>,
    /// Who looks on.
    pub witness: W,
}

impl<'a> PickCx<'a> {
    /// A pick without key, preference, tried endpoints or zone.
    #[must_use]
    pub const fn new(now: Mono, entropy: &'a mut Entropy) -> Self {
        static NONE_TRIED: Tried = Tried::new();
        Self {
            now,
            entropy,
            key: None,
            preferred: None,
            tried: &NONE_TRIED,
            zone: None,
            probes: None,
            passed_over: None,
            witness: Live,
        }
    }

    /// Sets the bytes a hash policy hashes.
    #[must_use]
    pub const fn key(mut self, key: Option<&'a [u8]>) -> Self {
        self.key = key;
        self
    }

    /// Sets the affinity of the endpoint to stick to.
    #[must_use]
    pub const fn preferred(mut self, affinity: Option<u64>) -> Self {
        self.preferred = affinity;
        self
    }

    /// Sets the endpoints not to be picked again.
    #[must_use]
    pub const fn tried(mut self, tried: &'a Tried) -> Self {
        self.tried = tried;
        self
    }

    /// Sets the zone the request came in by.
    #[must_use]
    pub const fn zone(mut self, zone: Option<Zone>) -> Self {
        self.zone = zone;
        self
    }

    /// Sets the probe answers to pick by.
    #[must_use]
    pub fn probes(mut self, probes: Option<&'a mut ProbePool>) -> Self {
        self.probes = probes;
        self
    }
}

impl PickCx<'_, Explaining> {
    /// The same pick, unwatched: for a table that does not explain itself. What it draws is drawn from the explanation's copies.
    #[must_use]
    pub fn unwatched(&mut self) -> PickCx<'_> {
        PickCx {
            now: self.now,
            entropy: self.entropy,
            key: self.key,
            preferred: self.preferred,
            tried: self.tried,
            zone: self.zone,
            probes: self.probes.as_deref_mut(),
            passed_over: self.passed_over,
            witness: Live,
        }
    }
}

/// The endpoints one request has tried: eight inline, more of them on the heap. Cheap to clone while inline.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    inline: [Uid; Self::INLINE],
    len: usize,
    spilled: Vec<Uid>,
    #[cfg(feature = "conformance")]
    stall: Option<Stall>,
}

impl Tried {
    const INLINE: usize = 8;

    /// Nothing tried.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            inline: [Uid::NONE; Self::INLINE],
            len: 0,
            spilled: Vec::new(),
            #[cfg(feature = "conformance")]
            stall: None,
        }
    }

    /// No endpoint was tried; this runs whenever a pick checks for tried ones, to stop a pick half-way.
    #[cfg(feature = "conformance")]
    pub(crate) fn stalling(stall: impl Fn() + Send + Sync + 'static) -> Self {
        let mut tried = Self::new();
        tried.push(Uid::new(u64::MAX));
        Self { stall: Some(Stall(Arc::new(stall))), ..tried }
    }

    /// Adds an endpoint; adding it twice changes nothing. Allocates from the ninth on.
    pub fn push(&mut self, uid: Uid) {
        if self.contains(uid) {
            return;
        }
        if let Some(slot) = self.inline.get_mut(self.len) {
            *slot = uid;
            self.len += 1;
        } else {
            self.spilled.push(uid);
        }
    }

    /// Whether this endpoint was tried.
    #[inline]
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        self.len != 0 && self.is_among(uid)
    }

    /// Apart, so that first attempts, which are nearly all, do not carry it along.
    #[inline(never)]
    fn is_among(&self, uid: Uid) -> bool {
        #[cfg(feature = "conformance")]
        if let Some(Stall(stall)) = &self.stall {
            stall();
        }
        self.inline.iter().take(self.len).any(|&u| u == uid) || self.spilled.contains(&uid)
    }

    /// How many were tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len + self.spilled.len()
    }

    /// Whether none was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The endpoints, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.inline.iter().take(self.len).chain(&self.spilled).copied()
    }

    /// Forgets them all; keeps what it has allocated.
    pub fn clear(&mut self) {
        self.len = 0;
        self.spilled.clear();
    }
}

/// What a pick is held up by.
#[cfg(feature = "conformance")]
#[derive(Clone)]
struct Stall(Arc<dyn Fn() + Send + Sync>);

#[cfg(feature = "conformance")]
impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stall")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_past_its_inline_room() {
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        for n in 1..=20 {
            tried.push(Uid::new(n));
            tried.push(Uid::new(n));
        }
        assert_eq!(tried.len(), 20);
        assert!((1..=20).all(|n| tried.contains(Uid::new(n))));
        assert!(!tried.contains(Uid::new(21)));
        assert!(!tried.contains(Uid::NONE));
        tried.clear();
        assert!(tried.is_empty() && !tried.contains(Uid::new(1)) && !tried.contains(Uid::new(20)));
    }
}
