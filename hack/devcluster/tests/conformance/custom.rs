//! CustomResourceDefinitions and their objects.

use serde_json::{Value, json};

use crate::world::{APPLY, JSON, MERGE, STRATEGIC, World, causes, names};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![custom:
        established, pruning, preserve_unknown, defaulting, validation, several_mistakes, status_subresource,
        without_status_subresource, generation, scale, printer_columns, lock_required, strategic_refused,
        strict_unknown_field, server_side_apply, crd_by_server_side_apply, deprecated_version, unserved_version, crd_deletion_takes_objects,
        structural_required, immutable_names, stored_versions, two_versions_without_webhook, no_op_write,
        list_kind_and_items, cluster_scoped, defaults_on_read,
    ]
}

pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A schema with a bit of everything.
fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "mode": {"type": "string", "default": "fast", "enum": ["fast", "slow"]},
            "name": {"type": "string", "pattern": "^[a-z]+$"},
            "replicas": {"type": "integer"},
            "items": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 7}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }})
}

/// A CRD `things` of the row's group, with one version.
pub(crate) fn crd(w: &World) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{}", w.group)},
        "spec": {"group": w.group, "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema()},
                "subresources": {"status": {}}}]}})
}

pub(crate) async fn install(w: &World, crd: &Value) {
    w.post(CRDS, crd).await.expect(201);
    let path = format!("{CRDS}/{}", crd["metadata"]["name"].as_str().unwrap());
    w.until(&path, "the CRD to be established", |a| {
        a.body["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Established" && c["status"] == "True")
    })
    .await;
    for version in crd["spec"]["versions"].as_array().unwrap() {
        if version["served"] == true {
            let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
            let version = version["name"].as_str().unwrap();
            w.until(
                &format!("/apis/{}/{version}/{plural}", w.group),
                "the type to be served",
                |a| a.code != 404,
            )
            .await;
        }
    }
}

pub(crate) fn thing(w: &World, version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("{}/{version}", w.group), "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

async fn established(w: World) {
    install(&w, &crd(&w)).await;
    let stored = w.get(&format!("{CRDS}/things.{}", w.group)).await.expect(200);
    assert_eq!(stored["spec"]["names"]["singular"], "thing");
    assert_eq!(stored["spec"]["names"]["listKind"], "ThingList");
    assert_eq!(stored["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(stored["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(stored["status"]["acceptedNames"]["kind"], "Thing");
    let conditions = stored["status"]["conditions"].as_array().unwrap();
    let reasons: Vec<_> = conditions.iter().map(|c| c["reason"].as_str().unwrap()).collect();
    assert!(
        reasons.contains(&"NoConflicts") && reasons.contains(&"InitialNamesAccepted"),
        "{reasons:?}"
    );
    let resources = w.get(&format!("/apis/{}/v1", w.group)).await.expect(200);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["th"]));
}

async fn pruning(w: World) {
    install(&w, &crd(&w)).await;
    let mut object = thing(
        &w,
        "v1",
        "a",
        &json!({"size": 1, "unknown": 1, "items": [{"a": "x", "c": 1}], "labels": {"any": "thing"}}),
    );
    object["extra"] = json!({"a": 1});
    let created = w.post(&w.own("v1", "things"), &object).await.expect(201);
    assert_eq!(created["spec"].get("unknown"), None);
    assert_eq!(created.get("extra"), None);
    assert_eq!(created["spec"]["items"], json!([{"a": "x", "b": 7}]));
    assert_eq!(created["spec"]["labels"], json!({"any": "thing"}));
}

async fn preserve_unknown(w: World) {
    install(&w, &crd(&w)).await;
    let object = thing(
        &w,
        "v1",
        "a",
        &json!({"size": 1, "open": {"any": {"thing": [1, null]}}}),
    );
    let created = w.post(&w.own("v1", "things"), &object).await.expect(201);
    assert_eq!(created["spec"]["open"], json!({"any": {"thing": [1, null]}}));
}

async fn defaulting(w: World) {
    install(&w, &crd(&w)).await;
    let created = w
        .post(
            &w.own("v1", "things"),
            &thing(&w, "v1", "a", &json!({"size": 1, "mode": null})),
        )
        .await
        .expect(201);
    assert_eq!(
        created["spec"]["mode"], "fast",
        "a null where a default exists counts as absent"
    );
}

async fn validation(w: World) {
    install(&w, &crd(&w)).await;
    let answer = w
        .post(
            &w.own("v1", "things"),
            &thing(&w, "v1", "a", &json!({"size": 10})),
        )
        .await;
    assert_eq!(answer.body["details"]["kind"], "Thing");
    assert_eq!(
        answer.refused(422, "Invalid"),
        format!(
            "Thing.{} \"a\" is invalid: spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9",
            w.group
        )
    );
    let answer = w
        .post(
            &w.own("v1", "things"),
            &thing(&w, "v1", "a", &json!({"size": "1"})),
        )
        .await;
    assert_eq!(
        answer.refused(422, "Invalid"),
        format!(
            "Thing.{} \"a\" is invalid: spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
            w.group
        )
    );
    let answer = w
        .post(
            &w.own("v1", "things"),
            &thing(&w, "v1", "a", &json!({"size": 1, "mode": "odd"})),
        )
        .await;
    assert_eq!(
        answer.refused(422, "Invalid"),
        format!(
            "Thing.{} \"a\" is invalid: spec.mode: Unsupported value: \"odd\": supported values: \"fast\", \"slow\"",
            w.group
        )
    );
}

async fn several_mistakes(w: World) {
    install(&w, &crd(&w)).await;
    let answer = w
        .post(
            &w.own("v1", "things"),
            &thing(&w, "v1", "a", &json!({"name": "A1", "mode": "odd"})),
        )
        .await;
    let mut found = causes(&answer.body);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("spec.mode", "FieldValueNotSupported"),
            ("spec.name", "FieldValueInvalid"),
            ("spec.size", "FieldValueRequired")
        ]
    );
}

