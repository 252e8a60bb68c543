//! ConfigMaps and Secrets that pods of the target read, and the copies pods of the primary read instead
//! (flagger-behaviour §3.5).
//!
//! A change of their content is a new revision. The primary reads copies, so that an edit reaches production only
//! by a promotion.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::canary::Canary;
use crate::model::revision;

use super::{CANARY_LABEL, Options, controller_owner, filtered, is_owned_by, owner_reference, patch};

/// Annotation that keeps a ConfigMap or Secret out of tracking when its value starts with `disable`.
pub const TRACKING: &str = "flagger.app/config-tracking";

/// Annotation on what is kept of a copy: the copy's name.
pub const KEPT: &str = "verdigris.dev/kept-of";

/// Annotation on what is kept of a Secret: the copy's type.
const KEPT_TYPE: &str = "verdigris.dev/kept-type";

/// Secret types whose content is tracked; pods read the others (service account tokens, pull secrets) as they are.
const SECRET_TYPES: [&str; 4] = [
    "Opaque",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
];

/// Kinds of config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// Core ConfigMap.
    ConfigMap,
    /// Core Secret.
    Secret,
}

impl ConfigKind {
    /// The Kubernetes kind.
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigKind::ConfigMap => "ConfigMap",
            ConfigKind::Secret => "Secret",
        }
    }
}

/// A config the target's pods read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its kind.
    pub kind: ConfigKind,
    /// Its name.
    pub name: String,
    /// Pods start without it: every place that names it says `optional`.
    pub optional: bool,
}

impl Reference {
    /// Its key in `status.trackedConfigs`: `configmap/NAME` or `secret/NAME`.
    pub fn key(&self) -> String {
        match self.kind {
            ConfigKind::ConfigMap => format!("configmap/{}", self.name),
            ConfigKind::Secret => format!("secret/{}", self.name),
        }
    }
}

/// Original → name of the copy the primary reads.
pub type Copies = BTreeMap<(ConfigKind, String), String>;

/// A copy a primary was found to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Kind of both.
    pub kind: ConfigKind,
    /// The original.
    pub name: String,
    /// The copy.
    pub copy: String,
}

/// A place in a pod template that names a config.
struct Place {
    kind: ConfigKind,
    pointer: String,
    optional: bool,
}

/// Every place Flagger scans: volumes, projected volumes, env and envFrom of containers and init containers.
fn places(template: &Value) -> Vec<Place> {
    use ConfigKind::{ConfigMap, Secret};
    let mut found = Vec::new();
    let mut look = |object: &Value, at: &str, member: &str, field: &str, kind: ConfigKind| {
        if let Some(reference) = object.get(member)
            && reference
                .get(field)
                .and_then(Value::as_str)
                .is_some_and(|name| !name.is_empty())
        {
            found.push(Place {
                kind,
                pointer: format!("{at}/{member}/{field}"),
                optional: reference
                    .get("optional")
                    .and_then(Value::as_bool)
                    .unwrap_or_default(),
            });
        }
    };
    for (at, volume) in items(template, "/spec/volumes") {
        look(volume, &at, "configMap", "name", ConfigMap);
        look(volume, &at, "secret", "secretName", Secret);
        for (inside, source) in items(volume, "/projected/sources") {
            let at = format!("{at}{inside}");
            look(source, &at, "configMap", "name", ConfigMap);
            look(source, &at, "secret", "name", Secret);
        }
    }
    for list in ["/spec/initContainers", "/spec/containers"] {
        for (at, container) in items(template, list) {
            for (inside, variable) in items(container, "/env") {
                let Some(value) = variable.get("valueFrom") else {
                    continue;
                };
                let at = format!("{at}{inside}/valueFrom");
                look(value, &at, "configMapKeyRef", "name", ConfigMap);
                look(value, &at, "secretKeyRef", "name", Secret);
            }
            for (inside, source) in items(container, "/envFrom") {
                let at = format!("{at}{inside}");
                look(source, &at, "configMapRef", "name", ConfigMap);
                look(source, &at, "secretRef", "name", Secret);
            }
        }
    }
    found
}

