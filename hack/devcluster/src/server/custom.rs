//! What a CustomResourceDefinition says about its objects.
//!
//! Owns: reading versions, schemas, subresources, columns and conversion out of a CRD, and the rows it adds to the
//! registry. Promises: pure. Never: changes the CRD (see [`super::crd`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::kinds::{Kind, NameRule, Verbs};
use crate::schema::crd;
use crate::store::Table;

/// A CRD in force.
#[derive(Debug, Clone)]
pub(crate) struct Custom {
    crd: Value,
    /// Published schemas by version.
    typed: BTreeMap<String, Value>,
}

impl Custom {
    pub(crate) fn new(crd: &Value) -> Self {
        let typed = versions(crd)
            .filter_map(|v| v["name"].as_str())
            .filter_map(|name| Some((name.to_owned(), crd::typed(crd, name)?)))
            .collect();
        Self {
            crd: crd.clone(),
            typed,
        }
    }

    pub(crate) fn crd(&self) -> &Value {
        &self.crd
    }

    pub(crate) fn group(&self) -> &str {
        self.crd["spec"]["group"].as_str().unwrap_or_default()
    }

    /// The version's entry in `spec.versions`.
    pub(crate) fn version(&self, version: &str) -> &Value {
        crd::version(&self.crd, version).unwrap_or(&Value::Null)
    }

    /// `openAPIV3Schema` of a version.
    pub(crate) fn schema(&self, version: &str) -> Option<&Value> {
        crd::schema(&self.crd, version)
    }

    /// The schema with `apiVersion`, `kind` and ObjectMeta filled in.
    pub(crate) fn typed(&self, version: &str) -> Option<&Value> {
        self.typed.get(version)
    }

    pub(crate) fn storage_version(&self) -> &str {
        versions(&self.crd)
            .find(|v| v["storage"] == true)
            .and_then(|v| v["name"].as_str())
            .unwrap_or_default()
    }

    pub(crate) fn scale(&self, version: &str) -> Option<&Value> {
        self.version(version).pointer("/subresources/scale")
    }

    /// JSON paths of the version's selectable fields.
    pub(crate) fn selectable_fields(&self, version: &str) -> Vec<&str> {
        let fields = self.version(version)["selectableFields"].as_array();
        fields
            .into_iter()
            .flatten()
            .filter_map(|f| f["jsonPath"].as_str())
            .collect()
    }

    /// The warning every request at a deprecated version gets.
    pub(crate) fn deprecation(&self, version: &str) -> Option<String> {
        let entry = self.version(version);
        if entry["deprecated"] != true {
            return None;
        }
        let own = entry["deprecationWarning"].as_str().map(str::to_owned);
        own.or_else(|| {
            let kind = self.crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
            let group = self.group();
            Some(format!("{group}/{version} {kind} is deprecated"))
        })
    }

    /// `clientConfig` of the conversion webhook; `None` when conversion only changes the apiVersion.
    pub(crate) fn conversion_webhook(&self) -> Option<&Value> {
        let conversion = &self.crd["spec"]["conversion"];
        (conversion["strategy"] == "Webhook").then(|| &conversion["webhook"]["clientConfig"])
    }
}

fn versions(crd: &Value) -> impl Iterator<Item = &Value> {
    crd["spec"]["versions"].as_array().into_iter().flatten()
}

/// The resource types a CRD serves: one per served version.
pub(crate) fn kinds(custom: &Arc<Custom>) -> Vec<Kind> {
    let spec = &custom.crd["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let group = text(&spec["group"]);
    let plural = text(&names["plural"]);
    versions(&custom.crd)
        .filter(|v| v["served"] == true)
        .map(|version| {
            let subresources = version["subresources"].as_object();
            Kind {
                group: group.clone(),
                version: text(&version["name"]),
                plural: plural.clone(),
                singular: text(&names["singular"]),
                kind: text(&names["kind"]),
                list_kind: text(&names["listKind"]),
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                namespaced: spec["scope"] != "Cluster",
                subresources: subresources
                    .map(|s| s.keys().cloned().collect())
                    .unwrap_or_default(),
                verbs: Verbs::All,
                names: NameRule::Subdomain,
                generation: true,
                graceful: false,
                locked_updates: true,
                create_on_update: false,
                table: Table {
                    group: group.clone(),
                    plural: plural.clone(),
                },
                storage: crate::kinds::api_version(&group, custom.storage_version()),
                custom: Some(Arc::clone(custom)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_crd_serves_its_served_versions() {
        let custom = Arc::new(Custom::new(&json!({"spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}},
            {"name": "v1beta1", "served": true, "storage": false, "deprecated": true},
            {"name": "v1alpha1", "served": false, "storage": false},
        ]}})));
        let kinds = kinds(&custom);
        let versions: Vec<_> = kinds.iter().map(|k| k.version.as_str()).collect();
        assert_eq!(versions, ["v1", "v1beta1"]);
        assert!(kinds[0].has("status") && !kinds[1].has("status"));
        assert_eq!(kinds[1].storage, "example.com/v1");
        assert_eq!(
            custom.deprecation("v1beta1").unwrap(),
            "example.com/v1beta1 Thing is deprecated"
        );
        assert_eq!(custom.deprecation("v1"), None);
    }
}
