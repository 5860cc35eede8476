//! Durations, sizes, rates and shares, both ways.

use std::num::NonZeroU64;
use std::time::Duration;

use super::ValueError;

pub(crate) const DURATION: &str = "a duration such as \"250ms\", \"5s\", \"2m\" or \"1h\"";
pub(crate) const SIZE: &str = "a size such as \"512B\", \"32KiB\" or \"10MB\"";
pub(crate) const RATE: &str = "a rate such as \"10/s\" or \"60/m\"";
pub(crate) const FACTOR: &str = "a factor such as \"140%\"";
pub(crate) const SHARE: &str = "a share such as \"20%\"";

/// Longest duration: a year. Longer ones are slips, and sums of shorter ones never overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let (number, unit) = split(text, "is not a duration", DURATION)?;
    if unit.is_empty() {
        return Err(ValueError::new("has no unit", DURATION).help(format!("write \"{number}s\" or \"{number}ms\"")));
    }
    let Some((_, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(ValueError::new("has an unknown unit", DURATION).help("the units are `ms`, `s`, `m`, `h` and `d`"));
    };
    let millis = number.checked_mul(*factor).filter(|millis| u128::from(*millis) <= LONGEST.as_millis());
    millis.map(Duration::from_millis).ok_or_else(|| ValueError::new("is too long", "at most 365 days (\"365d\")"))
}

pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact =
        |(_, factor): &&(&str, u64)| millis >= u128::from(*factor) && millis.is_multiple_of(u128::from(*factor));
    // Days are read but not written: "48h" is what the rest of the file speaks.
    let (unit, factor) = DURATION_UNITS[..4].iter().rev().find(exact).unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / u128::from(*factor))
}

pub(crate) fn size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split(text, "is not a size", SIZE)?;
    if unit.is_empty() {
        return Err(ValueError::new("has no unit", SIZE).help(format!("write \"{number}B\" or \"{number}KiB\"")));
    }
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        let near = SIZE_UNITS.iter().rfind(|(name, _)| name.starts_with(&unit.to_uppercase()));
        let help = near
            .map_or("the units are B, KB, MB, GB (powers of 1000) and KiB, MiB, GiB (of 1024)".into(), |near| {
                format!("write \"{number}{}\"", near.0)
            });
        return Err(ValueError::new("has an unknown unit", SIZE).help(help));
    };
    number
        .checked_mul(*factor)
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or_else(|| ValueError::new("is too large", "fewer than 2^63 bytes"))
}

