//! Conversion webhooks.

use serde_json::{Value, json};

use crate::custom::{CRDS, crd, install, thing};
use crate::webhook::{Hooks, conversion};
use crate::world::{APPLY, MERGE, World};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![conversion:
        reads_and_writes_convert, lists_and_watches_convert, review_shape, failure_message, wrong_uid, lost_objects,
        changed_name, metadata_is_kept, missing_metadata, status_write_rewrites_spec, apply_across_versions,
        webhook_down, storage_version_needs_no_call,
    ]
}

/// v1 (stored) says `size`, v0 says `length`.
fn swap(object: &mut Value, wanted: &str) {
    let (from, to) = if wanted.ends_with("/v1") {
        ("length", "size")
    } else {
        ("size", "length")
    };
    if let Some(spec) = object["spec"].as_object_mut()
        && let Some(value) = spec.remove(from)
    {
        spec.insert(to.to_owned(), value);
    }
}

fn open_schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"}, "length": {"type": "integer"}, "note": {"type": "string"},
            "list": {"type": "array", "items": {"type": "string"}}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
}

fn versioned(w: &World, config: &Value) -> Value {
    let mut crd = crd(w);
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": open_schema()},
            "subresources": {"status": {}}})
    };
    crd["spec"]["versions"] = json!([version("v1", true), version("v0", false)]);
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"clientConfig": config, "conversionReviewVersions": ["v1"]}});
    crd
}

async fn with(w: &World, answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Hooks {
    let hooks = Hooks::start(answer).await;
    install(w, &versioned(w, &hooks.client_config("/convert"))).await;
    hooks
}

async fn swapping(w: &World) -> Hooks {
    with(w, |_, review| conversion(review, swap)).await
}

async fn reads_and_writes_convert(w: World) {
    let _hooks = swapping(&w).await;
    let created = w
        .post(
            &w.own("v0", "things"),
            &thing(&w, "v0", "a", &json!({"length": 3})),
        )
        .await
        .expect(201);
    assert_eq!(
        (&created["apiVersion"], &created["spec"]),
        (&json!(format!("{}/v0", w.group)), &json!({"length": 3}))
    );
    let stored = w.get(&w.own("v1", "things/a")).await.expect(200);
    assert_eq!(
        (&stored["apiVersion"], &stored["spec"]),
        (&json!(format!("{}/v1", w.group)), &json!({"size": 3}))
    );
    assert_eq!(stored["metadata"]["uid"], created["metadata"]["uid"]);
    let patched = w
        .patch(&w.own("v0", "things/a"), MERGE, &json!({"spec": {"length": 4}}))
        .await
        .expect(200);
    assert_eq!(
        (&patched["spec"], &patched["metadata"]["generation"]),
        (&json!({"length": 4}), &json!(2))
    );
    assert_eq!(
        w.get(&w.own("v1", "things/a")).await.expect(200)["spec"],
        json!({"size": 4})
    );
}

async fn lists_and_watches_convert(w: World) {
    let _hooks = swapping(&w).await;
    for name in ["a", "b"] {
        w.post(
            &w.own("v1", "things"),
            &thing(&w, "v1", name, &json!({"size": 1})),
        )
        .await
        .expect(201);
    }
    let list = w.get(&w.own("v0", "things")).await.expect(200);
    let specs: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["spec"].clone())
        .collect();
    assert_eq!(specs, [json!({"length": 1}), json!({"length": 1})]);
    assert_eq!(list["apiVersion"], format!("{}/v0", w.group));
    let path = format!("{}?watch=1&resourceVersion=0", w.own("v0", "things"));
    let lines = w.watch(&path, |lines| lines.len() >= 2).await;
    assert_eq!(lines[0]["object"]["spec"], json!({"length": 1}));
}

async fn review_shape(w: World) {
    let hooks = swapping(&w).await;
    w.post(
        &w.own("v0", "things"),
        &thing(&w, "v0", "a", &json!({"length": 3})),
    )
    .await
    .expect(201);
    let (path, review) = hooks
        .seen()
        .into_iter()
        .find(|(_, r)| r["request"]["objects"][0]["spec"]["length"] == 3)
        .unwrap();
    assert_eq!(path, "/convert?timeout=30s");
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("ConversionReview"), &json!("apiextensions.k8s.io/v1"))
    );
    assert_eq!(review["request"]["desiredAPIVersion"], format!("{}/v1", w.group));
    assert_eq!(review["request"]["objects"].as_array().unwrap().len(), 1);
    assert!(review["request"]["uid"].as_str().unwrap().len() == 36);
    assert!(review.get("response").is_none_or(Value::is_object));
}

async fn failure_message(w: World) {
    let _hooks = with(&w, |_, review| {
        let response = json!({"uid": review["request"]["uid"], "result": {"status": "Failure", "message": "no way back"}});
        (200, json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))
    })
    .await;
    let answer = w
        .post(
            &w.own("v0", "things"),
            &thing(&w, "v0", "a", &json!({"length": 3})),
        )
        .await;
    assert_eq!(answer.code, 500, "{}", answer.body);
    let message = answer.body["message"].as_str().unwrap();
    assert!(
        message.contains(&format!(
            "conversion webhook for {}/v0, Kind=Thing failed: no way back",
            w.group
        )),
        "{message}"
    );
}

async fn refused_answer(w: &World, change: impl Fn(&mut Value) + Send + Sync + 'static) -> String {
    let _hooks = with(w, move |_, review| {
        let (code, mut body) = conversion(review, swap);
        change(&mut body["response"]);
        (code, body)
    })
    .await;
    let answer = w
        .post(
            &w.own("v0", "things"),
            &thing(w, "v0", "a", &json!({"length": 3})),
        )
        .await;
    assert_eq!(answer.code, 500, "{}", answer.body);
    answer.body["message"].as_str().unwrap().to_owned()
}

