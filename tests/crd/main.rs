//! The CustomResourceDefinitions: fresh, structural, and agreeing with the types.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agreement;
mod paths;

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use verdigris::api::{crd, v1alpha3, v1beta1};

#[test]
fn committed_crds_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base/crd.yaml");
    let printed = crd::yaml(Some(crd::service_client_config()));
    if std::env::var_os("VERDIGRIS_BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == printed,
        "manifests/base/crd.yaml is stale: run `VERDIGRIS_BLESS=1 cargo test --test crd`"
    );
}

#[test]
fn printed_crds_read_back_as_they_are() {
    let read: Vec<CustomResourceDefinition> =
        serde_saphyr::from_multiple(&crd::yaml(Some(crd::service_client_config()))).unwrap();
    assert_eq!(read, crd::all(Some(crd::service_client_config())));
}

/// name, served, storage, of each version of Canary.
fn versions(crds: &[CustomResourceDefinition]) -> Vec<(&str, bool, bool)> {
    crds[0]
        .spec
        .versions
        .iter()
        .map(|version| (version.name.as_str(), version.served, version.storage))
        .collect()
}

#[test]
fn v1alpha3_is_served_only_where_it_is_converted() {
    let with = crd::all(Some(crd::service_client_config()));
    assert_eq!(
        versions(&with),
        [("v1beta1", true, true), ("v1alpha3", true, false)]
    );
    let conversion = with[0].spec.conversion.clone().unwrap();
    assert_eq!(conversion.strategy, "Webhook");
    let webhook = conversion.webhook.unwrap();
    assert_eq!(webhook.conversion_review_versions, ["v1"]);
    assert_eq!(
        webhook.client_config.unwrap().service.unwrap().path.unwrap(),
        "/convert"
    );

    let without = crd::all(None);
    assert_eq!(
        versions(&without),
        [("v1beta1", true, true), ("v1alpha3", false, false)]
    );
    assert_eq!(without[0].spec.conversion.clone().unwrap().strategy, "None");
}

#[test]
fn versions_that_are_still_stored_are_listed_unserved() {
    let mut crd = crd::all(None).remove(0);
    crd::keep_stored(
        &mut crd,
        &["v1alpha1", "v1beta1", "v1alpha3", "v2"].map(str::to_owned),
    );
    assert_eq!(
        versions(std::slice::from_ref(&crd)),
        [
            ("v1beta1", true, true),
            ("v1alpha3", false, false),
            ("v1alpha1", false, false)
        ]
    );
    assert_eq!(crd.spec.versions[2].schema, crd.spec.versions[1].schema);
}

#[test]
fn names_columns_and_subresources_are_flaggers() {
    let crds = crd::all(Some(crd::service_client_config()));
    for (crd, plural, singular, kind) in [
        (&crds[0], "canaries", "canary", "Canary"),
        (&crds[1], "metrictemplates", "metrictemplate", "MetricTemplate"),
        (&crds[2], "alertproviders", "alertprovider", "AlertProvider"),
    ] {
        let names = &crd.spec.names;
        assert_eq!(
            (
                names.plural.as_str(),
                names.singular.as_deref(),
                names.kind.as_str()
            ),
            (plural, Some(singular), kind)
        );
        assert_eq!(names.categories.as_deref(), Some(&["all".to_owned()][..]));
        assert_eq!(names.short_names.as_deref().unwrap_or_default(), [""; 0]);
        assert_eq!(crd.spec.preserve_unknown_fields, Some(false));
        for version in &crd.spec.versions {
            assert!(
                version.subresources.as_ref().unwrap().status.is_some(),
                "{kind} {}",
                version.name
            );
        }
    }
    let columns = |version: usize| -> Vec<String> {
        crds[0].spec.versions[version]
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|column| format!("{}={}", column.name, column.json_path))
            .collect()
    };
    assert_eq!(
        columns(0)[..2],
        ["Status=.status.phase", "Weight=.status.canaryWeight"]
    );
    assert!(columns(0).contains(&"Interval=.spec.analysis.interval".to_owned()));
    assert!(columns(1).contains(&"Interval=.spec.canaryAnalysis.interval".to_owned()));
    let old = &crds[0].spec.versions[1];
    assert_eq!(old.deprecated, Some(true));
    assert_eq!(
        old.deprecation_warning.as_deref(),
        Some(v1alpha3::DEPRECATION_WARNING)
    );
}