pub(crate) fn show_size(bytes: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (unit, factor) = SIZE_UNITS.iter().filter(exact).max_by_key(|(_, factor)| *factor).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// `"10/s"`: so many requests a period, kept as written, since 1/m is one per 60 s and not 0.0166 per second.
pub(crate) fn rate(text: &str) -> Result<(NonZeroU64, Duration), ValueError> {
    let Some((requests, per)) = text.split_once('/') else {
        return Err(ValueError::new("is not a rate", RATE));
    };
    let (number, rest) = split(requests, "is not a rate", RATE)?;
    if rest == "r" {
        return Err(ValueError::new("is not a rate", RATE).help(format!("write \"{number}/{per}\"")));
    }
    if !rest.is_empty() {
        return Err(ValueError::new("is not a rate", RATE));
    }
    let Some(requests) = NonZeroU64::new(number) else {
        return Err(ValueError::new("lets nothing through", "at least one request a period"));
    };
    let unit = matches!(per, "s" | "m" | "h" | "d").then(|| format!("1{per}"));
    let period = duration(unit.as_deref().unwrap_or(per)).map_err(|wrong| {
        ValueError::new("has an unknown period", RATE)
            .help(wrong.help.unwrap_or("the periods are `s`, `m`, `h`, `d` and durations such as `10s`".into()))
    })?;
    if period.is_zero() {
        return Err(ValueError::new("has an empty period", RATE));
    }
    // The limiter counts in nanoseconds: a request must be worth at least one of them.
    if u128::from(requests.get()) > period.as_nanos() {
        return Err(ValueError::new("is too fast", "at most one request a nanosecond"));
    }
    Ok((requests, period))
}

pub(crate) fn show_rate(requests: NonZeroU64, period: Duration) -> String {
    let period = match show_duration(period) {
        one if matches!(one.as_str(), "1s" | "1m" | "1h") => one[1..].to_owned(),
        other => other,
    };
    format!("{requests}/{period}")
}

/// `"20%"` as 0.2; 0 to 100 with at most four decimals, so that it is printed as it was written.
pub(crate) fn share(text: &str) -> Result<f64, ValueError> {
    match percent(text, SHARE)? {
        percent if percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(ValueError::new("is more than everything", "\"0%\" to \"100%\"")),
    }
}

/// `"140%"` as 1.4; 100 to 1000.
pub(crate) fn factor(text: &str) -> Result<f64, ValueError> {
    match percent(text, FACTOR)? {
        percent if (100.0..=1_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(ValueError::new("does not fit here", "\"100%\" to \"1000%\"")),
    }
}

fn percent(text: &str, expected: &str) -> Result<f64, ValueError> {
    let Some(number) = text.strip_suffix('%') else {
        return Err(ValueError::new("has no `%`", expected));
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return Err(ValueError::new("is not a share", expected));
    }
    if decimals.len() > 4 {
        return Err(ValueError::new("is too precise", "at most four decimals"));
    }
    Ok(number.parse().unwrap_or(f64::INFINITY))
}

pub(crate) fn show_share(ratio: f64) -> String {
    let percent = format!("{:.4}", ratio * 100.0);
    let percent = percent.trim_end_matches('0').trim_end_matches('.');
    format!("{percent}%")
}

/// Splits a whole number from what follows it.
fn split<'a>(text: &'a str, what: &str, expected: &str) -> Result<(u64, &'a str), ValueError> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if text.starts_with('-') {
        return Err(ValueError::new("is negative", expected));
    }
    if digits.is_empty() {
        return Err(ValueError::new(what, expected));
    }
    if unit.starts_with(['.', ',']) {
        return Err(
            ValueError::new("has a fraction", expected).help("use a smaller unit: \"1500ms\" for a second and a half")
        );
    }
    if unit.starts_with(' ') {
        return Err(ValueError::new("has a space in it", expected).help(format!("write \"{digits}{}\"", unit.trim())));
    }
    match digits.parse() {
        Ok(number) => Ok((number, unit)),
        Err(_) => Err(ValueError::new("is too large", expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T: std::fmt::Debug>(result: Result<T, ValueError>) -> String {
        result.unwrap_err().what
    }

    #[test]
    fn durations() {
        for (text, millis, shown) in [
            ("0ms", 0, "0ms"),
            ("0s", 0, "0ms"),
            ("250ms", 250, "250ms"),
            ("5s", 5_000, "5s"),
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("2m", 120_000, "2m"),
            ("1h", 3_600_000, "1h"),
            ("1d", 86_400_000, "24h"),
            ("365d", 31_536_000_000, "8760h"),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(millis)), shown);
        }
        for (text, what) in [
            ("", "is not a duration"),
            ("s", "is not a duration"),
            ("-5s", "is negative"),
            ("5", "has no unit"),
            ("5sec", "has an unknown unit"),
            ("5S", "has an unknown unit"),
            ("5 s", "has a space in it"),
            ("1.5s", "has a fraction"),
            ("366d", "is too long"),
            ("18446744073709551615h", "is too long"),
            ("99999999999999999999s", "is too large"),
        ] {
            assert_eq!(why(duration(text)), what, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("0B", 0, "0B"),
            ("1B", 1, "1B"),
            ("32KiB", 32_768, "32KiB"),
            ("32kib", 32_768, "32KiB"),
            ("10MB", 10_000_000, "10MB"),
            ("100MiB", 104_857_600, "100MiB"),
            ("2GiB", 2_147_483_648, "2GiB"),
            ("1500B", 1_500, "1500B"),
            ("8000KiB", 8_192_000, "8000KiB"),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), shown);
        }
        for (text, what) in [
            ("", "is not a size"),
            ("10", "has no unit"),
            ("10m", "has an unknown unit"),
            ("-1B", "is negative"),
            ("1.5MB", "has a fraction"),
            ("18446744073709551615KiB", "is too large"),
            ("9223372036854775808B", "is too large"),
        ] {
            assert_eq!(why(size(text)), what, "{text}");
        }
        assert_eq!(size("10m").unwrap_err().help.unwrap(), "write \"10MiB\"");
    }

    #[test]
    fn rates_are_kept_as_written() {
        for (text, requests, secs, shown) in [
            ("10/s", 10, 1, "10/s"),
            ("60/m", 60, 60, "60/m"),
            ("1/m", 1, 60, "1/m"),
            ("100/10s", 100, 10, "100/10s"),
            ("5/h", 5, 3_600, "5/h"),
            ("1/1s", 1, 1, "1/s"),
        ] {
            let read = rate(text).unwrap();
            assert_eq!((read.0.get(), read.1.as_secs()), (requests, secs), "{text}");
            assert_eq!(show_rate(read.0, read.1), shown);
        }
        for (text, what) in [
            ("10", "is not a rate"),
            ("10r/s", "is not a rate"),
            ("x/s", "is not a rate"),
            ("0/s", "lets nothing through"),
            ("-1/s", "is negative"),
            ("1/x", "has an unknown period"),
            ("1/", "has an unknown period"),
            ("1/0s", "has an empty period"),
            ("2000000000/s", "is too fast"),
        ] {
            assert_eq!(why(rate(text)), what, "{text}");
        }
        assert_eq!(rate("10r/s").unwrap_err().help.unwrap(), "write \"10/s\"");
    }

    #[test]
    fn shares_print_as_they_were_written() {
        for text in ["0%", "7%", "20%", "33.3%", "0.0001%", "99.9999%", "100%"] {
            let ratio = share(text).unwrap();
            assert_eq!(show_share(ratio), text);
            assert_eq!(share(&show_share(ratio)), Ok(ratio), "{text}");
        }
        assert_eq!(share("20%"), Ok(0.2));
        assert_eq!((factor("140%"), factor("100%"), factor("1000%")), (Ok(1.4), Ok(1.0), Ok(10.0)));
        assert!(factor("99.9%").is_err() && factor("1001%").is_err() && factor("1.4").is_err());
        for (text, what) in [
            ("20", "has no `%`"),
            ("%", "is not a share"),
            ("-1%", "is not a share"),
            ("1e1%", "is not a share"),
            ("101%", "is more than everything"),
            ("0.00001%", "is too precise"),
        ] {
            assert_eq!(why(share(text)), what, "{text}");
        }
    }
}
