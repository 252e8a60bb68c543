//! ConversionReview: the API server's terms.

use serde_json::{Value, json};
use verdigris::api::convert::{review, review_bytes};

use crate::{ALPHA, BETA};

fn ask(request: &Value) -> Value {
    let question =
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request});
    let answer = review(question.clone());
    let streamed: Value =
        serde_json::from_slice(&review_bytes(question.to_string().as_bytes()).answer).unwrap();
    assert_eq!(streamed, answer, "over the wire");
    assert_eq!(answer["apiVersion"], "apiextensions.k8s.io/v1");
    assert_eq!(answer["kind"], "ConversionReview");
    answer["response"].clone()
}

#[test]
fn mixed_versions_come_back_in_order_and_number() {
    let object = |version: &str, name: &str| json!({"apiVersion": version, "kind": "Canary", "metadata": {"name": name}});
    let objects = json!([
        object(ALPHA, "a"),
        object(BETA, "b"),
        object("flagger.app/v1alpha1", "c"),
        object(ALPHA, "a")
    ]);
    let response = ask(&json!({"uid": "u-1", "desiredAPIVersion": BETA, "objects": objects}));
    assert_eq!(response["uid"], "u-1");
    assert_eq!(response["result"], json!({"status": "Success"}));
    assert_eq!(
        response["convertedObjects"],
        json!([
            object(BETA, "a"),
            object(BETA, "b"),
            object(BETA, "c"),
            object(BETA, "a")
        ])
    );
}

#[test]
fn no_objects_are_no_mistake() {
    let response = ask(&json!({"uid": "u", "desiredAPIVersion": BETA, "objects": []}));
    assert_eq!(response["result"]["status"], "Success");
    assert_eq!(response["convertedObjects"], json!([]));
}

#[test]
fn one_refusal_fails_the_review_and_names_the_object() {
    let good = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {"name": "a"}});
    let bad = json!({"apiVersion": "flagger.app/v7", "kind": "Canary", "metadata": {"name": "b", "namespace": "test"}});
    let response = ask(&json!({"uid": "u", "desiredAPIVersion": BETA, "objects": [good, bad, good]}));
    assert_eq!(response["uid"], "u");
    assert_eq!(response["result"]["status"], "Failure");
    let message = response["result"]["message"].as_str().unwrap();
    assert!(message.starts_with("Canary test/b: apiVersion:"), "{message}");
    assert_eq!(response["convertedObjects"], json!([]));
}

#[test]
fn the_order_of_keys_does_not_matter() {
    let object = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {"name": "a"}});
    let response = ask(&json!({"objects": [object], "desiredAPIVersion": BETA, "uid": "u"}));
    assert_eq!(response["uid"], "u");
    assert_eq!(response["convertedObjects"][0]["apiVersion"], BETA);
}

#[test]
fn a_review_without_a_question_is_refused() {
    for request in [
        json!(null),
        json!({"uid": "u"}),
        json!({"uid": "u", "objects": []}),
    ] {
        let question = json!({"request": request});
        for answer in [
            review(question.clone()),
            serde_json::from_slice(&review_bytes(question.to_string().as_bytes()).answer).unwrap(),
        ] {
            assert_eq!(answer["response"]["result"]["status"], "Failure", "{question}");
        }
    }
    let answer: Value =
        serde_json::from_slice(&review_bytes(b"{\"request\":{\"uid\":\"u\",").answer).unwrap();
    assert_eq!(answer["response"]["uid"], "u");
    assert_eq!(answer["response"]["result"]["status"], "Failure");
}

/// A review of one object whose spec nests `depth` levels deep.
fn nested(depth: usize) -> String {
    let (open, close) = ("{\"a\":[".repeat(depth / 2), "]}".repeat(depth / 2));
    format!(
        "{{\"request\":{{\"uid\":\"u\",\"desiredAPIVersion\":\"{BETA}\",\"objects\":[{{\"apiVersion\":\"{ALPHA}\",\
         \"kind\":\"Canary\",\"metadata\":{{}},\"spec\":{{\"canaryAnalysis\":{open}{close}}}}}]}}}}"
    )
}

#[test]
fn deep_nesting_is_carried_and_bottomless_nesting_refused() {
    let answer: Value = serde_json::from_slice(&review_bytes(nested(100).as_bytes()).answer).unwrap();
    assert_eq!(answer["response"]["result"]["status"], "Success");
    let answer: Value = serde_json::from_slice(&review_bytes(nested(20_000).as_bytes()).answer).unwrap();
    assert_eq!(answer["response"]["uid"], "u");
    assert_eq!(answer["response"]["result"]["status"], "Failure");
    assert!(
        answer["response"]["result"]["message"]
            .as_str()
            .unwrap()
            .contains("recursion limit")
    );
}

#[test]
fn what_a_log_wants_to_know_is_said() {
    let objects = json!([
        {"apiVersion": ALPHA, "kind": "Canary", "spec": {"old": "x".repeat(300 * 1024)}},
        {"apiVersion": ALPHA, "kind": "Canary"},
    ]);
    let body = json!({"request": {"uid": "u", "desiredAPIVersion": BETA, "objects": objects}}).to_string();
    let reviewed = review_bytes(body.as_bytes());
    assert_eq!((reviewed.uid.as_str(), reviewed.to.as_str()), ("u", BETA));
    assert_eq!(
        (reviewed.objects, reviewed.stashes_dropped, reviewed.failure),
        (2, 1, None)
    );
    let reviewed = review_bytes(body.replace("Canary", "Pod").as_bytes());
    assert!(reviewed.failure.unwrap().starts_with("Pod without a name: kind:"));
}
