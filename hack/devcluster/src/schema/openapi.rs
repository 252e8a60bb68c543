//! OpenAPI v2 and v3 documents of what is served.
//!
//! Who asks for what (kubectl 1.32):
//! * `GET /openapi/v3` and the documents it points to, `Accept: application/json`: `kubectl explain`; before writes,
//!   whether PATCH of the kind takes `fieldValidation` and `dryRun`; before `kubectl apply`, whether PATCH takes
//!   strategic merge patches, and their merge keys. Serve `application/json`. The `hash` parameter in
//!   `serverRelativeURL` names the content: a request that carries it may be answered with
//!   `Cache-Control: public, immutable` and an `Expires` header.
//! * `GET /openapi/v2`, `Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf`: only when the server
//!   has no v3. Serve JSON to who accepts `application/json`, 406 to who insists on protobuf.
//!
//! Owns both documents' shape. A caller caches them by what is served.

mod paths;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{KindRef, builtin, crd};
use paths::{Form, paths};

/// A served resource, as the documents need it.
#[derive(Debug, Clone, Copy)]
pub struct KindDoc<'a> {
    /// API group, `""` for core.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Plural resource name.
    pub plural: &'a str,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// `status`, `scale`, …
    pub subresources: &'a [&'a str],
}

/// A resource in the documents: a [`KindDoc`] or a version of a custom one.
struct Resource {
    group: String,
    version: String,
    kind: String,
    plural: String,
    namespaced: bool,
    subresources: Vec<String>,
    /// Name of its definition.
    definition: String,
    /// The published schema of a custom resource.
    schema: Option<Value>,
}

impl Resource {
    fn builtin(doc: &KindDoc<'_>) -> Option<Self> {
        let definition = builtin::definition_name(&KindRef::new(doc.group, doc.version, doc.kind))?;
        Some(Self {
            group: doc.group.to_owned(),
            version: doc.version.to_owned(),
            kind: doc.kind.to_owned(),
            plural: doc.plural.to_owned(),
            namespaced: doc.namespaced,
            subresources: doc.subresources.iter().map(|s| (*s).to_owned()).collect(),
            definition: definition.to_owned(),
            schema: None,
        })
    }