/// The items of a list with their pointers.
fn items<'a>(object: &'a Value, list: &str) -> Vec<(String, &'a Value)> {
    let items = object
        .pointer(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items
        .enumerate()
        .map(|(index, item)| (format!("{list}/{index}"), item))
        .collect()
}

/// The configs a pod template reads, each once, by kind and name.
pub fn references(template: &Value) -> Vec<Reference> {
    let mut found: BTreeMap<(ConfigKind, String), bool> = BTreeMap::new();
    for place in places(template) {
        if let Some(name) = template.pointer(&place.pointer).and_then(Value::as_str) {
            *found.entry((place.kind, name.to_owned())).or_insert(true) &= place.optional;
        }
    }
    found
        .into_iter()
        .map(|((kind, name), optional)| Reference { kind, name, optional })
        .collect()
}

/// Points a pod template at the copies.
pub fn rewrite(template: &mut Value, copies: &Copies) {
    if copies.is_empty() {
        return;
    }
    for place in places(template) {
        let Some(value) = template.pointer_mut(&place.pointer) else {
            continue;
        };
        let copy = value
            .as_str()
            .and_then(|name| copies.get(&(place.kind, name.to_owned())));
        if let Some(copy) = copy {
            *value = Value::String(copy.clone());
        }
    }
}

/// Points a primary's pod template back at the originals that `target`'s template names, and tells which copies it
/// read.
pub fn undo(primary: &mut Value, target: &Value, canary: &Canary) -> Vec<Copied> {
    let mut back: BTreeMap<(ConfigKind, String), String> = BTreeMap::new();
    let originals = references(target);
    for original in &originals {
        for copy in [usual_name(&original.name), own_name(&original.name, canary)] {
            back.insert((original.kind, copy), original.name.clone());
        }
    }
    for original in &originals {
        back.remove(&(original.kind, original.name.clone()));
    }
    let mut copied = Vec::new();
    for reference in references(primary) {
        if let Some(name) = back.get(&(reference.kind, reference.name.clone())) {
            copied.push(Copied {
                kind: reference.kind,
                name: name.clone(),
                copy: reference.name,
            });
        }
    }
    rewrite(primary, &back);
    copied
}

/// True when a config's content is tracked and copied; otherwise the primary reads the original.
pub fn is_tracked(kind: ConfigKind, object: &Value) -> bool {
    let opted_out = object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(TRACKING))
        .and_then(Value::as_str)
        .is_some_and(|word| word.starts_with("disable"));
    let typed = match kind {
        ConfigKind::ConfigMap => true,
        ConfigKind::Secret => {
            let found = object.get("type").and_then(Value::as_str).unwrap_or("Opaque");
            SECRET_TYPES.contains(&found)
        }
    };
    typed && !opted_out
}

/// 16 hex digits over the content: `data`, and for ConfigMaps `binaryData`.
pub fn checksum(object: &Value) -> String {
    let hash = revision::hash(&content(object, &["data", "binaryData"]));
    digits(&hash)
}

/// 16 hex digits over `data` alone: all that Flagger copies.
pub fn text_checksum(object: &Value) -> String {
    digits(&revision::hash(&content(object, &["data"])))
}

fn digits(hash: &str) -> String {
    let hex = hash.strip_prefix(revision::VERSION).unwrap_or(hash);
    hex.chars().take(16).collect()
}

/// The named parts that hold something.
fn content(object: &Value, parts: &[&str]) -> Value {
    let mut content = json!({});
    for part in parts {
        if let Some(data) = object
            .get(part)
            .filter(|data| data.as_object().is_some_and(|map| !map.is_empty()))
        {
            content[part] = data.clone();
        }
    }
    content
}

/// `<name>-primary`: Flagger's name of a copy.
pub fn usual_name(name: &str) -> String {
    format!("{name}-primary")
}

/// `<name>-<target>-primary`: the name of a copy when the usual one serves another Canary, whose promotions must not
/// change what ours runs.
pub fn own_name(name: &str, canary: &Canary) -> String {
    format!("{name}-{}-primary", canary.target.name)
}

