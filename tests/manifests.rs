//! What is shipped as YAML agrees with what the process applies, and with itself.
#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use verdigris::install::{self, Endpoint};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

fn documents(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    text.split("\n---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn only(file: &str) -> Value {
    let mut all = documents(file);
    assert_eq!(all.len(), 1, "{file}");
    all.remove(0)
}

fn service() -> Endpoint {
    Endpoint::Service {
        namespace: "verdigris-system".to_owned(),
        name: "verdigris-webhook".to_owned(),
        port: 443,
    }
}

#[test]
fn webhook_configurations_are_those_the_process_applies() {
    let applied = install::configurations(&service(), None).map(|(_, object)| object);
    assert_eq!(documents("webhooks.yaml"), applied);
}

#[test]
fn the_kustomization_lists_every_file() {
    let kustomization = only("kustomization.yaml");
    let mut listed: Vec<&str> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap())
        .collect();
    listed.sort_unstable();
    let mut found: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .filter(|name| name != "kustomization.yaml")
        .collect();
    found.sort_unstable();
    assert_eq!(listed, found);
}

#[test]
fn service_deployment_budget_and_policy_speak_of_the_same_pods_and_port() {
    let deployment = only("deployment.yaml");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = only("service.yaml");
    assert_eq!(&service["spec"]["selector"], labels);
    assert_eq!(&only("pdb.yaml")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(
        &only("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        labels
    );
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);

    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let port = &container["ports"][0];
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    assert!(
        container["args"]
            .as_array()
            .unwrap()
            .contains(&"--listen=0.0.0.0:9443".into())
    );
    assert_eq!(port["containerPort"], 9443);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS", "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"], port["name"], "{probe}");
    }
}

#[test]
fn rights_are_least() {
    for object in documents("rbac.yaml") {
        let rules = object["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
        for rule in rules {
            let text = rule.to_string();
            assert!(!text.contains('*'), "{text}");
            let verbs = rule["verbs"].as_array().unwrap();
            let of = |resource: &str| {
                let all = rule["resources"].as_array().unwrap();
                all.iter()
                    .any(|found| found.as_str().unwrap().starts_with(resource))
            };
            if of("secrets") {
                for verb in ["list", "watch", "delete"] {
                    assert!(!verbs.contains(&verb.into()), "{text}");
                }
            }
            if of("customresourcedefinitions") || of("mutatingwebhook") || of("validatingwebhook") {
                assert!(
                    rule["resourceNames"]
                        .as_array()
                        .is_some_and(|names| !names.is_empty()),
                    "{text}"
                );
                for verb in ["create", "update", "delete"] {
                    assert!(!verbs.contains(&verb.into()), "{text}");
                }
            }
        }
    }
}

/// Every sample passes our own admission, without a word of doubt, and is named after its file.
#[test]
fn sample_policies_are_good() {
    let now = "2026-11-28T00:00:00Z".parse().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let file = format!("policies/{}", path.file_name().unwrap().to_str().unwrap());
        for policy in documents(&file) {
            let report = verdigris::policy::validate(&policy, now);
            assert_eq!(report, verdigris::model::violation::Report::default(), "{file}");
            assert_eq!(
                policy["metadata"]["name"].as_str(),
                path.file_stem().unwrap().to_str(),
                "{file}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen}");
}

/// The samples of Kubernetes' own policies come in pairs, and their CEL is CEL.
#[test]
fn sample_admission_policies_are_whole() {
    for entry in fs::read_dir(folder().join("policies/vap")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let [policy, binding] = documents(&format!("policies/vap/{name}")).try_into().unwrap();
        let (policy, binding): (Value, Value) = (policy, binding);
        assert_eq!(policy["kind"], "ValidatingAdmissionPolicy", "{name}");
        assert_eq!(
            binding["spec"]["policyName"], policy["metadata"]["name"],
            "{name}"
        );
        let variables: Vec<&str> = policy["spec"]["variables"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one["expression"].as_str().unwrap())
            .collect();
        let lists = ["matchConditions", "validations"].into_iter();
        let rules = lists.flat_map(|list| policy["spec"][list].as_array().unwrap());
        let texts = rules.flat_map(|one| [&one["expression"], &one["messageExpression"]]);
        for text in texts.filter_map(Value::as_str).chain(variables) {
            // `variables` is of Kubernetes' policies alone.
            let text = text.replace("variables.", "object.");
            let compiled = verdigris::policy::cel::Expression::compile(&text);
            assert!(compiled.is_ok(), "{name}: {text}: {compiled:?}");
        }
    }
}
