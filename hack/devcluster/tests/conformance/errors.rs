//! Refusals that are about no object: paths, methods, tokens, bodies.

use serde_json::json;

use crate::world::{World, deployment};

pub(crate) fn rows() -> Vec<crate::Row> {
    crate::rows![errors:
        not_found_body, unknown_token, no_token, unknown_path, unknown_resource, method_not_allowed, not_json, not_acceptable,
        invalid_body, healthy, yaml_bodies, protobuf_body, access_review, token_request,
    ]
}

async fn not_found_body(w: World) {
    let answer = w.get(&w.apps("deployments/nothing")).await;
    let expected = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "deployments.apps \"nothing\" not found", "reason": "NotFound",
        "details": {"name": "nothing", "group": "apps", "kind": "deployments"}, "code": 404});
    assert_eq!(answer.expect(404), expected);
}

async fn unknown_token(w: World) {
    let mut other = w.clone();
    "no-such-token".clone_into(&mut other.token);
    assert_eq!(
        other.get("/api/v1/namespaces").await.refused(401, "Unauthorized"),
        "Unauthorized"
    );
}

async fn no_token(w: World) {
    let answer = w
        .send("GET", "/api/v1/namespaces", &[("authorization", "")], None)
        .await;
    assert!(matches!(answer.code, 401 | 403), "{}", answer.body);
}

async fn unknown_path(w: World) {
    for path in ["/nothing/here", "/apis/nothing.example.com/v1/things"] {
        let answer = w.get(path).await;
        assert_eq!((answer.code, answer.body), (404, json!("404 page not found\n")));
    }
}

async fn unknown_resource(w: World) {
    let answer = w.get("/apis/apps/v1/things").await;
    assert_eq!(
        answer.refused(404, "NotFound"),
        "the server could not find the requested resource"
    );
}

async fn method_not_allowed(w: World) {
    let answer = w
        .send("PUT", &w.core("configmaps"), &[], Some("{}".to_owned()))
        .await;
    assert_eq!(
        answer.refused(405, "MethodNotAllowed"),
        "the server does not allow this method on the requested resource"
    );
}

async fn not_json(w: World) {
    let headers = [("content-type", "application/json")];
    let answer = w
        .send(
            "POST",
            &w.core("configmaps"),
            &headers,
            Some("{nonsense".to_owned()),
        )
        .await;
    answer.refused(400, "BadRequest");
    // A built-in object need not say its type.
    let answer = w
        .send("POST", &w.core("configmaps"), &headers, Some("{}".to_owned()))
        .await;
    assert_eq!(
        answer.refused(422, "Invalid"),
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
}

async fn not_acceptable(w: World) {
    let answer = w.get_as(&w.core("configmaps"), "text/html").await;
    assert_eq!(answer.code, 406, "{}", answer.body);
    assert_eq!(w.get_as(&w.core("configmaps"), "*/*").await.code, 200);
}

async fn invalid_body(w: World) {
    let mut object = deployment("a", "x:1", 0);
    object["spec"]["replicas"] = json!(-1);
    let answer = w.post(&w.apps("deployments"), &object).await;
    let expected = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Deployment.apps \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "reason": "Invalid",
        "details": {"name": "a", "group": "apps", "kind": "Deployment", "causes": [{"reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0", "field": "spec.replicas"}]},
        "code": 422});
    assert_eq!(answer.expect(422), expected);
}

async fn healthy(w: World) {
    for path in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(w.get(path).await.body, "ok");
    }
    let version = w.get("/version").await.expect(200);
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1."));
}

async fn yaml_bodies(w: World) {
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"yes\"\n";
    let headers = [
        ("content-type", "application/yaml"),
        ("accept", "application/yaml"),
    ];
    let answer = w
        .send("POST", &w.core("configmaps"), &headers, Some(body.to_owned()))
        .await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    assert!(
        answer.body.as_str().unwrap().contains("kind: ConfigMap"),
        "{}",
        answer.body
    );
    assert_eq!(
        w.get(&w.core("configmaps/a")).await.expect(200)["data"],
        json!({"k": "yes"})
    );
}

async fn protobuf_body(w: World) {
    // A ConfigMap named "a", as protobuf.
    let raw = b"\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v";
    let mut body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12".to_vec();
    body.push(u8::try_from(raw.len()).unwrap());
    body.extend_from_slice(raw);
    let headers = [
        ("content-type", "application/vnd.kubernetes.protobuf"),
        ("accept", "application/json"),
    ];
    let text = String::from_utf8(body).unwrap();
    let created = w
        .send("POST", &w.core("configmaps"), &headers, Some(text))
        .await
        .expect(201);
    assert_eq!(created["data"], json!({"k": "v"}));
}

async fn access_review(w: World) {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": w.namespace}}});
    let answer = w
        .post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review)
        .await
        .expect(201);
    assert_eq!(answer["status"]["allowed"], true);
}

async fn token_request(w: World) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}});
    w.post(&w.core("serviceaccounts"), &account).await.expect(201);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let answer = w
        .post(&w.core("serviceaccounts/a/token"), &request)
        .await
        .expect(201);
    let mut other = w.clone();
    answer["status"]["token"]
        .as_str()
        .unwrap()
        .clone_into(&mut other.token);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let who = other
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)
        .await
        .expect(201);
    assert_eq!(
        who["status"]["userInfo"]["username"],
        format!("system:serviceaccount:{}:a", w.namespace)
    );
}