/// The name of the object that keeps what a copy held when it was promoted last: `<canary>-kept-<10 hex digits>`. The
/// digits depend on the Canary's uid too, as those of a recorded revision do.
pub fn kept_name(key: &str, canary: &Canary) -> String {
    let hash = revision::hash(&json!([canary.id.uid, "kept", key]));
    let short: String = hash.chars().skip(revision::VERSION.len()).take(10).collect();
    let stem: String = canary.id.name.chars().take(253 - 16).collect();
    format!("{}-kept-{short}", stem.trim_end_matches(['-', '.']))
}

/// The object that keeps what `copy` holds, given what is there. Of the same kind: the content of a Secret is in no
/// other object than a Secret. Its own type is Opaque, so that it can always be written over.
pub fn keep(kind: ConfigKind, copy: &Value, name: &str, live: Option<&Value>, canary: &Canary) -> Write {
    let mut kept = live.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "v1",
            "kind": kind.as_str(),
            "metadata": {
                "name": name,
                "namespace": canary.id.namespace,
                "labels": { CANARY_LABEL: canary.id.uid },
                "ownerReferences": [owner_reference(canary)],
            },
        })
    });
    kept["metadata"]["annotations"][KEPT] = copy.pointer("/metadata/name").cloned().unwrap_or_default();
    if kind == ConfigKind::Secret {
        let kept_type = copy.get("type").cloned().unwrap_or_else(|| json!("Opaque"));
        kept["metadata"]["annotations"][KEPT_TYPE] = kept_type;
        kept["type"] = json!("Opaque");
    }
    for part in ["data", "binaryData"] {
        match copy.get(part) {
            Some(value) => kept[part] = value.clone(),
            None => {
                if let Some(map) = kept.as_object_mut() {
                    map.remove(part);
                }
            }
        }
    }
    match live {
        None => Write::Create(kept),
        Some(live) => patch::merge(live, &kept).map_or(Write::Nothing, Write::Patch),
    }
}

/// The merge patch that takes the content out of what was kept; `None` when there is none.
pub fn emptied(kept: &Value) -> Option<Value> {
    let mut parts = serde_json::Map::new();
    for part in ["data", "binaryData"] {
        if kept.get(part).is_some_and(|part| !part.is_null()) {
            parts.insert(part.to_owned(), Value::Null);
        }
    }
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// What was kept, as the original a copy is made from: with the type and labels the copy has.
pub fn as_original(kept: &Value, copy: Option<&Value>) -> Value {
    let mut original = kept.clone();
    original["metadata"]["labels"] = copy
        .and_then(|copy| copy.pointer("/metadata/labels"))
        .cloned()
        .unwrap_or_else(|| json!({}));
    let kept_type = kept
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(KEPT_TYPE));
    if let Some(kept_type) = kept_type {
        original["type"] = kept_type.clone();
    }
    original
}

/// Why a copy is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {name} exists and is not controlled by this Canary; expected none, since the primary's copy of {kind} {original} has this name; rename it, or annotate {kind} {original} with flagger.app/config-tracking: disabled"
)]
pub struct ForeignCopy {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What would be copied.
    pub original: String,
}

/// Whose a copy is, as far as this Canary may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Ours, or nobody has the name.
    Free,
    /// Another Canary's: we take a name of our own.
    Shared,
    /// Somebody's own object.
    Foreign,
}

/// Looks at the object that has a copy's name.
pub fn standing(live: Option<&Value>, canary: &Canary) -> Standing {
    let Some(live) = live else { return Standing::Free };
    match controller_owner(live) {
        _ if is_owned_by(live, canary) => Standing::Free,
        // One of our name and another uid is being collected with the Canary it belonged to.
        Some(("Canary", name, _)) if name != canary.id.name => Standing::Shared,
        Some(_) | None => Standing::Foreign,
    }
}

/// How a copy is brought up to date.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// It is.
    Nothing,
    /// It does not exist.
    Create(Value),
    /// This merge patch.
    Patch(Value),
    /// It must be deleted first: it is immutable, or its type is another.
    Recreate(Value),
}

