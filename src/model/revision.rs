//! Identity of what is being released: canonical JSON of the stored pod template, hashed and versioned.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Prefix of hashes of ours; anything else in a status is foreign (Flagger's).
pub const VERSION: &str = "v1:";

/// A revision of the target: its pod template and the configs it reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revision {
    /// `v1:` and 32 hex digits of the canonical template (see [`hash`]).
    pub template: String,
    /// `configmap/NAME` or `secret/NAME` → checksum; `None` when config tracking is off.
    pub configs: Option<BTreeMap<String, String>>,
}

impl Revision {
    /// One word for the whole revision: the template's hash, and when configs are tracked `-` and 16 hex digits over
    /// their names and checksums. What the annotation of a primary says it was rendered from, so that a change of
    /// configs alone is visible too.
    pub fn identity(&self) -> String {
        let Some(configs) = self.configs.as_ref().filter(|configs| !configs.is_empty()) else {
            return self.template.clone();
        };
        let listed = configs
            .iter()
            .map(|(name, sum)| (name.clone(), Value::from(sum.clone())));
        let digest = hash(&Value::Object(listed.collect()));
        let digits = digest.strip_prefix(VERSION).unwrap_or(&digest);
        format!("{}-{}", self.template, &digits[..16])
    }
}

/// Hashes a stored template: SHA-256 over JSON with sorted keys, null members dropped; the first 16 bytes.
pub fn hash(template: &Value) -> String {
    let mut text = String::new();
    canonical(template, &mut text);
    let mut out = String::from(VERSION);
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// True for a hash another program wrote (an older algorithm, or Flagger's).
pub fn is_foreign(hash: &str) -> bool {
    !hash.is_empty() && !hash.starts_with(VERSION)
}

/// Writes canonical JSON: keys sorted, no spaces, null object members left out.
pub fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().filter(|(_, member)| !member.is_null()).collect();
            keys.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (position, (key, member)) in keys.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::String(key.clone()));
                canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn key_order_and_nulls_do_not_matter() {
        let one = json!({"a": 1, "b": {"c": null, "d": [1, 2]}});
        let two = json!({"b": {"d": [1, 2]}, "a": 1});
        assert_eq!(hash(&one), hash(&two));
    }

    #[test]
    fn list_order_and_values_matter() {
        assert_ne!(hash(&json!([1, 2])), hash(&json!([2, 1])));
        assert_ne!(hash(&json!({"a": "1"})), hash(&json!({"a": 1})));
    }

    #[test]
    fn identity_tells_configs_apart_and_is_the_template_without_any() {
        let template = hash(&json!({}));
        let with = |configs: &[(&str, &str)]| Revision {
            template: template.clone(),
            configs: Some(
                configs
                    .iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                    .collect(),
            ),
        };
        assert_eq!(with(&[]).identity(), template);
        let one = with(&[("configmap/app", "1")]).identity();
        assert!(one.starts_with(&template) && one.len() == template.len() + 17);
        assert_ne!(one, with(&[("configmap/app", "2")]).identity());
        assert_ne!(one, with(&[("secret/app", "1")]).identity());
    }

    /// Any small JSON value.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2..3_i64).prop_map(Value::from),
            "[ab\"]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same with every object's members in reverse, and a null member more.
    fn turned(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut turned = serde_json::Map::new();
                turned.insert("zz".to_owned(), Value::Null);
                for (key, member) in map.iter().rev() {
                    turned.insert(key.clone(), self::turned(member));
                }
                Value::Object(turned)
            }
            Value::Array(items) => items.iter().map(turned).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    /// What is left when nothing depends on order or nulls.
    fn without_nulls(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut kept: Vec<_> = map.iter().filter(|(_, member)| !member.is_null()).collect();
                kept.sort_by(|a, b| a.0.cmp(b.0));
                Value::Object(
                    kept.into_iter()
                        .map(|(key, member)| (key.clone(), without_nulls(member)))
                        .collect(),
                )
            }
            Value::Array(items) => items.iter().map(without_nulls).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    proptest! {
        #[test]
        fn a_hash_is_the_content_and_nothing_else(one in any_json(), other in any_json()) {
            let first = hash(&one);
            prop_assert_eq!(&first, &hash(&turned(&one)));
            prop_assert!(first.len() == VERSION.len() + 32 && !is_foreign(&first));
            prop_assert_eq!(first == hash(&other), without_nulls(&one) == without_nulls(&other));
        }
    }

    #[test]
    fn flagger_hashes_are_foreign() {
        assert!(is_foreign("7895f9d5b"));
        assert!(!is_foreign(&hash(&json!({}))));
        assert!(!is_foreign(""));
    }
}
