//! An HTTP request whose body was read: headers, query parameters, options.
//!
//! Owns: decoding of what clients send beside objects. Promises: a body replaces the query's delete options, as on
//! kube-apiserver. Never: acts.

use std::collections::HashMap;

use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::delete::DeleteOptions;
use super::protobuf;
use super::read::ListOptions;
use super::status::Failure;
use super::watch::WatchOptions;

/// The largest body, as kube-apiserver's.
const LIMIT: usize = 3 * 1024 * 1024;

type Query = HashMap<String, String>;

/// A request whose body was read.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Asked {
    /// Reads the whole request.
    pub(crate) async fn read(request: Request<Incoming>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let body = match Limited::new(body, LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = format!("Request entity too large: limit is {LIMIT}");
                return Err(Failure::new(413, "RequestEntityTooLarge", message));
            }
            Err(error) => return Err(Failure::bad_request(format!("unreadable body: {error}"))),
        };
        Ok(Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query,
            headers: parts.headers,
            body,
        })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.query
            .get(name)
            .is_some_and(|v| !matches!(v.as_str(), "false" | "0"))
    }

    /// The body as JSON, from JSON or YAML.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        let media = self
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if media == "application/vnd.kubernetes.protobuf" {
            return protobuf::decode(&self.body).map_err(Failure::bad_request);
        }
        if media.contains("cbor") {
            let accepted = [
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ];
            return Err(unsupported_media(&accepted));
        }
        if media.contains("yaml") {
            let text = String::from_utf8_lossy(&self.body);
            return serde_saphyr::from_str(&text)
                .map_err(|e| Failure::bad_request(format!("error decoding YAML: {e}")));
        }
        serde_json::from_slice(&self.body).map_err(|e| {
            Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type Object): couldn't get version/kind; json parse \
                 error: {e}"
            ))
        })
    }
}

pub(crate) fn unsupported_media(accepted: &[&str]) -> Failure {
    Failure::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        ),
    )
}

impl Asked {
    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        match self.parameter(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax in parameter {name}"
                ))
            }),
        }
    }

    pub(crate) fn list_options(&self) -> Result<ListOptions, Failure> {
        Ok(ListOptions {
            labels: self.parameter("labelSelector").to_owned(),
            fields: self.parameter("fieldSelector").to_owned(),
            limit: self.number("limit")?.unwrap_or(0),
            token: self.parameter("continue").to_owned(),
            revision: self.parameter("resourceVersion").to_owned(),
            revision_match: self.parameter("resourceVersionMatch").to_owned(),
        })
    }

    pub(crate) fn watch_options(&self) -> Result<WatchOptions, Failure> {
        let initial = self
            .query
            .get("sendInitialEvents")
            .map(|v| v == "true" || v == "1");
        if initial.is_some() && self.parameter("resourceVersionMatch") != "NotOlderThan" {
            return Err(Failure::invalid_options(
                "ListOptions",
                "resourceVersionMatch",
                "FieldValueForbidden",
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        Ok(WatchOptions {
            labels: self.parameter("labelSelector").to_owned(),
            fields: self.parameter("fieldSelector").to_owned(),
            revision: self.parameter("resourceVersion").to_owned(),
            bookmarks: self.flag("allowWatchBookmarks"),
            initial,
            timeout: self.number("timeoutSeconds")?,
        })
    }

    pub(crate) fn delete_options(&self) -> Result<DeleteOptions, Failure> {
        // A body replaces the query parameters.
        let from_body = !self.body.is_empty();
        let body = if from_body { self.json()? } else { json!({}) };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let query = |name: &str| {
            Some(self.parameter(name))
                .filter(|v| !v.is_empty() && !from_body)
                .map(str::to_owned)
        };
        let orphan = match body["orphanDependents"].as_bool() {
            Some(true) => Some("Orphan".to_owned()),
            Some(false) => Some("Background".to_owned()),
            None => None,
        };
        Ok(DeleteOptions {
            grace: match body["gracePeriodSeconds"].as_i64() {
                Some(seconds) => Some(seconds),
                None if from_body => None,
                None => self.number("gracePeriodSeconds")?,
            },
            propagation: text(&body["propagationPolicy"])
                .or(orphan)
                .or_else(|| query("propagationPolicy")),
            uid: text(&body["preconditions"]["uid"]),
            revision: text(&body["preconditions"]["resourceVersion"]),
            dry_run: from_body.then(|| {
                body["dryRun"]
                    .as_array()
                    .is_some_and(|d| d.iter().any(|v| v == "All"))
            }),
        })
    }
}
