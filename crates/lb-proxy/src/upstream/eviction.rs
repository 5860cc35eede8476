//! Eviction: idle connections give way where there may be no more.

use super::Upstream;
use super::room::{Full, Share, Tally};
use crate::net::clock;

/// Sees to it that a request may have a connection, kept or new, by closing idle ones where need be; those that rest
/// longest go first, of the request's own cluster where that one has its share. `is_one_of_many` if the request runs beside
/// others of its client's connection; `visit` is to call what it is given with every endpoint that there is.
///
/// # Errors
/// It may not have one.
pub(crate) fn admit(
    share: &Share,
    is_one_of_many: bool,
    visit: impl Fn(&mut dyn FnMut(&Upstream)),
) -> Result<(), Full> {
    let bounds = share.bounds(is_one_of_many);
    let own = |each: &mut dyn FnMut(&Upstream)| {
        visit(&mut |upstream| {
            if std::ptr::eq(upstream.share(), share) {
                each(upstream);
            }
        });
    };
    // Its own first: what goes there makes room in all as well.
    if !has_room(share.tally(), bounds.own, own) {
        return Err(share.full(is_one_of_many));
    }
    let all = share.room().tally();
    if has_room(all, bounds.all, &visit) {
        return Ok(());
    }
    match bounds.modest {
        Some(modest) if has_room(share.tally(), modest.own, own) && has_room(all, modest.all, &visit) => Ok(()),
        _ => Err(share.room().full(is_one_of_many)),
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
    // Where all of them would not do, each had better stay for whoever may use it.
    if idle.len() >= surplus {
        // A few more than need be, so that the next request need not look again.
        let last = (surplus + bound / 256).min(idle.len()) - 1;
        let until = *idle.select_nth_unstable(last).1;
        visit(&mut |upstream| upstream.close_idle_since(until));
    }
    let has_room = tally.open() < bound;
    if !has_room {
        // Connections of HTTP/2 end in their own time: a later request finds their room.
        visit(&mut Upstream::close_idle_shared);
        tally.on_barren(bound, now);
    }
    has_room
}
