//! An AdmissionReview, as an API server sends it.

use serde_json::{Value, json};

use crate::objects::{self, Shape};

/// The creation of a Canary of about 10 kB that nobody objects to, and that is judged in full.
pub(crate) fn review() -> Vec<u8> {
    let body = objects::review(Shape::New, 1);
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut canary = review["request"]["objects"][0].clone();
    canary["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    // A/B matches need a mesh; this is a blue/green release.
    canary["spec"]["analysis"]
        .as_object_mut()
        .unwrap()
        .remove("match");
    canary.as_object_mut().unwrap().remove("status");
    let kind = json!({"group": "flagger.app", "version": "v1beta1", "kind": "Canary"});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind, "requestKind": kind,
            "resource": {"group": "flagger.app", "version": "v1beta1", "resource": "canaries"},
            "name": canary["metadata"]["name"], "namespace": "test", "operation": "CREATE",
            "object": canary, "oldObject": null, "dryRun": false,
        },
    })
    .to_string()
    .into_bytes()
}