/// Calls `visit` with every node of every schema and its path.
fn each_node(visit: &mut dyn FnMut(&str, &Value)) {
    fn walk(path: &str, node: &Value, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, node);
        for (key, property) in node["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{key}"), property, visit);
        }
        if node["items"].is_object() {
            walk(&format!("{path}[]"), &node["items"], visit);
        }
        if node["additionalProperties"].is_object() {
            walk(&format!("{path}{{*}}"), &node["additionalProperties"], visit);
        }
    }
    for crd in crd::all(Some(crd::service_client_config())) {
        for version in crd.spec.versions {
            let schema = serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
            walk(
                &format!("{} {} ", crd.spec.names.kind, version.name),
                &schema,
                visit,
            );
        }
    }
}

#[test]
fn schemas_are_structural() {
    let mut seen = 0;
    each_node(&mut |path, node| {
        seen += 1;
        let open = node["x-kubernetes-preserve-unknown-fields"] == true
            || node["x-kubernetes-int-or-string"] == true;
        assert!(node["type"].is_string() || open, "{path}: no type");
        assert!(
            node["type"] != "array" || node["items"].is_object(),
            "{path}: no items"
        );
        assert!(
            node.get("nullable").is_none() && node.get("uniqueItems").is_none() && node.get("$ref").is_none(),
            "{path}"
        );
        if let Some(format) = node["format"].as_str() {
            assert!(
                ["int32", "int64", "date-time"].contains(&format),
                "{path}: format {format}"
            );
        }
        for keyword in ["oneOf", "anyOf", "allOf"] {
            for branch in node[keyword].as_array().into_iter().flatten() {
                // int-or-string is the one place where branches may have types.
                assert!(
                    open || branch.get("type").is_none(),
                    "{path}: type inside {keyword}"
                );
            }
        }
        let required = node["required"].as_array().into_iter().flatten();
        for name in required.map(|name| name.as_str().unwrap()) {
            assert!(
                node["properties"].get(name).is_some(),
                "{path}: requires {name}, which it does not declare"
            );
        }
    });
    assert!(seen > 350, "{seen} nodes");
}

#[test]
fn integers_are_integers() {
    each_node(&mut |path, node| {
        if node["type"] == "number" {
            let name = path.rsplit('.').next().unwrap();
            assert!(["threshold", "min", "max"].contains(&name), "{path} is a number");
        }
    });
}

fn fixture(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/conversion")
        .join(path);
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn typed_structs_carry_every_field() {
    let object = fixture("v1alpha3/12-every-field.yaml");
    let typed: v1alpha3::Canary = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), object);

    let object = fixture("v1beta1/09-every-field.yaml");
    let typed: v1beta1::Canary = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), object);
}

#[test]
fn every_declared_field_is_in_the_fixture_of_all_fields() {
    fn paths(path: &str, value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                out.push(format!("{path}.{key}"));
                paths(&format!("{path}.{key}"), value, out);
            }),
            Value::Array(items) => items
                .iter()
                .for_each(|item| paths(&format!("{path}[]"), item, out)),
            _ => {}
        }
    }
    let mut present = Vec::new();
    paths(
        "Canary v1beta1 ",
        &fixture("v1beta1/09-every-field.yaml"),
        &mut present,
    );
    let mut missing = Vec::new();
    each_node(&mut |path, _| {
        // Port policies repeat the fields of the traffic policy above them.
        let repeated = path.contains("portLevelSettings[]");
        let path = path.replace("{*}", ".k");
        let declared =
            path.starts_with("Canary v1beta1 .spec.") || path.starts_with("Canary v1beta1 .status.");
        if declared && !repeated && !path.ends_with("[]") && !present.contains(&path) {
            missing.push(path);
        }
    });
    assert_eq!(missing, [""; 0]);
}

