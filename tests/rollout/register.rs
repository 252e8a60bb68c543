//! The register of Flagger's quirks: every one marked to be fixed has a test named after its number, here or where the
//! code is, or a line that says why there is nothing to test yet.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use serde_json::{Value, json};
use verdigris::metric::{Missing, builtin, prometheus};
use verdigris::model::canary::{HookKind, Strategy, Target, TargetKind};
use verdigris::model::notice::Severity;
use verdigris::model::parse::{self, Parsed, Settings};
use verdigris::model::split::{Capabilities, Split};
use verdigris::model::status::{Stage, Status};
use verdigris::model::surroundings::{Neighbour, Surroundings, look_around};
use verdigris::model::template;
use verdigris::rollout::question::Answer;
use verdigris::rollout::rejected::rejected;
use verdigris::telemetry::{LogFormat, Metrics, start_logging};
use verdigris::workload::service::{self, Role};
use verdigris::workload::{Options, selector_label};
use verdigris::{hook, notify};

use crate::world::{ROUTER, World, canary, hook as hook_of};

/// Quirks whose advice is F.
const FIXED: [u8; 46] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 32, 33, 34, 36, 37, 38, 39, 40, 41, 42, 45, 47, 48, 49, 50,
];

/// Of those, what cannot be had wrong yet, and why.
const NOT_YET: [(u8, &str); 3] = [
    (
        26,
        "only prometheus is a metric server: no influxdb, stackdriver, datadog, dynatrace",
    ),
    (
        37,
        "there is no externalmetrics provider, and our own token is sent to the API server alone",
    ),
    (38, "there is no externalmetrics provider"),
];

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_quirk_that_is_fixed_has_a_test_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut text);
    }
    let tested: BTreeSet<u8> = text
        .split("fn q")
        .skip(1)
        .filter_map(|rest| rest.split_once('_')?.0.parse().ok())
        .collect();
    let excused: BTreeSet<u8> = NOT_YET.iter().map(|(number, _)| *number).collect();
    let missing: Vec<u8> = FIXED
        .into_iter()
        .filter(|number| !tested.contains(number) && !excused.contains(number))
        .collect();
    assert_eq!(missing, [0; 0], "quirks without a test");
    let both: Vec<&u8> = excused.intersection(&tested).collect();
    assert!(both.is_empty(), "excused and tested: {both:?}");
}

fn manifest() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "provider": "kubernetes",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898},
            "analysis": {"interval": "30s", "threshold": 2, "iterations": 3},
        },
    })
}

fn parsed(manifest: &Value) -> Parsed {
    parse::canary(manifest, &Settings::default())
}

#[test]
fn q01_an_alert_without_a_severity_is_told_everything() {
    for severity in [json!(null), json!("")] {
        let mut object = manifest();
        object["spec"]["analysis"]["alerts"] =
            json!([{"name": "a", "severity": severity, "providerRef": {"name": "on-call"}}]);
        let canary = parsed(&object).canary.unwrap();
        for told in [Severity::Info, Severity::Warning, Severity::Error] {
            assert!(notify::is_wanted(canary.analysis.alerts[0].severity, told));
        }
    }
}

#[test]
fn q02_a_fraction_is_the_fault_of_its_own_object() {
    let mut object = manifest();
    object["spec"]["analysis"]["threshold"] = json!(2.5);
    let bad = parsed(&object);
    assert!(bad.canary.is_none());
    let said: Vec<String> = bad.report.violations.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|text| text.contains("spec.analysis.threshold")),
        "{said:?}"
    );
    assert!(parsed(&manifest()).canary.is_some());
}

/// Flagger's promotion ramp waits for a weight that is 0 already.
#[test]
fn q08_a_promotion_ramp_never_hangs() {
    let mut canary = canary();
    canary.analysis.strategy = Strategy::Progressive {
        weights: vec![50],
        mirror: false,
        promotion: Some(50),
    };
    for router in [None, Some(ROUTER)] {
        let mut world = World::initialized(canary.clone());
        world.router = router;
        world.push(2);
        world.run_until(|world| world.status.stage == Stage::Promoting);
        // Somebody set the weight back by hand, or the process was restarted.
        world.split = Split::NONE;
        world.status.canary_weight = 0;
        world.settle();
        assert_eq!(world.status.stage, Stage::Succeeded);
    }
}

