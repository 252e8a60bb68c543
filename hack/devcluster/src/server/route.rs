//! From an HTTP request to a stage of the pipeline.
//!
//! Owns: paths, query parameters, bodies, authentication. Promises: every path answers a document, refusals a
//! Status. Never: touches storage itself.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::call::{Call, FieldValidation, User};
use super::delete::DeleteOptions;
use super::read::ListOptions;
use super::render::{self, Form, Shape};
use super::status::Failure;
use super::watch::WatchOptions;
use super::write::{Change, Written};
use super::{Cluster, discovery, protobuf};
use crate::kinds::Verbs;
use crate::schema::openapi::{self, KindDoc};

/// The largest body, as kube-apiserver's.
const LIMIT: usize = 3 * 1024 * 1024;

type Query = HashMap<String, String>;

/// A request whose body was read.
struct Asked {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn flag(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|v| !matches!(v.as_str(), "false" | "0"))
    }

    /// The body as JSON, from JSON or YAML.
    fn json(&self) -> Result<Value, Failure> {
        let media = self.header("content-type").split(';').next().unwrap_or_default().trim();
        if media == "application/vnd.kubernetes.protobuf" {
            return protobuf::decode(&self.body).map_err(Failure::bad_request);
        }
        if media.contains("cbor") {
            let accepted = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
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

fn unsupported_media(accepted: &[&str]) -> Failure {
    Failure::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        ),
    )
}

