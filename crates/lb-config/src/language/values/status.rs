//! Statuses, ranges of them, and the kinds of failure that stand beside them.

use super::ValueError;

/// A kind of failure, or a range of statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No connection was made; nothing was sent.
    ConnectError,
    /// The connection broke before the response head.
    Reset,
    /// The response head came too late.
    Timeout,
    /// What came was not HTTP.
    InvalidResponse,
    /// A status within these bounds, both included.
    Status {
        /// Lowest.
        from: u16,
        /// Highest.
        to: u16,
    },
}

pub(crate) const STATUSES: &str = "a status such as 404, \"5xx\" or \"500-504\"";

/// The failures that have names, as the configuration spells them.
pub(crate) const FAILURES: [(&str, Condition); 4] = [
    ("connect_error", Condition::ConnectError),
    ("reset", Condition::Reset),
    ("timeout", Condition::Timeout),
    ("invalid_response", Condition::InvalidResponse),
];

/// `404`, `"5xx"` or `"500-504"` as inclusive bounds within 100 to 599.
pub(crate) fn range(text: &str) -> Result<(u16, u16), ValueError> {
    let bounds = if let Some(class) = text.strip_suffix("xx") {
        class
            .parse::<u16>()
            .ok()
            .filter(|class| class.to_string().len() == text.len() - 2)
            .map(|class| (class.saturating_mul(100), class.saturating_mul(100).saturating_add(99)))
    } else if let Some((from, to)) = text.split_once('-') {
        from.parse().ok().zip(to.parse().ok())
    } else {
        text.parse().ok().map(|status| (status, status))
    };
    match bounds {
        None => Err(ValueError::new("is not a status", STATUSES)),
        Some((from, to)) if from > to => Err(ValueError::new("ends before it begins", STATUSES)),
        Some((from, to)) if from < 100 || to > 599 => {
            Err(ValueError::new("is not a status", "statuses from 100 to 599"))
        }
        Some(bounds) => Ok(bounds),
    }
}

pub(crate) fn show_range((from, to): (u16, u16)) -> String {
    match (from, to) {
        (from, to) if from == to => from.to_string(),
        (from, to) if from % 100 == 0 && to == from + 99 => format!("{}xx", from / 100),
        (from, to) => format!("{from}-{to}"),
    }
}

pub(crate) fn show_condition(condition: Condition) -> String {
    if let Condition::Status { from, to } = condition {
        return show_range((from, to));
    }
    let named = FAILURES.iter().find(|(_, known)| *known == condition);
    named.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, bounds) in [("404", (404, 404)), ("5xx", (500, 599)), ("500-504", (500, 504)), ("1xx", (100, 199))] {
            assert_eq!(range(text), Ok(bounds));
            assert_eq!(show_range(bounds), text);
        }
        for text in ["", "xx", "0xx", "6xx", "05xx", "+5xx", "99", "600", "504-500", "500-", "-500", "ok", "65535xx"] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_have_one_spelling() {
        for (name, condition) in FAILURES {
            assert_eq!(show_condition(condition), name);
        }
        assert_eq!(show_condition(Condition::Status { from: 500, to: 599 }), "5xx");
    }
}