async fn status_subresource(w: World) {
    install(&w, &crd(&w)).await;
    let mut object = thing(&w, "v1", "a", &json!({"size": 1}));
    object["status"] = json!({"phase": "Born"});
    let created = w.post(&w.own("v1", "things"), &object).await.expect(201);
    assert_eq!(created.get("status"), None, "status is dropped on creation");
    let path = w.own("v1", "things/a");
    let patched = w
        .patch(
            &path,
            MERGE,
            &json!({"status": {"phase": "X"}, "spec": {"size": 2}}),
        )
        .await
        .expect(200);
    assert_eq!(
        (patched.get("status"), &patched["spec"]["size"]),
        (None, &json!(2))
    );
    let mut status = patched.clone();
    status["status"] = json!({"phase": "Running"});
    status["spec"]["size"] = json!(5);
    status["metadata"]["labels"] = json!({"a": "b"});
    let put = w.put(&format!("{path}/status"), &status).await.expect(200);
    assert_eq!(
        (&put["status"]["phase"], &put["spec"]["size"]),
        (&json!("Running"), &json!(2))
    );
    assert_eq!(
        put["metadata"].get("labels"),
        None,
        "a status write changes no labels"
    );
    assert_eq!(put["metadata"]["generation"], patched["metadata"]["generation"]);
    let wrong = w
        .patch(&format!("{path}/status"), MERGE, &json!({"status": {"phase": 1}}))
        .await;
    assert_eq!(causes(&wrong.body), [("status.phase", "FieldValueTypeInvalid")]);
}

async fn without_status_subresource(w: World) {
    let mut crd = crd(&w);
    crd["spec"]["versions"][0]
        .as_object_mut()
        .unwrap()
        .remove("subresources");
    install(&w, &crd).await;
    let mut object = thing(&w, "v1", "a", &json!({"size": 1}));
    object["status"] = json!({"phase": "Born"});
    let created = w.post(&w.own("v1", "things"), &object).await.expect(201);
    assert_eq!(created["status"]["phase"], "Born");
    let patched = w
        .patch(
            &w.own("v1", "things/a"),
            MERGE,
            &json!({"status": {"phase": "X"}}),
        )
        .await
        .expect(200);
    assert_eq!(
        (&patched["status"]["phase"], &patched["metadata"]["generation"]),
        (&json!("X"), &json!(2))
    );
    assert_eq!(w.get(&w.own("v1", "things/a/status")).await.code, 404);
}

