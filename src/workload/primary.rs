//! `<target>-primary` for a Deployment or DaemonSet (flagger-behaviour §3.1, §3.2).

use serde_json::{Value, json};

use crate::model::canary::TargetKind;
use crate::model::revision::Revision;

use super::{
    REVISION_ANNOTATION, Rendering, api_version, filtered, owner_reference, primary_name, record, template,
};

/// Fields of a spec that a promotion copies beside the template, and replicas.
fn copied(kind: TargetKind) -> &'static [&'static str] {
    match kind {
        TargetKind::Deployment => &[
            "progressDeadlineSeconds",
            "minReadySeconds",
            "revisionHistoryLimit",
            "strategy",
        ],
        TargetKind::DaemonSet => &["minReadySeconds", "revisionHistoryLimit", "updateStrategy"],
        TargetKind::Service | TargetKind::Knative => &[],
    }
}

/// Renders the primary from a recorded target.
///
/// `source` holds the target's `metadata.labels`, `metadata.annotations` and `spec` as they were judged (see
/// [`record::source`]); `live` is the primary as it is, if it is. Replicas follow the source only without an
/// autoscaler. What else is on a live primary stays.
pub fn render(source: &Value, live: Option<&Value>, revision: &Revision, rendering: &Rendering<'_>) -> Value {
    let (canary, label, options) = (rendering.canary, rendering.label, rendering.options);
    let kind = canary.target.kind;
    let mut object = live.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": api_version(kind),
            "kind": kind.as_str(),
            "metadata": {
                "name": primary_name(canary),
                "namespace": canary.id.namespace,
                "ownerReferences": [owner_reference(canary)],
            },
            "spec": { "selector": { "matchLabels": { label.key.as_str(): label.primary() } } },
        })
    });
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    let mut labels = filtered(source.pointer("/metadata/labels"), options);
    labels.insert(label.key.clone(), Value::String(label.primary()));
    let mut annotations = filtered(source.pointer("/metadata/annotations"), options);
    annotations.insert(REVISION_ANNOTATION.to_owned(), Value::String(revision.identity()));
    if let Some(kept) = live
        .and_then(|live| live.pointer("/metadata/annotations"))
        .and_then(Value::as_object)
    {
        // The workload's own controller keeps its rollout number here; dropping it would be undone at once.
        for (key, value) in kept.iter().filter(|(key, _)| record::is_bookkeeping(key)) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    object["metadata"]["labels"] = Value::Object(labels);
    object["metadata"]["annotations"] = Value::Object(annotations);

    let spec = source.get("spec").cloned().unwrap_or_else(|| json!({}));
    for field in copied(kind) {
        match spec.get(field) {
            Some(value) => object["spec"][field] = value.clone(),
            None => {
                if let Some(map) = object["spec"].as_object_mut() {
                    map.remove(*field);
                }
            }
        }
    }
    if kind == TargetKind::Deployment {
        let wanted = spec.get("replicas").and_then(Value::as_i64).unwrap_or(1);
        if live.is_none() {
            object["spec"]["replicas"] = json!(wanted.max(1));
        } else if canary.autoscaler.is_none() && wanted > 0 {
            object["spec"]["replicas"] = json!(wanted);
        }
    }
    object["spec"]["template"] = template::render(&spec, revision, rendering);
    object
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::canary::{Autoscaler, Canary, ScalerKind};
    use crate::model::revision;
    use crate::workload::config::{ConfigKind, Copies};
    use crate::workload::fixture::{canary, daemon_set, deployment};
    use crate::workload::{FLAGGER_ID, Options, SelectorLabel, patch, selector_label, target};

    struct Set {
        canary: Canary,
        label: SelectorLabel,
        options: Options,
        copies: Copies,
    }

    impl Set {
        fn new() -> Self {
            let options = Options::default();
            Self {
                canary: canary(),
                label: selector_label(&deployment(), &options).unwrap(),
                options,
                copies: Copies::new(),
            }
        }

        fn daemon_set() -> Self {
            let mut set = Self::new();
            set.canary.target.kind = TargetKind::DaemonSet;
            set
        }

        fn rendering(&self) -> Rendering<'_> {
            Rendering {
                canary: &self.canary,
                label: &self.label,
                options: &self.options,
                copies: &self.copies,
            }
        }

        fn render(&self, target: &Value, live: Option<&Value>) -> Value {
            let kind = self.canary.target.kind;
            let revision = revision(kind, target);
            render(&record::source(kind, target), live, &revision, &self.rendering())
        }
    }

    fn revision(kind: TargetKind, target: &Value) -> Revision {
        Revision {
            template: revision::hash(&target::released(kind, target)),
            configs: None,
        }
    }

    /// What an API server and the Deployment controller add to what they are given.
    fn stored(mut object: Value) -> Value {
        object["metadata"]["uid"] = json!("uid-9");
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["resourceVersion"] = json!("10");
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("1");
        object["status"] = json!({"replicas": 2});
        object
    }

    #[test]
    fn a_primary_is_made_as_flagger_makes_it() {
        let set = Set::new();
        let primary = set.render(&deployment(), None);
        assert_eq!(primary["metadata"]["name"], "podinfo-primary");
        assert_eq!(primary["metadata"]["labels"], json!({"app": "podinfo-primary"}));
        assert_eq!(primary["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        let spec = &primary["spec"];
        assert_eq!(
            spec["selector"],
            json!({"matchLabels": {"app": "podinfo-primary"}})
        );
        assert_eq!(
            spec["template"]["metadata"]["labels"],
            json!({"app": "podinfo-primary", "tier": "web"})
        );
        assert_eq!(spec["replicas"], 2);
        assert_eq!(spec["minReadySeconds"], 3);
        assert_eq!(spec["progressDeadlineSeconds"], 60);
        assert!(
            spec.get("paused").is_none(),
            "a paused target has a running primary"
        );
        assert_eq!(
            spec["template"]["spec"]["futureField"],
            json!({"kept": true}),
            "fields our types do not know are copied"
        );
        let annotations = &spec["template"]["metadata"]["annotations"];
        assert_eq!(annotations["prometheus.io/scrape"], "true");
        let id = annotations[FLAGGER_ID].as_str().unwrap();
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_ne!(id, "someone-else's");
    }

    #[test]
    fn q47_labels_and_annotations_follow_one_rule_at_creation_and_promotion() {
        let mut set = Set::new();
        let table: [(&[&str], bool, bool); 4] = [
            (&[], false, false),
            (&["team"], true, false),
            (&["*"], true, true),
            (&["", "app.example.com"], false, true),
        ];
        for (prefixes, team, owner) in table {
            set.options.include_label_prefix = prefixes.iter().map(|one| (*one).to_owned()).collect();
            let made = set.render(&deployment(), None);
            let promoted = set.render(&deployment(), Some(&stored(made.clone())));
            for primary in [made, promoted] {
                let metadata = &primary["metadata"];
                assert_eq!(metadata["labels"].get("team").is_some(), team, "{prefixes:?}");
                assert_eq!(
                    metadata["annotations"].get("app.example.com/owner").is_some(),
                    owner,
                    "{prefixes:?}"
                );
                let text = metadata.to_string();
                assert!(
                    !text.contains("fluxcd") && !text.contains("last-applied"),
                    "{text}"
                );
                assert_eq!(metadata["labels"]["app"], "podinfo-primary");
            }
        }
    }

    #[test]
    fn replicas_follow_the_target_unless_it_is_parked_or_scaled() {
        let mut set = Set::new();
        let hpa = Autoscaler {
            kind: ScalerKind::HorizontalPodAutoscaler,
            name: "podinfo".to_owned(),
            primary_queries: std::collections::BTreeMap::new(),
            primary_min: None,
            primary_max: None,
        };
        let table = [
            // (target, live primary, autoscaler) → primary
            (Some(3), None, false, 3),
            (Some(0), None, false, 1),
            (None, None, false, 1),
            (Some(3), None, true, 3),
            (Some(4), Some(2), false, 4),
            (Some(0), Some(2), false, 2),
            (Some(4), Some(2), true, 2),
        ];
        for (wanted, live, scaled, expected) in table {
            let mut target = deployment();
            target["spec"]["replicas"] = json!(wanted);
            set.canary.autoscaler = scaled.then(|| hpa.clone());
            let live = live.map(|replicas| {
                let mut live = stored(set.render(&deployment(), None));
                live["spec"]["replicas"] = json!(replicas);
                live
            });
            let primary = set.render(&target, live.as_ref());
            assert_eq!(
                primary["spec"]["replicas"], expected,
                "{wanted:?} {live:?} {scaled}"
            );
        }
    }

    #[test]
    fn a_field_that_left_the_target_leaves_the_primary_and_foreign_fields_stay() {
        let set = Set::new();
        let mut live = stored(set.render(&deployment(), None));
        live["metadata"]["finalizers"] = json!(["example.com/keep"]);
        live["spec"]["selector"]["matchLabels"]["old"] = json!("label");
        let mut target = deployment();
        target["spec"].as_object_mut().unwrap().remove("minReadySeconds");
        let promoted = set.render(&target, Some(&live));
        assert!(promoted["spec"].get("minReadySeconds").is_none());
        assert_eq!(
            promoted["spec"]["selector"], live["spec"]["selector"],
            "immutable"
        );
        assert_eq!(promoted["metadata"]["finalizers"], live["metadata"]["finalizers"]);
        assert_eq!(
            promoted["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
            "1"
        );
        assert!(promoted.get("status").is_none());
    }

    #[test]
    fn q46_rendering_what_is_stored_writes_nothing() {
        for (set, target) in [(Set::new(), deployment()), (Set::daemon_set(), daemon_set())] {
            let live = stored(set.render(&target, None));
            let mut again = set.render(&target, Some(&live));
            again["status"] = live["status"].clone();
            assert_eq!(patch::merge(&live, &again), None);
        }
    }

    #[test]
    fn the_id_tells_revisions_apart_by_configs_too() {
        let set = Set::new();
        let source = record::source(TargetKind::Deployment, &deployment());
        let with = |sum: Option<&str>| {
            let revision = Revision {
                template: "v1:1".to_owned(),
                configs: sum.map(|sum| [("configmap/a".to_owned(), sum.to_owned())].into()),
            };
            let primary = render(&source, None, &revision, &set.rendering());
            primary["spec"]["template"]["metadata"]["annotations"][FLAGGER_ID].clone()
        };
        assert_eq!(with(Some("1")), with(Some("1")));
        assert_ne!(with(Some("1")), with(Some("2")));
        assert_ne!(with(None), with(Some("1")));
    }

    #[test]
    fn q15_a_parked_daemon_set_has_a_running_primary() {
        let set = Set::daemon_set();
        let mut parked = daemon_set();
        parked["spec"]["template"]["spec"]["nodeSelector"] =
            json!({target::PARKED: "true", "kubernetes.io/os": "linux"});
        for live in [None, Some(stored(set.render(&daemon_set(), None)))] {
            let primary = set.render(&parked, live.as_ref());
            assert_eq!(primary["kind"], "DaemonSet");
            assert_eq!(
                primary["spec"]["template"]["spec"]["nodeSelector"],
                json!({"kubernetes.io/os": "linux"})
            );
            assert_eq!(primary["spec"]["updateStrategy"]["type"], "RollingUpdate");
            assert!(primary["spec"].get("replicas").is_none());
        }
    }

    #[test]
    fn affinities_point_at_the_primarys_own_pods() {
        let term = |value: &str| json!({"labelSelector": {"matchLabels": {"app": value, "tier": "podinfo"}}, "topologyKey": "zone"});
        let listed = |first: &str| json!({"labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["other", first, "podinfo"]}]}});
        let mut target = deployment();
        let spec = &mut target["spec"]["template"]["spec"];
        spec["topologySpreadConstraints"] = json!([term("podinfo"), term("elsewhere"), listed("podinfo")]);
        spec["affinity"] = json!({
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [term("podinfo")],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term("podinfo")}],
            },
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("podinfo")]},
        });
        let original = spec.clone();
        let rendered = Set::new().render(&target, None);
        let spec = &rendered["spec"]["template"]["spec"];
        assert_eq!(
            spec["topologySpreadConstraints"],
            json!([
                term("podinfo-primary"),
                term("elsewhere"),
                listed("podinfo-primary")
            ]),
            "only selector label keys, only the first value of a list"
        );
        let anti = &spec["affinity"]["podAntiAffinity"];
        assert_eq!(
            anti["requiredDuringSchedulingIgnoredDuringExecution"],
            json!([term("podinfo-primary")])
        );
        assert_eq!(
            anti["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"],
            term("podinfo-primary")
        );
        assert_eq!(
            spec["affinity"]["podAffinity"],
            original["affinity"]["podAffinity"]
        );

        let mut daemons = daemon_set();
        daemons["spec"]["template"]["spec"] = original.clone();
        let rendered = Set::daemon_set().render(&daemons, None);
        assert_eq!(
            rendered["spec"]["template"]["spec"], original,
            "not for DaemonSets"
        );
    }

    #[test]
    fn a_primary_of_flagger_is_recognised_with_its_rewrites_undone() {
        let mut set = Set::new();
        let mut target = deployment();
        target["spec"]["template"]["spec"]["volumes"] = json!([
            {"name": "c", "configMap": {"name": "app"}},
            {"name": "s", "secret": {"secretName": "plain"}},
        ]);
        let same = |set: &Set, target: &Value, primary: &Value| {
            template::runs_the_same(target, primary, &set.rendering())
        };
        let untracked = stored(set.render(&target, None));
        assert_eq!(
            same(&set, &target, &untracked),
            Some(Vec::new()),
            "config tracking was off"
        );

        set.copies = [(
            (ConfigKind::ConfigMap, "app".to_owned()),
            "app-primary".to_owned(),
        )]
        .into();
        let mut primary = stored(set.render(&target, None));
        primary["spec"]["template"]["metadata"]["annotations"][FLAGGER_ID] = json!("a-uuid");
        let copied = same(&set, &target, &primary).unwrap();
        assert_eq!(copied.len(), 1, "the Secret was not copied");
        assert_eq!(
            (copied[0].name.as_str(), copied[0].copy.as_str()),
            ("app", "app-primary")
        );

        target["spec"]["replicas"] = json!(0);
        assert!(
            same(&set, &target, &primary).is_some(),
            "replicas are no part of it"
        );
        target["spec"]["template"]["spec"]["containers"][0]["image"] = json!("podinfo:2");
        assert!(same(&set, &target, &primary).is_none());
    }

    proptest! {
        #[test]
        fn any_pod_spec_survives_and_settles(spec in crate::workload::fixture::json_value(), parked: bool) {
            for (set, mut target) in [(Set::new(), deployment()), (Set::daemon_set(), daemon_set())] {
                target["spec"]["template"]["spec"] = json!({"any": spec});
                let plain = revision(set.canary.target.kind, &target);
                if parked && set.canary.target.kind == TargetKind::DaemonSet {
                    target["spec"]["template"]["spec"]["nodeSelector"] = json!({target::PARKED: "true"});
                }
                prop_assert_eq!(revision(set.canary.target.kind, &target), plain, "parking is no revision");
                let live = stored(set.render(&target, None));
                prop_assert_eq!(&live["spec"]["template"]["spec"], &json!({"any": spec}));
                let mut again = set.render(&target, Some(&live));
                again["status"] = live["status"].clone();
                prop_assert_eq!(patch::merge(&live, &again), None);
                prop_assert!(template::runs_the_same(&target, &live, &set.rendering()).is_some());
            }
        }
    }
}
