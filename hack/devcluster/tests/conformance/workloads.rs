//! Controllers: what they make of Deployments, Services and pods.

use serde_json::{Value, json};

use crate::world::{Answer, MERGE, World, deployment, names};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![workloads:
        deployment_rolls_out, observed_generation, rolling_update_keeps_old_replica_set, scaled_from_zero_never_exceeds_its_deadline,
        progress_deadline, recreate, deleting_a_deployment_takes_its_pods, replaced_pod, endpoints_follow_readiness,
        adoption_by_selector, paused, revision_annotation, default_service_account,
    ]
}

fn status<'a>(answer: &'a Answer, key: &str) -> &'a Value {
    &answer.body["status"][key]
}

async fn rolled_out(w: &World, name: &str, replicas: i64) -> Value {
    let answer = w
        .until(&w.apps(&format!("deployments/{name}")), "the rollout", |a| {
            a.body["metadata"]["generation"] == a.body["status"]["observedGeneration"]
                && status(a, "updatedReplicas").as_i64().unwrap_or(0) == replicas
                && status(a, "availableReplicas").as_i64().unwrap_or(0) == replicas
                && status(a, "replicas").as_i64().unwrap_or(0) == replicas
        })
        .await;
    answer.body
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|c| c["type"] == kind))
        .unwrap_or(&Value::Null)
}

async fn create(w: &World, object: &Value) {
    w.post(&w.apps("deployments"), object).await.expect(201);
}

async fn deployment_rolls_out(w: World) {
    create(&w, &deployment("a", "app:1", 2)).await;
    let object = rolled_out(&w, "a", 2).await;
    assert_eq!(object["status"]["readyReplicas"], 2);
    let available = w
        .until(&w.apps("deployments/a"), "Available", |a| {
            condition(&a.body, "Available")["status"] == "True"
        })
        .await
        .body;
    assert_eq!(
        condition(&available, "Available")["reason"],
        "MinimumReplicasAvailable"
    );
    let done = w
        .until(&w.apps("deployments/a"), "NewReplicaSetAvailable", |a| {
            condition(&a.body, "Progressing")["reason"] == "NewReplicaSetAvailable"
        })
        .await
        .body;
    assert_eq!(condition(&done, "Progressing")["status"], "True");
    let sets = w
        .get(&w.apps("replicasets?labelSelector=app%3Da"))
        .await
        .expect(200);
    let set = &sets["items"][0];
    assert_eq!(
        set["metadata"]["ownerReferences"][0]["uid"],
        object["metadata"]["uid"]
    );
    assert_eq!(set["metadata"]["ownerReferences"][0]["controller"], true);
    let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(set["metadata"]["name"], format!("a-{hash}"));
    let pods = w
        .get(&w.core(&format!("pods?labelSelector=pod-template-hash%3D{hash}")))
        .await
        .expect(200);
    assert_eq!(names(&pods).len(), 2);
}

