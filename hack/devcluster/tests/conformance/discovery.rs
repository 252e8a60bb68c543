//! What the cluster says it serves.

use serde_json::{Value, json};

use crate::world::World;

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![discovery: legacy, aggregated, preferred_versions, openapi_v3, openapi_names_the_types]
}

fn find<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|e| e[key] == name)
        .unwrap_or(&Value::Null)
}

async fn legacy(w: World) {
    assert_eq!(w.get("/api").await.expect(200)["versions"], json!(["v1"]));
    let apps = w.get("/apis/apps/v1").await.expect(200);
    assert_eq!(apps["kind"], "APIResourceList");
    let deployments = find(&apps["resources"], "name", "deployments");
    assert_eq!(
        (
            &deployments["kind"],
            &deployments["singularName"],
            &deployments["shortNames"],
            &deployments["categories"]
        ),
        (
            &json!("Deployment"),
            &json!("deployment"),
            &json!(["deploy"]),
            &json!(["all"])
        )
    );
    assert_eq!(
        deployments["verbs"],
        json!([
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch"
        ])
    );
    let scale = find(&apps["resources"], "name", "deployments/scale");
    assert_eq!(
        (&scale["group"], &scale["kind"]),
        (&json!("autoscaling"), &json!("Scale"))
    );
    let status = find(&apps["resources"], "name", "deployments/status");
    assert_eq!(status["verbs"], json!(["get", "patch", "update"]));
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

async fn aggregated(w: World) {
    let all = w.get_as("/apis", AGGREGATED).await.expect(200);
    assert_eq!(
        (&all["kind"], &all["apiVersion"]),
        (&json!("APIGroupDiscoveryList"), &json!("apidiscovery.k8s.io/v2"))
    );
    let apps = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["metadata"]["name"] == "apps")
        .unwrap();
    let resource = find(&apps["versions"][0]["resources"], "resource", "deployments");
    assert_eq!(
        resource["responseKind"],
        json!({"group": "", "version": "", "kind": "Deployment"})
    );
    assert_eq!(
        (&resource["scope"], &resource["singularResource"]),
        (&json!("Namespaced"), &json!("deployment"))
    );
    let scale = find(&resource["subresources"], "subresource", "scale");
    assert_eq!(
        scale["responseKind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    let core = w.get_as("/api", AGGREGATED).await.expect(200);
    assert_eq!(core["items"][0]["versions"][0]["version"], "v1");
}

async fn preferred_versions(w: World) {
    let groups = w.get("/apis").await.expect(200);
    let autoscaling = find(&groups["groups"], "name", "autoscaling");
    assert_eq!(autoscaling["preferredVersion"]["groupVersion"], "autoscaling/v2");
    let one = w.get("/apis/autoscaling").await.expect(200);
    assert_eq!(
        (&one["kind"], &one["preferredVersion"]["version"]),
        (&json!("APIGroup"), &json!("v2"))
    );
}

async fn openapi_v3(w: World) {
    let index = w.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = w.get(url).await.expect(200);
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
}

async fn openapi_names_the_types(w: World) {
    let document = w.get("/openapi/v3/apis/apps/v1").await.expect(200);
    let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        schema["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let pod = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(pod["x-kubernetes-patch-merge-key"], "name");
}
