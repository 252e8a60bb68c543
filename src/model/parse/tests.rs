use super::*;
use crate::model::canary::{Bounds, HookKind, Source, Strategy};
use crate::model::notice::Severity;
use proptest::prelude::*;
use serde_json::json;
use std::num::NonZeroU32;
use std::path::Path;

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

/// `(code, path)` of what is refused, then of what is warned about.
fn found(report: &Report) -> (Vec<(String, String)>, Vec<(String, String)>) {
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
                refused[0].fix.contains("comma") && refused[0].found.contains("line "),
                "{}",
                refused[0]
            );
        } else {
            assert!(refused.is_empty(), "{path}: {refused:#?}");
        }
    }
}
