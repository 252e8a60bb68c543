//! Names: of the objects we derive from a Canary, and what Kubernetes accepts as one.
//!
//! Owns the suffixes `-primary` and `-canary` and Kubernetes' name syntax. Never shortens or repairs a name.

/// `<name>-primary`: the workload, Service, scaler or config that serves production.
pub fn primary(name: &str) -> String {
    format!("{name}-primary")
}

/// `<name>-canary`: the Service in front of the revision under judgement.
pub fn canary(name: &str) -> String {
    format!("{name}-canary")
}

/// Longest DNS label, and longest label value (RFC 1123).
pub const LABEL_MAX: usize = 63;

/// An RFC 1123 label: at most 63 of `a-z 0-9 -`, beginning and ending with a letter or digit.
pub fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= LABEL_MAX
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// An RFC 1123 subdomain: dot-separated labels, at most 253 characters together (names of most objects).
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            // Kubernetes bounds the whole, not each part.
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

/// A port name that a Service's `targetPort` or a container may use (IANA service name, at most 15 characters).
pub fn is_port_name(text: &str) -> bool {
    text.len() <= 15 && is_label(text) && !text.contains("--") && text.chars().any(|c| c.is_ascii_lowercase())
}

/// A label or annotation key: an optional DNS subdomain and `/`, then at most 63 of `A-Z a-z 0-9 - _ .`.
pub fn is_qualified(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// A label value: at most 63 of `A-Z a-z 0-9 - _ .`, beginning and ending with a letter or digit, or empty.
pub fn is_label_value(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL_MAX
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The candidate a misspelt word was probably meant to be; `None` when nothing is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    let reach = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words; long words are not compared.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 || a.len().max(b.len()) > 80 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax() {
        assert!(is_label("podinfo") && is_label("9to5") && is_label(&"a".repeat(63)));
        assert!(
            !is_label("")
                && !is_label("-a")
                && !is_label("a.b")
                && !is_label("A")
                && !is_label(&"a".repeat(64))
        );
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_subdomain("a_b"));
        assert!(
            is_port_name("http")
                && is_port_name("grpc-web")
                && !is_port_name("8080")
                && !is_port_name("a--b")
        );
        assert!(!is_port_name("a-name-far-too-long"));
        assert!(is_qualified("app.kubernetes.io/name") && is_qualified("App_1") && !is_qualified("a/b/c"));
        assert!(!is_qualified("") && !is_qualified("UP.io/x") && !is_qualified("-x"));
        assert!(
            is_label_value("") && is_label_value("v1.2_x") && !is_label_value("a b") && !is_label_value("x-")
        );
        assert_eq!(
            (primary("a").as_str(), canary("a").as_str()),
            ("a-primary", "a-canary")
        );
    }

    #[test]
    fn near_words() {
        let words = ["istio", "kubernetes", "linkerd", "request-success-rate"];
        assert_eq!(nearest("kuberentes", words), Some("kubernetes"));
        assert_eq!(nearest("Istio", words), Some("istio"));
        assert_eq!(
            nearest("request-succes-rate", words),
            Some("request-success-rate")
        );
        assert_eq!(nearest("consul", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest(&"x".repeat(500), words), None);
    }
}
