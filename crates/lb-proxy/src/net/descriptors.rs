//! How many connections the process's open files have room for.
//!
//! A request in flight holds two descriptors, its client's and its endpoint's. A limit of clients alone, however the file
//! has it, lets idle ones take them all, and then each request of those accepted fails for want of the second. So what the
//! process may open is shared out: a reserve for what it needs beside connections, and of the rest as many to
//! endpoints as to clients, unless the file says otherwise.
//!
//! The reserve: three standard streams, logs, the files that a reload reads, what each worker's runtime and listeners hold,
//! places for admin clients, for active checks and for lookups of names. The last three shrink where little may be opened.

use std::num::NonZeroUsize;

use lb_config::Limits;
use rustix::process::{Resource, getrlimit};

/// Connections of either side where the open files have room for more.
const USUAL: usize = 20_000;
/// Fewer client connections than this are worth a warning where the file leaves the number open: a burst takes them all.
const FEW: usize = 512;
/// So many open files have room for the usual numbers, with hundreds of workers' and listeners' beside them.
const PLENTY: usize = 65_536;
/// Standard streams, logs, the configuration, certificates, signals, the main and the control thread's runtimes.
const FIXED: usize = 32;
/// A worker's runtime, and its access log.
const EACH_WORKER: usize = 4;
/// A listener's socket at a worker, twice: the second is for changes while it listens.
const EACH_LISTENER: usize = 2;
/// No limit of the system is above this in practice, and sums of it do not overflow.
const MOST: usize = 1 << 30;

/// The shares in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Client connections.
    pub(crate) connections: usize,
    /// Connections to endpoints.
    pub(crate) endpoint_connections: usize,
    /// Kept for everything else.
    pub(crate) reserve: usize,
}

/// How many files this process may have open.
pub(crate) fn limit() -> usize {
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MOST).min(MOST)
}

/// Active checks at once where so many files may be open.
pub(crate) fn checks_at_once(limit: usize) -> usize {
    (limit / 16).clamp(2, 1024)
}

/// Admin clients at once where so many files may be open.
pub(crate) fn admin_places(limit: usize) -> usize {
    (limit / 32).clamp(4, 64)
}

/// The part of the reserve that grows with the limit.
fn places(limit: usize) -> usize {
    let lookups = (limit / 16).clamp(2, 64);
    admin_places(limit) + checks_at_once(limit) + lookups
}

/// Shares out so many open files.
pub(crate) fn share(limit: usize, workers: usize, listeners: usize, wanted: &Limits) -> Shares {
    let reserve = FIXED + workers * (EACH_WORKER + EACH_LISTENER * listeners) + places(limit);
    let room = limit.saturating_sub(reserve).max(2);
    let (clients, endpoints) =
        (wanted.connections.map(NonZeroUsize::get), wanted.endpoint_connections.map(NonZeroUsize::get));
    // What is left beside the other side's wish, and a half in any case.
    let beside = |other: usize| (room - other.min(room)).max(room / 2);
    let connections = match (clients, endpoints) {
        (Some(clients), Some(endpoints)) => clients.min(beside(endpoints)),
        (Some(clients), None) => clients.min(room / 2),
        (None, Some(endpoints)) => USUAL.min(beside(endpoints)),
        (None, None) => USUAL.min(room / 2),
    };
    let left = room - connections;
    let endpoint_connections = endpoints.unwrap_or_else(|| connections.max(USUAL)).min(left);
    Shares { connections, endpoint_connections, reserve }
}

impl Shares {
    /// Warns of few client connections where the file leaves the number open: an operator would not expect it.
    pub(crate) fn tell_few(&self, limit: usize, wanted: &Limits) {
        let Self { connections, .. } = *self;
        if wanted.connections.is_none() && connections < FEW {
            tracing::warn!(
                "limits.connections = \"auto\" is {connections} only, since this process may open {limit} files and each request \
                 takes two; raise the limit (`ulimit -n`, `LimitNOFILE=`): {PLENTY} have room for {USUAL} connections"
            );
        }
    }

