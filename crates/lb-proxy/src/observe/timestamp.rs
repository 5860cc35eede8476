//! Wall-clock time as text, at the price of a copy.
//!
//! An access log writes the time of every request, and calendar arithmetic costs more than the rest of a line. Requests
//! of one second share all but their milliseconds, so [`Stamp`] keeps the last second's text. UTC only: local time
//! needs a zone file and is ambiguous for an hour a year.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second written, as text in both styles. Not shared: one for each writer.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    second: u64,
    /// `2025-11-21T07:56:00`, to which milliseconds and `Z` are added.
    rfc3339: [u8; 19],
    /// `21/Nov/2025:07:56:00 +0000`.
    clf: [u8; 26],
}

impl Stamp {
    /// The text of the epoch.
    pub(crate) fn new() -> Self {
        let mut stamp = Self { second: 0, rfc3339: [0; 19], clf: [0; 26] };
        stamp.render();
        stamp
    }

    /// Appends RFC 3339 in UTC with milliseconds: `2025-11-21T07:56:00.123Z`.
    pub(crate) fn push_rfc3339(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let millis = self.turn_to(at);
        out.extend_from_slice(&self.rfc3339);
        out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }

    /// Appends the Common Log Format's time without its brackets: `21/Nov/2025:07:56:00 +0000`.
    pub(crate) fn push_clf(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        self.turn_to(at);
        out.extend_from_slice(&self.clf);
    }

    /// Makes `at` the kept second and returns the milliseconds beyond it. Times outside 1970 to 9999 become the nearest.
    fn turn_to(&mut self, at: SystemTime) -> u32 {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let second = since.as_secs().min(LAST_SECOND);
        if second != self.second {
            self.second = second;
            self.render();
        }
        since.subsec_millis()
    }

    fn render(&mut self) {
        let (year, month, day) = civil(self.second / 86_400);
        let in_day = (self.second % 86_400) as u32;
        let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
        let (y, mo, d) = (four(year), two(month), two(day));
        let (h, mi, s) = (two(hour), two(minute), two(second));
        let name = MONTHS[(month as usize - 1) % MONTHS.len()];
        self.rfc3339 = [
            y[0], y[1], y[2], y[3], b'-', mo[0], mo[1], b'-', d[0], d[1], b'T', h[0], h[1], b':', mi[0], mi[1], b':',
            s[0], s[1],
        ];
        self.clf = [
            d[0], d[1], b'/', name[0], name[1], name[2], b'/', y[0], y[1], y[2], y[3], b':', h[0], h[1], b':', mi[0],
            mi[1], b':', s[0], s[1], b' ', b'+', b'0', b'0', b'0', b'0',
        ];
    }
}

/// RFC 3339 in UTC with milliseconds, for the few places that need one as a string.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let mut out = Vec::with_capacity(24);
    Stamp::new().push_rfc3339(&mut out, at);
    String::from_utf8_lossy(&out).into_owned()
}

/// Year, month and day of a day counted from 1970-01-01: Howard Hinnant's `civil_from_days`, for days from zero on.
/// Years are counted from March, so that the leap day comes last and months have a linear pattern.
fn civil(days: u64) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

const fn digit(n: u32) -> u8 {
    b'0' + (n % 10) as u8
}

const fn two(n: u32) -> [u8; 2] {
    [digit(n / 10), digit(n)]
}

const fn four(n: u32) -> [u8; 4] {
    [digit(n / 1_000), digit(n / 100), digit(n / 10), digit(n)]
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// 9999-12-31T23:59:59Z: a fifth digit would break every parser.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn both(stamp: &mut Stamp, seconds: u64, millis: u64) -> (String, String) {
        let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis);
        let (mut rfc, mut clf) = (Vec::new(), Vec::new());
        stamp.push_rfc3339(&mut rfc, at);
        stamp.push_clf(&mut clf, at);
        (String::from_utf8(rfc).unwrap(), String::from_utf8(clf).unwrap())
    }

    /// Expected values are those of `date -u -d @SECONDS`.
    #[test]
    fn known_instants_read_as_the_calendar_says() {
        let mut stamp = Stamp::new();
        for (seconds, millis, rfc, clf) in [
            (0, 0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, 7, "2000-02-28T23:59:59.007Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, 70, "2000-02-29T00:00:00.070Z", "29/Feb/2000:00:00:00 +0000"),
            (1_709_251_199, 999, "2024-02-29T23:59:59.999Z", "29/Feb/2024:23:59:59 +0000"),
            (1_735_689_599, 1, "2024-12-31T23:59:59.001Z", "31/Dec/2024:23:59:59 +0000"),
            (1_735_689_600, 1, "2025-01-01T00:00:00.001Z", "01/Jan/2025:00:00:00 +0000"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            assert_eq!(both(&mut stamp, seconds, millis), (rfc.to_owned(), clf.to_owned()));
        }
    }

    #[test]
    fn a_repeated_second_is_formatted_correctly() {
        let mut stamp = Stamp::new();
        assert_eq!(both(&mut stamp, 1_735_689_600, 5).0, "2025-01-01T00:00:00.005Z");
        assert_eq!(both(&mut stamp, 1_735_689_600, 6).0, "2025-01-01T00:00:00.006Z");
        assert_eq!(both(&mut stamp, 1_735_689_599, 6).0, "2024-12-31T23:59:59.006Z", "time may go backwards");
    }

    #[test]
    fn times_out_of_range_become_the_nearest() {
        let mut stamp = Stamp::new();
        assert!(both(&mut stamp, LAST_SECOND + 86_400, 0).0.starts_with("9999-12-31T23:59:59"));
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