/// The copy of `original` under `name`, given what is there (ours: see [`standing`]).
pub fn copy(
    kind: ConfigKind,
    original: &Value,
    name: &str,
    live: Option<&Value>,
    canary: &Canary,
    options: &Options,
) -> Write {
    let render = |base: Option<&Value>| {
        let mut copy = base.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1",
                "kind": kind.as_str(),
                "metadata": {
                    "name": name,
                    "namespace": canary.id.namespace,
                    "ownerReferences": [owner_reference(canary)],
                },
            })
        });
        copy["metadata"]["labels"] = Value::Object(filtered(original.pointer("/metadata/labels"), options));
        for part in ["data", "binaryData", "type"] {
            match original.get(part) {
                Some(value) => copy[part] = value.clone(),
                None => {
                    if let Some(map) = copy.as_object_mut() {
                        map.remove(part);
                    }
                }
            }
        }
        copy
    };
    let Some(live) = live else {
        return Write::Create(render(None));
    };
    let fixed = live.get("immutable").and_then(Value::as_bool).unwrap_or_default();
    let retyped = kind == ConfigKind::Secret && live.get("type") != original.get("type");
    if (fixed && checksum(live) != checksum(original)) || retyped {
        return Write::Recreate(render(None));
    }
    let mut wanted = render(Some(live));
    if wanted["metadata"]["labels"]
        .as_object()
        .is_some_and(serde_json::Map::is_empty)
        && live.pointer("/metadata/labels").is_none()
        && let Some(metadata) = wanted["metadata"].as_object_mut()
    {
        metadata.remove("labels");
    }
    patch::merge(live, &wanted).map_or(Write::Nothing, Write::Patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::fixture::canary;

    /// Every place, each naming another config.
    fn template() -> Value {
        json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "cm-volume"}},
                {"name": "b", "secret": {"secretName": "s-volume", "optional": true}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "cm-projected", "optional": true}},
                    {"secret": {"name": "s-projected"}},
                    {"serviceAccountToken": {"path": "token"}},
                ]}},
                {"name": "d", "emptyDir": {}},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "cm-init"}}]}],
            "containers": [
                {"name": "one", "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cm-env", "key": "k"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s-env", "key": "k", "optional": true}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ]},
                {"name": "two", "envFrom": [
                    {"configMapRef": {"name": "cm-from"}},
                    {"secretRef": {"name": "s-from"}},
                    {"secretRef": {"name": ""}},
                ]},
            ],
        }})
    }

    #[test]
    fn every_place_flagger_scans_is_found_and_no_other() {
        let found: Vec<(String, bool)> = references(&template())
            .iter()
            .map(|reference| (reference.key(), reference.optional))
            .collect();
        let expected = [
            ("configmap/cm-env", false),
            ("configmap/cm-from", false),
            ("configmap/cm-init", false),
            ("configmap/cm-projected", true),
            ("configmap/cm-volume", false),
            ("secret/s-env", true),
            ("secret/s-from", false),
            ("secret/s-projected", false),
            ("secret/s-volume", true),
        ];
        let expected: Vec<(String, bool)> = expected
            .iter()
            .map(|(key, optional)| ((*key).to_owned(), *optional))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(references(&Value::Null), []);
    }

    #[test]
    fn a_config_is_optional_only_where_every_place_says_so() {
        let volume = |optional: bool| json!({"configMap": {"name": "a", "optional": optional}});
        for (places, optional) in [
            (vec![true, true], true),
            (vec![true, false], false),
            (vec![false, true], false),
        ] {
            let volumes: Vec<Value> = places.into_iter().map(volume).collect();
            assert_eq!(
                references(&json!({"spec": {"volumes": volumes}}))[0].optional,
                optional
            );
        }
    }

    #[test]
    fn what_was_promoted_is_kept_in_an_object_of_the_same_kind_and_comes_back() {
        let canary = canary();
        let promoted = json!({
            "metadata": {"name": "key-primary", "labels": {"team": "a"}}, "type": "kubernetes.io/basic-auth",
            "data": {"password": "b25l"},
        });
        let name = kept_name("secret/key", &canary);
        assert_ne!(name, kept_name("configmap/key", &canary));
        let Write::Create(kept) = keep(ConfigKind::Secret, &promoted, &name, None, &canary) else {
            panic!("nothing was there");
        };
        assert_eq!(
            (&kept["kind"], &kept["data"]),
            (&json!("Secret"), &promoted["data"])
        );
        assert_eq!(kept["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        assert_eq!(checksum(&kept), checksum(&promoted));
        assert_eq!(kept["type"], "Opaque", "it can be written over whatever comes");
        assert_eq!(emptied(&kept), Some(json!({"data": null})));
        assert_eq!(emptied(&json!({"metadata": {}})), None);
        let again = keep(ConfigKind::Secret, &promoted, &name, Some(&kept), &canary);
        assert_eq!(again, Write::Nothing);

        let mut overwritten = promoted.clone();
        overwritten["data"] = json!({"password": "dHdv"});
        let original = as_original(&kept, Some(&overwritten));
        let options = Options {
            include_label_prefix: vec!["*".to_owned()],
            ..Options::default()
        };
        let restored = copy(
            ConfigKind::Secret,
            &original,
            "key-primary",
            Some(&overwritten),
            &canary,
            &options,
        );
        assert_eq!(
            restored,
            Write::Patch(json!({"data": {"password": "b25l"}})),
            "content alone, no labels of what was kept"
        );
    }

    #[test]
    fn rewriting_and_undoing_meet_again() {
        let target = template();
        let originals = references(&target);
        for name in [usual_name as fn(&str) -> String, |name| own_name(name, &canary())] {
            let copies: Copies = originals
                .iter()
                .map(|one| ((one.kind, one.name.clone()), name(&one.name)))
                .collect();
            let mut primary = target.clone();
            rewrite(&mut primary, &copies);
            assert_ne!(primary, target);
            let found: Vec<String> = references(&primary).into_iter().map(|one| one.name).collect();
            assert!(found.iter().all(|name| name.ends_with("-primary")), "{found:?}");
            assert!(primary.to_string().contains("\"pull\""), "pull secrets stay");
            let copied = undo(&mut primary, &target, &canary());
            assert_eq!(primary, target);
            assert_eq!(copied.len(), originals.len());
        }
    }

    #[test]
    fn a_config_that_is_called_like_a_copy_is_no_copy() {
        let volumes = |names: &[&str]| {
            let volumes: Vec<Value> = names
                .iter()
                .map(|name| json!({"configMap": {"name": name}}))
                .collect();
            json!({"spec": {"volumes": volumes}})
        };
        let target = volumes(&["a", "a-primary"]);
        let mut primary = target.clone();
        assert_eq!(undo(&mut primary, &target, &canary()), []);
        assert_eq!(primary, target);
    }

    #[test]
    fn opting_out_and_secret_types() {
        let config = |kind: Option<&str>, word: Option<&str>| {
            let mut object = json!({"metadata": {}});
            if let Some(kind) = kind {
                object["type"] = json!(kind);
            }
            if let Some(word) = word {
                object["metadata"]["annotations"] = json!({TRACKING: word});
            }
            object
        };
        let table = [
            (ConfigKind::ConfigMap, None, None, true),
            (ConfigKind::ConfigMap, None, Some("enabled"), true),
            (ConfigKind::ConfigMap, None, Some("disable"), false),
            (ConfigKind::ConfigMap, None, Some("disabled"), false),
            (ConfigKind::Secret, None, None, true),
            (ConfigKind::Secret, Some("Opaque"), None, true),
            (ConfigKind::Secret, Some("Opaque"), Some("disabled"), false),
            (ConfigKind::Secret, Some("kubernetes.io/basic-auth"), None, true),
            (ConfigKind::Secret, Some("kubernetes.io/ssh-auth"), None, true),
            (ConfigKind::Secret, Some("kubernetes.io/tls"), None, true),
            (
                ConfigKind::Secret,
                Some("kubernetes.io/dockerconfigjson"),
                None,
                false,
            ),
            (ConfigKind::Secret, Some("helm.sh/release.v1"), None, false),
        ];
        for (kind, secret_type, word, tracked) in table {
            assert_eq!(
                is_tracked(kind, &config(secret_type, word)),
                tracked,
                "{kind:?} {secret_type:?} {word:?}"
            );
        }
    }

    #[test]
    fn q16_binary_data_counts_and_is_copied() {
        let text = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
        let mut binary = text.clone();
        binary["binaryData"] = json!({"b": "AAEC"});
        assert_ne!(checksum(&text), checksum(&binary));
        assert_eq!(text_checksum(&text), text_checksum(&binary));
        assert_eq!(checksum(&text).len(), 16);
        let mut annotated = text.clone();
        annotated["metadata"]["labels"] = json!({"x": "y"});
        annotated["immutable"] = json!(true);
        annotated["binaryData"] = json!({});
        assert_eq!(checksum(&text), checksum(&annotated), "content alone counts");
        let Write::Create(copy) = copy(
            ConfigKind::ConfigMap,
            &binary,
            "a-primary",
            None,
            &canary(),
            &Options::default(),
        ) else {
            panic!("expected a copy");
        };
        assert_eq!(checksum(&copy), checksum(&binary));
        assert_eq!(copy["metadata"]["name"], "a-primary");
        assert_eq!(standing(Some(&copy), &canary()), Standing::Free);
    }

    #[test]
    fn a_copy_is_mutable_and_an_immutable_or_retyped_one_is_made_anew() {
        let options = Options::default();
        let secret = |kind: &str, value: &str| {
            json!({
                "metadata": {"name": "s", "labels": {"team": "x"}, "annotations": {"a": "b"}},
                "type": kind, "data": {"k": value}, "immutable": true,
            })
        };
        let original = secret("Opaque", "djE=");
        let write = |original: &Value, live: Option<&Value>| {
            copy(
                ConfigKind::Secret,
                original,
                "s-primary",
                live,
                &canary(),
                &options,
            )
        };
        let Write::Create(mut live) = write(&original, None) else {
            panic!("expected a copy");
        };
        assert!(live.get("immutable").is_none() && live["metadata"].get("annotations").is_none());
        live["metadata"]["resourceVersion"] = json!("3");
        live["metadata"].as_object_mut().unwrap().remove("labels");
        assert_eq!(write(&original, Some(&live)), Write::Nothing);
        assert_eq!(
            write(&secret("Opaque", "djI="), Some(&live)),
            Write::Patch(json!({"data": {"k": "djI="}}))
        );
        assert!(matches!(
            write(&secret("kubernetes.io/tls", "djE="), Some(&live)),
            Write::Recreate(_)
        ));
        live["immutable"] = json!(true);
        assert_eq!(write(&original, Some(&live)), Write::Nothing);
        assert!(matches!(
            write(&secret("Opaque", "djI="), Some(&live)),
            Write::Recreate(_)
        ));
    }

    #[test]
    fn somebodys_own_object_is_no_copy() {
        let owned = |kind: &str, name: &str, uid: &str| {
            json!({"metadata": {"ownerReferences": [
                {"kind": kind, "name": name, "uid": uid, "controller": true},
            ]}})
        };
        let table = [
            (None, Standing::Free),
            (Some(json!({"metadata": {}})), Standing::Foreign),
            (Some(owned("Canary", "podinfo", "uid-1")), Standing::Free),
            (Some(owned("Canary", "backend", "uid-2")), Standing::Shared),
            (Some(owned("Canary", "podinfo", "uid-0")), Standing::Foreign),
            (Some(owned("HelmRelease", "podinfo", "uid-1")), Standing::Foreign),
        ];
        for (live, expected) in table {
            assert_eq!(standing(live.as_ref(), &canary()), expected, "{live:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_on_odd_templates(template in crate::workload::fixture::json_value()) {
            let template = json!({"spec": {"volumes": template, "containers": template}});
            let found = references(&template);
            let mut rewritten = template.clone();
            let copies = found.iter().map(|one| ((one.kind, one.name.clone()), usual_name(&one.name))).collect();
            rewrite(&mut rewritten, &copies);
            prop_assert_eq!(references(&rewritten).len(), found.len());
        }
    }
}