impl Cluster {
    /// Answers one request.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let body = match Limited::new(body, LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = format!("Request entity too large: limit is {LIMIT}");
                return render::refusal(&Failure::new(413, "RequestEntityTooLarge", message));
            }
            Err(error) => return render::refusal(&Failure::bad_request(format!("unreadable body: {error}"))),
        };
        let asked =
            Asked { method: parts.method, path: parts.uri.path().to_owned(), query, headers: parts.headers, body };
        let answer = self.answer(&asked).await;
        let response = match answer {
            Err(failure) if failure.code == 404 && !self.serves(&asked.path) => render::no_page(),
            answer => answer.unwrap_or_else(|failure| render::refusal(&failure)),
        };
        tracing::trace!(method = %asked.method, path = asked.path, code = response.status().as_u16(), "answered");
        response
    }

    /// Whether anything is served at or below the group version of a path.
    fn serves(&self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        match (segments.next(), segments.next(), segments.next()) {
            (Some("api"), version, _) => version.is_none_or(|v| v == "v1"),
            (Some("apis"), Some(group), version) => {
                let kinds = self.registry.all();
                kinds.iter().any(|k| k.group == group && version.is_none_or(|v| v == k.version))
            }
            _ => false,
        }
    }

    fn authenticate(&self, asked: &Asked) -> Result<Arc<User>, Failure> {
        let header = asked.header("authorization");
        if header.is_empty() {
            return Ok(Arc::new(User::anonymous()));
        }
        header.strip_prefix("Bearer ").and_then(|token| self.user_of(token.trim())).ok_or_else(Failure::unauthorized)
    }

    async fn answer(&self, asked: &Asked) -> Result<Response<Body>, Failure> {
        let user = self.authenticate(asked)?;
        let path = asked.path.trim_end_matches('/');
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["healthz" | "readyz" | "livez", ..] => return Ok(Response::new(Body::from("ok"))),
            ["version"] => return Ok(render::respond(200, Form::JSON, &version())),
            _ => {}
        }
        if *user == User::anonymous() {
            let verb = asked.method.as_str().to_lowercase();
            let message = format!("forbidden: User \"system:anonymous\" cannot {verb} path {path:?}");
            return Err(Failure { details: Some(json!({})), ..Failure::new(403, "Forbidden", message) });
        }
        let form = Form::negotiate(asked.header("accept"), asked.query.get("includeObject").map(String::as_str));
        let json_form = form.clone().unwrap_or(Form::JSON);
        if let Some(document) = self.document(&segments, json_form) {
            let (value, form) = document?;
            return Ok(render::respond(200, form, &value));
        }
        let form = form?;
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_such_path()),
        };
        let mut call = self.locate(group, version, rest, user)?;
        let options = match asked.method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "DeleteOptions",
        };
        call.dry_run = match asked.parameter("dryRun") {
            "" => false,
            "All" => true,
            other => {
                let message = format!("Unsupported value: [{other:?}]: supported values: \"All\"");
                return Err(Failure::invalid_options(options, "dryRun", "FieldValueNotSupported", &message));
            }
        };
        if asked.method == Method::DELETE {
            // Options in the body replace those in the query.
            call.dry_run = delete_options(asked)?.dry_run.unwrap_or(call.dry_run);
        }
        call.force = asked.flag("force");
        let agent = asked.header("user-agent").split('/').next().unwrap_or_default().to_owned();
        call.manager = match asked.parameter("fieldManager") {
            "" if agent.is_empty() => "unknown".to_owned(),
            "" => agent,
            manager => manager.to_owned(),
        };
        call.validation = match asked.parameter("fieldValidation") {
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            "Warn" | "" => FieldValidation::Warn,
            other => {
                let message =
                    format!("Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
                return Err(Failure::invalid_options(options, "fieldValidation", "FieldValueNotSupported", &message));
            }
        };
        if let Some(warning) = call.kind.custom.as_ref().and_then(|c| c.deprecation(&call.kind.version)) {
            call.warn(&warning);
        }
        self.authorize(&call, verb_of(asked, &call))?;
        let answer = self.perform(asked, &call, form).await;
        let mut response = answer.unwrap_or_else(|failure| render::refusal(&failure));
        if !response.headers().contains_key("warning") {
            render::add_warnings(&mut response, &call.warnings());
        }
        Ok(response)
    }

    /// Discovery and OpenAPI.
    fn document(&self, segments: &[&str], form: Form) -> Option<Result<(Value, Form), Failure>> {
        let kinds = self.registry.all();
        let plain = Form { shape: Shape::Object, ..form };
        let found = |value: Option<Value>| value.map(|v| (v, plain)).ok_or_else(Failure::no_such_path);
        match segments {
            ["api"] if form.shape == Shape::Discovery => Some(Ok((discovery::aggregated(&kinds, true), form))),
            ["apis"] if form.shape == Shape::Discovery => Some(Ok((discovery::aggregated(&kinds, false), form))),
            ["api"] => Some(Ok((discovery::core_versions(self.address()), plain))),
            ["apis"] => Some(Ok((discovery::group_list(&kinds), plain))),
            ["api", version] => Some(found(discovery::resources(&kinds, "", version))),
            ["apis", group] => Some(found(discovery::group(&kinds, group))),
            ["apis", group, version] => Some(found(discovery::resources(&kinds, group, version))),
            ["openapi", "v2"] => Some(Ok((self.with_docs(openapi::v2_document), Form::JSON))),
            ["openapi", "v3"] => Some(Ok((self.with_docs(openapi::v3_index), Form::JSON))),
            ["openapi", "v3", "api", version] => {
                Some(found(self.with_docs(|kinds, crds| openapi::v3_document("", version, kinds, crds))))
            }
            ["openapi", "v3", "apis", group, version] => {
                Some(found(self.with_docs(|kinds, crds| openapi::v3_document(group, version, kinds, crds))))
            }
            _ => None,
        }
    }

    fn with_docs<T>(&self, build: impl FnOnce(&[KindDoc<'_>], &[Value]) -> T) -> T {
        let kinds = self.registry.all();
        let subresources: Vec<Vec<&str>> =
            kinds.iter().map(|k| k.subresources.iter().map(String::as_str).collect()).collect();
        let docs: Vec<KindDoc<'_>> = kinds
            .iter()
            .zip(&subresources)
            .map(|(kind, subresources)| KindDoc {
                group: &kind.group,
                version: &kind.version,
                kind: &kind.kind,
                plural: &kind.plural,
                namespaced: kind.namespaced,
                subresources,
            })
            .collect();
        let mut crds: Vec<Value> = Vec::new();
        for custom in kinds.iter().filter_map(|k| k.custom.as_ref()) {
            if !crds.contains(custom.crd()) {
                crds.push(custom.crd().clone());
            }
        }
        build(&docs, &crds)
    }

    /// The resource a path names.
    fn locate(&self, group: &str, version: &str, rest: &[&str], user: Arc<User>) -> Result<Call, Failure> {
        let (namespace, rest) = match rest {
            // `namespaces/NAME` and its subresources are the namespace itself.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] if group.is_empty() => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let [plural, rest @ ..] = rest else { return Err(Failure::no_such_path()) };
        let kind = self.registry.find(group, version, plural).ok_or_else(Failure::no_such_path)?;
        if !namespace.is_empty() && !kind.namespaced {
            return Err(Failure::no_such_path());
        }
        let mut call = Call::new(kind, user);
        namespace.clone_into(&mut call.namespace);
        match rest {
            [] => {}
            [name] => decoded(name).clone_into(&mut call.name),
            [name, subresource] if call.kind.has(subresource) => {
                call.name = decoded(name);
                (*subresource).clone_into(&mut call.subresource);
            }
            _ => return Err(Failure::no_such_path()),
        }
        if !call.name.is_empty() && call.kind.namespaced && call.namespace.is_empty() {
            return Err(Failure::no_such_path());
        }
        Ok(call)
    }

    async fn perform(&self, asked: &Asked, call: &Call, form: Form) -> Result<Response<Body>, Failure> {
        let object = |code: u16, value: Value| Ok(render::respond(code, form, &render::object(form, &call.kind, value)));
        let written = |w: Written| object(if w.created { 201 } else { 200 }, w.object);
        if call.kind.verbs == Verbs::Ask {
            if asked.method != Method::POST || !call.name.is_empty() {
                return Err(Failure::method_not_allowed());
            }
            return object(201, self.ask_review(call, asked.json()?)?);
        }
        if call.name.is_empty() {
            return match asked.method {
                Method::GET if asked.flag("watch") => {
                    Ok(render::watch(form, call, self.watch(call, &watch_options(asked)?)?))
                }
                Method::GET => {
                    let listed = self.list(call, &list_options(asked)?).await?;
                    Ok(render::respond(200, form, &render::list(form, &call.kind, listed)))
                }
                Method::POST => {
                    if call.kind.namespaced && call.namespace.is_empty() {
                        return Err(Failure::method_not_allowed());
                    }
                    object(201, self.create(call, asked.json()?).await?)
                }
                Method::DELETE => {
                    let listed = self.delete_all(call, &list_options(asked)?, &delete_options(asked)?).await?;
                    Ok(render::respond(200, form, &render::list(form, &call.kind, listed)))
                }
                _ => Err(Failure::method_not_allowed()),
            };
        }
        match (&asked.method, call.subresource.as_str()) {
            (&Method::POST, "binding" | "eviction" | "token") => {
                object(201, self.post_subresource(call, asked.json()?).await?)
            }
            (&Method::GET, "log") => {
                self.stored(call)?;
                let mut response = Response::new(Body::empty());
                response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
                Ok(response)
            }
            (_, "binding" | "eviction" | "token" | "log") => Err(Failure::method_not_allowed()),
            (&Method::GET, "") if asked.flag("watch") => {
                let mut options = watch_options(asked)?;
                options.fields = format!("metadata.name={}", call.name);
                Ok(render::watch(form, call, self.watch(call, &options)?))
            }
            (&Method::GET, "" | "status" | "scale") => object(200, self.get(call).await?),
            (&Method::PUT, _) => written(self.change(call, Change::Replace(&asked.json()?)).await?),
            (&Method::PATCH, "finalize") => Err(Failure::method_not_allowed()),
            (&Method::PATCH, _) => written(self.patch(call, asked).await?),
            (&Method::DELETE, "") => object(200, self.delete(call, &delete_options(asked)?).await?),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    async fn patch(&self, call: &Call, asked: &Asked) -> Result<Written, Failure> {
        let media = asked.header("content-type").split(';').next().unwrap_or_default().trim();
        let body = || -> Result<Value, Failure> {
            serde_json::from_slice(&asked.body)
                .map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))
        };
        let object = || -> Result<Value, Failure> {
            let value = body()?;
            if value.is_object() {
                Ok(value)
            } else {
                Err(Failure::bad_request("error decoding patch: json: cannot unmarshal into a map"))
            }
        };
        match media {
            "application/json-patch+json" => self.change(call, Change::Json(&body()?)).await,
            "application/merge-patch+json" => self.change(call, Change::Merge(&object()?)).await,
            "application/strategic-merge-patch+json" if call.kind.custom.is_none() => {
                self.change(call, Change::Strategic(&object()?)).await
            }
            "application/apply-patch+yaml" => {
                if asked.parameter("fieldManager").is_empty() {
                    return Err(Failure::invalid_options(
                        "PatchOptions",
                        "fieldManager",
                        "FieldValueRequired",
                        "Required value: is required for apply patch",
                    ));
                }
                self.change(call, Change::Apply(&asked.json()?)).await
            }
            "application/strategic-merge-patch+json" => Err(unsupported_media(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ])),
            _ => Err(Failure {
                details: Some(json!({})),
                ..Failure::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
            }),
        }
    }
}

/// RBAC's verb for a request.
fn verb_of(asked: &Asked, call: &Call) -> &'static str {
    match asked.method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if call.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ if asked.flag("watch") => "watch",
        _ if call.name.is_empty() => "list",
        _ => "get",
    }
}

