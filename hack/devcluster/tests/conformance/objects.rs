//! Creation, defaults, updates and their locking, generation, status.

use serde_json::{Value, json};

use crate::world::{MERGE, STRATEGIC, World, causes, deployment};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![objects:
        create_stamps_metadata, generate_name, create_twice, name_must_be_dns, name_required, wrong_namespace,
        missing_namespace, wrong_kind, wrong_version, revision_on_create, deployment_defaults, pod_defaults,
        service_defaults, service_ports, service_cluster_ip_is_kept, service_headless, hpa_defaults,
        webhook_configuration_defaults, secret_string_data, optimistic_lock,
        unconditional_update, update_missing, name_mismatch, uid_mismatch, no_op_update_keeps_revision,
        generation_counts_spec_only, generation_counts_annotations_of_deployments, status_is_apart, spec_is_apart_from_status, selector_immutable,
        selector_must_match, containers_required, dry_run_create, dry_run_update, scale_subresource, scale_conflict,
        immutable_config_map, event_two_apis, hpa_two_versions, lease_micro_time, quantities_are_canonical,
        unknown_field_warns, unknown_field_strict, unknown_field_ignored, mistyped_field, nulls_are_absent, empty_maps_are_absent,
    ]
}

async fn create_stamps_metadata(w: World) {
    let object = w.config_map("a", json!({"k": "v"})).await;
    let meta = &object["metadata"];
    assert!(meta["uid"].as_str().unwrap().len() == 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert!(meta["resourceVersion"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(meta["namespace"], w.namespace.as_str());
    assert_eq!(meta["managedFields"][0]["manager"], "conformance");
    assert_eq!(meta["managedFields"][0]["operation"], "Update");
    assert_eq!(
        meta["managedFields"][0]["fieldsV1"],
        json!({"f:data": {".": {}, "f:k": {}}})
    );
    assert_eq!(meta.get("generation"), None, "a ConfigMap has no generation");
}

async fn generate_name(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}});
    let first = w.post(&w.core("configmaps"), &object).await.expect(201);
    let second = w.post(&w.core("configmaps"), &object).await.expect(201);
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
    let name = first["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
}

async fn create_twice(w: World) {
    w.config_map("a", json!({})).await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let answer = w.post(&w.core("configmaps"), &object).await;
    assert_eq!(answer.body["details"], json!({"name": "a", "kind": "configmaps"}));
    assert_eq!(
        answer.refused(409, "AlreadyExists"),
        "configmaps \"a\" already exists"
    );
}

async fn name_must_be_dns(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "A_b"}});
    let answer = w.post(&w.core("configmaps"), &object).await;
    assert_eq!(causes(&answer.body), [("metadata.name", "FieldValueInvalid")]);
    let message = answer.refused(422, "Invalid");
    let expected = "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist \
        of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
        regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    assert_eq!(message, expected);
}

async fn name_required(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let answer = w.post(&w.core("configmaps"), &object).await;
    let message = answer.refused(422, "Invalid");
    assert_eq!(
        message,
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
}

async fn wrong_namespace(w: World) {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "other"}});
    let message = w
        .post(&w.core("configmaps"), &object)
        .await
        .refused(400, "BadRequest");
    assert_eq!(
        message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

async fn missing_namespace(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let message = w
        .post("/api/v1/namespaces/nowhere-at-all/configmaps", &object)
        .await
        .refused(404, "NotFound");
    assert_eq!(message, "namespaces \"nowhere-at-all\" not found");
}

async fn wrong_kind(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    w.post(&w.core("configmaps"), &object)
        .await
        .refused(400, "BadRequest");
}

async fn wrong_version(w: World) {
    let object = json!({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}});
    w.post(&w.apps("deployments"), &object)
        .await
        .refused(400, "BadRequest");
}

async fn revision_on_create(w: World) {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "1"}});
    let answer = w.post(&w.core("configmaps"), &object).await;
    assert_eq!(
        answer.body["message"],
        "resourceVersion should not be set on objects to be created"
    );
}