async fn observed_generation(w: World) {
    create(&w, &deployment("a", "app:1", 1)).await;
    rolled_out(&w, "a", 1).await;
    let patched = w
        .patch(&w.apps("deployments/a"), MERGE, &json!({"spec": {"replicas": 2}}))
        .await
        .expect(200);
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(rolled_out(&w, "a", 2).await["status"]["observedGeneration"], 2);
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

async fn rolling_update_keeps_old_replica_set(w: World) {
    create(&w, &deployment("a", "app:1", 2)).await;
    rolled_out(&w, "a", 2).await;
    w.patch(&w.apps("deployments/a"), MERGE, &image("app:2"))
        .await
        .expect(200);
    rolled_out(&w, "a", 2).await;
    let sets = w
        .until(
            &w.apps("replicasets?labelSelector=app%3Da"),
            "the old set to be empty",
            |a| {
                let items = a.body["items"].as_array().unwrap();
                items.len() == 2 && items.iter().filter(|i| i["spec"]["replicas"] == 0).count() == 1
            },
        )
        .await
        .body;
    let current = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["spec"]["replicas"] == 2)
        .unwrap();
    assert_eq!(
        current["spec"]["template"]["spec"]["containers"][0]["image"],
        "app:2"
    );
    assert_eq!(
        current["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
}

/// The fact our own deadline rests on: only a new template starts the deadline, scaling does not.
async fn scaled_from_zero_never_exceeds_its_deadline(w: World) {
    let mut object = deployment("a", "never-ready:1", 0);
    object["spec"]["progressDeadlineSeconds"] = json!(2);
    create(&w, &object).await;
    w.until(&w.apps("deployments/a"), "the empty rollout", |a| {
        condition(&a.body, "Progressing")["reason"] == "NewReplicaSetAvailable"
    })
    .await;
    w.patch(&w.apps("deployments/a"), MERGE, &json!({"spec": {"replicas": 1}}))
        .await
        .expect(200);
    w.until(&w.apps("deployments/a"), "Available to turn", |a| {
        condition(&a.body, "Available")["status"] == "False"
    })
    .await;
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 5 {
        let now = w.get(&w.apps("deployments/a")).await.expect(200);
        let progressing = condition(&now, "Progressing");
        assert_eq!(
            (&progressing["status"], &progressing["reason"]),
            (&json!("True"), &json!("NewReplicaSetAvailable"))
        );
        w.pause().await;
    }
}

async fn progress_deadline(w: World) {
    let mut object = deployment("a", "never-ready:1", 1);
    object["spec"]["progressDeadlineSeconds"] = json!(2);
    create(&w, &object).await;
    let stuck = w
        .until(&w.apps("deployments/a"), "the deadline", |a| {
            condition(&a.body, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        })
        .await
        .body;
    let progressing = condition(&stuck, "Progressing");
    assert_eq!(progressing["status"], "False");
    let message = progressing["message"].as_str().unwrap();
    assert!(
        message.starts_with("ReplicaSet \"a-") && message.ends_with("\" has timed out progressing."),
        "{message}"
    );
}

async fn recreate(w: World) {
    let mut object = deployment("a", "app:1", 1);
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    create(&w, &object).await;
    rolled_out(&w, "a", 1).await;
    w.patch(&w.apps("deployments/a"), MERGE, &image("app:2"))
        .await
        .expect(200);
    rolled_out(&w, "a", 1).await;
    let pods = w
        .until(&w.core("pods?labelSelector=app%3Da"), "one pod", |a| {
            names(&a.body).len() == 1
        })
        .await
        .body;
    assert_eq!(pods["items"][0]["spec"]["containers"][0]["image"], "app:2");
}

async fn deleting_a_deployment_takes_its_pods(w: World) {
    create(&w, &deployment("a", "app:1", 1)).await;
    rolled_out(&w, "a", 1).await;
    w.delete(
        &w.apps("deployments/a"),
        &json!({"propagationPolicy": "Background"}),
    )
    .await
    .expect(200);
    for path in [
        w.apps("replicasets?labelSelector=app%3Da"),
        w.core("pods?labelSelector=app%3Da"),
    ] {
        w.until(&path, "to be empty", |a| names(&a.body).is_empty()).await;
    }
}

async fn replaced_pod(w: World) {
    create(&w, &deployment("a", "app:1", 1)).await;
    rolled_out(&w, "a", 1).await;
    let pods = w.get(&w.core("pods?labelSelector=app%3Da")).await.expect(200);
    let name = names(&pods)[0].to_owned();
    let deleted = w
        .delete(
            &w.core(&format!("pods/{name}")),
            &json!({"gracePeriodSeconds": 1}),
        )
        .await
        .expect(200);
    assert!(
        deleted["metadata"]["deletionTimestamp"].is_string(),
        "a running pod is stopped first: {deleted}"
    );
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 1);
    w.until(&w.core("pods?labelSelector=app%3Da"), "another pod", |a| {
        names(&a.body).iter().all(|n| *n != name) && names(&a.body).len() == 1
    })
    .await;
}

/// Newer API servers refuse endpoints in 127.0.0.0/8, where the pods of some test clusters are.
async fn takes_loopback_endpoints(w: &World) -> bool {
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "probe"},
        "subsets": [{"addresses": [{"ip": "127.1.0.1"}], "ports": [{"port": 80}]}]});
    w.post(&format!("{}?dryRun=All", w.core("endpoints")), &endpoints)
        .await
        .code
        == 201
}

