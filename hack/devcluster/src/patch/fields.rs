//! Sets of field paths and their `fieldsV1` form: the trie of structured-merge-diff.
//!
//! Owns path elements (`f:`, `k:`, `v:`, `i:`), the set operations ownership needs, and both texts of a path: the
//! stored one and the one in conflicts. Knows no schema.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// A JSON scalar with structured-merge-diff's order: numbers, strings, booleans, the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub Value);

impl Scalar {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => a
                .as_f64()
                .partial_cmp(&b.as_f64())
                .unwrap_or(Ordering::Equal)
                .then_with(|| a.to_string().cmp(&b.to_string())),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (a, b) => self
                .rank()
                .cmp(&other.rank())
                .then_with(|| a.to_string().cmp(&b.to_string())),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One step of a path, in the order `fieldsV1` lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// Member of an object.
    Field(String),
    /// Item of an associative list, by its keys in alphabetical order.
    Key(Vec<(String, Scalar)>),
    /// Item of a set.
    Value(Scalar),
    /// Item of a plain list.
    Index(usize),
}

impl PathElement {
    /// The member `name`.
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// `f:spec`, `k:{"name":"app"}`, `v:"a"`, `i:0`.
    pub fn serialize(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let members: Map<String, Value> =
                    keys.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect();
                format!("k:{}", Value::Object(members))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// Reads a serialized element; `None` for one of an unknown kind or with broken JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let Value::Object(members) = serde_json::from_str(rest).ok()? else {
                    return None;
                };
                let mut keys: Vec<(String, Scalar)> =
                    members.into_iter().map(|(k, v)| (k, Scalar(v))).collect();
                keys.sort();
                Some(Self::Key(keys))
            }
            "v" => serde_json::from_str(rest).ok().map(|v| Self::Value(Scalar(v))),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

/// The text in conflicts: `.spec`, `[name="app"]`, `[="a"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let texts: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={}", v.0)).collect();
                write!(f, "[{}]", texts.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A set of paths. A path can be a member while longer ones are too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

/// What a set says of one step: the path that ends here, and the longer ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// A set of paths of plain members: `[&["spec", "replicas"]]`.
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let elements: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&elements);
        }
        set
    }

    /// Whether there is no path in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a path; the empty path is never in a set.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether the one-step path `element` is a member.
    pub fn has(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|n| n.member)
    }

    /// Whether `path` is a member.
    pub fn has_path(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.has(last),
            [first, rest @ ..] => self.below(first).is_some_and(|below| below.has_path(rest)),
        }
    }

    /// The paths below `element`, without it; `None` when there is none.
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        self.nodes
            .get(element)
            .map(|n| &n.below)
            .filter(|b| !b.is_empty())
    }

    /// First steps that have longer paths.
    pub fn branches(&self) -> impl Iterator<Item = (&PathElement, &Self)> {
        self.nodes
            .iter()
            .filter(|(_, n)| !n.below.is_empty())
            .map(|(e, n)| (e, &n.below))
    }

    /// Replaces the paths below `element`.
    pub fn set_below(&mut self, element: &PathElement, below: Self) {
        let node = self.nodes.entry(element.clone()).or_default();
        node.below = below;
        if node.is_empty() {
            self.nodes.remove(element);
        }
    }

    /// Paths in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (element, theirs) in &other.nodes {
            let node = all.nodes.entry(element.clone()).or_default();
            node.member |= theirs.member;
            node.below = node.below.union(&theirs.below);
        }
        all
    }

    /// Paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs, Self::intersection, false)
    }

    /// Paths in `self` alone; a path of `other` does not take longer ones with it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs, Self::difference, true)
    }

    /// Paths in `self` that are neither in `other` nor below a path of it.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (element, mine) in &self.nodes {
            let node = match other.nodes.get(element) {
                Some(theirs) if theirs.member => continue,
                Some(theirs) => Node {
                    member: mine.member,
                    below: mine.below.recursive_difference(&theirs.below),
                },
                None => mine.clone(),
            };
            if !node.is_empty() {
                left.nodes.insert(element.clone(), node);
            }
        }
        left
    }

    fn combine(
        &self,
        other: &Self,
        member: fn(bool, bool) -> bool,
        below: fn(&Self, &Self) -> Self,
        keep_unmatched: bool,
    ) -> Self {
        let mut result = Self::default();
        for (element, mine) in &self.nodes {
            let node = match other.nodes.get(element) {
                Some(theirs) => Node {
                    member: member(mine.member, theirs.member),
                    below: below(&mine.below, &theirs.below),
                },
                None if keep_unmatched => mine.clone(),
                None => continue,
            };
            if !node.is_empty() {
                result.nodes.insert(element.clone(), node);
            }
        }
        result
    }

    /// Every path, in `fieldsV1` order.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            if node.member {
                paths.push(prefix.clone());
            }
            node.below.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// The `fieldsV1` object.
    pub fn to_fields_v1(&self) -> Value {
        let mut object = Map::new();
        for (element, node) in &self.nodes {
            let mut inner = Map::new();
            if node.member && !node.below.is_empty() {
                inner.insert(".".to_owned(), Value::Object(Map::new()));
            }
            if let Value::Object(below) = node.below.to_fields_v1() {
                inner.extend(below);
            }
            object.insert(element.serialize(), Value::Object(inner));
        }
        Value::Object(object)
    }

    /// Reads a `fieldsV1` object; elements of an unknown kind are dropped, as Kubernetes does.
    pub fn from_fields_v1(value: &Value) -> Self {
        let mut set = Self::default();
        let Some(members) = value.as_object() else {
            return set;
        };
        for (key, inner) in members {
            let Some(element) = PathElement::parse(key) else {
                continue;
            };
            let below = Self::from_fields_v1(inner);
            let member = below.is_empty() || inner.get(".").is_some();
            set.nodes.insert(element, Node { member, below });
        }
        set
    }
}

/// The text of a path in conflicts: `.spec.template.spec.containers[name="app"].image`.
pub fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: &Value) -> FieldSet {
        FieldSet::from_fields_v1(value)
    }

    #[test]
    fn fields_v1_round_trip() {
        let rows = [
            json!({"f:spec": {"f:replicas": {}}}),
            json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"a/b\"": {}}}}),
            json!({"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}),
            json!({"i:0": {}, "f:a.b/c": {}}),
        ];
        for row in rows {
            assert_eq!(set(&row).to_fields_v1(), row);
        }
        assert_eq!(
            set(&json!({"x:unknown": {}, "f:a": {}})).to_fields_v1(),
            json!({"f:a": {}})
        );
    }

    #[test]
    fn texts() {
        let deep = set(
            &json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\",\"port\":80}": {"f:x": {}}},
            "f:set": {"v:\"s\"": {}}, "f:list": {"i:3": {}}}}),
        );
        let texts: Vec<String> = deep.paths().iter().map(|p| path_text(p)).collect();
        assert_eq!(
            texts,
            [
                r#".spec.containers[name="a",port=80].x"#,
                ".spec.list[3]",
                r#".spec.set[="s"]"#
            ]
        );
    }

    #[test]
    fn operations() {
        let a = set(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let b = set(&json!({"f:a": {}, "f:d": {}}));
        assert_eq!(
            a.union(&b),
            set(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}}))
        );
        assert_eq!(a.intersection(&b), set(&json!({"f:a": {}})));
        assert_eq!(a.difference(&b), set(&json!({"f:a": {"f:b": {}}, "f:c": {}})));
        assert_eq!(a.recursive_difference(&b), set(&json!({"f:c": {}})));
        assert!(a.difference(&a).is_empty());
    }
}