async fn generation(w: World) {
    install(&w, &crd(&w)).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 1})))
        .await
        .expect(201);
    let path = w.own("v1", "things/a");
    let rows = [
        (json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (json!({"metadata": {"annotations": {"a": "b"}}}), 1),
        (json!({"spec": {"size": 2}}), 2),
        (json!({"spec": {"size": 2}}), 2),
    ];
    for (patch, expected) in rows {
        let patched = w.patch(&path, MERGE, &patch).await.expect(200);
        assert_eq!(patched["metadata"]["generation"], expected, "{patch}");
    }
}

async fn scale(w: World) {
    let mut crd = crd(&w);
    crd["spec"]["versions"][0]["subresources"]["scale"] = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"});
    install(&w, &crd).await;
    w.post(
        &w.own("v1", "things"),
        &thing(&w, "v1", "a", &json!({"size": 1, "replicas": 2})),
    )
    .await
    .expect(201);
    let path = w.own("v1", "things/a/scale");
    assert_eq!(w.get(&path).await.expect(200)["spec"]["replicas"], 2);
    w.patch(
        &w.own("v1", "things/a/status"),
        MERGE,
        &json!({"status": {"replicas": 1, "selector": "a=b"}}),
    )
    .await
    .expect(200);
    let scaled = w
        .patch(&path, MERGE, &json!({"spec": {"replicas": 4}}))
        .await
        .expect(200);
    assert_eq!(scaled["status"], json!({"replicas": 1, "selector": "a=b"}));
    let object = w.get(&w.own("v1", "things/a")).await.expect(200);
    assert_eq!(
        (&object["spec"]["replicas"], &object["spec"]["size"]),
        (&json!(4), &json!(1))
    );
}

async fn printer_columns(w: World) {
    let mut crd = crd(&w);
    crd["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"}]);
    install(&w, &crd).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 3})))
        .await
        .expect(201);
    let table = w
        .get_as(
            &w.own("v1", "things"),
            "application/json;as=Table;v=v1;g=meta.k8s.io",
        )
        .await
        .expect(200);
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Size", "Phase"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3, null]));
}

async fn lock_required(w: World) {
    install(&w, &crd(&w)).await;
    let object = thing(&w, "v1", "a", &json!({"size": 1}));
    w.post(&w.own("v1", "things"), &object).await.expect(201);
    let message = w
        .put(&w.own("v1", "things/a"), &object)
        .await
        .refused(422, "Invalid");
    assert_eq!(
        message,
        format!(
            "things.{} \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
            w.group
        )
    );
}

async fn strategic_refused(w: World) {
    install(&w, &crd(&w)).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 1})))
        .await
        .expect(201);
    w.patch(&w.own("v1", "things/a"), STRATEGIC, &json!({"spec": {"size": 2}}))
        .await
        .refused(415, "UnsupportedMediaType");
}

async fn strict_unknown_field(w: World) {
    install(&w, &crd(&w)).await;
    let object = thing(&w, "v1", "a", &json!({"size": 1, "sizze": 2}));
    let answer = w
        .post(
            &format!("{}?fieldValidation=Strict", w.own("v1", "things")),
            &object,
        )
        .await;
    assert_eq!(
        answer.refused(400, "BadRequest"),
        "Thing in version \"v1\" cannot be handled as a Thing: strict decoding error: unknown field \"spec.sizze\""
    );
    let warned = w.post(&w.own("v1", "things"), &object).await;
    assert_eq!(warned.warnings, ["unknown field \"spec.sizze\""]);
    let path = format!("{}?fieldValidation=Strict", w.own("v1", "things/a"));
    let patch = json!([{"op": "add", "path": "/spec/sizze", "value": 1}]);
    let message = w.patch(&path, JSON, &patch).await.refused(422, "Invalid");
    assert!(
        message.ends_with(": strict decoding error: unknown field \"spec.sizze\""),
        "{message}"
    );
    let path = format!("{}?fieldManager=m", w.own("v1", "things/b"));
    let answer = w
        .patch(
            &path,
            APPLY,
            &thing(&w, "v1", "b", &json!({"size": 1, "sizze": 2})),
        )
        .await;
    assert_eq!(answer.code, 500);
    assert_eq!(
        answer.body["message"],
        format!(
            "failed to create typed patch object (/b; {}/v1, Kind=Thing): .spec.sizze: field not declared in schema",
            w.group
        )
    );
    let other = json!({"apiVersion": format!("{}/v1", w.group), "kind": "Other", "metadata": {"name": "x"}, "spec": {"size": 1}});
    assert_eq!(
        w.post(&w.own("v1", "things"), &other)
            .await
            .refused(422, "Invalid"),
        format!(
            "Other.{} \"x\" is invalid: kind: Invalid value: \"Other\": must be Thing",
            w.group
        )
    );
}

