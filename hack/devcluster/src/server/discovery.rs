//! What is served, told in Kubernetes' two ways: per group (legacy) and all at once (aggregated, KEP-3352).
//!
//! Owns: the documents at /api, /apis and /apis/GROUP/VERSION. Promises: pure; they always agree with the registry.
//! Never: authenticates.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kinds::{Kind, Verbs, api_version, version_order};

fn verbs(kind: &Kind) -> Vec<&'static str> {
    match kind.verbs {
        Verbs::Ask => vec!["create"],
        Verbs::All => vec![
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ],
    }
}

fn subresource_verbs(subresource: &str) -> Vec<&'static str> {
    match subresource {
        "binding" | "eviction" | "token" => vec!["create"],
        "finalize" => vec!["update"],
        "log" => vec!["get"],
        _ => vec!["get", "patch", "update"],
    }
}

/// The kind a subresource answers with: group, version and kind, when it is not the object's own.
fn subresource_kind(kind: &Kind, subresource: &str) -> (String, String, String) {
    let (group, version, name) = match subresource {
        "scale" => ("autoscaling", "v1", "Scale"),
        "binding" => ("", "v1", "Binding"),
        "eviction" => ("policy", "v1", "Eviction"),
        "token" => ("authentication.k8s.io", "v1", "TokenRequest"),
        _ => return (kind.group.clone(), kind.version.clone(), kind.kind.clone()),
    };
    (group.to_owned(), version.to_owned(), name.to_owned())
}

/// Groups and their versions, the preferred version first; built-in groups before custom ones.
fn groups(kinds: &[Arc<Kind>]) -> Vec<(String, Vec<String>)> {
    let mut groups: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for kind in kinds.iter().filter(|k| !k.group.is_empty()) {
        let versions = groups
            .entry((kind.custom.is_some(), kind.group.clone()))
            .or_default();
        if !versions.contains(&kind.version) {
            versions.push(kind.version.clone());
        }
    }
    groups
        .into_iter()
        .map(|((_, group), mut versions)| {
            versions.sort_by(|a, b| version_order(a, b));
            (group, versions)
        })
        .collect()
}

/// `/api`.
pub(crate) fn core_versions(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

fn api_group(group: &str, versions: &[String]) -> Value {
    let listed: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": api_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": listed, "preferredVersion": listed[0]})
}

/// `/apis`.
pub(crate) fn group_list(kinds: &[Arc<Kind>]) -> Value {
    let groups: Vec<Value> = groups(kinds)
        .iter()
        .map(|(group, versions)| api_group(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn group(kinds: &[Arc<Kind>], name: &str) -> Option<Value> {
    let (group, versions) = groups(kinds).into_iter().find(|(group, _)| group == name)?;
    let mut document = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Value::Object(document), Value::Object(members)) = (&mut document, api_group(&group, &versions)) {
        document.extend(members);
    }
    Some(document)
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(kinds: &[Arc<Kind>], group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds.iter().filter(|k| k.group == group && k.version == version) {
        let mut entry = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": verbs(kind)});
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        if kind.verbs == Verbs::All {
            entry["storageVersionHash"] = json!(hash(kind));
        }
        resources.push(entry);
        for subresource in &kind.subresources {
            let (sub_group, sub_version, sub_kind) = subresource_kind(kind, subresource);
            let mut entry = json!({"name": format!("{}/{subresource}", kind.plural), "singularName": "",
                "namespaced": kind.namespaced});
            if (sub_group.as_str(), sub_version.as_str()) != (group, version) {
                entry["group"] = json!(sub_group);
                entry["version"] = json!(sub_version);
            }
            entry["kind"] = json!(sub_kind);
            entry["verbs"] = json!(subresource_verbs(subresource));
            resources.push(entry);
        }
    }
    (!resources.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
            "resources": resources})
    })
}

/// A short name for what is stored where; clients only compare it.
fn hash(kind: &Kind) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let sum = sha2::Sha256::digest(format!("{}/{}/{}", kind.table.group, kind.storage, kind.kind));
    base64::engine::general_purpose::STANDARD.encode(&sum[..8])
}

/// The aggregated document of the core group (`/api`) or of all others (`/apis`).
pub(crate) fn aggregated(kinds: &[Arc<Kind>], core: bool) -> Value {
    let all = if core {
        vec![(String::new(), vec!["v1".to_owned()])]
    } else {
        groups(kinds)
    };
    let items: Vec<Value> = all
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = kinds
                        .iter()
                        .filter(|k| k.group == *group && k.version == *version)
                        .map(|kind| aggregated_resource(kind))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

/// The kind of a type in its own version: built-in ones leave out what the document says already.
fn own_kind(kind: &Kind) -> Value {
    if kind.custom.is_some() {
        json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
    } else {
        json!({"group": "", "version": "", "kind": kind.kind})
    }
}

fn aggregated_resource(kind: &Kind) -> Value {
    let gvk =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": own_kind(kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        entry["subresources"] = kind
            .subresources
            .iter()
            .map(|subresource| {
                let (group, version, name) = subresource_kind(kind, subresource);
                let other = (&group, &version) != (&kind.group, &kind.version);
                let shown = if other {
                    gvk(&group, &version, &name)
                } else {
                    own_kind(kind)
                };
                json!({"subresource": subresource, "responseKind": shown,
                    "verbs": subresource_verbs(subresource)})
            })
            .collect();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    #[test]
    fn both_ways_agree() {
        let kinds = Registry::new().all();
        let aggregated = aggregated(&kinds, false);
        let listed = group_list(&kinds);
        let names = |list: &Value, pointer: &str| -> Vec<String> {
            list.as_array()
                .unwrap()
                .iter()
                .map(|g| g.pointer(pointer).unwrap().as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            names(&aggregated["items"], "/metadata/name"),
            names(&listed["groups"], "/name")
        );
        let autoscaling = group(&kinds, "autoscaling").unwrap();
        assert_eq!(autoscaling["preferredVersion"]["version"], "v2");
    }

    #[test]
    fn resources_of_a_version() {
        let kinds = Registry::new().all();
        let apps = resources(&kinds, "apps", "v1").unwrap();
        let scale = apps["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == "deployments/scale")
            .unwrap();
        assert_eq!(
            (&scale["group"], &scale["kind"]),
            (&json!("autoscaling"), &json!("Scale"))
        );
        assert_eq!(resources(&kinds, "nothing", "v1"), None);
    }
}