async fn deployment_defaults(w: World) {
    let object = w
        .post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    assert_eq!(object["metadata"]["generation"], 1);
    let spec = &object["spec"];
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    let expected = json!({
        "containers": [{"name": "main", "image": "x:1", "resources": {}, "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
        "schedulerName": "default-scheduler"});
    assert_eq!(spec["template"]["spec"], expected);
    let mut minimal = deployment("b", "x", 0);
    minimal["spec"].as_object_mut().unwrap().remove("replicas");
    minimal["spec"]["strategy"] = json!({"type": "Recreate"});
    let object = w
        .post(&format!("{}?dryRun=All", w.apps("deployments")), &minimal)
        .await
        .expect(201);
    assert_eq!(object["spec"]["replicas"], 1);
    assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"],
        "Always"
    );
}

async fn pod_defaults(w: World) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [
        {"name": "a", "image": "x:1", "ports": [{"containerPort": 80}],
         "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"tcpSocket": {"port": 80}}}],
        "volumes": [{"name": "c", "configMap": {"name": "c"}}]}});
    let mut template = deployment("a", "x:1", 0);
    template["spec"]["template"]["spec"] = pod["spec"].clone();
    let object = w
        .post(&format!("{}?dryRun=All", w.apps("deployments")), &template)
        .await
        .expect(201);
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["ports"],
        json!([{"containerPort": 80, "protocol": "TCP"}])
    );
    let probe = json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3});
    assert_eq!(container["livenessProbe"], probe);
    assert_eq!(container["readinessProbe"]["failureThreshold"], 3);
    assert_eq!(
        object["spec"]["template"]["spec"]["volumes"][0]["configMap"]["defaultMode"],
        420
    );
}

fn service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

async fn service_defaults(w: World) {
    let object = service("a", &json!({"selector": {"app": "a"}, "ports": [{"port": 80}]}));
    let spec = w.post(&w.core("services"), &object).await.expect(201)["spec"].clone();
    assert_eq!(
        spec["ports"],
        json!([{"protocol": "TCP", "port": 80, "targetPort": 80}])
    );
    assert_eq!(
        (&spec["type"], &spec["sessionAffinity"]),
        (&json!("ClusterIP"), &json!("None"))
    );
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    assert_eq!(spec["internalTrafficPolicy"], "Cluster");
    assert_eq!(
        (&spec["ipFamilies"], &spec["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
}

async fn service_ports(w: World) {
    let object = service(
        "a",
        &json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 80}, {"port": 99999}]}),
    );
    let answer = w.post(&w.core("services"), &object).await;
    let mut found = causes(&answer.body);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("spec.ports[1]", "FieldValueDuplicate"),
            ("spec.ports[1].name", "FieldValueDuplicate"),
            ("spec.ports[2].name", "FieldValueRequired"),
            ("spec.ports[2].port", "FieldValueInvalid"),
            ("spec.ports[2].targetPort", "FieldValueInvalid"),
        ]
    );
    let nothing = w
        .post(&w.core("services"), &service("b", &json!({"ports": []})))
        .await;
    assert_eq!(causes(&nothing.body), [("spec.ports", "FieldValueRequired")]);
}

async fn service_cluster_ip_is_kept(w: World) {
    let object = service("a", &json!({"ports": [{"port": 80}]}));
    let created = w.post(&w.core("services"), &object).await.expect(201);
    let mut replaced = object.clone();
    replaced["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
    replaced["spec"]["ports"][0]["port"] = json!(81);
    let replaced = w.put(&w.core("services/a"), &replaced).await.expect(200);
    assert_eq!(replaced["spec"]["clusterIP"], created["spec"]["clusterIP"]);
    assert_eq!(replaced["spec"]["ports"][0]["targetPort"], 81);
    let moved = w
        .patch(
            &w.core("services/a"),
            MERGE,
            &json!({"spec": {"clusterIP": "10.96.250.250", "clusterIPs": ["10.96.250.250"]}}),
        )
        .await;
    assert_eq!(causes(&moved.body), [("spec.clusterIPs[0]", "FieldValueInvalid")]);
}

async fn service_headless(w: World) {
    let object = service("a", &json!({"clusterIP": "None", "selector": {"a": "b"}}));
    let object = w.post(&w.core("services"), &object).await.expect(201);
    assert_eq!(object["spec"]["clusterIPs"], json!(["None"]));
}

async fn hpa_defaults(w: World) {
    let path = format!(
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        w.namespace
    );
    let object = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "maxReplicas": 3}});
    let created = w.post(&path, &object).await.expect(201);
    assert_eq!(created["spec"]["minReplicas"], 1);
    assert_eq!(
        created["spec"]["metrics"][0]["resource"]["target"],
        json!({"type": "Utilization", "averageUtilization": 80})
    );
    let mut wrong = object;
    wrong["metadata"]["name"] = json!("b");
    wrong["spec"]["minReplicas"] = json!(5);
    let answer = w.post(&path, &wrong).await;
    assert_eq!(causes(&answer.body), [("spec.maxReplicas", "FieldValueInvalid")]);
}

