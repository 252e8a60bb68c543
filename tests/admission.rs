//! The webhooks as the API server calls them: bytes in, bytes out, through the router.
#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test")]

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use verdigris::model::parse::Settings;
use verdigris::telemetry::Metrics;
use verdigris::webhook::{self, Budgets, Latch, State};

fn state() -> State {
    State::new(Settings::default(), Arc::new(Metrics::new()))
}

async fn send(state: &Arc<State>, request: Request<Body>) -> (StatusCode, http::HeaderMap, Value) {
    let response = webhook::app(Arc::clone(state)).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (head.status, head.headers, body)
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

async fn ask(path: &str, review: &Value) -> Value {
    let (status, _, body) = send(&Arc::new(state()), post(path, review.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(body["kind"], "AdmissionReview");
    assert_eq!(body["response"]["uid"], review["request"]["uid"]);
    body["response"].clone()
}

/// A Canary nobody can object to, at v1beta1.
fn canary() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 8080},
            "analysis": {
                "interval": "30s",
                "threshold": 3,
                "iterations": 5,
                "metrics": [{
                    "name": "errors",
                    "interval": "1m",
                    "thresholdRange": {"max": 1},
                    "query": "sum(rate(http_requests_total{code=~\"5..\"}[1m]))",
                }],
                "webhooks": [{"name": "smoke", "type": "pre-rollout", "url": "http://tester.prod/"}],
            },
        },
    })
}

/// The same at v1alpha3, in the words of that version.
fn old_canary() -> Value {
    let mut old = canary();
    let mut analysis = old["spec"].as_object_mut().unwrap().remove("analysis").unwrap();
    let metric = &mut analysis["metrics"][0];
    metric.as_object_mut().unwrap().remove("thresholdRange");
    metric["threshold"] = 1.into();
    old["spec"]["canaryAnalysis"] = analysis;
    old["apiVersion"] = "flagger.app/v1alpha3".into();
    old
}

fn edited(mut object: Value, edits: &[(&str, Value)]) -> Value {
    for (pointer, value) in edits {
        *object.pointer_mut(pointer).unwrap() = value.clone();
    }
    object
}

fn review(operation: &str, object: &Value, old: &Value) -> Value {
    let version = object["apiVersion"]
        .as_str()
        .or(old["apiVersion"].as_str())
        .unwrap();
    let version = version.rsplit('/').next().unwrap();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "flagger.app", "version": version, "kind": "Canary"},
            "resource": {"group": "flagger.app", "version": version, "resource": "canaries"},
            "requestKind": {"group": "flagger.app", "version": version, "kind": "Canary"},
            "name": "shop",
            "namespace": "prod",
            "operation": operation,
            "object": object,
            "oldObject": old,
            "dryRun": false,
        },
    })
}

fn creation(object: &Value) -> Value {
    review("CREATE", object, &Value::Null)
}

