//! Eviction: idle connections are closed for new ones when a limit is reached.

use super::Upstream;
use super::room::{Full, Share, Tally};
use crate::net::clock;

/// Makes room for a request's connection, kept or new, by closing idle ones if need be: those idle longest first, of the request's own
/// cluster if that one has used up its share. `is_multiplexed`: the request runs beside others of its client's connection. `visit`
/// calls its argument with every endpoint.
///
/// # Errors
/// There is no room.
pub(crate) fn admit(
    share: &Share,
    is_multiplexed: bool,
    visit: impl Fn(&mut dyn FnMut(&Upstream)),
) -> Result<(), Full> {
    let bounds = share.bounds(is_multiplexed);
    let own = |each: &mut dyn FnMut(&Upstream)| {
        visit(&mut |upstream| {
            if std::ptr::eq(upstream.share(), share) {
                each(upstream);
            }
        });
    };
    // Its own first: each one closed there makes room in total as well.
    if !has_room(share.tally(), bounds.own, own) {
        return Err(share.full(is_multiplexed));
    }
    let all = share.room().tally();
    if has_room(all, bounds.all, &visit) {
        return Ok(());
    }
    match bounds.modest {
        Some(modest) if has_room(share.tally(), modest.own, own) && has_room(all, modest.all, &visit) => Ok(()),
        _ => Err(share.room().full(is_multiplexed)),
    }
}

/// Whether there are fewer than `bound`, or idle ones could be closed until there were.
fn has_room(tally: &Tally, bound: usize, visit: impl Fn(&mut dyn FnMut(&Upstream))) -> bool {
    tally.open() < bound || make_room(tally, bound, visit)
}

/// Closes idle connections until there are fewer than `bound`; whether that is so.
#[cold]
fn make_room(tally: &Tally, bound: usize, visit: impl Fn(&mut dyn FnMut(&Upstream))) -> bool {
    let now = clock::mono();
    if tally.is_barren(bound, now) {
        return false;
    }
    let mut idle = Vec::new();
    visit(&mut |upstream| upstream.idle_since(&mut idle));
    let surplus = tally.open().saturating_sub(bound) + 1;
    // If closing all of them would not be enough, none is closed.
    if idle.len() >= surplus {
        // A few more than necessary, so that the next request need not look again.
        let last = (surplus + bound / 256).min(idle.len()) - 1;
        let until = *idle.select_nth_unstable(last).1;
        visit(&mut |upstream| upstream.close_idle_since(until));
    }
    let has_room = tally.open() < bound;
    if !has_room {
        // HTTP/2 connections close asynchronously: a later request finds their room.
        visit(&mut Upstream::close_idle_http2);
        tally.on_barren(bound, now);
    }
    has_room
}
