//! Header names that a program behind CGI could take for another one.
//!
//! CGI turns `-` into `_` and lower case into upper case, so `X_Forwarded_For` reaches such a program under the same name as
//! `X-Forwarded-For`. A header that only we may write is therefore taken out under all names that look like it.

/// Whether a name is this one, ignoring case and taking `_` for `-`. `known` is in lower case.
pub(super) fn is_like(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && begins_like(name, known)
}

/// Whether a name begins like this one, in the same sense.
pub(super) fn begins_like(name: &[u8], known: &[u8]) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= known.len() && name.iter().zip(known).all(|(&a, &b)| fold(a) == b)
}

/// Whether a name is this one to a program that takes `.` as well for `-`, as some frameworks do. `known` may have any case.
pub(crate) fn is_alias(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && begins_alias(name, known)
}

/// Whether a name begins like this one, in the same sense.
pub(crate) fn begins_alias(name: &[u8], known: &[u8]) -> bool {
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= known.len() && name.iter().zip(known).all(|(&a, &b)| fold(a) == fold(b))
}