async fn webhook_configuration_defaults(w: World) {
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": w.namespace},
        "webhooks": [{"name": "a.b.c", "clientConfig": {"service": {"name": "a", "namespace": "b"}}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "namespaceSelector": {"matchLabels": {"no": "where"}},
            "rules": [{"apiGroups": ["a"], "apiVersions": ["v1"], "resources": ["b"], "operations": ["CREATE"]}]}]});
    let hook = w.post(path, &object).await.expect(201)["webhooks"][0].clone();
    assert_eq!(hook["failurePolicy"], "Fail");
    assert_eq!(hook["matchPolicy"], "Equivalent");
    assert_eq!(hook["timeoutSeconds"], 10);
    assert_eq!(hook["objectSelector"], json!({}));
    assert_eq!(hook["rules"][0]["scope"], "*");
    assert_eq!(hook["clientConfig"]["service"]["port"], 443);
    let mut wrong = object;
    wrong["metadata"]["name"] = json!("b");
    wrong["webhooks"][0]["timeoutSeconds"] = json!(31);
    wrong["webhooks"][0]["sideEffects"] = json!("Some");
    let answer = w.post(path, &wrong).await;
    let mut found = causes(&answer.body);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("webhooks[0].sideEffects", "FieldValueNotSupported"),
            ("webhooks[0].timeoutSeconds", "FieldValueInvalid")
        ]
    );
}

async fn secret_string_data(w: World) {
    let object =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "b"}});
    let created = w.post(&w.core("secrets"), &object).await.expect(201);
    assert_eq!(created["data"], json!({"a": "Yg=="}));
    assert_eq!(created["type"], "Opaque");
    assert_eq!(created.get("stringData"), None);
}

async fn optimistic_lock(w: World) {
    let first = w.config_map("a", json!({"k": "1"})).await;
    let mut second = first.clone();
    second["data"]["k"] = json!("2");
    w.put(&w.core("configmaps/a"), &second).await.expect(200);
    let mut late = first;
    late["data"]["k"] = json!("3");
    let message = w
        .put(&w.core("configmaps/a"), &late)
        .await
        .refused(409, "Conflict");
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest \
         version and try again"
    );
    let patch =
        json!({"metadata": {"resourceVersion": late["metadata"]["resourceVersion"]}, "data": {"k": "4"}});
    w.patch(&w.core("configmaps/a"), MERGE, &patch)
        .await
        .refused(409, "Conflict");
}

async fn unconditional_update(w: World) {
    w.config_map("a", json!({"k": "1"})).await;
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "2"}});
    let updated = w.put(&w.core("configmaps/a"), &object).await.expect(200);
    assert_eq!(updated["data"]["k"], "2");
}

async fn update_missing(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let message = w
        .put(&w.core("configmaps/a"), &object)
        .await
        .refused(404, "NotFound");
    assert_eq!(message, "configmaps \"a\" not found");
}

async fn name_mismatch(w: World) {
    w.config_map("a", json!({})).await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    let message = w
        .put(&w.core("configmaps/a"), &object)
        .await
        .refused(400, "BadRequest");
    assert_eq!(
        message,
        "the name of the object (b) does not match the name on the URL (a)"
    );
}

async fn uid_mismatch(w: World) {
    let mut object = w.config_map("a", json!({})).await;
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    object["metadata"]["uid"] = json!("other");
    let message = w
        .put(&w.core("configmaps/a"), &object)
        .await
        .refused(409, "Conflict");
    assert_eq!(
        message,
        format!(
            "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: /registry/configmaps/{}/a, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: {uid}",
            w.namespace
        )
    );
}

