//! The primary's autoscaler, made from the target's (flagger-behaviour §3.6, §3.7).

use serde_json::{Map, Value, json};

use crate::model::canary::{Autoscaler, Canary, ScalerKind};

use super::{is_owned_by, owner_reference, primary_name as primary_workload, same};

/// KEDA's annotation that holds a workload at a number of replicas.
pub const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";

/// Name of the primary's autoscaler.
pub fn primary_name(scaler: &Autoscaler) -> String {
    format!("{}-primary", scaler.name)
}

/// Why an autoscaler is not touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScalerError {
    /// It does not exist.
    #[error(
        "spec.autoscalerRef: {kind} {name} does not exist; expected the autoscaler of the target; create it, or correct the reference"
    )]
    Missing {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It scales something else.
    #[error(
        "spec.autoscalerRef: {kind} {name} scales {found}; expected {expected}; correct its spec.scaleTargetRef or the reference"
    )]
    OtherTarget {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What it scales.
        found: String,
        /// The target.
        expected: String,
    },
    /// The primary's scaler belongs to somebody else.
    #[error(
        "{kind} {name} exists and is not controlled by this Canary; expected none, or ours; rename or delete it"
    )]
    Foreign {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

impl ScalerError {
    /// CamelCase reason of the condition it leads to.
    pub fn reason(&self) -> &'static str {
        match self {
            ScalerError::Missing { .. } => "AutoscalerNotFound",
            ScalerError::OtherTarget { .. } => "AutoscalerMismatch",
            ScalerError::Foreign { .. } => "ForeignAutoscaler",
        }
    }
}

/// The Kubernetes kind.
pub fn kind(scaler: &Autoscaler) -> &'static str {
    match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        ScalerKind::ScaledObject => "ScaledObject",
    }
}

/// Is the user's autoscaler there, and does it scale the target? (Flagger does not look.)
pub fn check<'a>(
    scaler: &Autoscaler,
    source: Option<&'a Value>,
    canary: &Canary,
) -> Result<&'a Value, ScalerError> {
    let Some(source) = source else {
        return Err(ScalerError::Missing {
            kind: kind(scaler),
            name: format!("{}.{}", scaler.name, canary.id.namespace),
        });
    };
    let part = |field: &str| {
        source
            .pointer(&format!("/spec/scaleTargetRef/{field}"))
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    // KEDA's default kind.
    let found = (
        part("kind").unwrap_or("Deployment"),
        part("name").unwrap_or_default(),
    );
    let expected = (canary.target.kind.as_str(), canary.target.name.as_str());
    if found == expected {
        return Ok(source);
    }
    Err(ScalerError::OtherTarget {
        kind: kind(scaler),
        name: format!("{}.{}", scaler.name, canary.id.namespace),
        found: format!("{} {:?}", found.0, found.1),
        expected: format!("{} {:?}", expected.0, expected.1),
    })
}

/// The primary's autoscaler as it should be, given the user's and what is there; `None` when nothing has to be
/// written.
pub fn primary(
    scaler: &Autoscaler,
    source: &Value,
    live: Option<&Value>,
    canary: &Canary,
) -> Result<Option<Value>, ScalerError> {
    check(scaler, Some(source), canary)?;
    if live.is_some_and(|live| !is_owned_by(live, canary)) {
        return Err(ScalerError::Foreign {
            kind: kind(scaler),
            name: primary_name(scaler),
        });
    }
    let mut spec = source.get("spec").cloned().unwrap_or_else(|| json!({}));
    spec["scaleTargetRef"]["name"] = json!(primary_workload(canary));
    match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => bounds(&mut spec, scaler, "minReplicas", "maxReplicas"),
        ScalerKind::ScaledObject => {
            bounds(&mut spec, scaler, "minReplicaCount", "maxReplicaCount");
            if let Some(name) = spec.pointer_mut("/advanced/horizontalPodAutoscalerConfig/name")
                && let Some(text) = name.as_str().filter(|text| !text.is_empty())
            {
                *name = json!(format!("{text}-primary"));
            }
            triggers(&mut spec, scaler, &canary.target.name);
        }
    }
    let mut wanted = live.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": source.get("apiVersion"),
            "kind": kind(scaler),
            "metadata": {
                "name": primary_name(scaler),
                "namespace": canary.id.namespace,
                "labels": kept(source.pointer("/metadata/labels")),
                "annotations": kept(source.pointer("/metadata/annotations")),
                "ownerReferences": [owner_reference(canary)],
            },
        })
    });
    if let Some(map) = wanted.as_object_mut() {
        map.remove("status");
    }
    wanted["spec"] = spec;
    let changed = live.is_none_or(|live| !same(live.get("spec"), wanted.get("spec")));
    Ok(changed.then_some(wanted))
}

