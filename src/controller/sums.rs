//! Checksums of the ConfigMaps and Secrets that targets read.
//!
//! Owns: which version of a config was read last, and what it held (a checksum, never the content). Promises: an
//! unchanged config is read once; a changed one is noticed by a watch that carries metadata alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::cluster::{self, ClusterError};
use crate::workload::config::{self, ConfigKind, Reference};

use super::Context;
use super::configwatch::LOOK;
use super::index::config_kind;

/// What a config holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// It does not exist.
    Missing,
    /// It is not tracked: pods of the primary read it as it is.
    Untracked,
    /// Its checksums: over everything, and over `data` alone.
    Tracked { all: String, text: String },
}

impl Content {
    fn of(kind: ConfigKind, object: Option<&Value>) -> Self {
        match object {
            None => Content::Missing,
            Some(object) if config::is_tracked(kind, object) => Content::Tracked {
                all: config::checksum(object),
                text: config::text_checksum(object),
            },
            Some(_) => Content::Untracked,
        }
    }

    /// True when a copy holds what its original holds. One that Flagger made lacks `binaryData`.
    pub(crate) fn is_copied_by(&self, copy: &Content) -> bool {
        match (self, copy) {
            (
                Content::Tracked { all, text },
                Content::Tracked {
                    all: copied,
                    text: copied_text,
                },
            ) => all == copied || (copied == copied_text && text == copied),
            // An original that is gone, or not tracked any more, says nothing against its copy.
            (Content::Missing | Content::Untracked, Content::Tracked { .. }) => true,
            (
                Content::Missing | Content::Untracked | Content::Tracked { .. },
                Content::Missing | Content::Untracked,
            ) => false,
        }
    }
}

type Key = (ConfigKind, String, String);

/// What was read, and the versions watches tell of.
#[derive(Default)]
pub(crate) struct Sums(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    read: HashMap<Key, (u64, Content)>,
    /// Versions by namespace and name; a kind that is absent has not been listed yet.
    listed: HashMap<ConfigKind, HashMap<(String, String), u64>>,
    /// Lists in the making.
    listing: HashMap<ConfigKind, HashMap<(String, String), u64>>,
    /// Kinds that may not be watched.
    refused: HashSet<ConfigKind>,
}

/// What is known without asking.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// The content, of the newest version.
    Content(Content),
    /// The watch says that it does not exist.
    Absent,
    /// Nothing, or an older version.
    Nothing,
}

impl Sums {
    fn known(&self, key: &Key) -> Known {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listed) = tables.listed.get(&key.0) else {
            return Known::Nothing;
        };
        match (listed.get(&(key.1.clone(), key.2.clone())), tables.read.get(key)) {
            (None, _) => Known::Absent,
            (Some(version), Some((read, content))) if read >= version => Known::Content(content.clone()),
            (Some(_), Some(_) | None) => Known::Nothing,
        }
    }

    fn remember(&self, key: Key, object: Option<&Value>) -> Content {
        let content = Content::of(key.0, object);
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match object {
            Some(object) => tables
                .read
                .insert(key, (cluster::version(object), content.clone())),
            None => tables.read.remove(&key),
        };
        content
    }

    /// A kind may not be watched.
    pub(super) fn refuse(&self, kind: ConfigKind) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.refused.insert(kind);
    }

    /// Words for a kind among `references` that may not be watched.
    pub(super) fn unwatched(&self, references: &[Reference]) -> Option<String> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = references
            .iter()
            .map(|reference| reference.kind)
            .find(|kind| tables.refused.contains(kind))?;
        Some(format!(
            "{}s may not be watched; expected the verbs list and watch; until the process is started with them a \
             change of one is noticed within {} s",
            kind.as_str(),
            LOOK.as_secs()
        ))
    }

    /// A watch (re)starts listing.
    pub(super) fn list(&self, kind: ConfigKind) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.listing.insert(kind, HashMap::new());
    }

    /// A watch saw a version, while listing or later. True when nobody has read it yet.
    pub(super) fn saw(
        &self,
        kind: ConfigKind,
        namespace: &str,
        name: &str,
        version: u64,
        listing: bool,
    ) -> bool {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (namespace.to_owned(), name.to_owned());
        if listing {
            // Known at once, too: whoever is woken by it must not find the version before.
            if let Some(listed) = tables.listed.get_mut(&kind) {
                listed.insert(place.clone(), version);
            }
            tables.listing.entry(kind).or_default().insert(place, version);
        } else {
            tables.listed.entry(kind).or_default().insert(place, version);
        }
        let key = (kind, namespace.to_owned(), name.to_owned());
        tables.read.get(&key).is_none_or(|(read, _)| *read < version)
    }

    /// True when what was read of a config is not this version; `None`: it does not exist.
    pub(super) fn differs(
        &self,
        kind: ConfigKind,
        namespace: &str,
        name: &str,
        version: Option<u64>,
    ) -> bool {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, namespace.to_owned(), name.to_owned());
        match (tables.read.get(&key), version) {
            (Some((read, _)), Some(version)) => *read < version,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// The list is complete; returns what vanished unseen.
    pub(super) fn listed(&self, kind: ConfigKind) -> Vec<(String, String)> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = tables.listing.remove(&kind).unwrap_or_default();
        let old = tables.listed.insert(kind, fresh).unwrap_or_default();
        let fresh = tables.listed.get(&kind).into_iter().flatten();
        let still: HashSet<&(String, String)> = fresh.map(|(place, _)| place).collect();
        let gone: Vec<(String, String)> = old.into_keys().filter(|place| !still.contains(place)).collect();
        for (namespace, name) in &gone {
            tables.read.remove(&(kind, namespace.clone(), name.clone()));
        }
        gone
    }

    /// A watch saw it go.
    pub(super) fn gone(&self, kind: ConfigKind, namespace: &str, name: &str) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        if let Some(listed) = tables.listed.get_mut(&kind) {
            listed.remove(&(namespace.clone(), name.clone()));
        }
        tables.read.remove(&(kind, namespace, name));
    }
}