async fn no_op_update_keeps_revision(w: World) {
    let object = w.config_map("a", json!({"k": "1"})).await;
    let again = w.put(&w.core("configmaps/a"), &object).await.expect(200);
    assert_eq!(
        again["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
    let patched = w
        .patch(&w.core("configmaps/a"), MERGE, &json!({"data": {"k": "1"}}))
        .await
        .expect(200);
    assert_eq!(
        patched["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
}

async fn generation_counts_spec_only(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let path = w.apps("deployments/a");
    let labelled = w
        .patch(&path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    let changed = w
        .patch(&path, MERGE, &json!({"spec": {"paused": true}}))
        .await
        .expect(200);
    assert_eq!(changed["metadata"]["generation"], 2);
    let forced = w
        .patch(&path, MERGE, &json!({"metadata": {"generation": 40}}))
        .await
        .expect(200);
    assert_eq!(forced["metadata"]["generation"], 2);
}

/// A Deployment's annotations count as desired state, because its controller copies them.
async fn generation_counts_annotations_of_deployments(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let path = w.apps("deployments/a");
    let annotated = w
        .patch(&path, MERGE, &json!({"metadata": {"annotations": {"a": "b"}}}))
        .await
        .expect(200);
    assert_eq!(annotated["metadata"]["generation"], 2);
    let through_status = json!({"metadata": {"annotations": {"c": "d"}, "labels": {"e": "f"}}});
    let status = w
        .patch(&w.apps("deployments/a/status"), MERGE, &through_status)
        .await
        .expect(200);
    assert_eq!(status["metadata"]["generation"], 2);
    assert_eq!(
        status["metadata"]["annotations"]["c"], "d",
        "a status write of a built-in type may annotate"
    );
    assert_eq!(status["metadata"].get("labels"), None, "but not label");
}

async fn status_is_apart(w: World) {
    let path = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", w.namespace);
    let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}, "status": {"observedGeneration": 40}});
    let created = w.post(&path, &object).await.expect(201);
    assert_ne!(created["status"]["observedGeneration"], 40);
    let patch = json!({"status": {"observedGeneration": 40}, "metadata": {"labels": {"a": "b"}}});
    let patched = w.patch(&format!("{path}/a"), MERGE, &patch).await.expect(200);
    assert_eq!(patched["metadata"]["labels"], json!({"a": "b"}));
    assert_ne!(patched["status"]["observedGeneration"], 40);
}

async fn spec_is_apart_from_status(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let patch = json!({"status": {"collisionCount": 3}, "spec": {"replicas": 9}});
    let patched = w
        .patch(&w.apps("deployments/a/status"), MERGE, &patch)
        .await
        .expect(200);
    assert_eq!(patched["spec"]["replicas"], 0);
    assert_eq!(patched["status"]["collisionCount"], 3);
    assert_eq!(patched["metadata"]["generation"], 1);
}

async fn selector_immutable(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let other = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}});
    let answer = w.patch(&w.apps("deployments/a"), MERGE, &other).await;
    assert_eq!(
        answer.refused(422, "Invalid"),
        "Deployment.apps \"a\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"
    );
}

async fn selector_must_match(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["metadata"]["labels"] = json!({"app": "z"});
    assert_eq!(
        w.post(&w.apps("deployments"), &object)
            .await
            .refused(422, "Invalid"),
        "Deployment.apps \"a\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"z\"}: `selector` does not match \
         template `labels`"
    );
}

async fn containers_required(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["spec"]["containers"] = json!([]);
    let answer = w.post(&w.apps("deployments"), &object).await;
    assert_eq!(
        causes(&answer.body),
        [("spec.template.spec.containers", "FieldValueRequired")]
    );
    object["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "A"}, {"name": "b", "image": "x"}, {"name": "b", "image": "x"}]);
    let answer = w.post(&w.apps("deployments"), &object).await;
    let mut found = causes(&answer.body);
    found.sort_unstable();
    let base = "spec.template.spec.containers";
    assert_eq!(
        found,
        [
            (format!("{base}[0].image").as_str(), "FieldValueRequired"),
            (format!("{base}[0].name").as_str(), "FieldValueInvalid"),
            (format!("{base}[2].name").as_str(), "FieldValueDuplicate"),
        ]
    );
}

async fn dry_run_create(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let made = w
        .post(&format!("{}?dryRun=All", w.core("configmaps")), &object)
        .await
        .expect(201);
    assert!(made["metadata"]["uid"].is_string());
    w.get(&w.core("configmaps/a")).await.refused(404, "NotFound");
    let wrong = w
        .post(&format!("{}?dryRun=Some", w.core("configmaps")), &object)
        .await;
    assert_eq!(wrong.code, 422, "{}", wrong.body);
}

async fn dry_run_update(w: World) {
    let object = w.config_map("a", json!({"k": "1"})).await;
    let path = w.core("configmaps/a");
    let patched = w
        .patch(&format!("{path}?dryRun=All"), MERGE, &json!({"data": {"k": "2"}}))
        .await
        .expect(200);
    assert_eq!(patched["data"]["k"], "2");
    assert_eq!(w.get(&path).await.expect(200), object);
    w.delete(&path, &json!({"dryRun": ["All"]})).await.expect(200);
    w.send("DELETE", &format!("{path}?dryRun=All"), &[], None)
        .await
        .expect(200);
    w.get(&path).await.expect(200);
    // With a body, the query does not count.
    w.delete(&format!("{path}?dryRun=All"), &json!({}))
        .await
        .expect(200);
    w.get(&path).await.refused(404, "NotFound");
}

async fn scale_subresource(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let path = w.apps("deployments/a/scale");
    let scale = w.get(&path).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(scale["status"]["selector"], "app=a");
    assert_eq!(scale["spec"], json!({}));
    let scaled = w
        .patch(&path, MERGE, &json!({"spec": {"replicas": 2}}))
        .await
        .expect(200);
    assert_eq!(scaled["spec"]["replicas"], 2);
    let object = w.get(&w.apps("deployments/a")).await.expect(200);
    assert_eq!(
        (&object["spec"]["replicas"], &object["metadata"]["generation"]),
        (&json!(2), &json!(2))
    );
    let entry = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["subresource"] == "scale")
        .unwrap();
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    w.patch(&path, MERGE, &json!({"spec": {"replicas": -1}}))
        .await
        .refused(422, "Invalid");
}

