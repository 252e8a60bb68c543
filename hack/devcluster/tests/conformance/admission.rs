//! Admission webhooks.

use serde_json::{Value, json};

use crate::custom::{crd, install, thing};
use crate::webhook::{Hooks, admission, conversion, patch};
use crate::world::{MERGE, World, deployment};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![admission:
        denial, denial_with_causes, warnings, review_shape, mutation, mutation_order, mutating_before_schema,
        validating_sees_the_mutated_object, not_called_after_schema_error, fail_closed, fail_open, wrong_answer,
        delete_review, namespace_selector, object_selector, match_conditions, match_policy_equivalent, match_policy_exact, dry_run,
        dry_run_with_side_effects, subresources, timeout, update_has_old_object, patch_as_bytes, never_for_configurations,
        generate_name_and_uid,
    ]
}

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// A webhook entry for ConfigMaps (CREATE, UPDATE, DELETE) of the row's namespace.
fn entry(w: &World, hooks: &Hooks, name: &str) -> Value {
    json!({"name": format!("{name}.example.com"), "clientConfig": hooks.client_config(&format!("/{name}")),
        "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 10,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": w.namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE", "UPDATE", "DELETE"]}]})
}

async fn register(w: &World, kind: &str, entries: &Value) {
    let plural = format!("{}s", kind.to_lowercase());
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": w.namespace}, "webhooks": entries});
    w.post(&format!("{GROUP}/{plural}"), &object).await.expect(201);
}

const VALIDATING: &str = "ValidatingWebhookConfiguration";
const MUTATING: &str = "MutatingWebhookConfiguration";

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Until a new configuration is in force, requests do not reach the webhook.
async fn in_force(w: &World, hooks: &Hooks, path: &str) {
    for _ in 0..400 {
        w.post(
            &format!("{}?dryRun=All", w.core("configmaps")),
            &config_map("probe", &json!({"p": "1"})),
        )
        .await;
        if hooks.seen().iter().any(|(p, _)| p.starts_with(path)) {
            return;
        }
    }
    panic!("the webhook was never called");
}

fn is_probe(review: &Value) -> bool {
    review["request"]["name"] == "probe"
}

async fn denial(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": is_probe(r), "status": {"message": "not today", "code": 403, "reason": "Forbidden"}}))).await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let answer = w.post(&w.core("configmaps"), &config_map("x", &json!({}))).await;
    assert_eq!(
        answer.refused(403, "Forbidden"),
        "admission webhook \"a.example.com\" denied the request: not today"
    );
    w.get(&w.core("configmaps/x")).await.refused(404, "NotFound");
}

async fn denial_with_causes(w: World) {
    let hooks = Hooks::start(|_, r| {
        let causes = json!([{"reason": "FieldValueInvalid", "message": "two\nlines", "field": "data.k"}]);
        let status = json!({"code": 422, "reason": "Invalid", "message": "m", "details": {"kind": "ConfigMap", "name": "x", "causes": causes}});
        admission(r, json!({"allowed": is_probe(r), "status": status}))
    })
    .await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let answer = w.post(&w.core("configmaps"), &config_map("x", &json!({}))).await;
    assert_eq!(
        answer.body["details"],
        json!({"name": "x", "kind": "ConfigMap", "causes": [{"reason": "FieldValueInvalid", "message": "two\nlines", "field": "data.k"}]})
    );
    assert_eq!(
        answer.refused(422, "Invalid"),
        "admission webhook \"a.example.com\" denied the request: m"
    );
}

async fn warnings(w: World) {
    let hooks = Hooks::start(|_, r| {
        admission(
            r,
            json!({"allowed": true, "warnings": ["be careful", "say \"hi\"", "be careful", "no\nnewline"]}),
        )
    })
    .await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let answer = w.post(&w.core("configmaps"), &config_map("x", &json!({}))).await;
    assert_eq!(answer.warnings, ["be careful", "say \"hi\""]);
    answer.expect(201);
}

async fn review_shape(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    w.post(
        &format!("{}?fieldManager=me", w.core("configmaps")),
        &config_map("x", &json!({"k": "v"})),
    )
    .await
    .expect(201);
    assert!(hooks.seen().iter().all(|(path, _)| path == "/a?timeout=10s"));
    let request = &hooks.last("/a", "x")["request"];
    let gvk = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let gvr = json!({"group": "", "version": "v1", "resource": "configmaps"});
    assert_eq!((&request["kind"], &request["requestKind"]), (&gvk, &gvk));
    assert_eq!((&request["resource"], &request["requestResource"]), (&gvr, &gvr));
    assert_eq!(
        (&request["operation"], &request["name"]),
        (&json!("CREATE"), &json!("x"))
    );
    assert_eq!(
        (&request["namespace"], &request["dryRun"]),
        (&json!(w.namespace), &json!(false))
    );
    assert_eq!(request["object"]["data"], json!({"k": "v"}));
    assert_eq!(request["object"]["kind"], "ConfigMap");
    assert_eq!(request["oldObject"], Value::Null);
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!(request["options"]["fieldManager"], "me");
    assert!(
        request["userInfo"]["groups"]
            .as_array()
            .unwrap()
            .contains(&json!("system:masters"))
    );
    assert_eq!(request.get("subResource"), None);
}

async fn mutation(w: World) {
    let hooks = Hooks::start(|_, r| {
        admission(r, patch(&json!([{"op": "add", "path": "/data/added", "value": "yes"}, {"op": "add", "path": "/metadata/labels", "value": {"l": "m"}}])))
    })
    .await;
    let mut entry = entry(&w, &hooks, "a");
    entry["rules"][0]["operations"] = json!(["CREATE"]);
    entry["objectSelector"] = json!({"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]});
    register(&w, MUTATING, &json!([entry])).await;
    in_force(&w, &hooks, "/a").await;
    let created = w
        .post(&w.core("configmaps"), &config_map("x", &json!({"k": "v"})))
        .await
        .expect(201);
    assert_eq!(created["data"], json!({"k": "v", "added": "yes"}));
    assert_eq!(created["metadata"]["labels"], json!({"l": "m"}));
    let owned = &created["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        owned,
        &json!({"f:data": {".": {}, "f:k": {}}}),
        "what admission adds belongs to nobody"
    );
}

async fn mutation_order(w: World) {
    let hooks = Hooks::start(|path, r| {
        let step = &path[1..2];
        let so_far = r["request"]["object"]["data"]["steps"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        admission(
            r,
            patch(&json!([{"op": "add", "path": "/data/steps", "value": format!("{so_far}{step}")}])),
        )
    })
    .await;
    register(
        &w,
        MUTATING,
        &json!([entry(&w, &hooks, "b"), entry(&w, &hooks, "a")]),
    )
    .await;
    in_force(&w, &hooks, "/a").await;
    let created = w
        .post(&w.core("configmaps"), &config_map("x", &json!({"k": "v"})))
        .await
        .expect(201);
    assert_eq!(
        created["data"]["steps"], "ba",
        "in the order of the configuration"
    );
}

async fn match_conditions(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    let mut some = entry(&w, &hooks, "some");
    some["matchConditions"] = json!([
        {"name": "writes", "expression": "request.operation != 'DELETE'"},
        {"name": "big", "expression": "has(object.data) && size(object.data) > 1"}]);
    let mut broken = entry(&w, &hooks, "broken");
    broken["matchConditions"] = json!([{"name": "no", "expression": "oldObject.data.k == 'v'"}]);
    broken["rules"][0]["operations"] = json!(["CREATE"]);
    broken["objectSelector"] = json!({"matchLabels": {"try": "me"}});
    register(&w, VALIDATING, &json!([some, broken, entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    w.config_map("small", json!({"k": "v"})).await;
    w.config_map("large", json!({"k": "v", "l": "w"})).await;
    w.delete(&w.core("configmaps/large"), &json!({}))
        .await
        .expect(200);
    assert_eq!(hooks.last("/some", "small"), Value::Null);
    assert_eq!(hooks.last("/some", "large")["request"]["operation"], "CREATE");
    let mut object = config_map("x", &json!({}));
    object["metadata"]["labels"] = json!({"try": "me"});
    let message = w
        .post(&w.core("configmaps"), &object)
        .await
        .refused(403, "Forbidden");
    assert!(
        message.starts_with("configmaps \"x\" is forbidden: "),
        "{message}"
    );
}

/// An entry for the row's own things.
fn thing_entry(w: &World, hooks: &Hooks, name: &str, versions: &[&str]) -> Value {
    let mut entry = entry(w, hooks, name);
    entry["rules"] = json!([{"apiGroups": [w.group], "apiVersions": versions, "resources": ["things", "things/status"],
        "operations": ["CREATE", "UPDATE"]},
        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]);
    entry
}

async fn mutating_before_schema(w: World) {
    install(&w, &crd(&w)).await;
    let hooks = Hooks::start(|_, r| {
        let operations = if is_probe(r) {
            json!([])
        } else {
            json!([{"op": "replace", "path": "/spec/size", "value": 2}])
        };
        admission(r, patch(&operations))
    })
    .await;
    register(&w, MUTATING, &json!([thing_entry(&w, &hooks, "a", &["v1"])])).await;
    in_force(&w, &hooks, "/a").await;
    let created = w
        .post(
            &w.own("v1", "things"),
            &thing(&w, "v1", "a", &json!({"size": 99})),
        )
        .await
        .expect(201);
    assert_eq!(created["spec"]["size"], 2, "the schema is checked after mutation");
}

async fn validating_sees_the_mutated_object(w: World) {
    let hooks = Hooks::start(|path, r| {
        if path.starts_with("/mutate") {
            return admission(
                r,
                patch(&json!([{"op": "add", "path": "/data/added", "value": "yes"}])),
            );
        }
        admission(r, json!({"allowed": true}))
    })
    .await;
    register(&w, MUTATING, &json!([entry(&w, &hooks, "mutate")])).await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "validate")])).await;
    in_force(&w, &hooks, "/mutate").await;
    in_force(&w, &hooks, "/validate").await;
    w.post(&w.core("configmaps"), &config_map("x", &json!({"k": "v"})))
        .await
        .expect(201);
    let seen = hooks.last("/validate", "x");
    assert_eq!(
        seen["request"]["object"]["data"],
        json!({"k": "v", "added": "yes"})
    );
}

async fn not_called_after_schema_error(w: World) {
    install(&w, &crd(&w)).await;
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    register(&w, VALIDATING, &json!([thing_entry(&w, &hooks, "a", &["v1"])])).await;
    in_force(&w, &hooks, "/a").await;
    w.post(
        &w.own("v1", "things"),
        &thing(&w, "v1", "wrong", &json!({"size": 99})),
    )
    .await
    .refused(422, "Invalid");
    assert!(
        hooks.seen().iter().all(|(_, r)| r["request"]["name"] != "wrong"),
        "validation comes before validating webhooks"
    );
}

async fn fail_closed(w: World) {
    let hooks = Hooks::start(|_, r| {
        if is_probe(r) {
            admission(r, json!({"allowed": true}))
        } else {
            (503, json!("overloaded"))
        }
    })
    .await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let message = w
        .post(&w.core("configmaps"), &config_map("x", &json!({})))
        .await
        .refused(500, "InternalError");
    assert!(
        message.starts_with(
            "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: "
        ),
        "{message}"
    );
}

async fn fail_open(w: World) {
    let hooks = Hooks::start(|_, r| {
        if is_probe(r) {
            admission(r, json!({"allowed": true}))
        } else {
            (503, json!("overloaded"))
        }
    })
    .await;
    let mut entry = entry(&w, &hooks, "a");
    entry["failurePolicy"] = json!("Ignore");
    register(&w, VALIDATING, &json!([entry])).await;
    in_force(&w, &hooks, "/a").await;
    w.post(&w.core("configmaps"), &config_map("x", &json!({})))
        .await
        .expect(201);
}

async fn wrong_answer(w: World) {
    let hooks = Hooks::start(|_, r| {
        let (code, mut body) = admission(r, json!({"allowed": true}));
        if !is_probe(r) {
            body["response"]["uid"] = json!("other");
        }
        (code, body)
    })
    .await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let message = w
        .post(&w.core("configmaps"), &config_map("x", &json!({})))
        .await
        .refused(500, "InternalError");
    assert!(
        message.contains("failed calling webhook \"a.example.com\"") && message.contains("response.uid"),
        "{message}"
    );
}

async fn delete_review(w: World) {
    let hooks = Hooks::start(|_, r| {
        let allowed = r["request"]["operation"] != "DELETE" || r["request"]["name"] != "kept";
        admission(r, json!({"allowed": allowed}))
    })
    .await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    w.config_map("kept", json!({"k": "v"})).await;
    let answer = w.delete(&w.core("configmaps/kept"), &json!({})).await;
    assert_eq!(answer.code, 400, "{}", answer.body);
    assert_eq!(
        answer.body["message"],
        "admission webhook \"a.example.com\" denied the request without explanation"
    );
    let request = &hooks.last("/a", "kept")["request"];
    assert_eq!(
        (&request["object"], &request["oldObject"]["data"]),
        (&Value::Null, &json!({"k": "v"}))
    );
    assert_eq!(
        (&request["operation"], &request["options"]["kind"]),
        (&json!("DELETE"), &json!("DeleteOptions"))
    );
    let path = format!("{GROUP}/validatingwebhookconfigurations/{}", w.namespace);
    w.delete(&path, &json!({})).await.expect(200);
}

async fn namespace_selector(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    let mut other = entry(&w, &hooks, "other");
    other["namespaceSelector"] = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [format!("{}-not", w.namespace)]}]});
    register(&w, VALIDATING, &json!([other, entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    w.config_map("x", json!({})).await;
    assert!(
        hooks.seen().iter().all(|(path, _)| path.starts_with("/a?")),
        "{:?}",
        hooks.seen()
    );
}

async fn object_selector(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    let mut some = entry(&w, &hooks, "some");
    some["objectSelector"] = json!({"matchLabels": {"watch": "me"}});
    register(&w, VALIDATING, &json!([some, entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let count = || {
        hooks
            .seen()
            .iter()
            .filter(|(path, _)| path.starts_with("/some"))
            .count()
    };
    w.config_map("x", json!({})).await;
    assert_eq!(count(), 0);
    let path = w.core("configmaps/x");
    w.patch(&path, MERGE, &json!({"metadata": {"labels": {"watch": "me"}}}))
        .await
        .expect(200);
    assert_eq!(count(), 1);
    w.patch(&path, MERGE, &json!({"metadata": {"labels": {"watch": null}}}))
        .await
        .expect(200);
    assert_eq!(count(), 2, "the old object still matches");
    // An API server with a cache tries its old state first, and asks again with the new one.
    w.pause().await;
    w.patch(&path, MERGE, &json!({"data": {"k": "v"}}))
        .await
        .expect(200);
    assert_eq!(count(), 2);
}

async fn two_versions(w: &World) -> Hooks {
    let hooks = Hooks::start(|path, r| {
        if path.starts_with("/convert") {
            return conversion(r, |object, wanted| {
                if object["spec"].is_object() {
                    object["spec"]["name"] = json!(if wanted.ends_with("v1") { "one" } else { "two" });
                }
            });
        }
        admission(r, json!({"allowed": true}))
    })
    .await;
    let mut crd = crd(w);
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"clientConfig": hooks.client_config("/convert"),
        "conversionReviewVersions": ["v1"]}});
    install(w, &crd).await;
    hooks
}

async fn match_policy_equivalent(w: World) {
    let hooks = two_versions(&w).await;
    register(&w, VALIDATING, &json!([thing_entry(&w, &hooks, "a", &["v1"])])).await;
    in_force(&w, &hooks, "/a").await;
    w.post(&w.own("v2", "things"), &thing(&w, "v2", "x", &json!({"size": 1})))
        .await
        .expect(201);
    let request = &hooks.last("/a", "x")["request"];
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(
        (
            &request["resource"]["version"],
            &request["requestResource"]["version"]
        ),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(request["object"]["apiVersion"], format!("{}/v1", w.group));
    assert_eq!(
        request["object"]["spec"]["name"], "one",
        "the object is converted for the webhook"
    );
}

async fn match_policy_exact(w: World) {
    let hooks = two_versions(&w).await;
    let mut entry = thing_entry(&w, &hooks, "a", &["v1"]);
    entry["matchPolicy"] = json!("Exact");
    register(&w, VALIDATING, &json!([entry])).await;
    in_force(&w, &hooks, "/a").await;
    w.post(&w.own("v2", "things"), &thing(&w, "v2", "x", &json!({"size": 1})))
        .await
        .expect(201);
    assert!(
        hooks
            .seen()
            .iter()
            .all(|(path, r)| !path.starts_with("/a") || r["request"]["name"] != "x")
    );
}

async fn dry_run(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    w.post(
        &format!("{}?dryRun=All", w.core("configmaps")),
        &config_map("x", &json!({})),
    )
    .await
    .expect(201);
    let request = &hooks.last("/a", "x")["request"];
    assert_eq!(
        (&request["dryRun"], &request["options"]["dryRun"]),
        (&json!(true), &json!(["All"]))
    );
}

async fn dry_run_with_side_effects(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    let mut entry = entry(&w, &hooks, "a");
    entry["sideEffects"] = json!("Some");
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": VALIDATING, "metadata": {"name": w.namespace}, "webhooks": [entry]});
    // v1 does not take webhooks whose side effects are unknown.
    w.post(&format!("{GROUP}/validatingwebhookconfigurations"), &object)
        .await
        .refused(422, "Invalid");
}

async fn subresources(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    let mut main = entry(&w, &hooks, "main");
    main["rules"].as_array_mut().unwrap().push(
        json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["*"]}));
    let mut scale = entry(&w, &hooks, "scale");
    scale["rules"] = json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"], "operations": ["*"]}]);
    register(&w, VALIDATING, &json!([main, scale])).await;
    in_force(&w, &hooks, "/main").await;
    w.post(&w.apps("deployments"), &deployment("d", "x:1", 0))
        .await
        .expect(201);
    w.patch(
        &w.apps("deployments/d/scale"),
        MERGE,
        &json!({"spec": {"replicas": 1}}),
    )
    .await
    .expect(200);
    let request = &hooks.last("/scale", "d")["request"];
    assert_eq!(
        (&request["subResource"], &request["kind"]["kind"]),
        (&json!("scale"), &json!("Scale"))
    );
    assert_eq!(
        (&request["object"]["kind"], &request["object"]["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    let for_main = hooks
        .seen()
        .iter()
        .filter(|(p, r)| p.starts_with("/main") && r["request"]["requestSubResource"] == "scale")
        .count();
    assert_eq!(for_main, 0);
}

async fn timeout(w: World) {
    let hooks = Hooks::start(|_, r| {
        if !is_probe(r) {
            std::thread::sleep(std::time::Duration::from_millis(1600));
        }
        admission(r, json!({"allowed": true}))
    })
    .await;
    let mut entry = entry(&w, &hooks, "a");
    entry["timeoutSeconds"] = json!(1);
    register(&w, VALIDATING, &json!([entry])).await;
    in_force(&w, &hooks, "/a").await;
    let message = w
        .post(&w.core("configmaps"), &config_map("x", &json!({})))
        .await
        .refused(500, "InternalError");
    assert!(
        message.contains("?timeout=1s\": context deadline exceeded"),
        "{message}"
    );
}

async fn update_has_old_object(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    w.config_map("x", json!({"k": "1"})).await;
    in_force(&w, &hooks, "/a").await;
    w.patch(&w.core("configmaps/x"), MERGE, &json!({"data": {"k": "2"}}))
        .await
        .expect(200);
    let request = &hooks.last("/a", "x")["request"];
    assert_eq!(
        (
            &request["oldObject"]["data"]["k"],
            &request["object"]["data"]["k"]
        ),
        (&json!("1"), &json!("2"))
    );
    assert_eq!(
        (&request["operation"], &request["options"]["kind"]),
        (&json!("UPDATE"), &json!("UpdateOptions"))
    );
    let mut object = request["object"].clone();
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    w.put(&w.core("configmaps/x"), &object).await.expect(200);
    assert_eq!(
        hooks.last("/a", "x")["request"]["options"]["kind"],
        "UpdateOptions"
    );
}

async fn patch_as_bytes(w: World) {
    let hooks = Hooks::start(|_, r| {
        let bytes = json!([{"op": "add", "path": "/data/added", "value": "yes"}])
            .to_string()
            .into_bytes();
        admission(
            r,
            json!({"allowed": true, "patchType": "JSONPatch", "patch": bytes}),
        )
    })
    .await;
    register(&w, MUTATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let created = w
        .post(&w.core("configmaps"), &config_map("x", &json!({"k": "v"})))
        .await
        .expect(201);
    assert_eq!(created["data"]["added"], "yes");
}

async fn never_for_configurations(w: World) {
    let hooks =
        Hooks::start(|_, r| admission(r, json!({"allowed": r["request"]["namespace"].is_string()}))).await;
    let mut all = entry(&w, &hooks, "a");
    all["rules"].as_array_mut().unwrap().push(
        json!({"apiGroups": ["admissionregistration.k8s.io"], "apiVersions": ["*"],
        "resources": ["*"], "operations": ["*"], "scope": "Cluster"}),
    );
    all["failurePolicy"] = json!("Ignore");
    register(&w, VALIDATING, &json!([all])).await;
    in_force(&w, &hooks, "/a").await;
    let path = format!("{GROUP}/validatingwebhookconfigurations/{}", w.namespace);
    w.patch(&path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect(200);
    w.delete(&path, &json!({})).await.expect(200);
    assert!(
        hooks
            .seen()
            .iter()
            .all(|(_, r)| r["request"]["resource"]["resource"] == "configmaps")
    );
}

async fn generate_name_and_uid(w: World) {
    let hooks = Hooks::start(|_, r| admission(r, json!({"allowed": true}))).await;
    register(&w, VALIDATING, &json!([entry(&w, &hooks, "a")])).await;
    in_force(&w, &hooks, "/a").await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}});
    let created = w.post(&w.core("configmaps"), &object).await.expect(201);
    let request = &hooks.last("/a", created["metadata"]["name"].as_str().unwrap())["request"];
    assert_eq!(request["object"]["metadata"]["name"], created["metadata"]["name"]);
    assert_eq!(request["object"]["metadata"]["uid"], created["metadata"]["uid"]);
}
