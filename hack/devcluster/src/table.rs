//! `meta.k8s.io/v1` Tables: what `kubectl get` prints.
//!
//! Owns the columns of built-in kinds (as kube-apiserver's printers give them), those of custom resources
//! (`additionalPrinterColumns`, the JSONPath subset they may use), and how values become cells. Never looks anything
//! up: a row is a function of its object and `now`.

mod cells;
mod path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::schema::KindRef;

/// Which part of each object a row carries (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// A PartialObjectMetadata: the default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
    /// Nothing.
    None,
}

impl Include {
    /// The `includeObject` parameter; anything unknown is the default.
    pub fn parse(text: &str) -> Self {
        match text {
            "Object" => Self::Object,
            "None" => Self::None,
            _ => Self::Metadata,
        }
    }
}

/// How a cell is made from an object.
#[derive(Debug, Clone)]
enum Source {
    /// A printer of a built-in kind.
    Printed(fn(&Value, Timestamp) -> Value),
    /// A JSONPath with the column's type.
    Path(path::Path),
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    source: Source,
}

/// The columns of a kind.
#[derive(Debug, Clone)]
pub struct Columns {
    columns: Vec<Column>,
}

impl Columns {
    /// Columns of a built-in kind; name and age for those without columns of their own.
    pub fn builtin(kind: &KindRef<'_>) -> Self {
        let columns = cells::of(kind)
            .into_iter()
            .map(|(name, kind, priority, print)| Column {
                name: name.to_owned(),
                kind: kind.to_owned(),
                format: if name == "Name" {
                    "name".to_owned()
                } else {
                    String::new()
                },
                description: String::new(),
                priority,
                source: Source::Printed(print),
            })
            .collect();
        Self { columns }
    }

    /// Columns of a custom resource: `additionalPrinterColumns` of its `spec.versions[]` entry; name and age without
    /// them.
    pub fn custom(version: &Value) -> Self {
        let name = Column {
            name: "Name".to_owned(),
            kind: "string".to_owned(),
            format: "name".to_owned(),
            description: "Name must be unique within a namespace.".to_owned(),
            priority: 0,
            source: Source::Printed(cells::name),
        };
        let own = version.get("additionalPrinterColumns").and_then(Value::as_array);
        let Some(own) = own.filter(|own| !own.is_empty()) else {
            let age = Column {
                name: "Age".to_owned(),
                kind: "date".to_owned(),
                format: String::new(),
                description: String::new(),
                priority: 0,
                source: Source::Path(path::Path::parse(".metadata.creationTimestamp")),
            };
            return Self {
                columns: vec![name, age],
            };
        };
        let own = own.iter().map(|column| {
            let text = |name: &str| {
                column
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            Column {
                name: text("name"),
                kind: text("type"),
                format: text("format"),
                description: text("description"),
                priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
                source: Source::Path(path::Path::parse(&text("jsonPath"))),
            }
        });
        Self {
            columns: std::iter::once(name).chain(own).collect(),
        }
    }
}

impl Column {
    fn definition(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.source {
            Source::Printed(print) => print(object, now),
            Source::Path(path) => typed_cell(&path.find(object), &self.kind, now),
        }
    }
}

/// The first result of a path as a cell of the column's type; `null` when there is none or it is of another type.
fn typed_cell(found: &[&Value], kind: &str, now: Timestamp) -> Value {
    let Some(first) = found.first().filter(|v| !v.is_null()) else {
        return Value::Null;
    };
    match (kind, first) {
        ("integer", Value::Number(n)) => n
            .as_i64()
            .or_else(|| n.as_f64().map(|n| n as i64))
            .map_or(Value::Null, |n| json!(n)),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*first).clone(),
        ("date", Value::String(text)) => json!(cells::age_of(text, now)),
        ("string", Value::String(text)) => json!(text),
        ("string", other) => json!(other.to_string()),
        _ => Value::Null,
    }
}

/// Renders objects as a Table. `list_meta` is the list's `metadata` (resourceVersion, continue,
/// remainingItemCount); for a single object or a watch event, the object's resourceVersion alone.
pub fn render(
    columns: &Columns,
    objects: &[Value],
    include: Include,
    list_meta: &Value,
    now: Timestamp,
) -> Value {
    let rows = objects.iter().map(|object| {
        let cells: Vec<Value> = columns.columns.iter().map(|column| column.cell(object, now)).collect();
        let mut row = json!({ "cells": cells });
        match include {
            Include::Metadata => {
                row["object"] = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
                });
            }
            Include::Object => row["object"] = object.clone(),
            Include::None => {}
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    let definitions: Vec<Value> = columns.columns.iter().map(Column::definition).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": definitions, "rows": rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn custom_columns() {
        let columns = Columns::custom(&json!({"additionalPrinterColumns": [
            {"name": "Status", "type": "string", "jsonPath": ".status.phase"},
            {"name": "Weight", "type": "integer", "jsonPath": ".status.canaryWeight"},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1},
            {"name": "Since", "type": "date", "jsonPath": ".status.lastTransitionTime"},
            {"name": "Ok", "type": "boolean", "jsonPath": ".status.ok"},
            {"name": "Labels", "type": "string", "jsonPath": ".metadata.labels"},
        ]}));
        let objects = [
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "status": {"phase": "Succeeded", "canaryWeight": 50,
                "ok": true, "lastTransitionTime": "2026-01-02T03:02:05Z",
                "conditions": [{"type": "Promoted", "status": "False"}, {"type": "Ready", "status": "True"}]}}),
            json!({"metadata": {"name": "b"}, "status": {"canaryWeight": "not a number"}}),
        ];
        let table = render(
            &columns,
            &objects,
            Include::None,
            &json!({"resourceVersion": "7"}),
            now(),
        );
        assert_eq!(table["metadata"]["resourceVersion"], "7");
        assert_eq!(table["columnDefinitions"][3]["priority"], 1);
        assert_eq!(
            table["rows"],
            json!([
                {"cells": ["a", "Succeeded", 50, "True", "2m", true, "{\"x\":\"y\"}"]},
                {"cells": ["b", null, null, null, null, null, null]},
            ])
        );
    }

    #[test]
    fn without_columns_a_name_and_an_age() {
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:00Z"}});
        let table = render(
            &Columns::custom(&json!({})),
            &[object],
            Include::None,
            &json!({}),
            now(),
        );
        assert_eq!(table["rows"][0]["cells"], json!(["a", "5s"]));
    }

    #[test]
    fn included_objects() {
        let object = json!({"kind": "X", "metadata": {"name": "a"}, "spec": 1});
        let columns = Columns::builtin(&KindRef::new("", "v1", "LimitRange"));
        let row = |include| {
            render(
                &columns,
                std::slice::from_ref(&object),
                include,
                &json!({}),
                now(),
            )["rows"][0]
                .clone()
        };
        assert_eq!(row(Include::Object)["object"], object);
        assert_eq!(row(Include::Metadata)["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(row(Include::Metadata)["object"]["metadata"], object["metadata"]);
        assert_eq!(row(Include::None).get("object"), None);
    }
}
