//! Answers in the form the client asked for: objects, Tables, metadata only; JSON or YAML.
//!
//! Owns: the Accept header, lists, watch lines, warnings. Promises: falls back to plain objects when it may. Never:
//! chooses what is answered.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: ages in Tables are counted from now"
)]

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::call::Call;
use super::read::Listed;
use super::status::Failure;
use super::watch::Seen;
use crate::kinds::Kind;
use crate::table::{self, Columns, Include};

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    Table(Include),
    Metadata,
    MetadataList,
    Discovery,
}

/// The negotiated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) shape: Shape,
    pub(crate) yaml: bool,
}

impl Form {
    pub(crate) const JSON: Self = Self {
        shape: Shape::Object,
        yaml: false,
    };

    /// The first entry of an Accept header this server can answer.
    pub(crate) fn negotiate(accept: &str, include: Option<&str>) -> Result<Self, Failure> {
        if accept.trim().is_empty() {
            return Ok(Self::JSON);
        }
        let include = match include {
            Some("Object") => Include::Object,
            Some("None") => Include::None,
            _ => Include::Metadata,
        };
        for entry in accept.split(',') {
            let mut parts = entry.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let yaml = media == "application/yaml";
            if !(yaml || matches!(media, "application/json" | "application/*" | "*/*")) {
                continue;
            }
            let mut kind = "";
            for parameter in parts {
                if let Some(value) = parameter.strip_prefix("as=") {
                    kind = value;
                }
            }
            let shape = match kind {
                "" => Shape::Object,
                "Table" => Shape::Table(include),
                "PartialObjectMetadata" => Shape::Metadata,
                "PartialObjectMetadataList" => Shape::MetadataList,
                "APIGroupDiscoveryList" if entry.contains("v=v2") && !entry.contains("v=v2beta1") => {
                    Shape::Discovery
                }
                _ => continue,
            };
            return Ok(Self { shape, yaml });
        }
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                       application/json;stream=watch";
        Err(Failure::new(406, "NotAcceptable", message).detailed(json!({})))
    }
}

fn columns(kind: &Kind) -> Columns {
    match &kind.custom {
        Some(custom) => Columns::custom(custom.version(&kind.version)),
        None => Columns::builtin(&kind.reference()),
    }
}

fn tabled(kind: &Kind, objects: &[Value], include: Include, metadata: &Value) -> Value {
    table::render(&columns(kind), objects, include, metadata, jiff::Timestamp::now())
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// One object (or a Status) in the form asked for.
pub(crate) fn object(form: Form, kind: &Kind, object: Value) -> Value {
    if object["kind"] == "Status" && object["apiVersion"] == "v1" {
        return object;
    }
    match form.shape {
        Shape::Table(include) => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            tabled(kind, &[object], include, &metadata)
        }
        Shape::Metadata => partial(&object),
        Shape::Object | Shape::MetadataList | Shape::Discovery => object,
    }
}

/// A list in the form asked for.
pub(crate) fn list(form: Form, kind: &Kind, listed: Listed) -> Value {
    let metadata = listed.metadata();
    match form.shape {
        Shape::Table(include) => tabled(kind, &listed.items, include, &metadata),
        Shape::Metadata | Shape::MetadataList => {
            let items: Vec<Value> = listed.items.iter().map(partial).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
        }
        Shape::Object | Shape::Discovery => {
            let mut items = listed.items;
            if kind.custom.is_none() {
                // Lists of built-in types do not repeat their type in every item.
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.shift_remove("apiVersion");
                    item.shift_remove("kind");
                }
            }
            json!({"kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": metadata, "items": items})
        }
    }
}

/// A watch as one JSON document a line.
pub(crate) fn watch(form: Form, call: &Call, events: BoxStream<'static, Seen>) -> Response<Body> {
    let kind = call.kind.clone();
    let lines = events.map(move |seen| {
        let plain = matches!(seen.kind, "ERROR") || matches!(form.shape, Shape::Object);
        let shown = match seen.kind {
            _ if plain => seen.object,
            "BOOKMARK" if matches!(form.shape, Shape::Table(_)) => {
                let metadata = json!({"resourceVersion": seen.object["metadata"]["resourceVersion"]});
                tabled(&kind, &[], Include::Metadata, &metadata)
            }
            _ => object(form, &kind, seen.object),
        };
        let mut line = json!({"type": seen.kind, "object": shown}).to_string();
        line.push('\n');
        Ok::<_, std::convert::Infallible>(Bytes::from(line))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    add_warnings(&mut response, &call.warnings());
    response
}

/// A document as a response.
pub(crate) fn respond(code: u16, form: Form, value: &Value) -> Response<Body> {
    let (text, media) = match form {
        Form { yaml: true, .. } => match serde_saphyr::to_string(value) {
            Ok(text) => (text, "application/yaml"),
            Err(error) => (
                Failure::internal(error).to_value().to_string(),
                "application/json",
            ),
        },
        Form {
            shape: Shape::Discovery,
            ..
        } => (
            value.to_string(),
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        ),
        Form { .. } => (value.to_string(), "application/json"),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media = HeaderValue::from_static(media);
    response.headers_mut().insert("content-type", media);
    response
        .headers_mut()
        .insert("cache-control", HeaderValue::from_static("no-cache, private"));
    response
}

/// The answer outside of any API group.
pub(crate) fn no_page() -> Response<Body> {
    let mut response = Response::new(Body::from("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(
        "content-type",
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

pub(crate) fn refusal(failure: &Failure) -> Response<Body> {
    let mut response = respond(failure.code, Form::JSON, &failure.to_value());
    let seconds = failure
        .details
        .as_ref()
        .and_then(|d| d["retryAfterSeconds"].as_u64());
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

/// `Warning: 299 - "text"` headers; long ones are cut when they are many (KEP-1693).
pub(crate) fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    let total: usize = warnings.iter().map(String::len).sum();
    for warning in warnings {
        let text: String = if total > 4096 {
            warning.chars().take(256).collect()
        } else {
            warning.clone()
        };
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(header) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append("warning", header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let rows = [
            ("", Some(Shape::Object)),
            ("*/*", Some(Shape::Object)),
            ("application/json", Some(Shape::Object)),
            (table, Some(Shape::Table(Include::Metadata))),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Some(Shape::Object),
            ),
            ("application/vnd.kubernetes.protobuf", None),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                Some(Shape::Discovery),
            ),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
                Some(Shape::Object),
            ),
        ];
        for (accept, expected) in rows {
            assert_eq!(
                Form::negotiate(accept, None).ok().map(|f| f.shape),
                expected,
                "{accept}"
            );
        }
        assert!(Form::negotiate("application/yaml", None).unwrap().yaml);
    }

    #[test]
    fn warnings_are_quoted() {
        let mut response = Response::new(Body::empty());
        add_warnings(&mut response, &["say \"hi\"".to_owned()]);
        assert_eq!(response.headers()["warning"], "299 - \"say \\\"hi\\\"\"");
    }
}
