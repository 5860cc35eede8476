//! A cluster fed by a tower `Discover`.
//!
//! What finds endpoints for tower's own balancer finds them for ours: each change it yields is applied to the cluster. Changes
//! that are ready together become one update, so that a thousand endpoints found at once cost one rebuild of the tables.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use lb_core::{Clock, SystemClock, Weight};
use lb_policy::{Cluster, Identity, Member, Update};
use pin_project_lite::pin_project;
use tower::discover::{Change, Discover};

use crate::clock::system_clock;

pin_project! {
    /// Applies what is discovered, until discovery ends. Spawn it, or poll it beside whatever uses the cluster.
    ///
    /// It ends with `Ok` when nothing more will be discovered, and with the error of a discovery that fails; in both
    /// cases the members stay as they are.
    #[must_use = "nothing is discovered unless it is polled"]
    pub struct Follow<D, F, C = SystemClock>
    where
        D: Discover,
    {
        cluster: Cluster<D::Service>,
        #[pin]
        discover: D,
        identify: F,
        clock: C,
    }
}

impl<D, F> Follow<D, F>
where
    D: Discover,
    D::Service: Send + Sync + 'static,
{
    /// Applies the changes of `discover` to this cluster; `identify` says which endpoint a key stands for: an [`Identity`], a pair of it and its
    /// [`Weight`], or anything that is [`Found`].
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use lb_core::Weight;
    /// use lb_policy::{Cluster, Identity};
    /// use lb_tower::Follow;
    /// use tower::discover::ServiceList;
    ///
    /// # type Client = tower::util::BoxCloneSyncService<u32, u32, Infallible>;
    /// # let clients: Vec<Client> = Vec::new();
    /// let cluster = Cluster::new("app");
    /// let list = ServiceList::new::<u32>(clients);
    /// let follow = Follow::new(cluster, list, |place: &usize| (Identity::from(format!("app-{place}")), Weight::new(3)));
    /// # drop(follow);
    /// ```
    pub fn new<I>(cluster: Cluster<D::Service>, discover: D, identify: F) -> Self
    where
        F: Fn(&D::Key) -> I,
        I: Found,
    {
        Self { cluster, discover, identify, clock: system_clock() }
    }
}

impl<D: Discover, F, C> Follow<D, F, C> {
    /// Tells the time; default [`system_clock`].
    pub fn clock<B>(self, clock: B) -> Follow<D, F, B> {
        let Self { cluster, discover, identify, .. } = self;
        Follow { cluster, discover, identify, clock }
    }
}