async fn scale_conflict(w: World) {
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let path = w.apps("deployments/a/scale");
    let mut scale = w.get(&path).await.expect(200);
    scale["metadata"]["resourceVersion"] = json!("1");
    scale["spec"]["replicas"] = json!(1);
    w.put(&path, &scale).await.refused(409, "Conflict");
    scale["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(w.put(&path, &scale).await.expect(200)["spec"]["replicas"], 1);
}

async fn immutable_config_map(w: World) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}, "immutable": true});
    w.post(&w.core("configmaps"), &object).await.expect(201);
    let answer = w
        .patch(&w.core("configmaps/a"), MERGE, &json!({"data": {"a": "c"}}))
        .await;
    assert_eq!(
        answer.refused(422, "Invalid"),
        "ConfigMap \"a\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
    );
}

async fn event_two_apis(w: World) {
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a.1"}, "type": "Normal", "reason": "R", "message": "m",
        "involvedObject": {"kind": "ConfigMap", "namespace": w.namespace, "name": "a", "apiVersion": "v1"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
        "source": {"component": "c"}});
    w.post(&w.core("events"), &event).await.expect(201);
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", w.namespace);
    let seen = w.get(&format!("{path}/a.1")).await.expect(200);
    assert_eq!(
        (&seen["note"], &seen["regarding"]["name"]),
        (&json!("m"), &json!("a"))
    );
    assert_eq!(seen["deprecatedSource"]["component"], "c");
    let list = w
        .get(&format!(
            "{}?fieldSelector=involvedObject.name%3Da,reason=R",
            w.core("events")
        ))
        .await
        .expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let list = w
        .get(&format!(
            "{}?fieldSelector=involvedObject.name%3Db",
            w.core("events")
        ))
        .await
        .expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 0);
}

async fn hpa_two_versions(w: World) {
    let v1 = format!(
        "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers",
        w.namespace
    );
    let object = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 55}});
    w.post(&v1, &object).await.expect(201);
    let v2 = w
        .get(&format!("{}/a", v1.replace("/v1/", "/v2/")))
        .await
        .expect(200);
    assert_eq!(
        v2["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 55}}}])
    );
    let mut bare = object.clone();
    bare["metadata"]["name"] = json!("b");
    bare["spec"]
        .as_object_mut()
        .unwrap()
        .remove("targetCPUUtilizationPercentage");
    w.post(&v1, &bare).await.expect(201);
    let defaulted = w
        .get(&format!("{}/b", v1.replace("/v1/", "/v2/")))
        .await
        .expect(200);
    assert_eq!(
        defaulted["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    let back = w.get(&format!("{v1}/a")).await.expect(200);
    assert_eq!(back["spec"]["targetCPUUtilizationPercentage"], 55);
}

async fn lease_micro_time(w: World) {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", w.namespace);
    let object = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000001Z"}});
    let created = w.post(&path, &object).await.expect(201);
    assert_eq!(created["spec"]["renewTime"], "2026-01-01T00:00:00.000001Z");
    let again = w.put(&format!("{path}/a"), &object).await;
    assert_eq!(
        again.code, 422,
        "a Lease is only updated with its resourceVersion: {}",
        again.body
    );
}

async fn quantities_are_canonical(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "100m"}});
    let created = w.post(&w.apps("deployments"), &object).await.expect(201);
    assert_eq!(
        created["spec"]["template"]["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}}),
    );
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "image": "never-ready:1", "resources": {"limits": {"memory": "1Gi"}}}]}});
    let pod = w.post(&format!("{}?dryRun=All", w.core("pods")), &pod).await;
    if pod.code == 201 {
        assert_eq!(
            pod.body["spec"]["containers"][0]["resources"]["requests"],
            json!({"memory": "1Gi"})
        );
    } else {
        assert!(
            pod.body["message"].as_str().unwrap().contains("serviceaccount"),
            "{}",
            pod.body
        );
    }
}

