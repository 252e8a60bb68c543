//! Did you mean …? The nearest known word to a misspelt one.

/// Words longer than this are compared with nothing: no name we know is so long.
const LONGEST: usize = 40;

/// The candidate nearest to `word`, if it is near enough to be what was meant.
///
/// Near: at most a third of the letters differ (insertions, deletions, changes, swapped neighbours), case aside.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    if word.len() < 2 || word.len() > LONGEST {
        return None;
    }
    let tolerance = (word.len() / 3).clamp(1, 4);
    candidates
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance.
fn distance(word: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate
        .chars()
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=candidate.len()).collect();
    for (row, letter) in word.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in candidate.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut best = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && word[row - 1] == *other && *letter == candidate[column - 1];
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = last;
        last = current;
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_are_not() {
        let words = ["rate", "irate", "increase", "histogram_quantile", "sum", "max"];
        for (word, expected) in [
            ("rte", Some("rate")),
            ("Rate", Some("rate")),
            ("arte", Some("rate")),
            ("incraese", Some("increase")),
            ("histogram_quantil", Some("histogram_quantile")),
            ("summ", Some("sum")),
            ("percentile", None),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words.into_iter()), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), words.into_iter()), None);
    }
}