/// The merge patch that pauses (or resumes) the user's autoscaler; `None` when it needs none. An HPA idles by itself
/// while its target has no replicas.
pub fn pause(scaler: &Autoscaler, source: &Value, paused: bool) -> Option<Value> {
    match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => None,
        ScalerKind::ScaledObject => {
            let now = source
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(PAUSED));
            let wanted = if paused { json!("0") } else { Value::Null };
            let settled = now.unwrap_or(&Value::Null) == &wanted;
            (!settled).then(|| json!({ "metadata": { "annotations": { PAUSED: wanted } } }))
        }
    }
}

/// The merge patch that takes our pause off a ScaledObject that the Canary names no more; `None` when it is not
/// paused by us or scales something else.
pub fn resume(source: &Value, canary: &Canary) -> Option<Value> {
    let paused = source
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(PAUSED));
    let scales = source
        .pointer("/spec/scaleTargetRef/name")
        .and_then(Value::as_str);
    (paused == Some(&json!("0")) && scales == Some(canary.target.name.as_str()))
        .then(|| json!({ "metadata": { "annotations": { PAUSED: null } } }))
}

/// The least replicas the autoscaler keeps, when that is more than one.
pub fn minimum(scaler: &Autoscaler, source: &Value) -> Option<i64> {
    let field = match scaler.kind {
        ScalerKind::HorizontalPodAutoscaler => "/spec/minReplicas",
        ScalerKind::ScaledObject => "/spec/minReplicaCount",
    };
    source
        .pointer(field)
        .and_then(Value::as_i64)
        .filter(|minimum| *minimum > 1)
}

fn bounds(spec: &mut Value, scaler: &Autoscaler, minimum: &str, maximum: &str) {
    if let Some(count) = scaler.primary_min {
        spec[minimum] = json!(count);
    }
    if let Some(count) = scaler.primary_max {
        spec[maximum] = json!(count);
    }
}

/// KEDA triggers ask about the primary: the query given for a trigger's name, else its own with the names of the
/// target and its canary Service turned into the primary's.
fn triggers(spec: &mut Value, scaler: &Autoscaler, target: &str) {
    let Some(triggers) = spec.get_mut("triggers").and_then(Value::as_array_mut) else {
        return;
    };
    let primary = format!("{target}-primary");
    for trigger in triggers {
        let given = trigger
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| scaler.primary_queries.get(name));
        let Some(query) = trigger.pointer_mut("/metadata/query") else {
            continue;
        };
        if let Some(given) = given {
            *query = json!(given);
        } else if scaler.primary_queries.is_empty()
            && let Some(text) = query.as_str()
        {
            let renamed = text.replace(&format!("{target}-canary"), &primary);
            let renamed: Vec<String> = renamed
                .split(&primary)
                .map(|part| part.replace(target, &primary))
                .collect();
            *query = json!(renamed.join(&primary));
        }
    }
}