#[test]
fn q11_a_spec_that_cannot_be_obeyed_is_told_on_the_object() {
    let stored = Status {
        stage: Stage::Progressing,
        ..Status::default()
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let (told, news) = rejected(&stored, 2, "spec.analysis: missing", now);
    assert!(news);
    for kind in ["InvalidSpec", "Stalled"] {
        let condition = told.conditions.iter().find(|one| one.kind == kind).unwrap();
        assert_eq!(
            (condition.status.as_str(), condition.message.as_str()),
            ("True", "spec.analysis: missing")
        );
    }
    assert_eq!(told.stage, Stage::Progressing, "nothing goes on with a bad spec");
}

#[test]
fn q13_a_template_without_an_interval_has_the_default_too() {
    let mut object = manifest();
    object["spec"]["analysis"]["metrics"] = json!([
        {"name": "a", "thresholdRange": {"max": 1}, "templateRef": {"name": "latency"}},
        {"name": "b", "thresholdRange": {"max": 1}, "query": "up"},
    ]);
    let canary = parsed(&object).canary.unwrap();
    for check in &canary.analysis.checks {
        assert_eq!(check.interval, "1m", "{}", check.name);
    }
}

/// Flagger's routers write 100/0 when the Service changes, and the analysis begins anew.
#[test]
fn q18_services_that_are_mended_in_mid_run_set_nothing_back() {
    let mut world = World::initialized(canary());
    world.push(2);
    world.run_until(|world| world.status.iterations == 2);
    world.services = false;
    world.apex_on_primary = false;
    world.pass();
    assert!(world.services && world.apex_on_primary);
    assert_eq!(world.status.iterations, 2);
    world.settle();
    assert_eq!(world.times("Starting canary analysis"), 1);
}

#[test]
fn q19_a_match_that_cannot_be_obeyed_is_refused_not_widened() {
    for condition in [
        json!({"headers": {"x": {"exact": "y"}}}),
        json!({"uri": {"prefix": "/"}}),
    ] {
        let mut object = manifest();
        object["spec"]["analysis"]["match"] = json!([condition]);
        let bad = parsed(&object);
        assert!(bad.canary.is_none(), "{condition}");
        assert!(!bad.report.violations.is_empty());
    }
}

#[test]
fn q21_a_core_service_is_asked_about_as_any_other_target() {
    let target = |kind| Target {
        kind,
        name: "podinfo".to_owned(),
    };
    for query in [builtin::success_rate, builtin::request_duration] {
        let of_service = query("test", &target(TargetKind::Service), "1m");
        assert_eq!(of_service, query("test", &target(TargetKind::Deployment), "1m"));
        assert!(!of_service.contains("istio"), "{of_service}");
    }
}

#[test]
fn q22_mirroring_that_a_router_cannot_do_does_not_loop() {
    let mut canary = canary();
    canary.analysis.strategy = Strategy::Progressive {
        weights: vec![10, 20],
        mirror: true,
        promotion: None,
    };
    let plain = Capabilities {
        mirror: false,
        ..ROUTER
    };
    for router in [None, Some(plain)] {
        let mut world = World::initialized(canary.clone());
        world.router = router;
        world.push(2);
        world.settle();
        assert_eq!(world.status.stage, Stage::Succeeded);
    }
}

#[test]
fn q23_an_ab_test_without_a_router_sends_nobody_to_the_canary() {
    let mut canary = canary();
    canary.analysis.strategy = Strategy::AbTest {
        iterations: NonZeroU32::new(3).unwrap(),
    };
    let mut world = World::initialized(canary);
    world.push(2);
    while world.status.stage != Stage::Promoting {
        assert!(world.apex_on_primary);
        world.pass();
        world.now += jiff::SignedDuration::from_secs(10);
    }
    assert_eq!(
        world.times("A/B testing is not supported when using the kubernetes provider"),
        1
    );
}

#[test]
fn q28_warning_is_a_level() {
    // Another test may log already: what is asked is whether the word is understood.
    if let Err(error) = start_logging("warning", LogFormat::Text) {
        assert!(!error.contains("is not a level"), "{error}");
    }
    assert!(start_logging("loud=noise=x", LogFormat::Text).is_err());
}

#[test]
fn q29_series_of_a_canary_that_is_gone_go_too() {
    let metrics = Metrics::new();
    metrics.canary_seen("test", "podinfo");
    metrics.canary_measured("test", "podinfo", "podinfo", "latency", 1.0);
    assert!(metrics.encode().contains("podinfo"));
    metrics.forget_canary("test", "podinfo");
    assert!(!metrics.encode().contains("podinfo"));
}

/// Without a router there is no traffic to increase: nobody is asked. With one, who is asked again and again alarms once.
#[test]
fn q33_a_gate_before_traffic_alarms_once() {
    let mut canary = canary();
    canary
        .analysis
        .hooks
        .push(hook_of(HookKind::ConfirmTrafficIncrease, "traffic"));
    canary.analysis.strategy = Strategy::Progressive {
        weights: vec![50],
        mirror: false,
        promotion: None,
    };
    let alarms =
        |world: &World| world.times("alert  Warning: Canary traffic increase is waiting for approval.");
    let mut plain = World::initialized(canary.clone());
    plain.push(2);
    plain.settle();
    assert_eq!((plain.times("hook   traffic"), alarms(&plain)), (0, 0));

    let mut routed = World::initialized(canary);
    routed.router = Some(ROUTER);
    routed
        .answers
        .insert("traffic".to_owned(), Answer::Refused("not yet".to_owned()));
    routed.push(2);
    routed.run_for(300);
    assert_eq!(alarms(&routed), 1);
    assert!(routed.times("hook   traffic") > 10 && routed.split.is_none());
}

#[test]
fn q34_every_2xx_approves_and_what_a_hook_says_is_heard() {
    for status in [200, 202, 203, 204, 206] {
        assert!(hook::approves(status), "{status}");
    }
    assert_eq!(hook::refusal(500, b"3 tests failed\n"), "3 tests failed");
}

#[test]
fn q36_a_query_that_does_not_render_is_never_sent() {
    let variables = template::Context::stand_in();
    for query in [
        "up{a=\"{{ nobody }}\"}",
        "{{ variables.missing.deep }}",
        "{{ name",
    ] {
        assert!(template::render(query, &variables).is_err(), "{query}");
    }
}

#[test]
fn q40_a_native_histogram_is_no_value() {
    let body =
        br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#;
    assert_eq!(prometheus::read(200, body), Err(Missing::NoValues));
}

#[test]
fn q41_two_canaries_with_one_target_are_refused() {
    let canary = parsed(&manifest()).canary.unwrap();
    let elder = Neighbour {
        name: "elder".to_owned(),
        target: canary.target.clone(),
        apex: "other".to_owned(),
    };
    let surroundings = Surroundings {
        canaries: Some(vec![elder]),
        ..Surroundings::default()
    };
    let said: Vec<String> = look_around(&canary, &surroundings)
        .violations
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        said.iter().any(|text| text.contains("Canary elder controls")),
        "{said:?}"
    );
}

#[test]
fn q42_a_service_of_another_controller_is_refused() {
    let canary = canary();
    let target = json!({
        "spec": {"selector": {"matchLabels": {"app": "podinfo"}}, "template": {"spec": {"containers": []}}},
    });
    let label = selector_label(&target, &Options::default()).unwrap();
    let owned = json!({
        "metadata": {"name": "podinfo", "ownerReferences": [
            {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "other", "uid": "x", "controller": true},
        ]},
        "spec": {"selector": {"app": "podinfo"}},
    });
    for role in [Role::Apex, Role::Primary, Role::Canary] {
        let refused = service::reconcile(&canary, role, &label, &target, Some(&owned)).unwrap_err();
        assert!(refused.to_string().contains("Canary other"), "{refused}");
    }
}