/// What a config holds now. Asks the API server only about versions that were not read before; `needed` asks also
/// when the watch (which may lag) says that there is none.
pub(super) async fn content(
    kind: ConfigKind,
    namespace: &str,
    name: &str,
    needed: bool,
    cx: &Context,
) -> Result<Content, ClusterError> {
    let key = (kind, namespace.to_owned(), name.to_owned());
    match cx.sums.known(&key) {
        Known::Content(content) => return Ok(content),
        Known::Absent if !needed => return Ok(Content::Missing),
        Known::Absent | Known::Nothing => {}
    }
    let object = cx.cluster.get(config_kind(kind), namespace, name).await?;
    Ok(cx.sums.remember(key, object.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KIND: ConfigKind = ConfigKind::ConfigMap;

    fn key(name: &str) -> Key {
        (KIND, "ns".to_owned(), name.to_owned())
    }

    fn config(version: &str, value: &str) -> Value {
        json!({"metadata": {"resourceVersion": version}, "data": {"k": value}})
    }

    #[test]
    fn a_version_is_read_once() {
        let sums = Sums::default();
        assert_eq!(sums.known(&key("a")), Known::Nothing, "nothing is listed yet");
        let content = sums.remember(key("a"), Some(&config("5", "x")));
        assert_eq!(
            sums.known(&key("a")),
            Known::Nothing,
            "it may have changed unseen"
        );
        sums.list(KIND);
        assert!(
            !sums.saw(KIND, "ns", "a", 5, true),
            "this version was read: nobody is woken"
        );
        assert_eq!(sums.listed(KIND), []);
        assert_eq!(sums.known(&key("a")), Known::Content(content.clone()));
        assert!(sums.saw(KIND, "ns", "a", 6, false));
        assert_eq!(sums.known(&key("a")), Known::Nothing);
        // The GET was quicker than the watch.
        let newer = sums.remember(key("a"), Some(&config("9", "y")));
        assert_ne!(newer, content);
        assert!(!sums.saw(KIND, "ns", "a", 8, false));
        assert_eq!(sums.known(&key("a")), Known::Content(newer));
        sums.gone(KIND, "ns", "a");
        assert_eq!(sums.known(&key("a")), Known::Absent);
    }

    #[test]
    fn what_a_new_list_brings_is_known_before_it_is_complete() {
        let sums = Sums::default();
        sums.list(KIND);
        sums.saw(KIND, "ns", "a", 1, true);
        sums.listed(KIND);
        sums.remember(key("a"), Some(&config("1", "x")));
        sums.list(KIND);
        assert!(sums.saw(KIND, "ns", "a", 2, true));
        assert_eq!(sums.known(&key("a")), Known::Nothing);
    }

    #[test]
    fn a_kind_that_may_not_be_watched_is_told_to_those_who_read_one() {
        let sums = Sums::default();
        let reference = |kind: ConfigKind| {
            [Reference {
                kind,
                name: "a".to_owned(),
                optional: false,
            }]
        };
        assert_eq!(sums.unwatched(&reference(ConfigKind::Secret)), None);
        sums.refuse(ConfigKind::Secret);
        let told = sums.unwatched(&reference(ConfigKind::Secret)).unwrap();
        assert!(
            told.starts_with("Secrets may not be watched") && told.contains("30 s"),
            "{told}"
        );
        assert_eq!(sums.unwatched(&reference(ConfigKind::ConfigMap)), None);
    }

    #[test]
    fn a_new_list_tells_what_vanished_meanwhile() {
        let sums = Sums::default();
        for names in [&["a", "b"][..], &["b", "c"]] {
            sums.list(KIND);
            for name in names {
                sums.saw(KIND, "ns", name, 1, true);
            }
            let gone = sums.listed(KIND);
            if names.contains(&"c") {
                assert_eq!(gone, [("ns".to_owned(), "a".to_owned())]);
            }
        }
        assert_eq!(sums.known(&key("a")), Known::Absent);
        assert_eq!(sums.known(&key("c")), Known::Nothing);
    }

    #[test]
    fn a_copy_of_flaggers_may_lack_binary_data() {
        let tracked = |all: &str, text: &str| Content::Tracked {
            all: all.to_owned(),
            text: text.to_owned(),
        };
        let table = [
            (tracked("1", "1"), tracked("1", "1"), true),
            (tracked("1", "1"), tracked("2", "2"), false),
            (tracked("3", "1"), tracked("1", "1"), true),
            (tracked("3", "1"), tracked("4", "1"), false),
            (tracked("1", "1"), Content::Missing, false),
            (Content::Missing, tracked("1", "1"), true),
            (Content::Untracked, tracked("1", "1"), true),
        ];
        for (original, copy, expected) in table {
            assert_eq!(original.is_copied_by(&copy), expected, "{original:?} {copy:?}");
        }
    }
}