async fn wrong_uid(w: World) {
    let message = refused_answer(&w, |response| response["uid"] = json!("other")).await;
    assert!(message.contains("response.uid"), "{message}");
}

async fn lost_objects(w: World) {
    let message = refused_answer(&w, |response| response["convertedObjects"] = json!([])).await;
    assert!(message.contains("returned 0 objects, expected 1"), "{message}");
}

async fn changed_name(w: World) {
    let message = refused_answer(&w, |response| {
        response["convertedObjects"][0]["metadata"]["name"] = json!("b");
    })
    .await;
    assert!(
        message.ends_with("returned invalid object: must have the same name: a != b"),
        "{message}"
    );
}

async fn missing_metadata(w: World) {
    let message = refused_answer(&w, |response| {
        response["convertedObjects"][0]
            .as_object_mut()
            .unwrap()
            .remove("metadata");
    })
    .await;
    assert_eq!(
        message,
        format!(
            "conversion webhook for {}/v0, Kind=Thing returned invalid object: must have the same name: a != ",
            w.group
        )
    );
}

async fn metadata_is_kept(w: World) {
    let _hooks = with(&w, |_, review| {
        conversion(review, |object, wanted| {
            swap(object, wanted);
            if object["metadata"].is_object() {
                object["metadata"]["annotations"]["seen"] = json!(wanted.rsplit('/').next());
                object["metadata"]["finalizers"] = json!(["example.com/sneaky"]);
                object["metadata"]["generation"] = json!(99);
            }
        })
    })
    .await;
    let created = w
        .post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 3})))
        .await
        .expect(201);
    let seen = w.get(&w.own("v0", "things/a")).await.expect(200);
    assert_eq!(seen["metadata"]["annotations"], json!({"seen": "v0"}));
    assert_eq!(
        (
            seen["metadata"].get("finalizers"),
            &seen["metadata"]["generation"]
        ),
        (None, &created["metadata"]["generation"])
    );
}

async fn status_write_rewrites_spec(w: World) {
    let _hooks = swapping(&w).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 3})))
        .await
        .expect(201);
    let patch = json!({"status": {"phase": "X"}, "spec": {"length": 9}});
    let patched = w
        .patch(&w.own("v0", "things/a/status"), MERGE, &patch)
        .await
        .expect(200);
    assert_eq!(
        (&patched["spec"], &patched["status"]),
        (&json!({"length": 3}), &json!({"phase": "X"}))
    );
    let stored = w.get(&w.own("v1", "things/a")).await.expect(200);
    assert_eq!(
        (&stored["spec"], &stored["metadata"]["generation"]),
        (&json!({"size": 3}), &json!(1))
    );
}

async fn apply_across_versions(w: World) {
    let _hooks = swapping(&w).await;
    let apply = |version: &'static str, spec: Value| {
        let object = thing(&w, version, "a", &spec);
        let path = format!("{}?fieldManager=m&force=true", w.own(version, "things/a"));
        let w = w.clone();
        async move { w.patch(&path, APPLY, &object).await }
    };
    apply("v0", json!({"length": 3, "list": ["a", "b"], "note": "n"}))
        .await
        .expect(201);
    let applied = apply("v1", json!({"size": 4, "list": ["a"]})).await.expect(200);
    assert_eq!(
        applied["spec"],
        json!({"size": 4, "list": ["a"]}),
        "what the manager no longer says is gone, whatever the version"
    );
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(
        (entries.len(), &entries[0]["apiVersion"]),
        (1, &json!(format!("{}/v1", w.group)))
    );
}

async fn webhook_down(w: World) {
    let mut hooks = swapping(&w).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 3})))
        .await
        .expect(201);
    let config = hooks.client_config("/convert");
    hooks = Hooks::start(|_, review| conversion(review, swap)).await;
    // The old port answers nobody now.
    let answer = w
        .post(
            &w.own("v0", "things"),
            &thing(&w, "v0", "b", &json!({"length": 3})),
        )
        .await;
    assert_eq!(answer.code, 500, "{}", answer.body);
    let message = answer.body["message"].as_str().unwrap();
    let url = config["url"].as_str().unwrap();
    let address = url.trim_start_matches("https://").trim_end_matches("/convert");
    let expected = format!(
        "conversion webhook for {}/v0, Kind=Thing failed: Post \"{url}?timeout=30s\": dial tcp {address}: connect: connection refused",
        w.group
    );
    assert!(message.contains(&expected), "{message}");
    w.get(&w.own("v1", "things/a")).await.expect(200);
    let patch =
        json!({"spec": {"conversion": {"webhook": {"clientConfig": hooks.client_config("/convert")}}}});
    w.patch(&format!("{CRDS}/things.{}", w.group), MERGE, &patch)
        .await
        .expect(200);
    w.until(&w.own("v0", "things/a"), "the new webhook to be asked", |a| {
        a.body["spec"]["length"] == 3
    })
    .await;
}

async fn storage_version_needs_no_call(w: World) {
    let hooks = swapping(&w).await;
    w.post(
        &w.own("v1", "things"),
        &thing(&w, "v1", "a", &json!({"size": 77})),
    )
    .await
    .expect(201);
    w.get(&w.own("v1", "things/a")).await.expect(200);
    let asked_for_storage = hooks
        .seen()
        .iter()
        .any(|(_, r)| r["request"]["desiredAPIVersion"] == format!("{}/v1", w.group));
    assert!(!asked_for_storage, "{:?}", hooks.seen());
}