impl<D, F, I, C> Future for Follow<D, F, C>
where
    D: Discover,
    D::Service: Send + Sync + 'static,
    F: Fn(&D::Key) -> I,
    I: Found,
    C: Clock,
{
    type Output = Result<(), D::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut batch = Batch::Empty;
        for _ in 0..MAX_AT_ONCE {
            let end = match this.discover.as_mut().poll_discover(cx) {
                Poll::Ready(Some(Ok(change))) => {
                    if let Some(update) = batch.add(change, &*this.identify) {
                        this.cluster.apply(update, this.clock.now());
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
                Poll::Ready(None) => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            };
            if let Some(update) = batch.take() {
                this.cluster.apply(update, this.clock.now());
            }
            return end;
        }
        // There may be no end of them: others want to run too.
        if let Some(update) = batch.take() {
            this.cluster.apply(update, this.clock.now());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<D: Discover, F, C> fmt::Debug for Follow<D, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

/// What a key of a discovery stands for.
pub trait Found {
    /// Which endpoint.
    fn identity(self) -> Identity;

    /// The member that it is with this service, with its weight, zone and limits. Default: weight one.
    fn member<S>(self, service: S) -> Member<S>
    where
        Self: Sized,
    {
        Member::new(self.identity(), service)
    }
}

impl Found for Identity {
    fn identity(self) -> Identity {
        self
    }
}

impl Found for (Identity, Weight) {
    fn identity(self) -> Identity {
        self.0
    }

    fn member<S>(self, service: S) -> Member<S> {
        Member::new(self.0, service).weight(self.1)
    }
}

const MAX_AT_ONCE: usize = 1_024;

/// Changes of one kind, in their order.
enum Batch<S> {
    Empty,
    Join(Vec<Member<S>>),
    Leave(Vec<Identity>),
}

impl<S> Batch<S> {
    /// Adds a change; gives back what has to be applied before it, because it is of the other kind.
    fn add<K, I: Found>(&mut self, change: Change<K, S>, identify: &impl Fn(&K) -> I) -> Option<Update<S>> {
        match (&mut *self, change) {
            (Self::Join(members), Change::Insert(key, service)) => {
                members.push(identify(&key).member(service));
                None
            }
            (Self::Leave(identities), Change::Remove(key)) => {
                identities.push(identify(&key).identity());
                None
            }
            (_, Change::Insert(key, service)) => {
                mem::replace(self, Self::Join(vec![identify(&key).member(service)])).take()
            }
            (_, Change::Remove(key)) => mem::replace(self, Self::Leave(vec![identify(&key).identity()])).take(),
        }
    }

    fn take(self) -> Option<Update<S>> {
        match self {
            Self::Empty => None,
            Self::Join(members) => Some(Update::Upsert(members)),
            Self::Leave(identities) => Some(Update::Remove(identities)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};
    use lb_policy::Generation;

    use super::*;

    fn insert(key: u16, service: char) -> Result<Change<u16, char>, &'static str> {
        Ok(Change::Insert(key, service))
    }

    fn remove(key: u16) -> Result<Change<u16, char>, &'static str> {
        Ok(Change::Remove(key))
    }

    fn identify(key: &u16) -> Identity {
        Identity::literal(format!("app:{key}"))
    }

    fn members(cluster: &Cluster<char>) -> String {
        cluster.endpoints().iter().map(|endpoint| *endpoint.value()).collect()
    }

    #[test]
    fn what_is_found_together_is_one_update() {
        let cluster = Cluster::new("found");
        let found = stream::iter([insert(1, 'a'), insert(2, 'b'), insert(1, 'c')]);
        let follow = Follow::new(cluster.clone(), found.chain(stream::pending()), identify);
        assert_eq!(follow.now_or_never(), None, "more may come");
        assert_eq!((members(&cluster), cluster.generation()), ("cb".into(), Generation(1)));
    }

    #[test]
    fn a_key_may_have_a_weight() {
        let cluster = Cluster::new("found");
        let found = stream::iter([insert(1, 'a'), insert(5, 'b')]);
        let weighed = |key: &u16| (identify(key), Weight::new(*key));
        assert_eq!(Follow::new(cluster.clone(), found, weighed).now_or_never(), Some(Ok(())));
        let weights: Vec<_> = cluster.endpoints().iter().map(|endpoint| endpoint.weight().value()).collect();
        assert_eq!(weights, [1, 5]);
    }

    #[test]
    fn changes_keep_their_order() {
        let cluster = Cluster::new("found");
        let found = stream::iter([insert(1, 'a'), insert(2, 'b'), remove(1), remove(9), insert(1, 'd'), remove(2)]);
        assert_eq!(Follow::new(cluster.clone(), found, identify).now_or_never(), Some(Ok(())));
        assert_eq!(members(&cluster), "d");
    }

    #[test]
    fn a_discovery_that_fails_leaves_what_it_had_found() {
        let cluster = Cluster::new("found");
        let found = stream::iter([insert(1, 'a'), Err("lost"), insert(2, 'b')]);
        assert_eq!(Follow::new(cluster.clone(), found, identify).now_or_never(), Some(Err("lost")));
        assert_eq!(members(&cluster), "a");
    }

    #[tokio::test]
    async fn an_endless_discovery_lets_others_run() {
        let cluster = Cluster::new("found");
        let endless = stream::iter((0..).map(|n: u64| insert((n % 7) as u16, 'a')));
        let follow = Follow::new(cluster.clone(), endless, identify);
        tokio::select! {
            biased;
            _ = follow => panic!("it has no end"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(cluster.len(), 7);
    }
}
