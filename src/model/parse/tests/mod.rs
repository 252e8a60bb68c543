use super::*;
use crate::model::canary::{Bounds, HookKind, Source, Strategy};
use crate::model::notice::Severity;
use proptest::prelude::*;
use serde_json::json;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::LazyLock;

fn good() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": "test", "uid": "u-1", "generation": 3},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898},
            "analysis": {
                "interval": "30s",
                "threshold": 2,
                "iterations": 10,
                "metrics": [
                    {"name": "errors", "templateRef": {"name": "errors"}, "thresholdRange": {"max": 1}},
                    {"name": "request-success-rate", "thresholdRange": {"min": 99}},
                    {"name": "5xx percentage", "threshold": 5, "query": "sum(rate(a{b=\"c\"}[1m]))"}
                ],
                "webhooks": [
                    {"name": "load-test", "url": "http://flagger-loadtester.test/", "timeout": "5s",
                     "metadata": {"cmd": "hey -z 1m http://podinfo-canary.test/"}}
                ]
            }
        }
    })
}

fn read(object: &Value) -> Parsed {
    canary(object, &Settings::default())
}

type Found = Vec<(String, String)>;

/// `(code, path)` of what is refused, then of what is warned about.
fn found(report: &Report) -> (Found, Found) {
    let list = |found: &[crate::model::violation::Violation]| {
        found
            .iter()
            .map(|v| (v.code.to_string(), v.path.to_string()))
            .collect()
    };
    (list(&report.violations), list(&report.warnings))
}

#[test]
fn a_good_canary_is_read_in_full() {
    let parsed = read(&good());
    assert_eq!(parsed.report, Report::default());
    let canary = parsed.canary.unwrap();
    assert_eq!(
        (canary.id.to_string().as_str(), canary.generation),
        ("podinfo.test", 3)
    );
    assert_eq!(
        (
            canary.service.name.as_str(),
            canary.service.port,
            canary.service.port_name.as_str()
        ),
        ("podinfo", 9898, "http")
    );
    assert_eq!(canary.progress_deadline, Duration::from_secs(600));
    let analysis = canary.analysis;
    assert_eq!(analysis.interval, Duration::from_secs(30));
    assert_eq!(
        analysis.strategy,
        Strategy::BlueGreen {
            iterations: NonZeroU32::new(10).unwrap(),
            mirror: false
        }
    );
    let order: Vec<_> = analysis
        .checks
        .iter()
        .map(|check| (check.metric, check.name.as_str()))
        .collect();
    assert_eq!(
        order,
        [(1, "request-success-rate"), (2, "5xx percentage"), (0, "errors")],
        "built-in and inline first"
    );
    assert_eq!(
        analysis.checks[0].bounds,
        Bounds {
            min: Some(99.0),
            max: None
        }
    );
    assert_eq!(
        analysis.checks[1].bounds,
        Bounds {
            min: None,
            max: Some(5.0)
        }
    );
    assert!(analysis.checks.iter().all(|check| check.interval == "1m"));
    assert!(matches!(&analysis.checks[2].source, Source::Template { namespace, .. } if namespace == "test"));
    assert_eq!(
        (analysis.hooks[0].kind, analysis.hooks[0].timeout),
        (HookKind::Rollout, Duration::from_secs(5))
    );
    assert_eq!((analysis.primary_ready, analysis.canary_ready), (100, 100));
}

fn corpus(folder: &str) -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/corpus")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), serde_saphyr::from_str(&text).unwrap())
        })
        .collect()
}

#[test]
fn real_manifests_are_never_refused() {
    for (path, object) in corpus("v1beta1") {
        let parsed = read(&object);
        assert!(
            parsed.report.is_admissible(),
            "{path}: {:#?}",
            parsed.report.violations
        );
        assert!(parsed.canary.is_some(), "{path}");
    }
    for (path, mut object) in corpus("v1alpha3").into_iter().chain(corpus("")) {
        let spec = object["spec"].as_object_mut().unwrap();
        let analysis = spec.remove("canaryAnalysis").unwrap();
        spec.insert("analysis".to_owned(), analysis);
        let refused = read(&object).report.violations;
        if path.ends_with("seed-bluegreen-v1alpha3.yaml") {
            let paths: Vec<_> = refused
                .iter()
                .map(|violation| violation.path.to_string())
                .collect();
            assert_eq!(paths, ["spec.analysis.metrics[0].query"]);
            assert!(
                refused[0].fix.contains("comma") && refused[0].sentence().contains("line "),
                "{}",
                refused[0]
            );
        } else {
            assert!(refused.is_empty(), "{path}: {refused:#?}");
        }
    }
}