fn fields(response: &Value) -> Vec<String> {
    response["status"]["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap().to_owned())
        .collect()
}

const BROKEN_QUERY: &str = r#"sum(rate(http_requests_total{code=~"5.." pod=~"shop-.*"}[1m]))"#;

#[tokio::test]
async fn what_is_right_is_admitted_by_both_hooks_at_both_versions() {
    for object in [canary(), old_canary()] {
        for path in ["/validate?timeout=10s", "/mutate?timeout=10s"] {
            let response = ask(path, &creation(&object)).await;
            assert_eq!(response["allowed"], true, "{response}");
            assert_eq!(response["status"], Value::Null);
        }
    }
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_where_their_author_wrote_them() {
    let edits = |analysis: &str| {
        [
            (format!("/spec/{analysis}/interval"), json!("2 seconds")),
            (format!("/spec/{analysis}/metrics/0/query"), json!(BROKEN_QUERY)),
            (format!("/spec/{analysis}/webhooks/0/url"), json!("not a url")),
        ]
    };
    for (object, analysis) in [(canary(), "analysis"), (old_canary(), "canaryAnalysis")] {
        let edits = edits(analysis);
        let edits: Vec<(&str, Value)> = edits
            .iter()
            .map(|(path, value)| (path.as_str(), value.clone()))
            .collect();
        let object = edited(object, &edits);
        for path in ["/validate", "/mutate"] {
            let response = ask(path, &creation(&object)).await;
            assert_eq!(response["allowed"], false);
            assert_eq!(response["patch"], Value::Null, "a refusal carries no patch");
            let status = &response["status"];
            assert_eq!(status["code"], 422);
            assert_eq!(status["reason"], "Invalid");
            assert_eq!(status["details"]["group"], "flagger.app");
            assert_eq!(status["details"]["kind"], "Canary");
            assert_eq!(status["details"]["name"], "shop");
            let mut found = fields(&response);
            found.sort();
            assert_eq!(
                found,
                [
                    format!("spec.{analysis}.interval"),
                    format!("spec.{analysis}.metrics[0].query"),
                    format!("spec.{analysis}.webhooks[0].url"),
                ]
            );
            for field in found {
                assert!(status["message"].as_str().unwrap().contains(&field), "{status}");
            }
        }
    }
}

#[tokio::test]
async fn a_cause_shows_the_place_in_the_query() {
    let object = edited(
        canary(),
        &[("/spec/analysis/metrics/0/query", json!(BROKEN_QUERY))],
    );
    let response = ask("/validate", &creation(&object)).await;
    let cause = &response["status"]["details"]["causes"][0];
    assert_eq!(cause["reason"], "FieldValueInvalid");
    let message = cause["message"].as_str().unwrap();
    let mut lines = message.lines();
    assert!(lines.next().unwrap().contains("comma"), "{message}");
    assert!(message.contains(BROKEN_QUERY), "{message}");
    let caret = message.lines().last().unwrap();
    assert!(caret.trim_start().starts_with('^'), "{message}");
}

#[tokio::test]
async fn an_update_is_refused_only_for_mistakes_it_makes() {
    let bad = edited(canary(), &[("/spec/analysis/interval", json!("2 seconds"))]);
    let mut bad_and_moved = bad.clone();
    bad_and_moved["spec"]["service"]["port"] = 9090.into();
    let worse = edited(
        bad.clone(),
        &[("/spec/analysis/webhooks/0/url", json!("not a url"))],
    );
    let bad_otherwise = edited(bad.clone(), &[("/spec/analysis/interval", json!("3 moments"))]);
    let mut relabelled = bad.clone();
    relabelled["metadata"]["labels"] = json!({"team": "checkout"});
    let mut leaving = worse.clone();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z".into();
    let mut noted = bad.clone();
    noted["status"] = json!({"phase": "Failed"});

    let broken_metric =
        json!({"name": "broken", "interval": "1m", "thresholdRange": {"max": 1}, "query": BROKEN_QUERY});
    let mut broken = canary();
    broken["spec"]["analysis"]["metrics"] = json!([broken_metric]);
    let mut shifted = canary();
    shifted["spec"]["analysis"]["metrics"]
        .as_array_mut()
        .unwrap()
        .push(broken_metric.clone());
    let mut doubled = broken.clone();
    doubled["spec"]["analysis"]["metrics"]
        .as_array_mut()
        .unwrap()
        .push(broken_metric);

    for (name, old, new, refused) in [
        (
            "a new mistake in a clean object",
            canary(),
            bad.clone(),
            vec!["spec.analysis.interval"],
        ),
        (
            "an edit that leaves an old mistake",
            bad.clone(),
            bad_and_moved,
            vec![],
        ),
        (
            "a second mistake",
            bad.clone(),
            worse.clone(),
            vec!["spec.analysis.webhooks[0].url"],
        ),
        (
            "another mistake in its place",
            bad.clone(),
            bad_otherwise,
            vec!["spec.analysis.interval"],
        ),
        ("a label", bad.clone(), relabelled, vec![]),
        ("a status", bad.clone(), noted, vec![]),
        ("an object on its way out", canary(), leaving, vec![]),
        (
            "a mistake that moved in its list",
            broken.clone(),
            shifted,
            vec![],
        ),
        (
            "the same mistake once more",
            broken,
            doubled,
            vec!["spec.analysis.metrics[1].query"],
        ),
        ("the mend", bad, canary(), vec![]),
    ] {
        for path in ["/validate", "/mutate"] {
            let response = ask(path, &review("UPDATE", &new, &old)).await;
            assert_eq!(response["allowed"], refused.is_empty(), "{name}: {response}");
            if !refused.is_empty() {
                assert_eq!(fields(&response), refused, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn an_old_mistake_is_still_told_as_a_warning() {
    let bad = edited(canary(), &[("/spec/analysis/interval", json!("2 seconds"))]);
    let mut moved = bad.clone();
    moved["spec"]["service"]["port"] = 9090.into();
    let response = ask("/validate", &review("UPDATE", &moved, &bad)).await;
    let first = response["warnings"][0].as_str().unwrap();
    assert!(first.starts_with("spec.analysis.interval: "), "{response}");
}

#[tokio::test]
async fn deletes_and_subresources_are_never_refused() {
    let bad = edited(canary(), &[("/spec/analysis/interval", json!("2 seconds"))]);
    let mut deletion = review("DELETE", &Value::Null, &bad);
    deletion["request"]["object"] = Value::Null;
    let mut status = review("UPDATE", &bad, &canary());
    status["request"]["subResource"] = "status".into();
    for asked in [deletion, status] {
        for path in ["/validate", "/mutate"] {
            let response = ask(path, &asked).await;
            assert_eq!(response["allowed"], true, "{response}");
            assert_eq!(response["patch"], Value::Null);
        }
    }
}

#[tokio::test]
async fn a_dry_run_is_judged_alike() {
    let mut asked = creation(&edited(
        canary(),
        &[("/spec/analysis/interval", json!("2 seconds"))],
    ));
    asked["request"]["dryRun"] = true.into();
    assert_eq!(ask("/validate", &asked).await["allowed"], false);
}

#[tokio::test]
async fn mutation_writes_defaults_down_once() {
    for mut object in [canary(), old_canary()] {
        let response = ask("/mutate", &creation(&object)).await;
        assert_eq!(response["allowed"], true, "{response}");
        assert_eq!(response["patchType"], "JSONPatch");
        let patch = response["patch"].as_str().unwrap();
        let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        let operations: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        assert!(
            operations
                .0
                .iter()
                .all(|operation| matches!(operation, json_patch::PatchOperation::Add(_)))
        );
        json_patch::patch(&mut object, &operations).unwrap();
        assert_eq!(object["spec"]["progressDeadlineSeconds"], 600);

        let again = ask("/mutate", &creation(&object)).await;
        assert_eq!(again["patch"], Value::Null, "{again}");
        assert_eq!(
            again["patchType"],
            Value::Null,
            "patch and patchType come together"
        );
        let validated = ask("/validate", &creation(&object)).await;
        assert_eq!(validated["patch"], Value::Null, "validation never patches");
    }
}

#[tokio::test]
async fn templates_and_alert_providers_are_judged() {
    for (resource, kind, spec, field) in [
        (
            "metrictemplates",
            "MetricTemplate",
            json!({"provider": {"type": "prometheus", "address": "http://prometheus:9090"}, "query": "sum(rate(x[1m])"}),
            "spec.query",
        ),
        (
            "alertproviders",
            "AlertProvider",
            json!({"type": "slack", "address": "not a url"}),
            "spec.address",
        ),
    ] {
        let object = json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": kind,
            "metadata": {"name": "x", "namespace": "prod"},
            "spec": spec,
        });
        let mut asked = creation(&object);
        asked["request"]["kind"]["kind"] = kind.into();
        asked["request"]["resource"]["resource"] = resource.into();
        let response = ask("/validate", &asked).await;
        assert_eq!(response["allowed"], false, "{kind}: {response}");
        assert_eq!(fields(&response), [field]);
    }
}

#[tokio::test]
async fn a_pair_of_resource_and_kind_that_is_not_ours_is_refused_in_words() {
    let mut wrong_resource = creation(&canary());
    wrong_resource["request"]["resource"]["resource"] = "alertproviders".into();
    let mut wrong_group = creation(&canary());
    wrong_group["request"]["kind"]["group"] = "argoproj.io".into();
    let mut no_object = creation(&canary());
    no_object["request"]["object"] = Value::Null;
    for asked in [wrong_resource, wrong_group, no_object] {
        let response = ask("/validate", &asked).await;
        assert_eq!(response["allowed"], false);
        assert_eq!(response["status"]["code"], 400);
        assert!(
            response["status"]["message"]
                .as_str()
                .unwrap()
                .starts_with("request."),
            "{response}"
        );
    }
}

#[tokio::test]
async fn what_is_no_review_gets_a_status_with_a_reason() {
    let mut old_review = creation(&canary());
    old_review["apiVersion"] = "admission.k8s.io/v1beta1".into();
    let mut no_uid = creation(&canary());
    no_uid["request"].as_object_mut().unwrap().remove("uid");
    let mut wrong_type = creation(&canary());
    wrong_type["request"]["kind"] = json!(7);
    for (path, body, says) in [
        ("/validate", "{".to_owned(), "not JSON"),
        ("/validate", String::new(), "not JSON"),
        ("/mutate", "[1]".to_owned(), "AdmissionReview"),
        ("/validate", canary().to_string(), "AdmissionReview"),
        ("/validate", old_review.to_string(), "admission.k8s.io/v1"),
        ("/validate", no_uid.to_string(), "request.uid"),
        ("/validate", wrong_type.to_string(), "request.kind"),
        ("/convert", "nonsense".to_owned(), "not JSON"),
        ("/convert", creation(&canary()).to_string(), "ConversionReview"),
    ] {
        let (code, _, status) = send(&Arc::new(state()), post(path, body.clone())).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(status["kind"], "Status");
        assert!(status["message"].as_str().unwrap().contains(says), "{status}");
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let mut budgets = Budgets::default();
    budgets.admission_body = 20_000;
    let state = Arc::new(state().with_budgets(budgets));
    let mut large = canary();
    large["metadata"]["annotations"] = json!({"note": "x".repeat(10_000)});
    let (code, _, _) = send(&state, post("/validate", creation(&large).to_string())).await;
    assert_eq!(code, StatusCode::OK);
    large["metadata"]["annotations"]["note"] = "x".repeat(20_000).into();
    // With a declared length, and without one.
    let declared = {
        let body = creation(&large).to_string();
        let mut request = post("/validate", body.clone());
        request.headers_mut().insert("content-length", body.len().into());
        request
    };
    let streamed = {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> = creation(&large)
            .to_string()
            .into_bytes()
            .chunks(1000)
            .map(|chunk| Ok(chunk.to_vec()))
            .collect();
        post("/validate", Body::from_stream(futures::stream::iter(chunks)))
    };
    for request in [declared, streamed] {
        let (code, _, status) = send(&state, request).await;
        assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(
            status["message"].as_str().unwrap().contains("20000 bytes"),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_review_of_megabytes_is_read_by_default() {
    let mut large = canary();
    large["metadata"]["annotations"] = json!({"note": "x".repeat(3 << 20)});
    let response = ask("/validate", &review("UPDATE", &large, &large)).await;
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn the_wrong_content_type_is_named() {
    let request = Request::post("/validate")
        .header("content-type", "text/yaml")
        .body(creation(&canary()).to_string().into())
        .unwrap();
    let (code, _, status) = send(&Arc::new(state()), request).await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(status["message"].as_str().unwrap().contains("text/yaml"));
}

#[tokio::test]
async fn a_flood_is_shed_with_a_time_to_come_back_and_spares_conversion() {
    let state = Arc::new(state().with_budgets(Budgets::of(0, 1, 1)));
    for path in ["/validate", "/mutate"] {
        let (code, headers, _) = send(&state, post(path, creation(&canary()).to_string())).await;
        assert_eq!(code, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(headers["retry-after"], "1");
    }
    let (code, _, body) = send(&state, conversion(&[old_canary()], "flagger.app/v1beta1")).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(body["response"]["result"]["status"], "Success", "{body}");
}

fn conversion(objects: &[Value], to: &str) -> Request<Body> {
    let review = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {"uid": "c0ffee", "desiredAPIVersion": to, "objects": objects},
    })
    .to_string();
    let length = review.len();
    let mut request = post("/convert?timeout=30s", review);
    request.headers_mut().insert("content-length", length.into());
    request
}

#[tokio::test]
async fn an_unpaginated_list_is_converted_in_one_review() {
    let objects = vec![old_canary(); 2_000];
    let (code, _, body) = send(&Arc::new(state()), conversion(&objects, "flagger.app/v1beta1")).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(body["response"]["uid"], "c0ffee");
    let converted = body["response"]["convertedObjects"].as_array().unwrap();
    assert_eq!(converted.len(), 2_000);
    assert!(
        converted
            .iter()
            .all(|object| object["spec"]["analysis"]["interval"] == "30s")
    );
}

#[tokio::test]
async fn an_impossible_conversion_is_answered_as_a_failure() {
    let (code, _, body) = send(&Arc::new(state()), conversion(&[canary()], "flagger.app/v7")).await;
    assert_eq!(code, StatusCode::OK, "an answer is an answer");
    assert_eq!(body["response"]["uid"], "c0ffee");
    assert_eq!(body["response"]["result"]["status"], "Failure");
    assert!(
        body["response"]["result"]["message"]
            .as_str()
            .unwrap()
            .contains("v7"),
        "{body}"
    );
}

#[tokio::test]
async fn readiness_needs_every_part_once_and_ends_at_stop() {
    let stop = tokio_util::sync::CancellationToken::new();
    let state = Arc::new(state().stopping_with(stop.clone()));
    let probe = |path: &str| Request::get(path.to_owned()).body(Body::empty()).unwrap();
    for part in Latch::ALL {
        let (code, _, _) = send(&state, probe("/readyz")).await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        state.readiness().latch(part);
    }
    assert_eq!(send(&state, probe("/readyz")).await.0, StatusCode::OK);
    stop.cancel();
    assert_eq!(
        send(&state, probe("/readyz")).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        send(&state, probe("/healthz")).await.0,
        StatusCode::OK,
        "stopping is not sick"
    );
}

#[tokio::test]
async fn reviews_are_counted() {
    let state = Arc::new(state());
    let bad = edited(canary(), &[("/spec/analysis/interval", json!("2 seconds"))]);
    send(&state, post("/validate", creation(&canary()).to_string())).await;
    send(&state, post("/validate", creation(&bad).to_string())).await;
    send(&state, post("/mutate", "{")).await;
    let (_, _, text) = send(&state, Request::get("/metrics").body(Body::empty()).unwrap()).await;
    let text = text.as_str().unwrap();
    for (webhook, verdict) in [
        ("validate", "allowed"),
        ("validate", "denied"),
        ("mutate", "unreadable"),
    ] {
        let line =
            format!(r#"verdigris_admission_reviews_total{{webhook="{webhook}",verdict="{verdict}"}} 1"#);
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn nothing_redirects() {
    for path in ["/validate/", "//validate", "/", "/convert/x"] {
        let (code, _, _) = send(&Arc::new(state()), post(path, "{}")).await;
        assert_eq!(code, StatusCode::NOT_FOUND, "{path}");
    }
}

/// Any JSON at all, nested a little.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            Just("analysis".to_owned()),
            Just("metrics".to_owned()),
            Just("service".to_owned()),
            Just("targetRef".to_owned()),
            Just("webhooks".to_owned()),
            "[a-z]{1,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever spec arrives, at either version: a review comes back, with the uid, and a refusal has causes.
    #[test]
    fn every_decodable_review_is_answered(spec in anything(), old in any::<bool>()) {
        let mut object = if old { old_canary() } else { canary() };
        object["spec"] = spec;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for path in ["/validate", "/mutate"] {
            let response = runtime.block_on(ask(path, &creation(&object)));
            if response["allowed"] == false {
                prop_assert_eq!(&response["status"]["code"], 422);
                prop_assert!(!fields(&response).is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_misspelt_field_of_v1alpha3_is_told_in_its_spelling() {
    let mut object = old_canary();
    object["spec"]["canaryAnalysis"]["thresold"] = json!(5);
    object["spec"]["skipAnalisys"] = json!(true);
    for path in ["/validate", "/mutate"] {
        let response = ask(path, &creation(&object)).await;
        assert_eq!(response["allowed"], true, "{response}");
        let warnings = response["warnings"].to_string();
        for told in [
            "spec.canaryAnalysis.thresold",
            "did you mean threshold",
            "spec.skipAnalisys",
        ] {
            assert!(warnings.contains(told), "{told}: {warnings}");
        }
    }
}

#[tokio::test]
async fn inside_a_cluster_no_kind_may_name_the_machine_itself() {
    let settings = Settings {
        refuse_loopback: true,
        ..Settings::default()
    };
    let state = Arc::new(State::new(settings, Arc::new(Metrics::new())));
    let template =
        json!({"provider": {"type": "prometheus", "address": "http://127.0.0.1:9090"}, "query": "up"});
    let provider = json!({"type": "slack", "address": "http://localhost:8080/hook"});
    for (kind, resource, spec, field) in [
        (
            "MetricTemplate",
            "metrictemplates",
            template,
            "spec.provider.address",
        ),
        ("AlertProvider", "alertproviders", provider, "spec.address"),
    ] {
        let object = json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": kind,
            "metadata": {"name": "shop", "namespace": "prod"},
            "spec": spec,
        });
        let mut asked = creation(&object);
        for which in ["kind", "requestKind"] {
            asked["request"][which]["kind"] = json!(kind);
        }
        asked["request"]["resource"]["resource"] = json!(resource);
        let (_, _, body) = send(&state, post("/validate", asked.to_string())).await;
        assert_eq!(body["response"]["allowed"], false, "{body}");
        assert_eq!(fields(&body["response"]), [field], "{body}");
        // On a laptop the same address is what one has.
        assert_eq!(ask("/validate", &asked).await["allowed"], true);
    }
}

mod policies {
    use verdigris::policy::{Current, Set, Shared};

    use super::*;

    fn policy(name: &str, mode: &str, part: &Value) -> Value {
        let mut spec = json!({"mode": mode});
        for (key, value) in part.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({"apiVersion": "verdigris.dev/v1alpha1", "kind": "CanaryPolicy", "metadata": {"name": name}, "spec": spec})
    }

    fn under(policies: &[Value]) -> Arc<State> {
        let shared = Shared::fixed(Set::default());
        let namespace = json!({"metadata": {"name": "prod", "labels": {"tier": "production"}}});
        shared.replace(Current {
            set: Some(Arc::new(Set::lenient(policies))),
            namespaces: Some(Arc::new([("prod".to_owned(), Arc::new(namespace))].into())),
        });
        Arc::new(state().with_policies(Arc::new(shared)))
    }

    async fn asked(state: &Arc<State>, path: &str, review: &Value) -> Value {
        let (status, _, body) = send(state, post(path, review.to_string())).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["response"].clone()
    }

    fn patched(object: &Value, response: &Value) -> Value {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(response["patch"].as_str().unwrap())
            .unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&bytes).unwrap();
        let mut object = object.clone();
        json_patch::patch(&mut object, &patch).unwrap();
        object
    }

    #[tokio::test]
    async fn each_mode_answers_in_its_way_on_both_hooks_and_both_versions() {
        let limit = json!({"limits": {"iterations": {"min": 7}}});
        for (object, field) in [
            (canary(), "spec.analysis.iterations"),
            (old_canary(), "spec.canaryAnalysis.iterations"),
        ] {
            for path in ["/mutate", "/validate"] {
                let enforced = under(&[policy("p", "Enforce", &limit)]);
                let response = asked(&enforced, path, &creation(&object)).await;
                assert_eq!(response["allowed"], false);
                assert_eq!(response["status"]["code"], 422);
                assert_eq!(fields(&response), [field]);
                assert_eq!(
                    response["status"]["details"]["causes"][0]["message"],
                    "5; policy \"p\" (limits.iterations) wants at least 7; write 7, or ask for an entry in \
                     spec.exemptions of CanaryPolicy p"
                );
                let warned = asked(&under(&[policy("p", "Warn", &limit)]), path, &creation(&object)).await;
                assert_eq!(warned["allowed"], true);
                assert!(
                    warned["warnings"][0].as_str().unwrap().starts_with(field),
                    "{warned}"
                );
                let counted = asked(&under(&[policy("p", "Audit", &limit)]), path, &creation(&object)).await;
                assert_eq!(
                    (&counted["allowed"], &counted["warnings"]),
                    (&json!(true), &Value::Null)
                );
            }
        }
    }

    #[tokio::test]
    async fn breaches_are_counted_once_and_not_for_dry_runs() {
        let limit = json!({"limits": {"iterations": {"min": 7}}});
        let state = under(&[policy("p", "Audit", &limit)]);
        let mut dry = creation(&canary());
        dry["request"]["dryRun"] = true.into();
        for review in [creation(&canary()), dry] {
            for path in ["/mutate", "/validate"] {
                asked(&state, path, &review).await;
            }
        }
        let (_, _, text) = send(&state, Request::get("/metrics").body(Body::empty()).unwrap()).await;
        let text = text.as_str().unwrap();
        assert!(
            text.contains("verdigris_policy_breaches_total{policy=\"p\",mode=\"Audit\"} 1\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn what_was_broken_before_is_not_refused_now() {
        let state = under(&[policy(
            "p",
            "Enforce",
            &json!({
                "limits": {"iterations": {"min": 7}, "threshold": {"max": 5}},
                "rules": [{"name": "never-less", "expression": "oldObject == null || object.spec.analysis.iterations >= oldObject.spec.analysis.iterations", "message": "iterations never go down"}],
            }),
        )]);
        let update = |edits: &[(&str, Value)]| review("UPDATE", &edited(canary(), edits), &canary());
        let allowed = asked(
            &state,
            "/validate",
            &update(&[("/spec/analysis/interval", json!("1m"))]),
        )
        .await;
        assert_eq!(allowed["allowed"], true, "{allowed}");
        assert!(
            allowed["warnings"].to_string().contains("wants at least 7"),
            "{allowed}"
        );
        let refused = asked(
            &state,
            "/validate",
            &update(&[("/spec/analysis/threshold", json!(6))]),
        )
        .await;
        assert_eq!(fields(&refused), ["spec.analysis.threshold"]);
        let refused = asked(
            &state,
            "/validate",
            &update(&[("/spec/analysis/iterations", json!(4))]),
        )
        .await;
        assert_eq!(
            fields(&refused),
            ["spec.analysis.iterations", "spec"],
            "{refused}"
        );
        let labelled = edited(
            canary(),
            &[(
                "/metadata",
                json!({"name": "shop", "namespace": "prod", "labels": {"a": "b"}}),
            )],
        );
        let allowed = asked(&state, "/validate", &review("UPDATE", &labelled, &canary())).await;
        assert_eq!(
            (&allowed["allowed"], &allowed["warnings"]),
            (&json!(true), &Value::Null)
        );
    }

    #[tokio::test]
    async fn defaults_of_policies_come_before_ours_and_satisfy_requirements() {
        let state = under(&[
            policy(
                "a",
                "Enforce",
                &json!({"defaults": {
                    "progressDeadlineSeconds": 300,
                    "analysis": {"alerts": [{"name": "chat", "severity": "error", "providerRef": {"name": "chat"}}]},
                }}),
            ),
            policy(
                "b",
                "Enforce",
                &json!({"require": {"alerts": [{"severity": "error"}]}, "match": {"namespaceSelector": {"matchLabels": {"tier": "production"}}}}),
            ),
        ]);
        for (object, analysis) in [(canary(), "analysis"), (old_canary(), "canaryAnalysis")] {
            let response = asked(&state, "/mutate", &creation(&object)).await;
            assert_eq!(response["allowed"], true, "{response}");
            let whole = patched(&object, &response);
            assert_eq!(whole["spec"]["progressDeadlineSeconds"], 300);
            assert_eq!(whole["spec"]["skipAnalysis"], false);
            assert_eq!(whole["spec"][analysis]["alerts"][0]["name"], "chat");
            let again = asked(&state, "/mutate", &creation(&whole)).await;
            assert_eq!((&again["allowed"], &again["patch"]), (&json!(true), &Value::Null));
        }
        // Where /mutate was not called, the controller adds them all the same: nothing is missing.
        let response = asked(&state, "/validate", &creation(&canary())).await;
        assert_eq!(response["allowed"], true, "{response}");
    }

    #[tokio::test]
    async fn policies_that_are_not_listed_yet_are_told_and_hold_readiness_back() {
        let state = Arc::new(state().with_policies(Arc::default()));
        let response = asked(&state, "/validate", &creation(&canary())).await;
        assert_eq!(response["allowed"], true);
        assert!(
            response["warnings"][0]
                .as_str()
                .unwrap()
                .contains("policies are not loaded yet"),
            "{response}"
        );
        for part in [Latch::Certificate, Latch::SelfCall, Latch::Trusted] {
            state.readiness().latch(part);
        }
        assert!(!state.readiness().is_ready());
        state.readiness().latch(Latch::Policies);
        assert!(state.readiness().is_ready());
    }

    #[tokio::test]
    async fn policies_themselves_are_reviewed() {
        let ask = |object: Value| async move {
            let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                "uid": "u", "operation": "CREATE", "name": object["metadata"]["name"],
                "kind": {"group": "verdigris.dev", "version": "v1alpha1", "kind": "CanaryPolicy"},
                "resource": {"group": "verdigris.dev", "version": "v1alpha1", "resource": "canarypolicies"},
                "object": object,
            }});
            asked(&under(&[]), "/validate", &review).await
        };
        let good = ask(policy(
            "p",
            "Warn",
            &json!({"limits": {"interval": {"min": "30s"}}}),
        ))
        .await;
        assert_eq!(
            (&good["allowed"], &good["warnings"]),
            (&json!(true), &Value::Null),
            "{good}"
        );
        let bad = ask(policy(
            "p",
            "Enforce",
            &json!({"rules": [{"name": "r", "message": "m",
            "expression": "object.metadata.labels.team.startWith('a')"}]}),
        ))
        .await;
        assert_eq!(fields(&bad), ["spec.rules[0].expression"]);
        let cause = bad["status"]["details"]["causes"][0]["message"].as_str().unwrap();
        let text = "object.metadata.labels.team.startWith('a')";
        let caret = "^".repeat(text.len());
        assert_eq!(
            cause,
            format!("there is no function startWith(); did you mean startsWith()?\n{text}\n{caret}")
        );
    }
}
