//! JSON, merge and strategic merge patches.

use serde_json::json;

use crate::world::{JSON, MERGE, STRATEGIC, World, deployment};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![patches:
        merge_patch, merge_null_deletes, json_patch, json_patch_test_fails, json_patch_malformed, strategic_by_key,
        strategic_delete_directive, strategic_replace_directive, unknown_media_type, patch_missing, patch_renames,
        concurrent_patches,
    ]
}

async fn merge_patch(w: World) {
    w.config_map("a", json!({"x": "1", "y": "2"})).await;
    let patched = w
        .patch(&w.core("configmaps/a"), MERGE, &json!({"data": {"x": "3"}}))
        .await
        .expect(200);
    assert_eq!(patched["data"], json!({"x": "3", "y": "2"}));
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]);
    w.post(&w.apps("deployments"), &object).await.expect(201);
    let lists = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x:1"}]}}}});
    let patched = w.patch(&w.apps("deployments/a"), MERGE, &lists).await.expect(200);
    assert_eq!(
        patched["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "lists are replaced"
    );
}

async fn merge_null_deletes(w: World) {
    w.config_map("a", json!({"x": "1", "y": "2"})).await;
    let patched = w
        .patch(&w.core("configmaps/a"), MERGE, &json!({"data": {"x": null}}))
        .await
        .expect(200);
    assert_eq!(patched["data"], json!({"y": "2"}));
}

async fn json_patch(w: World) {
    w.config_map("a", json!({"x": "1"})).await;
    let operations = json!([
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "replace", "path": "/data/x", "value": "2"},
        {"op": "add", "path": "/data/y~1z", "value": "3"}]);
    let patched = w.patch(&w.core("configmaps/a"), JSON, &operations).await;
    // A key with a slash is no valid key: the patch itself was understood.
    patched.refused(422, "Invalid");
    let operations =
        json!([{"op": "copy", "from": "/data/x", "path": "/data/y"}, {"op": "remove", "path": "/data/x"}]);
    let patched = w
        .patch(&w.core("configmaps/a"), JSON, &operations)
        .await
        .expect(200);
    assert_eq!(patched["data"], json!({"y": "1"}));
}

async fn json_patch_test_fails(w: World) {
    w.config_map("a", json!({"x": "1"})).await;
    let operations = json!([{"op": "replace", "path": "/data/x", "value": "3"}, {"op": "test", "path": "/data/x", "value": "2"}]);
    w.patch(&w.core("configmaps/a"), JSON, &operations)
        .await
        .refused(422, "Invalid");
    assert_eq!(w.get(&w.core("configmaps/a")).await.expect(200)["data"]["x"], "1");
}

async fn json_patch_malformed(w: World) {
    w.config_map("a", json!({"x": "1"})).await;
    w.patch(&w.core("configmaps/a"), JSON, &json!({"op": "add"}))
        .await
        .refused(400, "BadRequest");
}

async fn strategic_by_key(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["spec"]["containers"] = json!([
        {"name": "a", "image": "x:1", "env": [{"name": "A", "value": "1"}]}, {"name": "b", "image": "x:1"}]);
    w.post(&w.apps("deployments"), &object).await.expect(201);
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "x:2", "env": [{"name": "B", "value": "2"}]}]}}}});
    let patched = w
        .patch(&w.apps("deployments/a"), STRATEGIC, &patch)
        .await
        .expect(200);
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        (&containers[0]["name"], &containers[0]["image"]),
        (&json!("a"), &json!("x:2"))
    );
    assert_eq!(containers[1]["image"], "x:1");
    let mut names: Vec<_> = containers[0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "B"]);
}

async fn strategic_delete_directive(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]);
    w.post(&w.apps("deployments"), &object).await.expect(201);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}}});
    let patched = w
        .patch(&w.apps("deployments/a"), STRATEGIC, &patch)
        .await
        .expect(200);
    let containers = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!((containers.len(), &containers[0]["name"]), (1, &json!("b")));
}

async fn strategic_replace_directive(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "z", "image": "x:9"}, {"$patch": "replace"}]}}}});
    let patched = w
        .patch(&w.apps("deployments/a"), STRATEGIC, &patch)
        .await
        .expect(200);
    let containers = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!((containers.len(), &containers[0]["name"]), (1, &json!("z")));
}

async fn unknown_media_type(w: World) {
    w.config_map("a", json!({})).await;
    let message = w
        .patch(&w.core("configmaps/a"), "application/json", &json!({}))
        .await
        .refused(415, "UnsupportedMediaType");
    assert_eq!(message, "415: Unsupported Media Type");
}

async fn patch_missing(w: World) {
    let answer = w
        .patch(&w.core("configmaps/a"), MERGE, &json!({"data": {}}))
        .await;
    assert_eq!(answer.refused(404, "NotFound"), "configmaps \"a\" not found");
}

async fn patch_renames(w: World) {
    w.config_map("a", json!({})).await;
    let answer = w
        .patch(
            &w.core("configmaps/a"),
            MERGE,
            &json!({"metadata": {"name": "b"}}),
        )
        .await;
    assert_eq!(
        answer.refused(400, "BadRequest"),
        "the name of the object (b) does not match the name on the URL (a)"
    );
    w.patch(
        &w.core("configmaps/a"),
        MERGE,
        &json!({"metadata": {"uid": "other"}}),
    )
    .await
    .refused(422, "Invalid");
}

async fn concurrent_patches(w: World) {
    w.config_map("a", json!({})).await;
    let path = w.core("configmaps/a");
    let writes = (0..8).map(|n| {
        let (w, path) = (&w, &path);
        async move {
            w.patch(path, MERGE, &json!({"data": {format!("k{n}"): "v"}}))
                .await
                .code
        }
    });
    let codes = futures::future::join_all(writes).await;
    assert!(codes.iter().all(|c| *c == 200), "{codes:?}");
    assert_eq!(
        w.get(&path).await.expect(200)["data"].as_object().unwrap().len(),
        8
    );
}