#[test]
fn absent_stays_absent_in_typed_structs() {
    let object = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {}, "spec": {
        "service": {"port": 80}, "analysis": {"webhooks": [{"name": "a"}], "metrics": [{"name": "a", "threshold": 99}]}
    }});
    let typed: v1beta1::Canary = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), object);
}

#[test]
fn durations_are_matched_as_go_reads_them() {
    let schema = crd::all(None);
    let schema = serde_json::to_value(&schema[0].spec.versions[0]).unwrap();
    let pattern = schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["analysis"]["properties"]["interval"]["pattern"]
        .as_str()
        .unwrap()
        .to_owned();
    let pattern = regex::Regex::new(&pattern).unwrap();
    for good in [
        "1m", "30s", "1h", "1m30s", "1.5h", ".5s", "10ms", "5µs", "+5s", "1.s",
    ] {
        assert!(pattern.is_match(good), "{good}");
    }
    for bad in [
        "",
        "1",
        "10min",
        "1mfoo",
        "-5s",
        "2 seconds",
        "1d",
        "s",
        ".s",
        "1m ",
    ] {
        assert!(!pattern.is_match(bad), "{bad}");
    }
}

/// What the controller stores, an API server keeps: every field of a written status is declared.
#[test]
fn every_field_of_a_written_status_is_declared() {
    use verdigris::model::status::{
        self, CheckRecord, Condition, Contest, Failure, LastOrder, Outcome, ProgressMark, Reply, Status,
    };
    let at = jiff::Timestamp::UNIX_EPOCH;
    let full = Status {
        last_applied: "v1:a".into(),
        last_promoted: "v1:b".into(),
        tracked_configs: Some([("configmap/a".to_owned(), "b".to_owned())].into()),
        promoted_configs: Some([("configmap/a".to_owned(), "c".to_owned())].into()),
        last_transition: Some(at),
        last_check: Some(at),
        progress: Some(ProgressMark {
            since: at,
            updated: 1,
            available: 0,
        }),
        checks: vec![CheckRecord {
            time: at,
            kind: "metric".into(),
            name: "errors".into(),
            value: Some("1".into()),
            threshold: Some("<= 5".into()),
            verdict: Outcome::Passed,
            message: Some("m".into()),
        }],
        last_failure: Some(Failure {
            time: at,
            reason: "r".into(),
            message: "m".into(),
        }),
        contest: Some(Contest {
            field: "f".into(),
            manager: "m".into(),
            corrections: 1,
            since: at,
            last: at,
        }),
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: "True".into(),
            reason: "r".into(),
            message: "m".into(),
            last_transition: at,
            last_update: at,
        }],
        paused: true,
        last_order: Some(LastOrder {
            id: "1".into(),
            verb: "pause".into(),
            outcome: Reply::Honoured,
            message: "m".into(),
            at,
        }),
        ..Status::default()
    };
    let crds = serde_json::to_value(crd::all(None).remove(0)).unwrap();
    let schema = &crds["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let mut lost = Vec::new();
    undeclared(&status::write(&full), schema, "status", &mut lost);
    assert_eq!(lost, Vec::<String>::new());
}

fn undeclared(value: &Value, schema: &Value, path: &str, lost: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                assert!(!value.is_null(), "{path}.{key} is not filled in");
                let inner = schema["properties"]
                    .get(key)
                    .or(schema.get("additionalProperties"));
                match inner {
                    Some(inner) => undeclared(value, inner, &format!("{path}.{key}"), lost),
                    None => lost.push(format!("{path}.{key}")),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                undeclared(item, &schema["items"], &format!("{path}[]"), lost);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