mod rows;

/// A merge patch applied to the good Canary.
fn patched(patch: &Value) -> Value {
    let mut object = good();
    json_patch::merge(&mut object, patch);
    object
}

/// What is found besides the word about providers without a router.
fn judged(report: &Report) -> (Found, Found) {
    let (refused, mut warned) = found(report);
    warned.retain(|(code, _)| code != "provider-not-supported");
    (refused, warned)
}

/// What is wrong with a row, if anything.
fn check(row: &rows::Row, certain: bool, bad: &Report, near: &Report) -> Option<String> {
    let rows::Row(code, path, ..) = row;
    let rule = rules::find(code).unwrap_or_else(|| panic!("{code} is not in the table"));
    let refused = match rule.severity {
        rules::Severity::Error => true,
        rules::Severity::Warning => false,
        rules::Severity::ErrorForProvider => certain,
    };
    let expected = vec![((*code).to_owned(), (*path).to_owned())];
    let expected = if refused {
        (expected, vec![])
    } else {
        (vec![], expected)
    };
    if judged(bad) != expected {
        return Some(format!(
            "expected {expected:?}, found {:.600}",
            format!("{:?}", judged(bad))
        ));
    }
    let (near_refused, near_warned) = judged(near);
    let still = near_warned.iter().any(|(found, at)| found == code && at == path);
    (still || !near_refused.is_empty())
        .then(|| format!("next to {code} at {path}: {near_refused:?} {near_warned:?}"))
}

