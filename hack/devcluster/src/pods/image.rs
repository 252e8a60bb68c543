//! What an image does when it runs, told from its name and environment. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a container of an image fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Becomes ready.
    Ready,
    /// Runs and never becomes ready (`never-ready` in the image name).
    NeverReady,
    /// Exits soon after every start (`crash` in the image name).
    Crash,
}

/// The demo application as an image and its environment configure it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demo {
    /// What `/version` answers: the tag without its switches, or `VERSION`.
    pub(crate) version: String,
    /// Percentage of requests answered with 500: tag `…-errors50` (all without a number), or `ERROR_RATE`.
    pub(crate) error_rate: u8,
    /// Added to every answer: tag `…-slow750` (500 ms without a number), or `LATENCY_MS`.
    pub(crate) latency: Duration,
}

const SLOW: u64 = 500;

pub(crate) fn fate(image: &str) -> Fate {
    if image.contains("crash") {
        Fate::Crash
    } else if image.contains("never-ready") {
        Fate::NeverReady
    } else {
        Fate::Ready
    }
}

/// The demo application, if the image is it: a repository ending in `podinfo` or with `demo` in it.
pub(crate) fn demo(image: &str, env: &BTreeMap<String, String>) -> Option<Demo> {
    let (repository, tag) = split(image);
    if !repository.ends_with("podinfo") && !repository.contains("/podinfo") && !repository.contains("demo") {
        return None;
    }
    let mut version = Vec::new();
    let mut demo = Demo {
        version: String::new(),
        error_rate: 0,
        latency: Duration::ZERO,
    };
    for part in tag.split('-') {
        if let Some(rate) = switch(part, &["errors", "error", "err"], 100) {
            demo.error_rate = rate.min(100) as u8;
        } else if let Some(latency) = switch(part, &["slow"], SLOW) {
            demo.latency = Duration::from_millis(latency);
        } else {
            version.push(part);
        }
    }
    demo.version = version.join("-");
    let number = |key: &str| env.get(key).and_then(|value| value.trim().parse::<u64>().ok());
    if let Some(rate) = number("ERROR_RATE") {
        demo.error_rate = rate.min(100) as u8;
    }
    if let Some(latency) = number("LATENCY_MS") {
        demo.latency = Duration::from_millis(latency);
    }
    if let Some(version) = env.get("VERSION") {
        demo.version.clone_from(version);
    }
    Some(demo)
}

/// Repository and tag; a digest is dropped, the default tag is `latest`.
fn split(image: &str) -> (&str, &str) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        Some(_) | None => (image, "latest"),
    }
}

/// The number after one of these words, if a part of a tag is that; `default` when it is the bare word.
fn switch(part: &str, words: &[&str], default: u64) -> Option<u64> {
    words.iter().find_map(|word| match part.strip_prefix(word)? {
        "" => Some(default),
        number => number.parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        let table = [
            ("podinfo:1", Some(("1", 0, 0))),
            ("podinfo", Some(("latest", 0, 0))),
            (
                "ghcr.io/stefanprodan/podinfo:6.1.0-rc1",
                Some(("6.1.0-rc1", 0, 0)),
            ),
            (
                "ghcr.io/stefanprodan/podinfo:6.1.0@sha256:abc",
                Some(("6.1.0", 0, 0)),
            ),
            ("localhost:5000/podinfo", Some(("latest", 0, 0))),
            ("podinfo:1.2.0-errors50", Some(("1.2.0", 50, 0))),
            ("podinfo:1.2.0-err", Some(("1.2.0", 100, 0))),
            ("podinfo:2-slow", Some(("2", 0, 500))),
            ("podinfo:2-slow750-err5", Some(("2", 5, 750))),
            ("example.com/demo-shop:3", Some(("3", 0, 0))),
            ("nginx:1", None),
        ];
        for (image, expected) in table {
            let found = demo(image, &BTreeMap::new());
            let found = found
                .as_ref()
                .map(|d| (d.version.as_str(), d.error_rate, d.latency.as_millis()));
            assert_eq!(found, expected, "{image}");
        }
    }

    #[test]
    fn environment_wins() {
        let env = [("ERROR_RATE", "7"), ("LATENCY_MS", "30"), ("VERSION", "blue")];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let found = demo("podinfo:1-err-slow", &env).unwrap();
        assert_eq!(
            (
                found.version.as_str(),
                found.error_rate,
                found.latency.as_millis()
            ),
            ("blue", 7, 30)
        );
    }

    #[test]
    fn fates() {
        assert_eq!(fate("podinfo:never-ready"), Fate::NeverReady);
        assert_eq!(fate("podinfo:2-crash"), Fate::Crash);
        assert_eq!(fate("podinfo:2"), Fate::Ready);
    }
}