fn decoded(segment: &str) -> String {
    let plus = segment.replace('+', "%2B");
    url::form_urlencoded::parse(plus.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

fn number<T: std::str::FromStr>(asked: &Asked, name: &str) -> Result<Option<T>, Failure> {
    match asked.parameter(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Failure::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax in parameter {name}"))
        }),
    }
}

fn list_options(asked: &Asked) -> Result<ListOptions, Failure> {
    Ok(ListOptions {
        labels: asked.parameter("labelSelector").to_owned(),
        fields: asked.parameter("fieldSelector").to_owned(),
        limit: number(asked, "limit")?.unwrap_or(0),
        token: asked.parameter("continue").to_owned(),
        revision: asked.parameter("resourceVersion").to_owned(),
        revision_match: asked.parameter("resourceVersionMatch").to_owned(),
    })
}

fn watch_options(asked: &Asked) -> Result<WatchOptions, Failure> {
    let initial = asked.query.get("sendInitialEvents").map(|v| v == "true" || v == "1");
    if initial.is_some() && asked.parameter("resourceVersionMatch") != "NotOlderThan" {
        return Err(Failure::invalid_options(
            "ListOptions",
            "resourceVersionMatch",
            "FieldValueForbidden",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    Ok(WatchOptions {
        labels: asked.parameter("labelSelector").to_owned(),
        fields: asked.parameter("fieldSelector").to_owned(),
        revision: asked.parameter("resourceVersion").to_owned(),
        bookmarks: asked.flag("allowWatchBookmarks"),
        initial,
        timeout: number(asked, "timeoutSeconds")?,
    })
}

fn delete_options(asked: &Asked) -> Result<DeleteOptions, Failure> {
    // A body replaces the query parameters.
    let from_body = !asked.body.is_empty();
    let body = if from_body { asked.json()? } else { json!({}) };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let query =
        |name: &str| Some(asked.parameter(name)).filter(|v| !v.is_empty() && !from_body).map(str::to_owned);
    let orphan = match body["orphanDependents"].as_bool() {
        Some(true) => Some("Orphan".to_owned()),
        Some(false) => Some("Background".to_owned()),
        None => None,
    };
    Ok(DeleteOptions {
        grace: match body["gracePeriodSeconds"].as_i64() {
            Some(seconds) => Some(seconds),
            None if from_body => None,
            None => number(asked, "gracePeriodSeconds")?,
        },
        propagation: text(&body["propagationPolicy"]).or(orphan).or_else(|| query("propagationPolicy")),
        uid: text(&body["preconditions"]["uid"]),
        revision: text(&body["preconditions"]["resourceVersion"]),
        dry_run: from_body.then(|| body["dryRun"].as_array().is_some_and(|d| d.iter().any(|v| v == "All"))),
    })
}

/// `/version`: what clients may expect of this server.
fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0-devcluster", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}