async fn unknown_field_warns(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["replicaz"] = json!(1);
    let answer = w.post(&w.apps("deployments"), &object).await;
    assert_eq!(answer.warnings, ["unknown field \"spec.replicaz\""]);
    assert_eq!(answer.expect(201)["spec"].get("replicaz"), None);
}

async fn unknown_field_strict(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["replicaz"] = json!(1);
    let path = format!("{}?fieldValidation=Strict", w.apps("deployments"));
    assert_eq!(
        w.post(&path, &object).await.refused(400, "BadRequest"),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.replicaz\""
    );
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let path = format!("{}?fieldValidation=Strict", w.apps("deployments/a"));
    let answer = w.patch(&path, STRATEGIC, &json!({"spec": {"replicaz": 2}})).await;
    assert_eq!(causes(&answer.body), [("patch", "FieldValueInvalid")]);
    assert_eq!(
        answer.refused(422, "Invalid"),
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicaz:2]]\": strict decoding error: unknown field \
         \"spec.replicaz\""
    );
    let message = w
        .patch(&path, MERGE, &json!({"spec": {"replicaz": 2}}))
        .await
        .refused(422, "Invalid");
    assert!(
        message.starts_with(" \"\" is invalid: patch: Invalid value: \"{"),
        "{message}"
    );
    assert!(
        message.ends_with(": strict decoding error: unknown field \"spec.replicaz\""),
        "{message}"
    );
}

async fn unknown_field_ignored(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["replicaz"] = json!(1);
    let answer = w
        .post(
            &format!("{}?fieldValidation=Ignore", w.apps("deployments")),
            &object,
        )
        .await;
    assert_eq!((answer.code, answer.warnings.len()), (201, 0));
}

async fn mistyped_field(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["replicas"] = json!("two");
    let message = w
        .post(&w.apps("deployments"), &object)
        .await
        .refused(400, "BadRequest");
    assert!(
        message.starts_with("Deployment in version \"v1\" cannot be handled as a Deployment: "),
        "{message}"
    );
    assert!(message.contains("spec.replicas"), "{message}");
    w.post(&w.apps("deployments"), &deployment("a", "x:1", 0))
        .await
        .expect(201);
    let patch = json!({"spec": {"replicas": "two"}});
    let message = w
        .patch(&w.apps("deployments/a"), MERGE, &patch)
        .await
        .refused(422, "Invalid");
    assert!(
        message.starts_with(" \"\" is invalid: patch: Invalid value: \"{"),
        "{message}"
    );
    assert!(
        message.ends_with(
            ": json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        ),
        "{message}"
    );
}

async fn empty_maps_are_absent(w: World) {
    let created = w.config_map("a", json!({})).await;
    assert_eq!(created.get("data"), None);
    let mut object = deployment("a", "x:1", 0);
    object["metadata"]["annotations"] = json!({});
    object["spec"]["template"]["spec"]["containers"][0]["args"] = json!([]);
    object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let created = w.post(&w.apps("deployments"), &object).await.expect(201);
    assert_eq!(created["metadata"].get("annotations"), None);
    assert_eq!(
        created["spec"]["template"]["spec"]["containers"][0].get("args"),
        None
    );
    assert_eq!(
        created["spec"]["template"]["spec"]["volumes"],
        json!([{"name": "v", "emptyDir": {}}])
    );
}

async fn nulls_are_absent(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
    object["spec"]["template"]["spec"]["nodeSelector"] = Value::Null;
    let created = w.post(&w.apps("deployments"), &object).await.expect(201);
    assert_eq!(
        created["spec"]["template"]["metadata"],
        json!({"labels": {"app": "a"}})
    );
    assert_eq!(created["spec"]["template"]["spec"].get("nodeSelector"), None);
}
