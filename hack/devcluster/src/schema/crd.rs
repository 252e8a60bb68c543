//! CustomResourceDefinitions themselves: their versions' schemas, and what makes one invalid.
//!
//! Owns apiextensions-apiserver's checks of a definition (names, versions, structural schemas, conversion, printer
//! columns, subresources). Objects of the kind are judged in [`super::validate`].

mod structure;

use serde_json::{Map, Value, json};

use super::builtin::META;
use super::error::ErrorKind;
use super::{FieldError, validate};
use structure::check_schema;

/// `spec.versions[]` entry of a version.
pub fn version<'a>(crd: &'a Value, version: &str) -> Option<&'a Value> {
    versions(crd).iter().find(|v| v["name"] == version)
}

/// Every `spec.versions[]` entry.
pub fn versions(crd: &Value) -> &[Value] {
    crd.pointer("/spec/versions")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `openAPIV3Schema` of a version, for [`super::structural`] and [`super::validate`].
pub fn schema<'a>(crd: &'a Value, name: &str) -> Option<&'a Value> {
    version(crd, name)?.pointer("/schema/openAPIV3Schema")
}

/// Whether a version has the subresource `status` or `scale`.
pub fn has_subresource(crd: &Value, name: &str, subresource: &str) -> bool {
    version(crd, name)
        .and_then(|v| v.pointer("/subresources")?.get(subresource))
        .is_some_and(|s| !s.is_null())
}

/// The version's schema as it is published: with `apiVersion`, `kind` and `metadata` as ObjectMeta, and its
/// `x-kubernetes-group-version-kind`. Keep the value and hand `Schema::new(&value)` to server-side apply.
pub fn typed(crd: &Value, name: &str) -> Option<Value> {
    let mut published = schema(crd, name)
        .cloned()
        .unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    version(crd, name)?;
    embed(&mut published, true);
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    published["x-kubernetes-group-version-kind"] =
        json!([{"group": text("/spec/group"), "kind": text("/spec/names/kind"), "version": name}]);
    Some(published)
}

/// Adds the members every object has, also to embedded resources.
fn embed(node: &mut Value, resource: bool) {
    let embedded = resource || node.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    let Some(members) = node.as_object_mut() else {
        return;
    };
    if embedded {
        let mut properties = Map::new();
        properties.insert(
            "apiVersion".to_owned(),
            json!({"type": "string", "description": "APIVersion defines the versioned schema of this \
                representation of an object."}),
        );
        properties.insert(
            "kind".to_owned(),
            json!({"type": "string", "description": "Kind is a string value representing the REST resource this \
                object represents."}),
        );
        properties.insert(
            "metadata".to_owned(),
            json!({"description": "Standard object's metadata.", "$ref": format!("#/definitions/{META}.ObjectMeta")}),
        );
        if let Some(Value::Object(own)) = members.get("properties") {
            for (name, property) in own {
                properties.entry(name.clone()).or_insert_with(|| property.clone());
            }
        }
        members.insert("properties".to_owned(), Value::Object(properties));
    }
    for key in ["properties", "items", "additionalProperties"] {
        match (key, members.get_mut(key)) {
            ("properties", Some(Value::Object(properties))) => {
                properties
                    .values_mut()
                    .for_each(|property| embed(property, false));
            }
            (_, Some(below)) => embed(below, false),
            (_, None) => {}
        }
    }
}

/// Mistakes of a CustomResourceDefinition, as apiextensions-apiserver finds them: names, versions, schemas that are
/// not structural, conversion, printer columns, subresources.
pub fn check(crd: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = crd.get("spec").unwrap_or(&Value::Null);
    names(crd, spec, &mut errors);
    let versions = versions(crd);
    let names: Vec<&str> = versions.iter().filter_map(|v| v["name"].as_str()).collect();
    if names
        .iter()
        .enumerate()
        .any(|(i, name)| names[..i].contains(name))
    {
        errors.push(FieldError::invalid(
            "spec.versions",
            &json!(versions),
            "must contain unique version names",
        ));
    }
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!(versions), detail));
    }
    if spec["preserveUnknownFields"] == true {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            &json!(true),
            detail,
        ));
    }
    conversion(spec, &mut errors);
    for (index, version) in versions.iter().enumerate() {
        check_version(version, &format!("spec.versions[{index}]"), &mut errors);
    }
    errors
}

fn text<'a>(node: &'a Value, name: &str) -> &'a str {
    node.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn names(crd: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    let group = text(spec, "group");
    let named = spec.get("names").unwrap_or(&Value::Null);
    let expected = format!("{}.{group}", text(named, "plural"));
    let name = crd
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name != expected {
        errors.push(FieldError::invalid(
            "metadata.name",
            &json!(name),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            &json!(group),
            "should be a domain with at least one dot",
        ));
    }
    match text(spec, "scope") {
        "Namespaced" | "Cluster" => {}
        "" => errors.push(FieldError::required("spec.scope", "")),
        scope => {
            let detail = "supported values: \"Cluster\", \"Namespaced\"";
            errors.push(FieldError::new(
                ErrorKind::NotSupported,
                "spec.scope",
                Some(&json!(scope)),
                detail,
            ));
        }
    }
    for required in ["plural", "kind"] {
        if text(named, required).is_empty() {
            errors.push(FieldError::required(&format!("spec.names.{required}"), ""));
        }
    }
    if !text(named, "kind").is_empty() && text(named, "kind") == text(named, "listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            &json!(text(named, "listKind")),
            detail,
        ));
    }
}

