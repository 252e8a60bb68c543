//! Server-side apply and field ownership.

use serde_json::{Value, json};

use crate::world::{APPLY, Answer, MERGE, World, causes, deployment};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![server_side_apply:
        apply_creates, apply_removes_what_it_no_longer_says, apply_conflict, apply_force, manager_required,
        two_managers_share, apply_is_idempotent, update_takes_ownership, status_is_owned_apart,
        list_items_by_key,
    ]
}

async fn apply(w: &World, path: &str, manager: &str, object: &Value) -> Answer {
    w.patch(&format!("{path}?fieldManager={manager}"), APPLY, object)
        .await
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

async fn apply_creates(w: World) {
    let path = w.core("configmaps/a");
    let created = apply(&w, &path, "m", &config_map(&json!({"x": "1"})))
        .await
        .expect(201);
    let entry = &created["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"]),
        (&json!("m"), &json!("Apply"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:x": {}}}));
    assert_eq!(entry["fieldsType"], "FieldsV1");
}

async fn apply_removes_what_it_no_longer_says(w: World) {
    let path = w.core("configmaps/a");
    apply(&w, &path, "m", &config_map(&json!({"x": "1", "y": "2"})))
        .await
        .expect(201);
    let applied = apply(&w, &path, "m", &config_map(&json!({"y": "2"})))
        .await
        .expect(200);
    assert_eq!(applied["data"], json!({"y": "2"}));
}

async fn apply_conflict(w: World) {
    let path = w.core("configmaps/a");
    apply(&w, &path, "one", &config_map(&json!({"x": "1"})))
        .await
        .expect(201);
    let answer = apply(&w, &path, "two", &config_map(&json!({"x": "2"}))).await;
    assert_eq!(causes(&answer.body), [(".data.x", "FieldManagerConflict")]);
    assert_eq!(
        answer.refused(409, "Conflict"),
        "Apply failed with 1 conflict: conflict with \"one\": .data.x"
    );
    // The same value is no conflict: both own it.
    apply(&w, &path, "two", &config_map(&json!({"x": "1"})))
        .await
        .expect(200);
}

async fn apply_force(w: World) {
    let path = w.core("configmaps/a");
    apply(&w, &path, "one", &config_map(&json!({"x": "1"})))
        .await
        .expect(201);
    let forced = w
        .patch(
            &format!("{path}?fieldManager=two&force=true"),
            APPLY,
            &config_map(&json!({"x": "2"})),
        )
        .await
        .expect(200);
    assert_eq!(forced["data"]["x"], "2");
    let managers: Vec<_> = forced["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["manager"].clone())
        .collect();
    assert_eq!(managers, ["two"], "the loser's entry is empty and gone");
}

async fn manager_required(w: World) {
    let path = w.core("configmaps/a");
    let message = w.patch(&path, APPLY, &config_map(&json!({}))).await;
    assert_eq!(
        message.body["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
}

async fn two_managers_share(w: World) {
    let path = w.core("configmaps/a");
    apply(&w, &path, "one", &config_map(&json!({"x": "1", "y": "1"})))
        .await
        .expect(201);
    apply(&w, &path, "two", &config_map(&json!({"x": "1"})))
        .await
        .expect(200);
    let applied = apply(&w, &path, "one", &config_map(&json!({"y": "1"})))
        .await
        .expect(200);
    assert_eq!(
        applied["data"],
        json!({"x": "1", "y": "1"}),
        "the other manager still wants x"
    );
}

async fn apply_is_idempotent(w: World) {
    let path = w.apps("deployments/a");
    let first = apply(&w, &path, "m", &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let settled = w
        .until(&path, "the controller to see it", |a| {
            a.body["status"]["observedGeneration"] == 1
        })
        .await
        .body;
    assert_eq!(settled["metadata"]["generation"], first["metadata"]["generation"]);
    let mut last = settled;
    loop {
        let again = apply(&w, &path, "m", &deployment("a", "x:1", 0))
            .await
            .expect(200);
        if again["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"] {
            break;
        }
        assert!(
            again["status"].as_object().is_some_and(|s| !s.is_empty()),
            "only the controller writes: {again}"
        );
        last = again;
    }
}

async fn update_takes_ownership(w: World) {
    let path = w.core("configmaps/a");
    apply(&w, &path, "one", &config_map(&json!({"x": "1", "y": "1"})))
        .await
        .expect(201);
    let patched = w
        .patch(&path, MERGE, &json!({"data": {"x": "2"}}))
        .await
        .expect(200);
    let entries = patched["metadata"]["managedFields"].as_array().unwrap();
    let of = |manager: &str| entries.iter().find(|e| e["manager"] == manager).unwrap()["fieldsV1"].clone();
    assert_eq!(of("one"), json!({"f:data": {"f:y": {}}}));
    assert_eq!(of("conformance"), json!({"f:data": {"f:x": {}}}));
}

async fn status_is_owned_apart(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let patched = w
        .patch(
            &w.apps("deployments/a/status"),
            MERGE,
            &json!({"status": {"collisionCount": 1}}),
        )
        .await
        .expect(200);
    let entries = patched["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|e| e["manager"] == "conformance" && e["subresource"] == "status")
        .unwrap();
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:collisionCount": {}}}));
}

async fn list_items_by_key(w: World) {
    let path = w.core("services/a");
    let service = |ports: &Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}});
    apply(&w, &path, "one", &service(&json!([{"name": "http", "port": 80}])))
        .await
        .expect(201);
    let applied = apply(
        &w,
        &path,
        "two",
        &service(&json!([{"name": "metrics", "port": 9090}])),
    )
    .await
    .expect(200);
    assert_eq!(applied["spec"]["ports"].as_array().unwrap().len(), 2);
    let applied = apply(
        &w,
        &path,
        "two",
        &service(&json!([{"name": "metrics", "port": 9091}])),
    )
    .await
    .expect(200);
    let ports: Vec<_> = applied["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["port"].clone())
        .collect();
    assert_eq!(ports, [json!(80), json!(9091)]);
}
