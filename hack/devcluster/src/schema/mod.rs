//! Types: schemas of built-in and custom kinds, what they prune, default and refuse, and how they are published.
//!
//! Owns: field errors and refusals in Kubernetes' words ([`error`]), structural schemas ([`structural`],
//! [`validate`], [`rules`], [`crd`]), built-in definitions ([`builtin`]), OpenAPI documents ([`openapi`]). Promises pure
//! functions; never knows what is stored.

pub mod builtin;
pub mod crd;
pub mod error;
pub mod openapi;
pub mod rules;
pub mod structural;
pub mod validate;

use serde_json::{Map, Value};

pub use error::{Cause, FieldError, Refusal};

/// A kind in one version of its group; the core group is `""`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KindRef<'a> {
    /// API group, `""` for core.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
}

impl<'a> KindRef<'a> {
    /// A kind from its parts.
    pub const fn new(group: &'a str, version: &'a str, kind: &'a str) -> Self {
        Self { group, version, kind }
    }

    /// The kind an object says it is of, from `apiVersion` and `kind`.
    pub fn of(object: &'a Value) -> Option<Self> {
        let api_version = object.get("apiVersion")?.as_str()?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Some(Self::new(group, version, object.get("kind")?.as_str()?))
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// A place in a schema: an OpenAPI schema object whose `$ref`s are names of [`builtin::definitions`], and the place
/// that refers to it (a property carries list and patch markers of its own).
#[derive(Debug, Clone, Copy)]
pub struct Schema<'a> {
    node: Option<&'a Value>,
    site: Option<&'a Value>,
}

impl<'a> Schema<'a> {
    /// Nothing is known: everything below is deduced from the values.
    pub const UNKNOWN: Self = Self {
        node: None,
        site: None,
    };

    /// The schema `node`, its reference followed.
    pub fn new(node: &'a Value) -> Self {
        let reference = node
            .get("$ref")
            .or_else(|| node.get("allOf")?.as_array()?.first()?.get("$ref"));
        let target = reference
            .and_then(Value::as_str)
            .and_then(|path| path.rsplit('/').next())
            .map(|name| builtin::definitions().get(name));
        Self {
            node: target.unwrap_or(Some(node)),
            site: Some(node),
        }
    }

    /// The schema object; `None` when nothing is known.
    pub fn node(&self) -> Option<&'a Value> {
        self.node
    }

    /// An attribute of the place that refers to this schema, else of the schema itself.
    pub fn attribute(&self, name: &str) -> Option<&'a Value> {
        self.site
            .and_then(|s| s.get(name))
            .or_else(|| self.node?.get(name))
    }

    /// A text attribute, see [`Self::attribute`].
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.attribute(name)?.as_str()
    }

    /// A true attribute, see [`Self::attribute`].
    pub fn flag(&self, name: &str) -> bool {
        self.attribute(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Declared properties.
    pub fn properties(&self) -> Option<&'a Map<String, Value>> {
        self.node?.get("properties")?.as_object()
    }

    /// A declared property.
    pub fn property(&self, name: &str) -> Option<Self> {
        self.properties()?.get(name).map(Self::new)
    }

    /// Schema of a map's values.
    pub fn values(&self) -> Option<Self> {
        self.node?
            .get("additionalProperties")
            .filter(|a| a.is_object())
            .map(Self::new)
    }

    /// Schema of a list's items.
    #[must_use]
    pub fn items(&self) -> Self {
        self.node
            .and_then(|n| n.get("items"))
            .map_or(Self::UNKNOWN, Self::new)
    }

    /// Schema of the member `name`: a declared property, or the values of a map.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        self.property(name)
            .or_else(|| self.values())
            .unwrap_or(Self::UNKNOWN)
    }
}
