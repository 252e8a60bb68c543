//! The stash annotation: what stood in its place comes back.

use serde_json::{Value, json};

use crate::{ALPHA, stash_of, to_alpha, to_beta};

/// A v1alpha3 object that needs a stash.
fn needy(metadata: &Value) -> Value {
    json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": metadata, "spec": {"old": 1}})
}

#[test]
fn what_stood_in_place_of_the_annotations_comes_back() {
    for metadata in [
        json!({"name": "a"}),
        json!({"name": "a", "annotations": {}}),
        json!({"name": "a", "annotations": null}),
        json!({"name": "a", "annotations": false}),
        json!({"name": "a", "annotations": {"b": "c"}}),
        json!({"name": "a", "annotations": {"flagger.app/conversion-stash": "mine"}}),
        json!({"name": "a", "annotations": {"flagger.app/conversion-stash": 7, "b": null}}),
    ] {
        let object = needy(&metadata);
        let over = to_beta(&object);
        assert!(stash_of(&over).is_some());
        assert_eq!(to_alpha(&over), object);
    }
}

/// A v1alpha3 object whose second metric needs the stash when it comes from v1beta1.
fn deprecated_threshold() -> Value {
    json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a"}, "spec": {"analysis": {"metrics": [
        {"name": "request-duration", "thresholdRange": {"max": 500}},
        {"name": "request-success-rate", "threshold": 99}
    ]}}})
}

#[test]
fn an_edit_of_another_metric_leaves_the_stashed_one_alone() {
    let mut over = to_alpha(&deprecated_threshold());
    over["spec"]["canaryAnalysis"]["metrics"][0]["threshold"] = json!(200);
    let metrics = &to_beta(&over)["spec"]["analysis"]["metrics"];
    assert_eq!(metrics[0]["thresholdRange"], json!({"max": 200}));
    assert_eq!(
        metrics[1],
        json!({"name": "request-success-rate", "threshold": 99})
    );
}

#[test]
fn a_metric_that_moved_is_found_by_its_digest() {
    let mut over = to_alpha(&deprecated_threshold());
    over["spec"]["canaryAnalysis"]["metrics"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"name": "new", "threshold": 1, "query": "up"}));
    let metrics = &to_beta(&over)["spec"]["analysis"]["metrics"];
    assert_eq!(metrics[0]["thresholdRange"], json!({"max": 1}));
    assert_eq!(
        metrics[2],
        json!({"name": "request-success-rate", "threshold": 99})
    );
}

#[test]
fn an_edited_metric_is_written_the_way_of_today() {
    let mut over = to_alpha(&deprecated_threshold());
    over["spec"]["canaryAnalysis"]["metrics"][1]["threshold"] = json!(95);
    let metrics = &to_beta(&over)["spec"]["analysis"]["metrics"];
    assert_eq!(
        metrics[1],
        json!({"name": "request-success-rate", "thresholdRange": {"min": 95}})
    );
}

#[test]
fn what_lost_its_parent_stays_away() {
    let object = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {}, "spec": {"service": {"trafficPolicy": {"old": 1}}}});
    let mut over = to_beta(&object);
    over["spec"]["service"]
        .as_object_mut()
        .unwrap()
        .shift_remove("trafficPolicy");
    assert_eq!(to_alpha(&over)["spec"], json!({"service": {}}));
}

#[test]
fn a_value_set_in_the_meantime_wins() {
    let object = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {}, "spec": {"provider": null}});
    let mut over = to_beta(&object);
    over["spec"]["provider"] = json!("istio");
    assert_eq!(to_alpha(&over)["spec"], json!({"provider": "istio"}));
}

#[test]
fn without_the_annotation_the_core_rules_speak_alone() {
    let mut over = to_alpha(&deprecated_threshold());
    over["metadata"]
        .as_object_mut()
        .unwrap()
        .shift_remove("annotations");
    let metrics = &to_beta(&over)["spec"]["analysis"]["metrics"];
    assert_eq!(
        metrics[1],
        json!({"name": "request-success-rate", "thresholdRange": {"min": 99}})
    );
}

#[test]
fn the_text_is_canonical_and_minimal() {
    let over = to_beta(
        &json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {"annotations": {}}, "spec": {
            "service": {"port": 1, "appendHeaders": {"x": "y", "a": 99.0}}
        }}),
    );
    assert_eq!(
        stash_of(&over).unwrap(),
        r#"{"e":[{"g":"-","o":{"a":99.0,"x":"y"},"p":["spec","service","appendHeaders"],"u":["spec","service","appendHeaders"]}],"of":"flagger.app/v1alpha3","v":1}"#
    );
}

#[test]
fn the_guard_ignores_what_the_api_server_fills_in() {
    let object = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {}, "spec": {"analysis": {
        "threshold": 3.0, "sessionAffinity": {"cookieName": "a"}
    }}});
    let stored = crate::server::store(&to_beta(&object));
    assert_eq!(stored["spec"]["analysis"]["sessionAffinity"]["maxAge"], 86400);
    assert_eq!(to_alpha(&stored)["spec"], object["spec"]);
}

#[test]
fn a_stash_that_would_be_too_large_is_dropped_and_said() {
    use verdigris::api::convert::{Stash, convert_noting};
    let big = "x".repeat(201 * 1024);
    let object =
        json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {}, "spec": {"old": big, "suspend": true}});
    let (over, note) = convert_noting(object, crate::BETA).unwrap();
    assert_eq!(note, Stash::TooLarge);
    assert_eq!(over["spec"], json!({"suspend": true}));
    assert!(stash_of(&over).is_none());

    // The API server counts all annotations together.
    let crowded = json!({"apiVersion": ALPHA, "kind": "Canary", "metadata": {"annotations": {"a": "x".repeat(255 * 1024)}}, "spec": {"old": "x".repeat(2048)}});
    assert_eq!(convert_noting(crowded, crate::BETA).unwrap().1, Stash::TooLarge);
}

#[test]
fn a_stash_of_the_other_way_is_not_mistaken_for_ours() {
    // A v1alpha3 view of a v1beta1 object, relabelled by hand: its stash belongs to v1beta1.
    let text = to_alpha(&deprecated_threshold())["metadata"]["annotations"].clone();
    let object = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"annotations": text}, "spec": {"suspend": true}});
    assert_eq!(to_beta(&to_alpha(&object)), object);
}