async fn endpoints_follow_readiness(w: World) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 9898}]}});
    w.post(&w.core("services"), &service).await.expect(201);
    create(&w, &deployment("a", "app:1", 2)).await;
    rolled_out(&w, "a", 2).await;
    let pods = w.get(&w.core("pods?labelSelector=app%3Da")).await.expect(200);
    let loopback = pods["items"][0]["status"]["podIP"]
        .as_str()
        .is_some_and(|ip| ip.starts_with("127."));
    if loopback && !takes_loopback_endpoints(&w).await {
        return;
    }
    let endpoints = w
        .until(&w.core("endpoints/a"), "two addresses", |a| {
            a.body["subsets"][0]["addresses"]
                .as_array()
                .is_some_and(|l| l.len() == 2)
        })
        .await
        .body;
    assert_eq!(
        endpoints["subsets"][0]["ports"],
        json!([{"name": "http", "port": 9898, "protocol": "TCP"}])
    );
    let slices = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector=kubernetes.io/service-name%3Da",
        w.namespace
    );
    w.until(&slices, "two endpoints", |a| {
        a.body["items"][0]["endpoints"]
            .as_array()
            .is_some_and(|l| l.len() == 2)
    })
    .await;
    w.patch(
        &w.core("services/a"),
        MERGE,
        &json!({"spec": {"selector": {"app": "b"}}}),
    )
    .await
    .expect(200);
    w.until(&w.core("endpoints/a"), "no addresses", |a| {
        a.body
            .get("subsets")
            .is_none_or(|s| s.as_array().is_none_or(Vec::is_empty))
    })
    .await;
}

async fn adoption_by_selector(w: World) {
    create(&w, &deployment("a", "app:1", 1)).await;
    rolled_out(&w, "a", 1).await;
    w.delete(&w.apps("deployments/a"), &json!({"propagationPolicy": "Orphan"}))
        .await
        .expect(200);
    w.until(&w.apps("deployments/a"), "to go", |a| a.code == 404)
        .await;
    let sets = w
        .until(&w.apps("replicasets?labelSelector=app%3Da"), "an orphan", |a| {
            names(&a.body).len() == 1 && a.body["items"][0]["metadata"].get("ownerReferences").is_none()
        })
        .await
        .body;
    create(&w, &deployment("a", "app:1", 1)).await;
    let after = rolled_out(&w, "a", 1).await;
    let adopted = w
        .until(
            &w.apps("replicasets?labelSelector=app%3Da"),
            "its adoption",
            |a| a.body["items"][0]["metadata"]["ownerReferences"][0]["uid"] == after["metadata"]["uid"],
        )
        .await
        .body;
    assert_eq!(names(&adopted), names(&sets));
}

async fn paused(w: World) {
    create(&w, &deployment("a", "app:1", 1)).await;
    rolled_out(&w, "a", 1).await;
    let mut patch = image("app:2");
    patch["spec"]["paused"] = json!(true);
    w.patch(&w.apps("deployments/a"), MERGE, &patch).await.expect(200);
    w.until(&w.apps("deployments/a"), "the pause to be seen", |a| {
        a.body["status"]["observedGeneration"] == 2
            && condition(&a.body, "Progressing")["reason"] == "DeploymentPaused"
    })
    .await;
    assert_eq!(
        names(
            &w.get(&w.apps("replicasets?labelSelector=app%3Da"))
                .await
                .expect(200)
        )
        .len(),
        1
    );
    w.patch(
        &w.apps("deployments/a"),
        MERGE,
        &json!({"spec": {"paused": false}}),
    )
    .await
    .expect(200);
    rolled_out(&w, "a", 1).await;
    assert_eq!(
        names(
            &w.get(&w.apps("replicasets?labelSelector=app%3Da"))
                .await
                .expect(200)
        )
        .len(),
        2
    );
}

async fn revision_annotation(w: World) {
    create(&w, &deployment("a", "app:1", 0)).await;
    // Each template has to be seen before the next one is written.
    for (tag, expected) in [("app:1", "1"), ("app:2", "2"), ("app:1", "3")] {
        w.patch(&w.apps("deployments/a"), MERGE, &image(tag))
            .await
            .expect(200);
        w.until(&w.apps("deployments/a"), "the revision", |a| {
            a.body["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == expected
        })
        .await;
    }
    assert_eq!(
        names(
            &w.get(&w.apps("replicasets?labelSelector=app%3Da"))
                .await
                .expect(200)
        )
        .len(),
        2,
        "a known template is used again"
    );
}

async fn default_service_account(w: World) {
    w.until(
        &w.core("serviceaccounts/default"),
        "the default service account",
        |a| a.code == 200,
    )
    .await;
}