async fn server_side_apply(w: World) {
    install(&w, &crd(&w)).await;
    let path = format!("{}?fieldManager=m", w.own("v1", "things/a"));
    let created = w
        .patch(
            &path,
            APPLY,
            &thing(&w, "v1", "a", &json!({"size": 1, "name": "x"})),
        )
        .await
        .expect(201);
    assert_eq!(
        created["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:name": {}, "f:size": {}}})
    );
    let applied = w
        .patch(&path, APPLY, &thing(&w, "v1", "a", &json!({"size": 2})))
        .await
        .expect(200);
    assert_eq!(applied["spec"], json!({"size": 2, "mode": "fast"}));
}

/// The values of `enum` and `default` are of any type.
async fn crd_by_server_side_apply(w: World) {
    let path = format!("{CRDS}/things.{}?fieldManager=m&force=true", w.group);
    let created = w.patch(&path, APPLY, &crd(&w)).await.expect(201);
    let spec = &created["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(spec["properties"]["mode"]["enum"], json!(["fast", "slow"]));
    let again = w.patch(&path, APPLY, &crd(&w)).await.expect(200);
    assert_eq!(again["metadata"]["generation"], 1);
    w.until(&w.own("v1", "things"), "the type to be served", |a| a.code == 200)
        .await;
}

async fn deprecated_version(w: World) {
    let mut crd = crd(&w);
    crd["spec"]["versions"][0]["deprecated"] = json!(true);
    install(&w, &crd).await;
    let answer = w
        .post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 1})))
        .await;
    assert_eq!(answer.warnings, [format!("{}/v1 Thing is deprecated", w.group)]);
    let patch = json!([{"op": "add", "path": "/spec/versions/0/deprecationWarning", "value": "use \"v2\""}]);
    w.patch(&format!("{CRDS}/things.{}", w.group), JSON, &patch)
        .await
        .expect(200);
    let mut warnings = Vec::new();
    for _ in 0..100 {
        warnings = w.get(&w.own("v1", "things/a")).await.warnings;
        if warnings == ["use \"v2\""] {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{warnings:?}");
}

async fn unserved_version(w: World) {
    let mut crd = crd(&w);
    let mut old = crd["spec"]["versions"][0].clone();
    old["name"] = json!("v1beta1");
    old["served"] = json!(false);
    old["storage"] = json!(false);
    crd["spec"]["versions"].as_array_mut().unwrap().push(old);
    install(&w, &crd).await;
    assert_eq!(w.get(&w.own("v1beta1", "things")).await.code, 404);
}

async fn crd_deletion_takes_objects(w: World) {
    install(&w, &crd(&w)).await;
    let mut object = thing(&w, "v1", "a", &json!({"size": 1}));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    w.post(&w.own("v1", "things"), &object).await.expect(201);
    let path = format!("{CRDS}/things.{}", w.group);
    let going = w.delete(&path, &json!({})).await.expect(200);
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    w.until(&w.own("v1", "things/a"), "the object to be deleted", |a| {
        !a.body["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    w.patch(
        &w.own("v1", "things/a"),
        MERGE,
        &json!({"metadata": {"finalizers": null}}),
    )
    .await
    .expect(200);
    w.until(&path, "the CRD to go", |a| a.code == 404).await;
    w.until(&w.own("v1", "things"), "the type to go", |a| a.code == 404)
        .await;
}

async fn structural_required(w: World) {
    let mut wrong = crd(&w);
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] =
        json!({"minimum": 1});
    let message = w.post(CRDS, &wrong).await.refused(422, "Invalid");
    assert!(message.contains("properties[x].type"), "{message}");
    let mut wrong = crd(&w);
    wrong["metadata"]["name"] = json!("other");
    let message = w.post(CRDS, &wrong).await.refused(422, "Invalid");
    assert!(message.contains("metadata.name"), "{message}");
    let mut wrong = crd(&w);
    wrong["spec"]["versions"][0]["storage"] = json!(false);
    let message = w.post(CRDS, &wrong).await.refused(422, "Invalid");
    assert!(
        message.contains("must have exactly one version marked as storage version"),
        "{message}"
    );
}

async fn immutable_names(w: World) {
    install(&w, &crd(&w)).await;
    let patch = json!({"spec": {"scope": "Cluster"}});
    let answer = w
        .patch(&format!("{CRDS}/things.{}", w.group), MERGE, &patch)
        .await;
    assert_eq!(causes(&answer.body), [("spec.scope", "FieldValueInvalid")]);
}

async fn stored_versions(w: World) {
    let mut crd = crd(&w);
    install(&w, &crd).await;
    let path = format!("{CRDS}/things.{}", w.group);
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    crd["spec"]["versions"][0]["storage"] = json!(false);
    crd["spec"]["versions"]
        .as_array_mut()
        .unwrap()
        .push(second.clone());
    let patched = w
        .patch(
            &path,
            MERGE,
            &json!({"spec": {"versions": crd["spec"]["versions"]}}),
        )
        .await
        .expect(200);
    assert_eq!(patched["status"]["storedVersions"], json!(["v1", "v2"]));
    let only = json!({"spec": {"versions": [second]}});
    let message = w.patch(&path, MERGE, &only).await.refused(422, "Invalid");
    assert!(message.contains("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version"), "{message}");
    w.patch(
        &format!("{path}/status"),
        MERGE,
        &json!({"status": {"storedVersions": ["v2"]}}),
    )
    .await
    .expect(200);
    w.patch(&path, MERGE, &only).await.expect(200);
}

async fn two_versions_without_webhook(w: World) {
    let mut crd = crd(&w);
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["only"] =
        json!({"type": "string"});
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    install(&w, &crd).await;
    let created = w
        .post(
            &w.own("v2", "things"),
            &thing(&w, "v2", "a", &json!({"size": 1, "only": "x"})),
        )
        .await
        .expect(201);
    assert_eq!(created["apiVersion"], format!("{}/v2", w.group));
    assert_eq!(
        created["spec"].get("only"),
        None,
        "the storage version's schema prunes what it does not know"
    );
    let seen = w.get(&w.own("v1", "things/a")).await.expect(200);
    assert_eq!(
        (&seen["apiVersion"], &seen["spec"]["size"]),
        (&json!(format!("{}/v1", w.group)), &json!(1))
    );
    let groups = w.get(&format!("/apis/{}", w.group)).await.expect(200);
    assert_eq!(groups["preferredVersion"]["version"], "v2");
}

async fn no_op_write(w: World) {
    install(&w, &crd(&w)).await;
    let created = w
        .post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 1})))
        .await
        .expect(201);
    let again = w.put(&w.own("v1", "things/a"), &created).await.expect(200);
    assert_eq!(
        again["metadata"]["resourceVersion"],
        created["metadata"]["resourceVersion"]
    );
}

