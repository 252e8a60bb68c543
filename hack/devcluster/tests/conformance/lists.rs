//! LIST and WATCH: selectors, pages, revisions, bookmarks, Tables.

use serde_json::{Value, json};

use crate::world::{MERGE, World, names};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![lists:
        label_selectors, field_selectors, unsupported_field, bad_label_selector, pages_show_one_revision, all_namespaces,
        list_shape, partial_metadata, table, watch_from_revision, watch_from_zero, watch_sends_initial_events,
        watch_too_old, watch_selector_transitions, watch_one_name, watch_timeout, watch_table, exact_revision,
        future_revision,
    ]
}

async fn three(w: &World) {
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": app, "all": "t"}}});
        w.post(&w.core("configmaps"), &object).await.expect(201);
    }
}

async fn label_selectors(w: World) {
    three(&w).await;
    let rows: [(&str, &[&str]); 6] = [
        ("app=x", &["a", "c"]),
        ("app!=x,all", &["b"]),
        ("app in (x,y),all", &["a", "b", "c"]),
        ("app notin (x),all=t", &["b"]),
        ("!app,all", &[]),
        ("all==t,app", &["a", "b", "c"]),
    ];
    for (selector, expected) in rows {
        let encoded = selector
            .replace('!', "%21")
            .replace(' ', "%20")
            .replace('=', "%3D");
        let list = w
            .get(&format!("{}?labelSelector={encoded}", w.core("configmaps")))
            .await
            .expect(200);
        assert_eq!(names(&list), expected, "{selector}");
    }
}

async fn field_selectors(w: World) {
    three(&w).await;
    let list = w
        .get(&format!(
            "{}?fieldSelector=metadata.name%3Db",
            w.core("configmaps")
        ))
        .await
        .expect(200);
    assert_eq!(names(&list), ["b"]);
    let path = format!(
        "/api/v1/configmaps?labelSelector=all&fieldSelector=metadata.namespace%3D{}",
        w.namespace
    );
    assert_eq!(names(&w.get(&path).await.expect(200)), ["a", "b", "c"]);
}

async fn unsupported_field(w: World) {
    let message = w
        .get(&format!("{}?fieldSelector=spec.foo%3Db", w.core("configmaps")))
        .await
        .refused(400, "BadRequest");
    assert_eq!(
        message,
        "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    let message = w
        .get(&format!("{}?fieldSelector=spec.foo%3Db", w.core("pods")))
        .await
        .refused(400, "BadRequest");
    assert_eq!(message, "field label not supported: spec.foo");
}

async fn bad_label_selector(w: World) {
    assert_eq!(
        w.get(&format!("{}?labelSelector=a%20b", w.core("configmaps")))
            .await
            .refused(400, "BadRequest"),
        "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    );
}

async fn pages_show_one_revision(w: World) {
    three(&w).await;
    let base = format!("{}?labelSelector=all&limit=2", w.core("configmaps"));
    let first = w.get(&base).await.expect(200);
    assert_eq!(names(&first), ["a", "b"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    w.delete(&w.core("configmaps/c"), &json!({})).await.expect(200);
    let second = w.get(&format!("{base}&continue={token}")).await.expect(200);
    assert_eq!(names(&second), ["c"], "pages are of one revision");
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert_eq!(second["metadata"].get("continue"), None);
    w.get(&format!("{base}&continue=nonsense"))
        .await
        .refused(400, "BadRequest");
}

async fn all_namespaces(w: World) {
    three(&w).await;
    let list = w.get("/api/v1/configmaps?labelSelector=all").await.expect(200);
    let ours = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["metadata"]["namespace"] == w.namespace.as_str())
        .count();
    assert_eq!(ours, 3);
}

async fn list_shape(w: World) {
    three(&w).await;
    let list = w.get(&w.core("configmaps")).await.expect(200);
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    assert_eq!(
        list["items"][0].get("kind"),
        None,
        "items of built-in lists do not repeat their kind"
    );
    assert!(list["metadata"]["resourceVersion"].is_string());
}

async fn partial_metadata(w: World) {
    three(&w).await;
    let one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let object = w.get_as(&w.core("configmaps/a"), one).await.expect(200);
    assert_eq!(object["kind"], "PartialObjectMetadata");
    assert_eq!(
        (object.get("data"), &object["metadata"]["name"]),
        (None, &json!("a"))
    );
    let many = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = w
        .get_as(&format!("{}?labelSelector=all", w.core("configmaps")), many)
        .await
        .expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&list), ["a", "b", "c"]);
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

async fn table(w: World) {
    three(&w).await;
    let table = w
        .get_as(&format!("{}?labelSelector=all", w.core("configmaps")), TABLE)
        .await
        .expect(200);
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    let row = &table["rows"][0];
    assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("a"), &json!(0)));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
}