/// Labels and annotations that describe the workload: not those of Flux, of `kubectl apply`, or a pause.
fn kept(source: Option<&Value>) -> Map<String, Value> {
    let Some(entries) = source.and_then(Value::as_object) else {
        return Map::new();
    };
    entries
        .iter()
        .filter(|(key, _)| {
            !key.contains("toolkit.fluxcd.io")
                && !key.starts_with("kubectl.kubernetes.io/")
                && !key.starts_with("autoscaling.keda.sh/paused")
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::fixture::canary;

    fn hpa() -> Autoscaler {
        Autoscaler {
            kind: ScalerKind::HorizontalPodAutoscaler,
            name: "podinfo".to_owned(),
            primary_queries: std::collections::BTreeMap::new(),
            primary_min: None,
            primary_max: None,
        }
    }

    fn keda() -> Autoscaler {
        Autoscaler {
            kind: ScalerKind::ScaledObject,
            ..hpa()
        }
    }

    fn source(scaler: &Autoscaler) -> Value {
        match scaler.kind {
            ScalerKind::HorizontalPodAutoscaler => json!({
                "apiVersion": "autoscaling/v2",
                "metadata": {"name": "podinfo", "labels": {"team": "x", "kustomize.toolkit.fluxcd.io/name": "a"}},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                    "minReplicas": 2,
                    "maxReplicas": 4,
                    "metrics": [{"type": "Resource", "resource": {"name": "cpu"}}],
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
                },
                "status": {"currentReplicas": 2},
            }),
            ScalerKind::ScaledObject => json!({
                "apiVersion": "keda.sh/v1alpha1",
                "metadata": {
                    "name": "podinfo",
                    "annotations": {
                        PAUSED: "0",
                        "autoscaling.keda.sh/paused": "true",
                        "kubectl.kubernetes.io/last-applied-configuration": "{}",
                        "mine": "kept",
                    },
                },
                "spec": {
                    "scaleTargetRef": {"name": "podinfo"},
                    "minReplicaCount": 2,
                    "pollingInterval": 10,
                    "advanced": {"horizontalPodAutoscalerConfig": {"name": "podinfo-hpa"}},
                    "triggers": [
                        {"type": "prometheus", "name": "rps", "metadata": {"query": "rate(r{pod=~\"podinfo-.*\"}[1m])"}},
                        {"type": "cpu", "metadata": {"value": "80"}},
                    ],
                },
            }),
        }
    }

    #[test]
    fn the_primarys_scaler_copies_the_users() {
        for scaler in [hpa(), keda()] {
            let source = source(&scaler);
            let made = primary(&scaler, &source, None, &canary()).unwrap().unwrap();
            assert_eq!(made["metadata"]["name"], "podinfo-primary");
            assert_eq!(made["kind"], kind(&scaler));
            assert_eq!(made["apiVersion"], source["apiVersion"]);
            assert_eq!(made["spec"]["scaleTargetRef"]["name"], "podinfo-primary");
            assert!(is_owned_by(&made, &canary()));
            let text = made["metadata"].to_string();
            assert!(
                !text.contains("fluxcd") && !text.contains("last-applied"),
                "{text}"
            );
            // Stored and read back: nothing to write, whatever its controller notes on it.
            let mut live = made.clone();
            live["metadata"]["labels"]["scaledobject.keda.sh/name"] = json!("podinfo-primary");
            live["status"] = json!({"conditions": []});
            assert_eq!(primary(&scaler, &source, Some(&live), &canary()), Ok(None));
            // An edit of the user's is followed.
            let mut edited = source.clone();
            edited["spec"]["maxReplicas"] = json!(9);
            assert!(
                primary(&scaler, &edited, Some(&live), &canary())
                    .unwrap()
                    .is_some()
            );
        }
    }

    #[test]
    fn q17_a_pause_is_not_copied() {
        let made = primary(&keda(), &source(&keda()), None, &canary())
            .unwrap()
            .unwrap();
        assert_eq!(made["metadata"]["annotations"], json!({"mine": "kept"}));
        assert_eq!(
            made["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"],
            "podinfo-hpa-primary"
        );
    }

    #[test]
    fn bounds_of_the_primary_override() {
        for (mut scaler, minimum, maximum) in [
            (hpa(), "minReplicas", "maxReplicas"),
            (keda(), "minReplicaCount", "maxReplicaCount"),
        ] {
            scaler.primary_min = Some(3);
            scaler.primary_max = Some(7);
            let made = primary(&scaler, &source(&scaler), None, &canary())
                .unwrap()
                .unwrap();
            assert_eq!(
                (&made["spec"][minimum], &made["spec"][maximum]),
                (&json!(3), &json!(7))
            );
        }
    }

    #[test]
    fn a_missing_foreign_or_misdirected_scaler_is_refused() {
        let refused = |result: Result<Option<Value>, ScalerError>| result.unwrap_err().reason();
        for scaler in [hpa(), keda()] {
            assert_eq!(
                check(&scaler, None, &canary()).unwrap_err().reason(),
                "AutoscalerNotFound"
            );
            for (field, value) in [("name", "elsewhere"), ("kind", "StatefulSet")] {
                let mut other = source(&scaler);
                other["spec"]["scaleTargetRef"][field] = json!(value);
                let error = check(&scaler, Some(&other), &canary()).unwrap_err();
                assert_eq!(error.reason(), "AutoscalerMismatch");
                assert!(error.to_string().contains(value), "{error}");
                assert_eq!(
                    refused(primary(&scaler, &other, None, &canary())),
                    "AutoscalerMismatch"
                );
            }
            let mine = json!({"metadata": {"name": "podinfo-primary"}, "spec": {}});
            assert_eq!(
                refused(primary(&scaler, &source(&scaler), Some(&mine), &canary())),
                "ForeignAutoscaler"
            );
        }
    }

    #[test]
    fn queries_are_renamed_once() {
        let query = |scaler: &Autoscaler, text: &str| {
            let mut source = source(scaler);
            source["spec"]["triggers"][0]["metadata"]["query"] = json!(text);
            let made = primary(scaler, &source, None, &canary()).unwrap().unwrap();
            made["spec"]["triggers"][0]["metadata"]["query"].clone()
        };
        let table = [
            ("podinfo", "podinfo-primary"),
            ("podinfo-canary", "podinfo-primary"),
            ("podinfo-primary", "podinfo-primary"),
            (
                "a{x=\"podinfo\",y=\"podinfo-canary\"}",
                "a{x=\"podinfo-primary\",y=\"podinfo-primary\"}",
            ),
            ("up", "up"),
        ];
        for (text, expected) in table {
            assert_eq!(query(&keda(), text), expected);
        }
        let mut given = keda();
        given.primary_queries = [("rps".to_owned(), "sum(x)".to_owned())].into();
        assert_eq!(query(&given, "podinfo"), "sum(x)");
        given.primary_queries = [("other".to_owned(), "sum(x)".to_owned())].into();
        assert_eq!(
            query(&given, "podinfo"),
            "podinfo",
            "with queries given, none is guessed"
        );
    }

    #[test]
    fn a_scaled_object_is_paused_and_resumed_and_an_hpa_idles() {
        let paused = source(&keda());
        let mut running = paused.clone();
        running["metadata"].as_object_mut().unwrap().remove("annotations");
        let table = [
            (&paused, true, None),
            (&paused, false, Some(Value::Null)),
            (&running, true, Some(json!("0"))),
            (&running, false, None),
        ];
        for (source, pausing, expected) in table {
            let patch = pause(&keda(), source, pausing);
            assert_eq!(
                patch.map(|patch| patch["metadata"]["annotations"][PAUSED].clone()),
                expected
            );
        }
        assert_eq!(pause(&hpa(), &source(&hpa()), true), None);
    }

    #[test]
    fn only_our_pause_of_the_targets_own_is_taken_back() {
        let paused = source(&keda());
        let taken = json!({ "metadata": { "annotations": { PAUSED: null } } });
        assert_eq!(resume(&paused, &canary()), Some(taken));
        let mut other = paused.clone();
        other["spec"]["scaleTargetRef"]["name"] = json!("other");
        assert_eq!(resume(&other, &canary()), None);
        let mut theirs = paused;
        theirs["metadata"]["annotations"][PAUSED] = json!("3");
        assert_eq!(resume(&theirs, &canary()), None);
    }

    #[test]
    fn the_minimum_counts_from_two() {
        for (scaler, field) in [(hpa(), "minReplicas"), (keda(), "minReplicaCount")] {
            for (written, expected) in [
                (json!(2), Some(2)),
                (json!(1), None),
                (json!(0), None),
                (Value::Null, None),
            ] {
                let mut source = source(&scaler);
                source["spec"][field] = written;
                assert_eq!(minimum(&scaler, &source), expected);
            }
        }
    }

    proptest! {
        #[test]
        fn renaming_a_query_is_idempotent(text in "(podinfo|-canary|-primary|[{}=, x]){0,8}") {
            let rename = |text: &str| {
                let mut spec = json!({"triggers": [{"metadata": {"query": text}}]});
                triggers(&mut spec, &keda(), "podinfo");
                spec["triggers"][0]["metadata"]["query"].as_str().unwrap().to_owned()
            };
            let once = rename(&text);
            prop_assert_eq!(once.matches("podinfo").count(), text.matches("podinfo").count());
            prop_assert_eq!(once.matches("podinfo-primary").count(), once.matches("podinfo").count());
            if !once.contains("-primary-canary") {
                prop_assert_eq!(rename(&once), once);
            }
        }
    }
}