fn conversion(spec: &Value, errors: &mut Vec<FieldError>) {
    let Some(conversion) = spec.get("conversion").filter(|c| !c.is_null()) else {
        return;
    };
    match text(conversion, "strategy") {
        "Webhook" => {
            let Some(webhook) = conversion.get("webhook").filter(|w| !w.is_null()) else {
                let detail = "required when strategy is set to Webhook";
                errors.push(FieldError::required("spec.conversion.webhook", detail));
                return;
            };
            let client = webhook.get("clientConfig").filter(|c| !c.is_null());
            match client.map(|c| (c.get("url").is_some(), c.get("service").is_some())) {
                None => errors.push(FieldError::required(
                    "spec.conversion.webhook.clientConfig",
                    "required when strategy is set to Webhook",
                )),
                Some((true, true) | (false, false)) => errors.push(FieldError::required(
                    "spec.conversion.webhook.clientConfig",
                    "exactly one of url or service is required",
                )),
                Some((true, false) | (false, true)) => {}
            }
            if webhook["conversionReviewVersions"]
                .as_array()
                .is_none_or(Vec::is_empty)
            {
                errors.push(FieldError::required(
                    "spec.conversion.webhook.conversionReviewVersions",
                    "",
                ));
            }
        }
        "None" | "" => {
            if conversion.get("webhook").is_some_and(|w| !w.is_null()) {
                errors.push(FieldError::new(
                    ErrorKind::Forbidden,
                    "spec.conversion.webhook",
                    None,
                    "should not be set when strategy is not set to Webhook",
                ));
            }
        }
        strategy => {
            let detail = "supported values: \"None\", \"Webhook\"";
            errors.push(FieldError::new(
                ErrorKind::NotSupported,
                "spec.conversion.strategy",
                Some(&json!(strategy)),
                detail,
            ));
        }
    }
}

fn check_version(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = text(version, "name");
    let label = validate::pattern("^[a-z]([-a-z0-9]*[a-z0-9])?$");
    if label.is_some_and(|l| !l.is_match(name)) {
        let detail = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                      alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                      regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
        errors.push(FieldError::invalid(&format!("{path}.name"), &json!(name), detail));
    }
    let place = format!("{path}.schema.openAPIV3Schema");
    match version
        .pointer("/schema/openAPIV3Schema")
        .filter(|s| s.is_object())
    {
        None => errors.push(FieldError::required(&place, "schemas are required")),
        Some(schema) => check_schema(schema, &place, errors),
    }
    for (index, column) in version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        check_column(
            column,
            &format!("{path}.additionalPrinterColumns[{index}]"),
            errors,
        );
    }
    if let Some(scale) = version.pointer("/subresources/scale").filter(|s| !s.is_null()) {
        for (name, prefix) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
            let place = format!("{path}.subresources.scale.{name}");
            match text(scale, name) {
                "" => errors.push(FieldError::required(&place, "")),
                value if !value.starts_with(prefix) => {
                    let detail = format!("should be a json path under {}", prefix.trim_end_matches('.'));
                    errors.push(FieldError::invalid(&place, &json!(value), detail));
                }
                _ => {}
            }
        }
    }
}

