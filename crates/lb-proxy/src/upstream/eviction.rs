//! Eviction: idle connections give way where there may be no more.

use super::Upstream;
use super::room::{Full, Room};
use crate::net::clock;

/// Sees to it that a request may have a connection, kept or new, by closing idle ones where need be; those that rest
/// longest go first. `is_one_of_many` if the request runs beside others of its client's connection; `visit` is to call what
/// it is given with every endpoint that there is.
///
/// # Errors
/// It may not have one.
pub(crate) fn admit(room: &Room, is_one_of_many: bool, visit: impl Fn(&mut dyn FnMut(&Upstream))) -> Result<(), Full> {
    let bound = room.bound(is_one_of_many);
    if room.open() < bound || make_room(room, bound, visit) { Ok(()) } else { Err(room.full(is_one_of_many)) }
}

/// Closes idle connections until there are fewer than `bound` in all; whether that is so.
#[cold]
fn make_room(room: &Room, bound: usize, visit: impl Fn(&mut dyn FnMut(&Upstream))) -> bool {
    let now = clock::mono();
    if room.is_barren(now) {
        return false;
    }
    let mut idle = Vec::new();
    visit(&mut |upstream| upstream.idle_since(&mut idle));
    // A few more than need be, so that the next request need not look again.
    let surplus = room.open().saturating_sub(bound) + 1 + room.most() / 256;
    if let Some(last) = surplus.min(idle.len()).checked_sub(1) {
        let until = *idle.select_nth_unstable(last).1;
        visit(&mut |upstream| upstream.close_idle_since(until));
    }
    let has_room = room.open() < bound;
    if !has_room {
        // Connections of HTTP/2 end in their own time: a later request finds their room.
        visit(&mut Upstream::close_idle_shared);
        room.on_barren(now);
    }
    has_room
}
