//! The alert rules and the dashboard ask for series that exist, in queries that parse.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use regex::Regex;
use serde_json::Value;
use verdigris::model::promql;
use verdigris::telemetry::{CanaryPass, EndedRun, Metrics};

use super::{folder, only};

/// Series of the API server that are asked for (Kubernetes' `metrics.go` of admission and of conversion).
const API_SERVER: [&str; 3] = [
    "apiserver_admission_webhook_rejection_count",
    "apiserver_admission_webhook_fail_open_count",
    "apiserver_crd_conversion_webhook_duration_seconds_bucket",
];

/// Every series we export, with its type, after everything happened once.
fn exported() -> BTreeMap<String, String> {
    let metrics = Metrics::new();
    metrics.info("kubernetes");
    metrics.review("validate", "denied", 0.1);
    metrics.conversion("v1alpha3", "v1beta1", "success", 3);
    metrics.reconcile("ok", 0.1);
    metrics.question("hook", "answered");
    metrics.cache_synced("Canary", true);
    metrics.canary_seen("ns", "shop");
    metrics.canary_measured("ns", "shop", "shop", "errors", 1.0);
    for promoted in [true, false] {
        metrics.canary_passed(&CanaryPass {
            namespace: "ns",
            canary: "shop",
            target: "shop",
            status: 1.0,
            weight: 0,
            judged_for: Some(0.1),
            ended: Some(EndedRun {
                promoted,
                strategy: "blue-green",
                skipped: false,
            }),
        });
    }
    let text = metrics.encode();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    kinds
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            (name.to_owned(), kind.to_owned())
        })
        .collect()
}

/// The names a query may use.
fn names() -> Vec<String> {
    let mut names: Vec<String> = API_SERVER.map(str::to_owned).to_vec();
    for (name, kind) in exported() {
        match kind.as_str() {
            "counter" => names.push(format!("{name}_total")),
            "histogram" => names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            _ => names.push(name),
        }
    }
    names
}

/// Every `expr` below a value, and what uses it.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(query) if key == "expr" => found.push(query.clone()),
                    other => queries(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn rules() -> Value {
    only("monitoring/rules.yaml")
}

fn dashboard() -> Value {
    let text = fs::read_to_string(folder().join("monitoring/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_query_parses_and_asks_for_series_that_exist() {
    let mut all = Vec::new();
    queries(&rules(), &mut all);
    let alerts = all.len();
    queries(&dashboard(), &mut all);
    assert!(alerts > 10 && all.len() > alerts + 15, "{alerts}, {}", all.len());
    let known = names();
    let series = Regex::new(r"\b(?:verdigris|flagger|process|apiserver)_[a-z0-9_]+").unwrap();
    let strings = Regex::new(r#""[^"]*""#).unwrap();
    for query in all {
        let faults = promql::check(&query).err();
        assert!(faults.is_none(), "{query}: {faults:?}");
        let bare = strings.replace_all(&query, "");
        let mut asked = series.find_iter(&bare).peekable();
        assert!(asked.peek().is_some(), "{query} asks for no series of ours");
        for name in asked {
            assert!(
                known.iter().any(|known| known == name.as_str()),
                "{query}: nobody exports {}",
                name.as_str()
            );
        }
    }
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() {
    let rules = rules();
    let groups = rules["groups"].as_array().unwrap();
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = rule["alert"].as_str().unwrap();
        for text in ["summary", "description"] {
            assert!(
                rule["annotations"][text]
                    .as_str()
                    .is_some_and(|text| text.len() > 20),
                "{name}: {text}"
            );
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["warning", "critical"].contains(&severity), "{name}");
    }
}

/// Names, types and labels of Flagger's series, and of ours that are documented.
#[test]
fn series_have_their_documented_names_types_and_labels() {
    let exported = exported();
    let table = [
        ("flagger_info", "gauge"),
        ("flagger_canary_duration_seconds", "histogram"),
        ("flagger_canary_total", "gauge"),
        ("flagger_canary_status", "gauge"),
        ("flagger_canary_weight", "gauge"),
        ("flagger_canary_metric_analysis", "gauge"),
        ("flagger_canary_successes", "counter"),
        ("flagger_canary_failures", "counter"),
        ("verdigris_reconciles", "counter"),
        ("verdigris_reconcile_seconds", "histogram"),
        ("verdigris_questions", "counter"),
        ("verdigris_admission_reviews", "counter"),
        ("verdigris_admission_seconds", "histogram"),
        ("verdigris_conversions", "counter"),
        ("verdigris_conversion_objects", "histogram"),
        ("verdigris_tls_certificate_expiry_timestamp_seconds", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_cpu_seconds", "counter"),
    ];
    for (name, kind) in table {
        assert_eq!(exported.get(name).map(String::as_str), Some(kind), "{name}");
    }
}

#[test]
fn labels_are_flaggers_and_go_with_the_canary() {
    let metrics = Metrics::new();
    metrics.canary_seen("ns", "my-canary");
    metrics.canary_measured("ns", "my-canary", "shop", "errors", 1.5);
    metrics.canary_passed(&CanaryPass {
        namespace: "ns",
        canary: "my-canary",
        target: "shop",
        status: 2.0,
        weight: 30,
        judged_for: Some(0.2),
        ended: Some(EndedRun {
            promoted: false,
            strategy: "canary",
            skipped: true,
        }),
    });
    let text = metrics.encode();
    for line in [
        r#"flagger_canary_total{namespace="ns"} 1"#,
        r#"flagger_canary_status{name="shop",namespace="ns"} 2.0"#,
        r#"flagger_canary_weight{workload="shop",namespace="ns"} 30"#,
        r#"flagger_canary_weight{workload="shop-primary",namespace="ns"} 70"#,
        r#"flagger_canary_metric_analysis{name="shop",namespace="ns",metric="errors"} 1.5"#,
        r#"flagger_canary_failures_total{name="shop",namespace="ns",deployment_strategy="canary",analysis_status="skipped"} 1"#,
        r#"flagger_canary_duration_seconds_bucket{le="0.25",name="shop",namespace="ns"} 1"#,
        r#"flagger_canary_duration_seconds_bucket{le="10.0",name="shop",namespace="ns"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    // Another target: the series of the first are gone. Then the Canary goes, and all of them.
    metrics.canary_measured("ns", "my-canary", "store", "errors", 1.5);
    let text = metrics.encode();
    assert!(!text.contains("\"shop"), "{text}");
    assert!(text.contains("\"store\""));
    metrics.forget_canary("ns", "my-canary");
    let text = metrics.encode();
    assert!(
        !text.contains("\"store\"") && !text.contains("namespace=\"ns\""),
        "{text}"
    );
}

#[test]
fn promtool_accepts_the_rules() {
    let path = folder().join("monitoring/rules.yaml");
    match Command::new("promtool")
        .args(["check", "rules"])
        .arg(&path)
        .output()
    {
        Ok(said) => assert!(
            said.status.success(),
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        ),
        Err(error) => println!("skipped: promtool cannot be run: {error}"),
    }
}
