//! DELETE: preconditions, finalizers, propagation, collections, garbage collection.

use serde_json::{Value, json};

use crate::world::{JSON, MERGE, World, deployment, names};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![deleting:
        delete_answers_status, delete_missing, preconditions, finalizers_hold, no_new_finalizers_while_going, collection,
        owner_gone_dependents_go, foreground_waits, orphan_keeps, missing_owner, namespace_takes_its_content,
        namespace_refuses_new_content, unknown_policy,
    ]
}

fn config_map(name: &str, meta: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta});
    object["metadata"]["name"] = json!(name);
    object
}

async fn delete_answers_status(w: World) {
    let object = w.config_map("a", json!({})).await;
    let answer = w.delete(&w.core("configmaps/a"), &json!({})).await.expect(200);
    assert_eq!(
        (&answer["kind"], &answer["status"]),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(
        answer["details"],
        json!({"name": "a", "kind": "configmaps", "uid": object["metadata"]["uid"]})
    );
}

async fn delete_missing(w: World) {
    assert_eq!(
        w.delete(&w.core("configmaps/a"), &json!({}))
            .await
            .refused(404, "NotFound"),
        "configmaps \"a\" not found"
    );
}

async fn preconditions(w: World) {
    let object = w.config_map("a", json!({})).await;
    let wrong = json!({"preconditions": {"uid": "other"}});
    let message = w
        .delete(&w.core("configmaps/a"), &wrong)
        .await
        .refused(409, "Conflict");
    assert_eq!(
        message,
        format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the UID in record \
             ({}). The object might have been deleted and then recreated",
            object["metadata"]["uid"].as_str().unwrap()
        )
    );
    w.delete(
        &w.core("configmaps/a"),
        &json!({"preconditions": {"resourceVersion": "1"}}),
    )
    .await
    .refused(409, "Conflict");
    let right = json!({"preconditions": {"uid": object["metadata"]["uid"]}});
    w.delete(&w.core("configmaps/a"), &right).await.expect(200);
}

async fn finalizers_hold(w: World) {
    w.post(
        &w.core("configmaps"),
        &config_map("a", &json!({"finalizers": ["example.com/a", "example.com/b"]})),
    )
    .await
    .expect(201);
    let path = w.core("configmaps/a");
    let answer = w.delete(&path, &json!({})).await.expect(200);
    assert!(answer["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 0);
    w.delete(&path, &json!({})).await.expect(200);
    let kept = w.get(&path).await.expect(200);
    assert_eq!(
        kept["metadata"]["deletionTimestamp"],
        answer["metadata"]["deletionTimestamp"]
    );
    w.patch(
        &path,
        MERGE,
        &json!({"metadata": {"finalizers": ["example.com/a"]}}),
    )
    .await
    .expect(200);
    w.get(&path).await.expect(200);
    w.patch(
        &path,
        JSON,
        &json!([{"op": "remove", "path": "/metadata/finalizers"}]),
    )
    .await
    .expect(200);
    w.get(&path).await.refused(404, "NotFound");
}

async fn no_new_finalizers_while_going(w: World) {
    w.post(
        &w.core("configmaps"),
        &config_map("a", &json!({"finalizers": ["example.com/a"]})),
    )
    .await
    .expect(201);
    let path = w.core("configmaps/a");
    w.delete(&path, &json!({})).await.expect(200);
    let more = json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}});
    assert_eq!(
        w.patch(&path, MERGE, &more).await.refused(422, "Invalid"),
        "ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, \
         found new finalizers []string{\"example.com/b\"}"
    );
    w.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
}

async fn collection(w: World) {
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        w.post(
            &w.core("configmaps"),
            &config_map(name, &json!({"labels": {"app": app}})),
        )
        .await
        .expect(201);
    }
    w.delete(
        &format!("{}?labelSelector=app%3Dx", w.core("configmaps")),
        &json!({}),
    )
    .await
    .expect(200);
    let left = w
        .get(&format!("{}?labelSelector=app", w.core("configmaps")))
        .await
        .expect(200);
    assert_eq!(names(&left), ["b"]);
}

fn owner(object: &Value, block: bool) -> Value {
    json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
        "blockOwnerDeletion": block}])
}

async fn gone(w: &World, path: &str) {
    w.until(path, "to go", |a| a.code == 404).await;
}

async fn owner_gone_dependents_go(w: World) {
    let object = w.config_map("owner", json!({})).await;
    w.post(
        &w.core("configmaps"),
        &config_map("child", &json!({"ownerReferences": owner(&object, false)})),
    )
    .await
    .expect(201);
    w.delete(
        &w.core("configmaps/owner"),
        &json!({"propagationPolicy": "Background"}),
    )
    .await
    .expect(200);
    gone(&w, &w.core("configmaps/child")).await;
}