fn check_column(column: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(&format!("{path}.name"), ""));
    }
    let detail = format!("must be one of {}", TYPES.join(","));
    match text(column, "type") {
        "" => errors.push(FieldError::required(&format!("{path}.type"), detail)),
        kind if !TYPES.contains(&kind) => {
            errors.push(FieldError::invalid(&format!("{path}.type"), &json!(kind), detail));
        }
        _ => {}
    }
    match text(column, "jsonPath") {
        "" => errors.push(FieldError::required(&format!("{path}.JSONPath"), "")),
        value if !value.starts_with('.') => {
            let detail = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(
                &format!("{path}.jsonPath"),
                &json!(value),
                detail,
            ));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd(schema: &Value) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "canaries.flagger.app"},
            "spec": {
                "group": "flagger.app", "scope": "Namespaced",
                "names": {"plural": "canaries", "singular": "canary", "kind": "Canary", "listKind": "CanaryList"},
                "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
    }

    fn texts(crd: &Value) -> Vec<String> {
        check(crd).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn schemas() {
        let field = |x: &Value| json!({"type": "object", "properties": {"x": x}});
        let rows: Vec<(Value, &[&str])> = vec![
            (
                json!({"type": "object", "properties": {"spec": {"type": "object"}}}),
                &[],
            ),
            (
                json!({"properties": {}}),
                &[".type: Required value: must not be empty at the root"],
            ),
            (
                json!({"type": "string"}),
                &[".type: Invalid value: \"string\": must be object at the root"],
            ),
            (
                field(&json!({})),
                &[".properties[x].type: Required value: must not be empty for specified object fields"],
            ),
            (
                field(&json!({"type": "array"})),
                &[".properties[x].items: Required value: must be specified"],
            ),
            (
                field(&json!({"type": "array", "items": {}})),
                &[".properties[x].items.type: Required value: must not be empty for specified array items"],
            ),
            (
                field(
                    &json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
                ),
                &[],
            ),
            (
                field(&json!({"type": "integer", "anyOf": [{"type": "integer", "minimum": 1}]})),
                &[".properties[x].anyOf[0].type: Forbidden: must be empty to be structural"],
            ),
            (
                field(&json!({"type": "object", "oneOf": [{"properties": {"y": {"minimum": 1}}}]})),
                &[
                    ".properties[x].properties[y]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.properties[x].oneOf[0].properties[y]",
                ],
            ),
            (
                field(
                    &json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"a": {"type": "string"}}}),
                ),
                &[
                    ".properties[x].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
                ],
            ),
            (
                field(&json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
                &[
                    ".properties[x].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
                ],
            ),
            (
                field(&json!({"type": "object", "$ref": "#/x"})),
                &[".properties[x].$ref: Forbidden: $ref is not supported"],
            ),
            (
                field(
                    &json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
                ),
                &[
                    ".properties[x].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
                ],
            ),
            (
                field(
                    &json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
                ),
                &[
                    ".properties[x].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                ],
            ),
            (
                field(&json!({"type": "integer", "default": "five"})),
                &[
                    ".properties[x].default: Invalid value: \"string\": default in body must be of type integer: \"string\"",
                ],
            ),
            (
                field(&json!({"type": "object", "default": {"a": 1}})),
                &[".properties[x].default: Invalid value: {\"a\":1}: must not have unknown fields"],
            ),
            (
                field(&json!({"type": "text"})),
                &[
                    ".properties[x].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
                ],
            ),
            (field(&json!({"x-kubernetes-preserve-unknown-fields": true})), &[]),
        ];
        for (schema, expected) in rows {
            let expected: Vec<String> = expected
                .iter()
                .map(|e| format!("spec.versions[0].schema.openAPIV3Schema{e}"))
                .collect();
            assert_eq!(texts(&crd(&schema)), expected, "{schema}");
        }
    }

    #[test]
    fn definitions() {
        let good = crd(&json!({"type": "object"}));
        assert_eq!(texts(&good), Vec::<String>::new());
        let change = |pointer: &str, value: Value| {
            let mut crd = good.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            match crd.pointer_mut(parent).unwrap() {
                Value::Object(members) => {
                    members.insert(name.to_owned(), value);
                }
                other => panic!("{other}"),
            }
            texts(&crd)
        };
        assert_eq!(
            change("/metadata/name", json!("x")),
            ["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"]
        );
        assert_eq!(
            change("/spec/scope", json!("World")),
            ["spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\""]
        );
        assert_eq!(
            change("/spec/conversion", json!({"strategy": "Webhook"})),
            ["spec.conversion.webhook: Required value: required when strategy is set to Webhook"]
        );
        assert_eq!(
            change(
                "/spec/conversion",
                json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x"}}})
            ),
            ["spec.conversion.webhook.conversionReviewVersions: Required value"]
        );
        assert_eq!(
            change("/spec/preserveUnknownFields", json!(true)),
            [
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
            ]
        );
        let version = good["spec"]["versions"][0].clone();
        let twice = change("/spec/versions", json!([version, version]));
        assert!(
            twice[0].ends_with("must contain unique version names"),
            "{twice:?}"
        );
        assert!(
            twice[1].ends_with("must have exactly one version marked as storage version"),
            "{twice:?}"
        );
        let mut columns = version.clone();
        columns["additionalPrinterColumns"] = json!([{"name": "A", "type": "text", "jsonPath": "spec.x"}]);
        assert_eq!(
            change("/spec/versions", json!([columns])),
            [
                "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
                "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"spec.x\": must be a simple json path starting with ."
            ]
        );
        let mut bare = version;
        bare.as_object_mut().unwrap().remove("schema");
        assert_eq!(
            change("/spec/versions", json!([bare])),
            ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"]
        );
    }

    #[test]
    fn typed_schemas_know_their_metadata() {
        let typed = typed(
            &crd(&json!({"type": "object", "properties": {"spec": {"type": "object"}}})),
            "v1beta1",
        )
        .unwrap();
        let schema = crate::schema::Schema::new(&typed);
        let owners = schema
            .property("metadata")
            .and_then(|m| m.property("ownerReferences"))
            .unwrap();
        assert_eq!(owners.text("x-kubernetes-list-type"), Some("map"));
    }
}