    /// The open files that have room for what the file says: the reserve grows with them.
    fn needed(&self, limit: usize, clients: Option<usize>, endpoints: Option<usize>) -> usize {
        let reserve = self.reserve - places(limit) + places(MOST);
        let of_clients = clients.unwrap_or(self.connections);
        reserve + of_clients + endpoints.or(clients).unwrap_or(self.endpoint_connections)
    }

    /// Says which numbers of the file are more than there is room for.
    pub(crate) fn tell(&self, limit: usize, wanted: &Limits) {
        let Self { connections, endpoint_connections, reserve } = *self;
        tracing::debug!(
            "open-file limit {limit}: {connections} for clients, {endpoint_connections} for endpoints, {reserve} reserved"
        );
        let clients = wanted.connections.map(NonZeroUsize::get);
        let endpoints = wanted.endpoint_connections.map(NonZeroUsize::get);
        let needed = self.needed(limit, clients, endpoints);
        for (name, wanted, in_effect) in
            [("connections", clients, connections), ("endpoint_connections", endpoints, endpoint_connections)]
        {
            if let Some(wanted) = wanted.filter(|wanted| *wanted > in_effect) {
                tracing::warn!(
                    "limits.{name} = {wanted} is more than the {limit} files that this process may open have room for; \
                     {in_effect} are in effect; raise the limit to {needed} (`ulimit -n`, `LimitNOFILE=`)"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(limit: usize, connections: Option<usize>, endpoint_connections: Option<usize>) -> (usize, usize) {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = {}\n";
        let config = lb_config::Config::parse(text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
        let wanted = Limits {
            connections: connections.and_then(NonZeroUsize::new),
            endpoint_connections: endpoint_connections.and_then(NonZeroUsize::new),
            ..config.limits
        };
        let shares = share(limit, 2, 1, &wanted);
        if limit > 100 {
            assert!(shares.connections + shares.endpoint_connections + shares.reserve <= limit, "{shares:?}");
        }
        (shares.connections, shares.endpoint_connections)
    }

    #[test]
    fn who_is_accepted_can_be_served_whatever_the_limit() {
        // 32 fixed, 2 × 6 of the workers; 64 for admin, 1 024 for checks, 64 for names.
        assert_eq!(shares(1 << 20, None, None), (20_000, 20_000));
        assert_eq!(shares(PLENTY, None, None), (20_000, 20_000));
        assert_eq!(shares(20_000, None, None), (9_402, 9_402));
        // 8 for admin, 16 for checks, 16 for names.
        assert_eq!(shares(256, None, None), (86, 86));
        assert_eq!(shares(60, None, None), (3, 3), "little as it is");
        assert_eq!(shares(0, None, None), (1, 1));
    }

    #[test]
    fn the_limit_that_a_warning_names_is_enough() {
        let few = Shares { connections: 86, endpoint_connections: 86, reserve: 84 };
        for wanted in [Some(500), Some(20_000)] {
            let needed = few.needed(256, wanted, None);
            assert_eq!(shares(needed, wanted, None).0, wanted.unwrap_or_default(), "of {needed}");
        }
    }

    #[test]
    fn what_is_written_holds_where_there_is_room() {
        assert_eq!(shares(1 << 20, Some(100_000), None), (100_000, 100_000));
        assert_eq!(shares(1 << 20, Some(2), None), (2, 20_000), "few clients may have many requests");
        assert_eq!(shares(20_000, Some(20_000), None), (9_402, 9_402), "capped, so that clients can be served");
        assert_eq!(shares(20_000, Some(15_000), Some(500)), (15_000, 500));
        assert_eq!(shares(20_000, None, Some(500)), (18_304, 500));
        assert_eq!(shares(20_000, Some(100), Some(15_000)), (100, 15_000));
        assert_eq!(shares(20_000, Some(50_000), Some(50_000)), (9_402, 9_402));
    }
}