async fn foreground_waits(w: World) {
    let object = w.config_map("owner", json!({})).await;
    let meta = json!({"ownerReferences": owner(&object, true), "finalizers": ["example.com/wait"]});
    w.post(&w.core("configmaps"), &config_map("child", &meta))
        .await
        .expect(201);
    let going = w
        .delete(
            &w.core("configmaps/owner"),
            &json!({"propagationPolicy": "Foreground"}),
        )
        .await
        .expect(200);
    assert_eq!(going["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    w.until(
        &w.core("configmaps/child"),
        "the child to be deleted first",
        |a| !a.body["metadata"]["deletionTimestamp"].is_null(),
    )
    .await;
    w.get(&w.core("configmaps/owner")).await.expect(200);
    w.patch(
        &w.core("configmaps/child"),
        MERGE,
        &json!({"metadata": {"finalizers": null}}),
    )
    .await
    .expect(200);
    gone(&w, &w.core("configmaps/owner")).await;
}

async fn orphan_keeps(w: World) {
    let object = w.config_map("owner", json!({})).await;
    w.post(
        &w.core("configmaps"),
        &config_map("child", &json!({"ownerReferences": owner(&object, false)})),
    )
    .await
    .expect(201);
    w.until(&w.core("configmaps/child"), "the child", |a| a.code == 200)
        .await;
    w.delete(
        &w.core("configmaps/owner"),
        &json!({"propagationPolicy": "Orphan"}),
    )
    .await
    .expect(200);
    gone(&w, &w.core("configmaps/owner")).await;
    let child = w.get(&w.core("configmaps/child")).await.expect(200);
    assert_eq!(child["metadata"].get("ownerReferences"), None);
}

async fn missing_owner(w: World) {
    let meta = json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "never",
        "uid": "00000000-0000-4000-8000-000000000000"}]});
    w.post(&w.core("configmaps"), &config_map("child", &meta))
        .await
        .expect(201);
    gone(&w, &w.core("configmaps/child")).await;
}

async fn namespace_takes_its_content(w: World) {
    let name = format!("{}-gone", w.namespace);
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let created = w.post("/api/v1/namespaces", &object).await.expect(201);
    assert_eq!(
        created["metadata"]["labels"]["kubernetes.io/metadata.name"],
        name.as_str()
    );
    assert_eq!(
        (&created["spec"]["finalizers"], &created["status"]["phase"]),
        (&json!(["kubernetes"]), &json!("Active"))
    );
    let other = w.in_namespace(&name);
    other.config_map("a", json!({})).await;
    other
        .post(&other.apps("deployments"), &deployment("a", "x:1", 1))
        .await
        .expect(201);
    let going = w
        .delete(&format!("/api/v1/namespaces/{name}"), &json!({}))
        .await
        .expect(200);
    assert_eq!(going["status"]["phase"], "Terminating");
    gone(&w, &format!("/api/v1/namespaces/{name}")).await;
    assert_eq!(
        names(&w.get(&other.core("configmaps")).await.expect(200)),
        Vec::<&str>::new()
    );
}

async fn namespace_refuses_new_content(w: World) {
    let name = format!("{}-going", w.namespace);
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    w.post("/api/v1/namespaces", &object).await.expect(201);
    let other = w.in_namespace(&name);
    other
        .post(
            &other.core("configmaps"),
            &config_map("a", &json!({"finalizers": ["example.com/wait"]})),
        )
        .await
        .expect(201);
    w.delete(&format!("/api/v1/namespaces/{name}"), &json!({}))
        .await
        .expect(200);
    let answer = other
        .post(&other.core("configmaps"), &config_map("b", &json!({})))
        .await;
    assert_eq!(
        answer.body["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    assert_eq!(
        answer.refused(403, "Forbidden"),
        format!(
            "configmaps \"b\" is forbidden: unable to create new content in namespace {name} because it is being terminated"
        )
    );
    other
        .patch(
            &other.core("configmaps/a"),
            MERGE,
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .expect(200);
    gone(&w, &format!("/api/v1/namespaces/{name}")).await;
}

async fn unknown_policy(w: World) {
    w.config_map("a", json!({})).await;
    let answer = w
        .delete(&w.core("configmaps/a"), &json!({"propagationPolicy": "Sideways"}))
        .await;
    assert_eq!(answer.code, 422, "{}", answer.body);
}
