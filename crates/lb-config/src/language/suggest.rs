//! The nearest known word to one that is not known.

/// The candidate that is near enough to be what was meant: the one with the smallest edit distance, if that is at most
/// a third of the word (one edit at least); else one that begins the word, or that the word begins ("warning" for
/// "warn"). The first of equals wins.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    let length = word.chars().count();
    let begins = |candidate: &str| {
        length.min(candidate.len()) >= 3 && (candidate.starts_with(&word) || word.starts_with(candidate))
    };
    let far = (length / 3).max(1) + 1;
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = plain(candidate);
            let distance = distance(&word, &other);
            let rank = if distance < far {
                distance
            } else if begins(&other) {
                far
            } else {
                return None;
            };
            Some((rank, candidate))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, candidate)| candidate)
}

/// "`a`", or "one of `a`, `b`".
pub(crate) fn one_of(list: &[String]) -> String {
    match list {
        [one] => one.clone(),
        list => format!("one of {}", list.join(", ")),
    }
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours each count one.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_slips_and_leaves_strangers_alone() {
        let keys = ["address", "name", "endpoints", "max_in_flight"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("nmae", keys), Some("name"), "a swap is one slip");
        assert_eq!(nearest("max-in-flight", keys), Some("max_in_flight"));
        assert_eq!(nearest("Endpoint", keys), Some("endpoints"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("warning", ["error", "warn"]), Some("warn"));
        assert_eq!(nearest("max", keys), Some("max_in_flight"));
        assert_eq!(nearest("m", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", []), None);
    }
}