    fn custom(definition: &Value) -> Vec<Self> {
        let text = |pointer: &str| {
            definition
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (group, kind, plural) = (
            text("/spec/group"),
            text("/spec/names/kind"),
            text("/spec/names/plural"),
        );
        let reversed: Vec<&str> = group.rsplit('.').collect();
        let served = crd::versions(definition).iter().filter(|v| v["served"] == true);
        served
            .filter_map(|v| v["name"].as_str())
            .map(|version| Self {
                group: group.clone(),
                version: version.to_owned(),
                kind: kind.clone(),
                plural: plural.clone(),
                namespaced: text("/spec/scope") == "Namespaced",
                subresources: ["status", "scale"]
                    .into_iter()
                    .filter(|s| crd::has_subresource(definition, version, s))
                    .map(str::to_owned)
                    .collect(),
                definition: format!("{}.{version}.{kind}", reversed.join(".")),
                schema: crd::typed(definition, version),
            })
            .collect()
    }

    fn path(&self) -> String {
        if self.group.is_empty() {
            format!("api/{}", self.version)
        } else {
            format!("apis/{}/{}", self.group, self.version)
        }
    }
}

fn resources(kinds: &[KindDoc<'_>], crds: &[Value]) -> Vec<Resource> {
    let builtin = kinds.iter().filter_map(Resource::builtin);
    builtin.chain(crds.iter().flat_map(Resource::custom)).collect()
}

/// The names a `$ref` in `node` points to.
fn references(node: &Value, found: &mut Vec<String>) {
    match node {
        Value::Object(members) => {
            if let Some(name) = members
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.rsplit('/').next())
            {
                found.push(name.to_owned());
            }
            members.values().for_each(|below| references(below, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The definitions of resources, their lists, and all they refer to.
fn definitions(resources: &[Resource]) -> Map<String, Value> {
    let mut all = Map::new();
    let meta = |name: &str| format!("{}.{name}", builtin::META);
    let mut wanted = vec![meta("Status"), meta("DeleteOptions"), meta("ListMeta")];
    for resource in resources {
        if let Some(schema) = &resource.schema {
            references(schema, &mut wanted);
            all.insert(resource.definition.clone(), schema.clone());
            all.insert(format!("{}List", resource.definition), list(resource));
        } else {
            wanted.push(resource.definition.clone());
            wanted.push(format!("{}List", resource.definition));
        }
        if resource.subresources.iter().any(|s| s == "scale") {
            wanted.push("io.k8s.api.autoscaling.v1.Scale".to_owned());
        }
    }
    while let Some(name) = wanted.pop() {
        if all.contains_key(&name) {
            continue;
        }
        if let Some(definition) = builtin::definitions().get(&name) {
            references(definition, &mut wanted);
            all.insert(name, definition.clone());
        }
    }
    all.sort_keys();
    all
}

fn list(resource: &Resource) -> Value {
    json!({
        "description": format!("{0}List is a list of {0}", resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "APIVersion defines the versioned schema of this list."},
            "items": {"type": "array", "items": {"$ref": format!("#/definitions/{}", resource.definition)},
                "description": format!("List of {}.", resource.plural)},
            "kind": {"type": "string", "description": "Kind is the kind of this list."},
            "metadata": {"$ref": format!("#/definitions/{}.ListMeta", builtin::META)},
        },
        "x-kubernetes-group-version-kind":
            [{"group": resource.group, "kind": format!("{}List", resource.kind), "version": resource.version}],
    })
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.37.0"})
}

/// `/openapi/v2`: Swagger 2.0 of everything that is served.
pub fn v2_document(kinds: &[KindDoc<'_>], crds: &[Value]) -> Value {
    let resources = resources(kinds, crds);
    let mut definitions = definitions(&resources);
    definitions.insert(format!("{}.Patch", builtin::META), patch_definition());
    for definition in definitions.values_mut() {
        swagger(definition);
    }
    json!({"swagger": "2.0", "info": info(), "paths": paths(Form::Swagger, &resources), "definitions": definitions})
}

fn patch_definition() -> Value {
    json!({"type": "object", "description": "Patch is provided to give a concrete name and type to the request body."})
}

/// Swagger 2.0 has no `oneOf`, `anyOf`, `not`, `nullable`, and no type of two.
fn swagger(node: &mut Value) {
    if let Value::Array(items) = node {
        items.iter_mut().for_each(swagger);
    }
    let Value::Object(members) = node else { return };
    for name in ["oneOf", "anyOf", "not", "nullable"] {
        members.shift_remove(name);
    }
    if members.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !members.contains_key("type")
    {
        members.insert("type".to_owned(), json!("string"));
        members.insert("format".to_owned(), json!("int-or-string"));
    }
    for (name, below) in members {
        match (name.as_str(), below) {
            // Its members are fields, whatever their names.
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(swagger),
            ("default" | "enum" | "example", _) => {}
            (_, below) => swagger(below),
        }
    }
}

/// `/openapi/v3`: the index, `{"paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=…"}}}`.
/// The hash is of all a group version's document is made from: it changes when that does.
pub fn v3_index(kinds: &[KindDoc<'_>], crds: &[Value]) -> Value {
    let mut sources: BTreeMap<String, Sha256> = BTreeMap::new();
    for resource in resources(kinds, crds) {
        let source = sources.entry(resource.path()).or_default();
        let names = [&resource.kind, &resource.plural, &resource.subresources.join(",")];
        for name in names {
            source.update(name);
            source.update([0]);
        }
        source.update([u8::from(resource.namespaced)]);
        source.update(
            resource
                .schema
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
    }
    let paths = sources.into_iter().map(|(path, source)| {
        let mut url = format!("/openapi/v3/{path}?hash=");
        for byte in source.finalize().iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(url, "{byte:02X}");
        }
        (path, json!({"serverRelativeURL": url}))
    });
    json!({"paths": paths.collect::<Map<String, Value>>()})
}

/// `/openapi/v3/apis/GROUP/VERSION` (or `/openapi/v3/api/v1` for the core group): the document of one group version,
/// `None` when nothing of it is served.
pub fn v3_document(group: &str, version: &str, kinds: &[KindDoc<'_>], crds: &[Value]) -> Option<Value> {
    let mut resources = resources(kinds, crds);
    resources.retain(|r| r.group == group && r.version == version);
    if resources.is_empty() {
        return None;
    }
    let mut schemas = definitions(&resources);
    schemas.insert(format!("{}.Patch", builtin::META), patch_definition());
    for schema in schemas.values_mut() {
        openapi3(schema);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(Form::OpenApi3, &resources),
        "components": {"schemas": schemas},
    }))
}

/// References move to `components`, and into `allOf` where something stands beside them.
fn openapi3(node: &mut Value) {
    if let Value::Array(items) = node {
        items.iter_mut().for_each(openapi3);
    }
    let Value::Object(members) = node else { return };
    members.values_mut().for_each(openapi3);
    if let Some(name) = members
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.rsplit('/').next())
    {
        let reference = Form::OpenApi3.reference(name);
        if members.len() > 1 {
            members.shift_remove("$ref");
            members.insert("allOf".to_owned(), json!([reference]));
        } else if let Value::Object(reference) = reference {
            *members = reference;
        }
    }
    if members.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !members.contains_key("anyOf")
    {
        members.insert(
            "oneOf".to_owned(),
            json!([{"type": "integer"}, {"type": "string"}]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [KindDoc<'_>; 4] = [
        KindDoc {
            group: "apps",
            version: "v1",
            kind: "Deployment",
            plural: "deployments",
            namespaced: true,
            subresources: &["status", "scale"],
        },
        KindDoc {
            group: "",
            version: "v1",
            kind: "Namespace",
            plural: "namespaces",
            namespaced: false,
            subresources: &["status"],
        },
        KindDoc {
            group: "",
            version: "v1",
            kind: "Pod",
            plural: "pods",
            namespaced: true,
            subresources: &["status", "log"],
        },
        KindDoc {
            group: "authorization.k8s.io",
            version: "v1",
            kind: "SelfSubjectAccessReview",
            plural: "selfsubjectaccessreviews",
            namespaced: false,
            subresources: &[],
        },
    ];

    fn canary() -> Value {
        json!({"spec": {"group": "flagger.app", "scope": "Namespaced", "names": {"plural": "canaries", "kind": "Canary"},
            "versions": [{"name": "v1beta1", "served": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "description": "What to do.",
                    "properties": {"port": {"x-kubernetes-int-or-string": true}}}}}}},
                {"name": "v1alpha1", "served": false}]}})
    }

    fn unresolved(document: &Value, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        references(document, &mut names);
        let known = document.pointer(prefix).and_then(Value::as_object).unwrap();
        names.retain(|name| !known.contains_key(name));
        names
    }

    #[test]
    fn index_lists_group_versions() {
        let index = v3_index(&KINDS, &[canary()]);
        let paths: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
        assert_eq!(
            paths,
            [
                "api/v1",
                "apis/apps/v1",
                "apis/authorization.k8s.io/v1",
                "apis/flagger.app/v1beta1"
            ]
        );
        let url = |index: &Value| {
            index["paths"]["apis/flagger.app/v1beta1"]["serverRelativeURL"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert!(url(&index).starts_with("/openapi/v3/apis/flagger.app/v1beta1?hash="));
        let mut other = canary();
        other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] =
            json!({"type": "object"});
        assert_ne!(
            url(&index),
            url(&v3_index(&KINDS, &[other])),
            "the hash names the content"
        );
    }

    #[test]
    fn documents_hold_what_they_refer_to() {
        for (group, version) in [
            ("apps", "v1"),
            ("", "v1"),
            ("authorization.k8s.io", "v1"),
            ("flagger.app", "v1beta1"),
        ] {
            let document = v3_document(group, version, &KINDS, &[canary()]).unwrap();
            assert_eq!(
                unresolved(&document, "/components/schemas"),
                Vec::<String>::new(),
                "{group}/{version}"
            );
            assert!(!document.to_string().contains("#/definitions/"));
        }
        let crds = KindDoc {
            group: "apiextensions.k8s.io",
            version: "v1",
            kind: "CustomResourceDefinition",
            plural: "customresourcedefinitions",
            namespaced: false,
            subresources: &["status"],
        };
        let swagger = v2_document(&[KINDS[0], crds], &[canary()]);
        assert_eq!(unresolved(&swagger, "/definitions"), Vec::<String>::new());
        let fields = &swagger["definitions"]["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"]
            ["properties"];
        assert!(
            fields.get("not").is_some() && fields.get("nullable").is_some(),
            "fields are not keywords"
        );
        assert_eq!(v3_document("apps", "v2", &KINDS, &[]), None);
    }

    #[test]
    fn what_kubectl_reads() {
        let apps = v3_document("apps", "v1", &KINDS, &[]).unwrap();
        let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "kind": "Deployment", "version": "v1"})
        );
        let names: Vec<&str> = patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains(&"fieldValidation") && names.contains(&"dryRun"),
            "{names:?}"
        );
        assert!(
            patch["requestBody"]["content"]
                .get("application/strategic-merge-patch+json")
                .is_some()
        );
        let containers =
            &apps["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let strategy =
            &apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
        assert_eq!(
            strategy["allOf"],
            json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}])
        );

        let canaries = v3_document("flagger.app", "v1beta1", &KINDS, &[canary()]).unwrap();
        let schema = &canaries["components"]["schemas"]["app.flagger.v1beta1.Canary"];
        assert_eq!(
            schema["x-kubernetes-group-version-kind"],
            json!([{"group": "flagger.app", "kind": "Canary", "version": "v1beta1"}])
        );
        let patch =
            &canaries["paths"]["/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries/{name}"]["patch"];
        assert!(
            patch["requestBody"]["content"]
                .get("application/strategic-merge-patch+json")
                .is_none()
        );
        assert!(
            canaries["paths"]
                .get("/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries/{name}/status")
                .is_some()
        );
        let reviews = v3_document("authorization.k8s.io", "v1", &KINDS, &[]).unwrap();
        assert_eq!(reviews["paths"].as_object().unwrap().len(), 1);
    }
}
