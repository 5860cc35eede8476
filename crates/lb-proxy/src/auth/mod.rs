//! Passwords and tokens: whose are known, and whether one is right, without sockets or requests.
//!
//! The problem: a password hash is made to be slow. Computed where requests are served, it stalls all of a worker's clients, and
//! whoever guesses passwords takes the proxy down beside. So hashes are computed on threads of their own with a short queue
//! (`pool`), a pair that was right is remembered for a minute (`memo`), and a client that is wrong too often is refused before
//! anything is computed (`Store::guesses`).
//!
//! How long a refusal takes must not tell which names exist: for a name that is unknown, the hash of another user is computed
//! (`users`).

mod apr1;
pub(crate) mod claims;
mod error;
mod hashed;
mod keys;
mod memo;
mod pool;
mod store;
mod users;

pub use error::AuthFileError;
pub(crate) use keys::{Claims, KeySet, TokenRules};
pub(crate) use pool::Pool;
pub use store::{Finding, inspect};
pub(crate) use store::{Loaded, Store};
pub(crate) use users::Users;