#[test]
fn each_rule_alone() {
    let mut wrong = Vec::new();
    for row in rows::canary().into_iter().chain(rows::query()) {
        let rows::Row(code, _, bad, near) = &row;
        let parsed = read(&patched(bad));
        assert!(
            parsed.canary.is_some() || !parsed.report.is_admissible(),
            "{code}"
        );
        let certain = bad["spec"]["provider"].is_string();
        wrong.extend(check(&row, certain, &parsed.report, &read(&patched(near)).report));
    }
    for row in rows::metric_template() {
        let judge = |spec: &Value| metric_template(&json!({"spec": spec}), &Settings::default());
        wrong.extend(check(&row, true, &judge(&row.2), &judge(&row.3)));
    }
    for row in rows::alert_provider() {
        let judge = |spec: &Value| alert_provider(&json!({"spec": spec}), &Settings::default());
        wrong.extend(check(&row, true, &judge(&row.2), &judge(&row.3)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the API server's schema says of a Canary, after `/mutate` wrote its defaults.
fn refused_by_schema(object: &Value) -> Vec<String> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| json!(crate::api::crd::v1beta1_schema().unwrap()));
    let defaults = default::patch(object);
    let mut object = object.clone();
    json_patch::patch(&mut object, &defaults).unwrap();
    devcluster::schema::structural::prune(&SCHEMA, &mut object);
    devcluster::schema::structural::default(&SCHEMA, &mut object);
    devcluster::schema::validate::validate(&SCHEMA, &object, None)
        .iter()
        .map(|error| format!("{}: {}", error.field, error.body()))
        .collect()
}

#[test]
fn what_is_admitted_passes_the_schema() {
    let mut wrong = Vec::new();
    for row in rows::canary().into_iter().chain(rows::query()) {
        for patch in [&row.2, &row.3] {
            let object = patched(patch);
            if read(&object).report.is_admissible() {
                wrong.extend(
                    refused_by_schema(&object)
                        .iter()
                        .map(|error| format!("{}: {error}", row.0)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "the schema speaks first: {wrong:#?}");
}

#[test]
fn every_rule_has_a_row() {
    let rows = [
        rows::canary(),
        rows::query(),
        rows::metric_template(),
        rows::alert_provider(),
    ];
    let covered: Vec<_> = rows.iter().flatten().map(|row| row.0).collect();
    // Their manifests cannot differ by a patch of a good one; each has a test of its own below.
    let elsewhere = ["unknown-field", "provider-not-supported"];
    for rule in rules::ALL {
        let here = matches!(
            rule.scope,
            rules::Scope::Canary
                | rules::Scope::Query
                | rules::Scope::MetricTemplate
                | rules::Scope::AlertProvider
        );
        let is_covered = covered.contains(&rule.code.0) || elsewhere.contains(&rule.code.0);
        assert!(!here || is_covered, "{} has no row", rule.code);
    }
}

#[test]
fn the_process_wide_provider_only_warns() {
    for row in rows::canary() {
        let rows::Row(code, path, bad, _) = &row;
        let rule = rules::find(code).unwrap();
        if rule.severity != rules::Severity::ErrorForProvider {
            continue;
        }
        let mut object = patched(bad);
        let name = object["spec"]
            .as_object_mut()
            .unwrap()
            .remove("provider")
            .unwrap();
        let name = name.as_str().unwrap();
        let provider = if name == "kubernetes" {
            Provider::Kubernetes
        } else {
            Provider::Other(name.to_owned())
        };
        let parsed = canary(
            &object,
            &Settings {
                provider: provider.clone(),
                ..Settings::default()
            },
        );
        assert!(
            judged(&parsed.report)
                .1
                .contains(&((*code).to_owned(), (*path).to_owned())),
            "{code}: {parsed:#?}"
        );
        assert!(parsed.canary.is_some(), "{code}");
        let certain = Settings {
            provider,
            provider_is_certain: true,
            ..Settings::default()
        };
        assert!(canary(&object, &certain).canary.is_none(), "{code}");
    }
}

#[test]
fn all_mistakes_at_once() {
    let parsed = read(&patched(&json!({"spec": {
        "targetRef": {"kind": "Deploiment"},
        "service": {"port": "http"},
        "analysis": {"interval": "2 seconds", "threshold": -7, "webhooks": [{"name": "a", "url": "not a url"}, 7]},
    }})));
    let paths: Vec<_> = parsed
        .report
        .violations
        .iter()
        .map(|violation| violation.path.to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "spec.targetRef.kind",
            "spec.service.port",
            "spec.analysis.interval",
            "spec.analysis.threshold",
            "spec.analysis.webhooks[1]",
            "spec.analysis.webhooks[0].url",
        ]
    );
    assert!(parsed.canary.is_none());
    assert_eq!(
        parsed.report.violations[2].to_string(),
        "spec.analysis.interval: \"2 seconds\" is not a duration (unknown unit); expected a number and a unit, such as 30s, 5m or 1h; write 2s"
    );
}

#[test]
fn unknown_fields_are_reported_when_asked() {
    let object = patched(&json!({"spec": {"analysis": {"stepWieght": 5}, "targetref": {}}}));
    assert_eq!(read(&object).report, Report::default());
    let lint = canary(
        &object,
        &Settings {
            unknown_fields: true,
            ..Settings::default()
        },
    );
    let words: Vec<_> = lint.report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "spec.targetref: unknown field; the API server drops fields it does not know; did you mean targetRef?",
            "spec.analysis.stepWieght: unknown field; the API server drops fields it does not know; did you mean stepWeight?",
        ]
    );
    assert!(lint.canary.is_some());
}

#[test]
fn misspelt_words_are_guessed() {
    let guessed = |patch: Value| {
        let settings = Settings {
            unknown_fields: true,
            ..Settings::default()
        };
        let report = canary(&patched(&patch), &settings).report;
        let mut all = report.violations.iter().chain(&report.warnings);
        let first = all.next().unwrap_or_else(|| panic!("{patch}"));
        first.fix.clone()
    };
    let metric = |metric: Value| json!({"spec": {"analysis": {"metrics": [metric]}}});
    let query = |query: &str| metric(json!({"name": "q", "threshold": 1, "query": query}));
    for (patch, meant) in [
        // A value of an enumeration, a provider among them.
        (
            json!({"spec": {"targetRef": {"kind": "Deploymnet"}}}),
            "Deployment",
        ),
        (json!({"spec": {"provider": "kubernets"}}), "kubernetes"),
        (
            json!({"spec": {"analysis": {"webhooks": [{"name": "a", "url": "http://a", "type": "pre-rolout"}]}}}),
            "pre-rollout",
        ),
        // Fields, at every depth.
        (json!({"metadata": {"lables": {}}}), "labels"),
        (json!({"spec": {"anlysis": {}}}), "analysis"),
        (
            metric(json!({"name": "q", "threshold": 1, "query": "up", "intervall": "1m"})),
            "interval",
        ),
        (
            metric(json!({"name": "q", "thresholdRange": {"max": 1, "mix": 2}, "query": "up"})),
            "min",
        ),
        // Names of metrics, functions of templates and of PromQL, aggregations.
        (
            metric(json!({"name": "request-succes-rate", "threshold": 99})),
            "request-success-rate",
        ),
        (query("up{a=\"{{ targt }}\"}"), "target"),
        (query("up{a=\"{{ namspace }}\"}"), "namespace"),
        (
            query("histogram_quantil(0.99, rate(a[1m]))"),
            "histogram_quantile",
        ),
        (query("sun(rate(a[1m]))"), "sum"),
        (query("sun by (a) (rate(a[1m]))"), "sum"),
    ] {
        assert_eq!(
            guessed(patch.clone()),
            format!("did you mean {meant}?"),
            "{patch}"
        );
    }
}

#[test]
fn a_known_provider_without_a_router_warns() {
    for (provider, count) in [("istio", 1), ("kubernetes", 0), ("", 0)] {
        let parsed = read(&patched(&json!({"spec": {"provider": provider}})));
        assert_eq!(found(&parsed.report).1.len(), count, "{provider}");
        let expected = if count == 0 { "kubernetes" } else { provider };
        assert_eq!(parsed.canary.unwrap().provider.as_str(), expected);
    }
}

#[test]
fn flaggers_fallbacks_for_provider_kubernetes() {
    let parsed = read(&patched(&json!({"spec": {"analysis": {
        "iterations": null, "stepWeight": 5, "maxWeight": 50, "match": [{"headers": {"x": {"exact": "y"}}}],
    }}})));
    let codes: Vec<_> = parsed
        .report
        .warnings
        .iter()
        .map(|warning| warning.code.0)
        .collect();
    assert_eq!(codes, ["match-unsupported", "weights-unsupported"]);
    let strategy = parsed.canary.unwrap().analysis.strategy;
    assert_eq!(
        strategy,
        Strategy::BlueGreen {
            iterations: NonZeroU32::new(10).unwrap(),
            mirror: false
        }
    );
}

#[test]
fn strategies() {
    let istio = |analysis: Value| {
        let parsed = read(&patched(
            &json!({"spec": {"provider": "istio", "analysis": analysis}}),
        ));
        parsed
            .canary
            .unwrap_or_else(|| panic!("{:#?}", parsed.report))
            .analysis
            .strategy
    };
    let weights = |strategy: Strategy| match strategy {
        Strategy::Progressive { weights, .. } => weights,
        Strategy::BlueGreen { .. } | Strategy::AbTest { .. } => panic!("not weighted"),
    };
    assert_eq!(
        weights(istio(
            json!({"iterations": null, "stepWeight": 20, "maxWeight": 50})
        )),
        [20, 40, 60]
    );
    assert_eq!(
        weights(istio(
            json!({"iterations": null, "stepWeight": 30, "maxWeight": null})
        )),
        [30, 60, 90, 100]
    );
    assert_eq!(
        weights(istio(json!({"iterations": 0, "stepWeights": [1, 2, 10]}))),
        [1, 2, 10]
    );
    let two = NonZeroU32::new(2).unwrap();
    assert_eq!(
        istio(json!({"iterations": 2, "stepWeight": 0, "match": [{"headers": {"x": {"exact": "y"}}}]})),
        Strategy::AbTest { iterations: two }
    );
    assert_eq!(
        istio(json!({"iterations": 2, "mirror": true})),
        Strategy::BlueGreen {
            iterations: two,
            mirror: true
        }
    );
}

#[test]
fn bounds_keep_the_meaning_of_the_old_threshold() {
    let bounds = |metric: Value| {
        let parsed = read(&patched(&json!({"spec": {"analysis": {"metrics": [metric]}}})));
        let checks = parsed
            .canary
            .unwrap_or_else(|| panic!("{:#?}", parsed.report))
            .analysis
            .checks;
        checks
            .into_iter()
            .map(|check| (check.bounds.min, check.bounds.max))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bounds(json!({"name": "request-success-rate", "threshold": 99})),
        [(Some(99.0), None)]
    );
    assert_eq!(
        bounds(json!({"name": "request-duration", "threshold": 500.7})),
        [(None, Some(500.0))]
    );
    assert_eq!(
        bounds(json!({"name": "request-duration", "thresholdRange": {"min": 1.5, "max": 500}})),
        [(Some(1.0), Some(500.0))]
    );
    assert_eq!(
        bounds(json!({"name": "q", "query": "up", "threshold": 0.5})),
        [(None, Some(0.5))]
    );
    assert_eq!(bounds(json!({"name": "q", "query": "up"})), [(None, Some(0.0))]);
    assert_eq!(
        bounds(json!({"name": "q", "query": "up", "threshold": 3, "thresholdRange": {"min": 1}})),
        [(Some(1.0), None)]
    );
    assert_eq!(
        bounds(json!({"name": "istio_requests_total", "threshold": 99})),
        [(Some(99.0), None)]
    );
    assert_eq!(
        bounds(json!({"name": "request-success-rate", "query": "up", "threshold": 99})),
        [(Some(99.0), None), (None, Some(99.0))]
    );
}

#[test]
fn an_alert_without_severity_is_info() {
    let alert = |more: Value| {
        let mut alert = json!({"name": "a", "providerRef": {"name": "slack", "namespace": "flagger"}});
        json_patch::merge(&mut alert, &more);
        read(&patched(&json!({"spec": {"analysis": {"alerts": [alert]}}})))
            .canary
            .unwrap()
            .analysis
            .alerts
            .remove(0)
    };
    assert_eq!(alert(json!({})).severity, Severity::Info);
    assert_eq!(alert(json!({"severity": ""})).severity, Severity::Info);
    assert_eq!(alert(json!({"severity": "error"})).severity, Severity::Error);
    assert_eq!(
        alert(json!({"providerRef": {"namespace": null}})).provider_namespace,
        "test"
    );
}

#[test]
fn loopback_is_refused_only_inside_a_cluster() {
    let object = patched(&json!({"spec": {"metricsServer": "http://127.0.0.1:9090"}}));
    assert!(read(&object).report.is_admissible());
    let inside = canary(
        &object,
        &Settings {
            refuse_loopback: true,
            ..Settings::default()
        },
    );
    assert_eq!(
        found(&inside.report).0,
        [("url-forbidden-host".to_owned(), "spec.metricsServer".to_owned())]
    );
}

#[test]
fn shorter_intervals_are_raised_to_the_process_minimum() {
    let object = patched(&json!({"spec": {"analysis": {"interval": "2s"}}}));
    assert_eq!(
        read(&object).canary.unwrap().analysis.interval,
        Duration::from_secs(10)
    );
    let fast = Settings {
        min_interval: Duration::from_secs(1),
        ..Settings::default()
    };
    let parsed = canary(&object, &fast);
    assert_eq!(parsed.canary.unwrap().analysis.interval, Duration::from_secs(2));
}

/// Any JSON, biased to the values that tend to break things.
fn any_json() -> impl Strategy_<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            "",
            "[a-z0-9.{}:/ -]{0,12}",
            "1m",
            "kubernetes",
            "http://a/b",
            "[{]{2} target [}]{2}"
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

use proptest::strategy::Strategy as Strategy_;

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, member) in map {
                places(
                    member,
                    &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    out,
                );
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A full manifest with some places replaced by any JSON.
fn mutated() -> impl Strategy_<Value = Value> {
    static MANIFESTS: LazyLock<Vec<Value>> =
        LazyLock::new(|| rows::canary().iter().map(|row| patched(&row.2)).collect());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..4);
    (0..MANIFESTS.len(), changes).prop_map(|(row, changes)| {
        let mut object = MANIFESTS[row].clone();
        for (index, replacement) in changes {
            let mut all = Vec::new();
            places(&object, "", &mut all);
            if let Some(place) = object.pointer_mut(&all[index.index(all.len())]) {
                *place = replacement;
            }
        }
        object
    })
}

proptest! {
    #[test]
    fn never_panics_and_obeys_only_what_is_admissible(object in mutated(), unknown_fields: bool) {
        let parsed = canary(&object, &Settings { unknown_fields, ..Settings::default() });
        prop_assert!(parsed.canary.is_some() || !parsed.report.is_admissible());
        if parsed.report.is_admissible() {
            prop_assert_eq!(refused_by_schema(&object), Vec::<String>::new());
        }
        for finding in parsed.report.violations.iter().chain(&parsed.report.warnings) {
            prop_assert!(!finding.found.is_empty() && !finding.to_string().is_empty());
            let known = rules::find(finding.code.0).is_some();
            prop_assert!(known, "{} is not in the table", finding.code);
        }
        let _ = (metric_template(&object, &Settings::default()), alert_provider(&object, &Settings::default()));
    }

    #[test]
    fn defaults_change_nothing_and_are_written_once(object in mutated()) {
        let mut defaulted = object.clone();
        json_patch::patch(&mut defaulted, &default::patch(&object)).unwrap();
        prop_assert!(default::patch(&defaulted).is_empty());
        prop_assert_eq!(canary(&object, &Settings::default()), canary(&defaulted, &Settings::default()));
    }

    #[test]
    fn other_kinds_never_panic(spec in any_json()) {
        let object = json!({"spec": spec});
        let _ = (metric_template(&object, &Settings::default()), alert_provider(&object, &Settings::default()), canary(&object, &Settings::default()));
    }
}
