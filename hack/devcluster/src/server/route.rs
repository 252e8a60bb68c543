//! From an HTTP request to a stage of the pipeline.
//!
//! Owns: paths, methods, authentication. Promises: every path answers a document, refusals a
//! Status. Never: touches storage itself.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::asked::{Asked, unsupported_media};
use super::call::{Call, FieldValidation, User};
use super::render::{self, Form, Shape};
use super::status::Failure;
use super::write::{Change, Written};
use super::{Cluster, discovery};
use crate::kinds::Verbs;
use crate::schema::openapi::{self, KindDoc};

impl Cluster {
    /// Answers one request.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let asked = match Asked::read(request).await {
            Ok(asked) => asked,
            Err(failure) => return render::refusal(&failure),
        };
        let answer = self.answer(&asked).await;
        let response = match answer {
            Err(failure) if failure.code == 404 && !self.serves(&asked.path) => render::no_page(),
            answer => answer.unwrap_or_else(|failure| render::refusal(&failure)),
        };
        let watch = asked.flag("watch");
        tracing::trace!(method = %asked.method, path = asked.path, watch, code = response.status().as_u16(), "answered");
        response
    }

    /// Whether anything is served at or below the group version of a path.
    fn serves(&self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        match (segments.next(), segments.next(), segments.next()) {
            (Some("api"), version, _) => version.is_none_or(|v| v == "v1"),
            (Some("apis"), Some(group), version) => {
                let kinds = self.registry.all();
                kinds
                    .iter()
                    .any(|k| k.group == group && version.is_none_or(|v| v == k.version))
            }
            _ => false,
        }
    }

    fn authenticate(&self, asked: &Asked) -> Result<Arc<User>, Failure> {
        let header = asked.header("authorization");
        if header.is_empty() {
            return Ok(Arc::new(User::anonymous()));
        }
        header
            .strip_prefix("Bearer ")
            .and_then(|token| self.user_of(token.trim()))
            .ok_or_else(Failure::unauthorized)
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
            return Err(Failure::new(403, "Forbidden", message).detailed(json!({})));
        }
        let form = Form::negotiate(
            asked.header("accept"),
            asked.query.get("includeObject").map(String::as_str),
        );
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
                return Err(Failure::invalid_options(
                    options,
                    "dryRun",
                    "FieldValueNotSupported",
                    &message,
                ));
            }
        };
        if asked.method == Method::DELETE {
            // Options in the body replace those in the query.
            call.dry_run = asked.delete_options()?.dry_run.unwrap_or(call.dry_run);
        }
        call.force = asked.flag("force");
        let agent = asked
            .header("user-agent")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
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
                let message = format!(
                    "Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                );
                return Err(Failure::invalid_options(
                    options,
                    "fieldValidation",
                    "FieldValueNotSupported",
                    &message,
                ));
            }
        };
        if let Some(warning) = call
            .kind
            .custom
            .as_ref()
            .and_then(|c| c.deprecation(&call.kind.version))
        {
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
        let plain = Form {
            shape: Shape::Object,
            ..form
        };
        let found = |value: Option<Value>| value.map(|v| (v, plain)).ok_or_else(Failure::no_such_path);
        match segments {
            ["api"] if form.shape == Shape::Discovery => {
                Some(Ok((discovery::aggregated(&kinds, true), form)))
            }
            ["apis"] if form.shape == Shape::Discovery => {
                Some(Ok((discovery::aggregated(&kinds, false), form)))
            }
            ["api"] => Some(Ok((discovery::core_versions(self.address()), plain))),
            ["apis"] => Some(Ok((discovery::group_list(&kinds), plain))),
            ["api", version] => Some(found(discovery::resources(&kinds, "", version))),
            ["apis", group] => Some(found(discovery::group(&kinds, group))),
            ["apis", group, version] => Some(found(discovery::resources(&kinds, group, version))),
            ["openapi", "v2"] => Some(Ok((self.with_docs(openapi::v2_document), Form::JSON))),
            ["openapi", "v3"] => Some(Ok((self.with_docs(openapi::v3_index), Form::JSON))),
            ["openapi", "v3", "api", version] => {
                Some(found(self.with_docs(|kinds, crds| {
                    openapi::v3_document("", version, kinds, crds)
                })))
            }
            ["openapi", "v3", "apis", group, version] => {
                Some(found(self.with_docs(|kinds, crds| {
                    openapi::v3_document(group, version, kinds, crds)
                })))
            }
            _ => None,
        }
    }

    fn with_docs<T>(&self, build: impl FnOnce(&[KindDoc<'_>], &[Value]) -> T) -> T {
        let kinds = self.registry.all();
        let subresources: Vec<Vec<&str>> = kinds
            .iter()
            .map(|k| k.subresources.iter().map(String::as_str).collect())
            .collect();
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
        let [plural, rest @ ..] = rest else {
            return Err(Failure::no_such_path());
        };
        let kind = self
            .registry
            .find(group, version, plural)
            .ok_or_else(Failure::no_such_path)?;
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
        let object = |code: u16, value: Value| {
            Ok(render::respond(
                code,
                form,
                &render::object(form, &call.kind, value),
            ))
        };
        let written = |w: Written| object(if w.created { 201 } else { 200 }, w.object);
        if call.kind.verbs == Verbs::Ask {
            if asked.method != Method::POST || !call.name.is_empty() {
                return Err(Failure::method_not_allowed());
            }
            return object(201, self.ask_review(call, asked.json()?)?);
        }
        if call.name.is_empty() {
            return match asked.method {
                Method::GET if asked.flag("watch") => Ok(render::watch(
                    form,
                    call,
                    self.watch(call, &asked.watch_options()?)?,
                )),
                Method::GET => {
                    let listed = self.list(call, &asked.list_options()?).await?;
                    Ok(render::respond(
                        200,
                        form,
                        &render::list(form, &call.kind, listed),
                    ))
                }
                Method::POST => {
                    if call.kind.namespaced && call.namespace.is_empty() {
                        return Err(Failure::method_not_allowed());
                    }
                    object(201, self.create(call, asked.json()?).await?)
                }
                Method::DELETE => {
                    let listed = self
                        .delete_all(call, &asked.list_options()?, &asked.delete_options()?)
                        .await?;
                    Ok(render::respond(
                        200,
                        form,
                        &render::list(form, &call.kind, listed),
                    ))
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
                response
                    .headers_mut()
                    .insert("content-type", http::HeaderValue::from_static("text/plain"));
                Ok(response)
            }
            (&Method::GET, "") if asked.flag("watch") => {
                let mut options = asked.watch_options()?;
                options.fields = format!("metadata.name={}", call.name);
                Ok(render::watch(form, call, self.watch(call, &options)?))
            }
            (&Method::GET, "" | "status" | "scale") => object(200, self.get(call).await?),
            (&Method::PUT, "" | "status" | "scale" | "finalize") => {
                written(self.change(call, Change::Replace(&asked.json()?)).await?)
            }
            (&Method::PATCH, "" | "status" | "scale") => written(self.patch(call, asked).await?),
            (&Method::DELETE, "") => object(200, self.delete(call, &asked.delete_options()?).await?),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    async fn patch(&self, call: &Call, asked: &Asked) -> Result<Written, Failure> {
        let media = asked
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let body = || -> Result<Value, Failure> {
            serde_json::from_slice(&asked.body)
                .map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))
        };
        let object = || -> Result<Value, Failure> {
            let value = body()?;
            if value.is_object() {
                Ok(value)
            } else {
                Err(Failure::bad_request(
                    "error decoding patch: json: cannot unmarshal into a map",
                ))
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
            _ => {
                let message = "415: Unsupported Media Type";
                Err(Failure::new(415, "UnsupportedMediaType", message).detailed(json!({})))
            }
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
    url::form_urlencoded::parse(plus.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

/// `/version`: what clients may expect of this server.
fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0-devcluster", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}
