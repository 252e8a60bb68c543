//! Paths and operations, in the words of either document.

use serde_json::{Map, Value, json};

use super::Resource;
use crate::schema::builtin;

/// Which document an operation is written for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Swagger,
    OpenApi3,
}

impl Form {
    pub(super) fn reference(self, name: &str) -> Value {
        match self {
            Self::Swagger => json!({"$ref": format!("#/definitions/{name}")}),
            Self::OpenApi3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }

    fn parameter(self, name: &str, kind: &str, what: &str) -> Value {
        match self {
            Self::Swagger => {
                json!({"name": name, "in": "query", "type": kind, "uniqueItems": true, "description": what})
            }
            Self::OpenApi3 => {
                json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}, "description": what})
            }
        }
    }

    fn in_path(self, name: &str, what: &str) -> Value {
        match self {
            Self::Swagger => {
                json!({"name": name, "in": "path", "required": true, "type": "string", "description": what})
            }
            Self::OpenApi3 => {
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}, "description": what})
            }
        }
    }
}

/// One operation of a path.
struct Operation<'a> {
    method: &'a str,
    /// `x-kubernetes-action`.
    action: &'a str,
    /// Definition it answers with.
    answer: String,
    /// Content types of its body, with the definition the body has.
    body: Option<(Vec<&'a str>, String)>,
}

fn operation(form: Form, resource: &Resource, operation: &Operation<'_>) -> Value {
    let mut parameters = Vec::new();
    if operation.body.is_some() && operation.method != "delete" {
        parameters.push(form.parameter("dryRun", "string", "Do not persist: `All`."));
        parameters.push(form.parameter("fieldManager", "string", "Who makes the change."));
        parameters.push(form.parameter("fieldValidation", "string", "`Ignore`, `Warn` or `Strict`."));
        if operation.method == "patch" {
            parameters.push(form.parameter("force", "boolean", "Take conflicting fields over (apply)."));
        }
    } else if operation.method == "delete" {
        parameters.push(form.parameter("dryRun", "string", "Do not persist: `All`."));
        parameters.push(form.parameter("gracePeriodSeconds", "integer", "Seconds before the object goes."));
        parameters.push(form.parameter(
            "propagationPolicy",
            "string",
            "`Orphan`, `Background` or `Foreground`.",
        ));
    }
    if matches!(operation.action, "list" | "deletecollection") {
        for (name, kind) in [
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ] {
            parameters.push(form.parameter(name, kind, ""));
        }
    }
    let answer = form.reference(&operation.answer);
    let ok = match form {
        Form::Swagger => json!({"description": "OK", "schema": answer}),
        Form::OpenApi3 => json!({"description": "OK", "content": {"application/json": {"schema": answer}}}),
    };
    let mut members = json!({
        "description": format!("{} {}", operation.action, resource.kind),
        "operationId": format!("{}{}", operation.action, resource.kind),
        "responses": {"200": ok, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind":
            {"group": resource.group, "kind": resource.kind, "version": resource.version},
    });
    if let Some((types, body)) = &operation.body {
        let schema = form.reference(body);
        match form {
            Form::Swagger => {
                members["consumes"] = json!(types);
                let body = json!({"name": "body", "in": "body", "required": operation.method != "delete", "schema": schema});
                parameters.push(body);
            }
            Form::OpenApi3 => {
                let content: Map<String, Value> = types
                    .iter()
                    .map(|t| ((*t).to_owned(), json!({"schema": schema})))
                    .collect();
                members["requestBody"] =
                    json!({"content": content, "required": operation.method != "delete"});
            }
        }
    }
    if form == Form::Swagger {
        members["produces"] = json!(["application/json"]);
        members["schemes"] = json!(["https"]);
    }
    members["parameters"] = json!(parameters);
    members
}

fn patch_types(resource: &Resource) -> Vec<&'static str> {
    let mut types = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ];
    if resource.schema.is_none() {
        types.push("application/strategic-merge-patch+json");
    }
    types
}

pub(super) fn paths(form: Form, resources: &[Resource]) -> Map<String, Value> {
    let mut paths = Map::new();
    let status = format!("{}.Status", builtin::META);
    let options = format!("{}.DeleteOptions", builtin::META);
    for resource in resources {
        let own = resource.definition.clone();
        let list_name = format!("{own}List");
        let root = format!("/{}", resource.path());
        let namespaced = format!("{root}/namespaces/{{namespace}}/{}", resource.plural);
        let collection = if resource.namespaced {
            namespaced
        } else {
            format!("{root}/{}", resource.plural)
        };
        let one = format!("{collection}/{{name}}");
        let json_body = |definition: &str| Some((vec!["application/json"], definition.to_owned()));
        let list = |method, action| Operation {
            method,
            action,
            answer: list_name.clone(),
            body: None,
        };
        let write = |method, action, definition: &str| Operation {
            method,
            action,
            answer: definition.to_owned(),
            body: json_body(definition),
        };
        let patch = |definition: &str| Operation {
            method: "patch",
            action: "patch",
            answer: definition.to_owned(),
            body: Some((patch_types(resource), format!("{}.Patch", builtin::META))),
        };
        let read = |definition: &str| Operation {
            method: "get",
            action: "get",
            answer: definition.to_owned(),
            body: None,
        };
        let remove = |action| Operation {
            method: "delete",
            action,
            answer: status.clone(),
            body: json_body(&options),
        };
        let mut add = |path: &str, operations: &[Operation<'_>]| {
            let mut item = Map::new();
            for each in operations {
                item.insert(each.method.to_owned(), operation(form, resource, each));
            }
            let mut parameters = Vec::new();
            if path.contains("{name}") {
                parameters.push(form.in_path("name", &format!("name of the {}", resource.kind)));
            }
            if path.contains("{namespace}") {
                parameters.push(form.in_path(
                    "namespace",
                    "object name and auth scope, such as for teams and projects",
                ));
            }
            if !parameters.is_empty() {
                item.insert("parameters".to_owned(), json!(parameters));
            }
            paths.insert(path.to_owned(), Value::Object(item));
        };
        let listed = resource.schema.is_some() || builtin::definitions().contains_key(&list_name);
        if !listed {
            // A review: it can only be created.
            add(&collection, &[write("post", "post", &own)]);
            continue;
        }
        add(
            &collection,
            &[
                list("get", "list"),
                write("post", "post", &own),
                remove("deletecollection"),
            ],
        );
        if resource.namespaced {
            add(&format!("{root}/{}", resource.plural), &[list("get", "list")]);
        }
        add(
            &one,
            &[
                read(&own),
                write("put", "put", &own),
                remove("delete"),
                patch(&own),
            ],
        );
        for subresource in &resource.subresources {
            let definition = match subresource.as_str() {
                "scale" => "io.k8s.api.autoscaling.v1.Scale",
                "status" => own.as_str(),
                _ => continue,
            };
            let operations = [
                read(definition),
                write("put", "put", definition),
                patch(definition),
            ];
            add(&format!("{one}/{subresource}"), &operations);
        }
    }
    paths.sort_keys();
    paths
}