fn kinds(lines: &[Value]) -> Vec<(&str, &str)> {
    lines
        .iter()
        .map(|l| {
            (
                l["type"].as_str().unwrap(),
                l["object"]["metadata"]["name"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

async fn watch_from_revision(w: World) {
    three(&w).await;
    let list = w.get(&w.core("configmaps")).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    w.config_map("d", json!({"k": "1"})).await;
    w.patch(&w.core("configmaps/d"), MERGE, &json!({"data": {"k": "2"}}))
        .await
        .expect(200);
    w.delete(&w.core("configmaps/d"), &json!({})).await.expect(200);
    let path = format!("{}?watch=1&resourceVersion={revision}", w.core("configmaps"));
    let lines = w
        .watch(&path, |lines| lines.iter().any(|l| l["type"] == "DELETED"))
        .await;
    let ours: Vec<Value> = lines
        .into_iter()
        .filter(|l| l["object"]["metadata"]["name"] == "d")
        .collect();
    assert_eq!(
        kinds(&ours),
        [("ADDED", "d"), ("MODIFIED", "d"), ("DELETED", "d")]
    );
    assert_eq!(ours[1]["object"]["data"]["k"], "2");
    let revisions: Vec<u64> = ours
        .iter()
        .map(|l| {
            l["object"]["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert!(
        revisions.is_sorted() && revisions[1] < revisions[2],
        "a deletion has a revision of its own: {revisions:?}"
    );
}

async fn watch_from_zero(w: World) {
    three(&w).await;
    let path = format!(
        "{}?watch=true&resourceVersion=0&labelSelector=all",
        w.core("configmaps")
    );
    let mut lines = w.watch(&path, |lines| lines.len() >= 3).await;
    lines.sort_by_key(|l| l["object"]["metadata"]["name"].to_string());
    assert_eq!(kinds(&lines), [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]);
}

async fn watch_sends_initial_events(w: World) {
    three(&w).await;
    let path = format!(
        "{}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=all",
        w.core("configmaps")
    );
    let lines = w
        .watch(&path, |lines| lines.iter().any(|l| l["type"] == "BOOKMARK"))
        .await;
    assert_eq!(lines.len(), 4, "{lines:?}");
    let bookmark = &lines[3]["object"];
    assert_eq!(
        bookmark["metadata"]["annotations"],
        json!({"k8s.io/initial-events-end": "true"})
    );
    assert_eq!(bookmark["kind"], "ConfigMap");
    let wrong = w
        .get(&format!(
            "{}?watch=1&sendInitialEvents=true",
            w.core("configmaps")
        ))
        .await;
    wrong.refused(422, "Invalid");
}

async fn watch_too_old(w: World) {
    three(&w).await;
    // Revision 1 is older than anything a cluster that has objects remembers, or everything is remembered: then there is no error.
    let path = format!(
        "{}?watch=1&resourceVersion=1&timeoutSeconds=1",
        w.core("configmaps")
    );
    let lines = w
        .watch(&path, |lines| lines.iter().any(|l| l["type"] == "ERROR"))
        .await;
    if let Some(error) = lines.iter().find(|l| l["type"] == "ERROR") {
        assert_eq!(
            (&error["object"]["code"], &error["object"]["reason"]),
            (&json!(410), &json!("Expired"))
        );
        let message = error["object"]["message"].as_str().unwrap();
        assert!(message.starts_with("too old resource version: 1 ("), "{message}");
    } else {
        assert!(
            lines.iter().filter(|l| l["type"] == "ADDED").count() >= 3,
            "{lines:?}"
        );
    }
}

async fn watch_selector_transitions(w: World) {
    three(&w).await;
    let list = w.get(&w.core("configmaps")).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = w.core("configmaps/a");
    for app in ["y", "x"] {
        w.patch(&path, MERGE, &json!({"metadata": {"labels": {"app": app}}}))
            .await
            .expect(200);
    }
    let watch = format!(
        "{}?watch=1&labelSelector=app%3Dx&resourceVersion={revision}",
        w.core("configmaps")
    );
    let lines = w.watch(&watch, |lines| lines.len() >= 2).await;
    assert_eq!(
        kinds(&lines),
        [("DELETED", "a"), ("ADDED", "a")],
        "leaving a selection is a deletion"
    );
}

async fn watch_one_name(w: World) {
    three(&w).await;
    let path = format!("{}?watch=1&fieldSelector=metadata.name%3Db", w.core("configmaps"));
    let lines = w.watch(&path, |lines| !lines.is_empty()).await;
    assert_eq!(kinds(&lines), [("ADDED", "b")]);
}

async fn watch_timeout(w: World) {
    let list = w.get(&w.core("configmaps")).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!(
        "{}?watch=1&timeoutSeconds=1&resourceVersion={revision}&labelSelector=none",
        w.core("configmaps")
    );
    let started = std::time::Instant::now();
    let lines = w.watch(&path, |_| false).await;
    assert!(
        lines.is_empty() && started.elapsed().as_secs() < 10,
        "the server ends it: {lines:?}"
    );
}

async fn watch_table(w: World) {
    three(&w).await;
    let path = format!("{}?watch=1&labelSelector=all", w.core("configmaps"));
    let lines = w.watch_as(&path, TABLE, |lines| lines.len() >= 3).await;
    assert_eq!(lines[0]["object"]["kind"], "Table");
    assert_eq!(lines[0]["object"]["rows"].as_array().unwrap().len(), 1);
    assert!(
        !lines[0]["object"]["columnDefinitions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        lines[1]["object"]["columnDefinitions"],
        lines[2]["object"]["columnDefinitions"]
    );
}

async fn exact_revision(w: World) {
    three(&w).await;
    let list = w.get(&w.core("configmaps")).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    w.delete(&w.core("configmaps/a"), &json!({})).await.expect(200);
    let path = format!(
        "{}?labelSelector=all&resourceVersion={revision}&resourceVersionMatch=Exact&limit=10",
        w.core("configmaps")
    );
    let then = w.get(&path).await.expect(200);
    assert_eq!(names(&then), ["a", "b", "c"]);
    assert_eq!(then["metadata"]["resourceVersion"], revision);
}

async fn future_revision(w: World) {
    let path = format!("{}?resourceVersion=999999999", w.core("configmaps"));
    let answer = w.get(&path).await;
    assert_eq!(answer.code, 504, "{}", answer.body);
    assert_eq!(
        answer.body["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}