async fn list_kind_and_items(w: World) {
    install(&w, &crd(&w)).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 1})))
        .await
        .expect(201);
    let list = w.get(&w.own("v1", "things")).await.expect(200);
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("ThingList"), &json!("Thing"))
    );
    assert_eq!(names(&list), ["a"]);
}

async fn cluster_scoped(w: World) {
    let mut crd = crd(&w);
    crd["spec"]["scope"] = json!("Cluster");
    install(&w, &crd).await;
    let path = format!("/apis/{}/v1/things", w.group);
    let mut object = thing(&w, "v1", "a", &json!({"size": 1}));
    object["metadata"]["namespace"] = json!("ignored");
    let answer = w.post(&path, &object).await;
    if answer.code == 201 {
        assert_eq!(answer.body["metadata"].get("namespace"), None);
    } else {
        answer.refused(400, "BadRequest");
    }
    assert_eq!(w.get(&w.own("v1", "things")).await.code, 404);
}

async fn defaults_on_read(w: World) {
    let crd = crd(&w);
    install(&w, &crd).await;
    w.post(&w.own("v1", "things"), &thing(&w, "v1", "a", &json!({"size": 1})))
        .await
        .expect(201);
    let patch = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/late",
        "value": {"type": "string", "default": "now"}}]);
    w.patch(&format!("{CRDS}/things.{}", w.group), JSON, &patch)
        .await
        .expect(200);
    w.until(
        &w.own("v1", "things/a"),
        "the new default to show in old objects",
        |a| a.body["spec"]["late"] == "now",
    )
    .await;
}
