//! What is shipped as YAML agrees with what the process applies, and with itself.
#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test")]

mod image;
mod monitoring;
mod operate;
mod overlays;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use verdigris::install::{self, Endpoint};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

fn parsed(text: &str) -> Vec<Value> {
    format!("\n{text}")
        .split("\n---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn documents(file: &str) -> Vec<Value> {
    parsed(&fs::read_to_string(folder().join(file)).unwrap())
}

fn only(file: &str) -> Value {
    let mut all = documents(file);
    assert_eq!(all.len(), 1, "{file}");
    all.remove(0)
}

/// Every folder with a kustomization, relative to `manifests`.
fn kustomizations(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder().join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            kustomizations(&path, found);
        } else if entry.file_name() == "kustomization.yaml" {
            found.push(below.to_owned());
        }
    }
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
    assert_eq!(documents("components/declared-webhooks/webhooks.yaml"), applied);
    // What the base ships is the same without its webhooks.
    let bare = applied.map(|mut object| {
        object.as_object_mut().unwrap().remove("webhooks");
        object
    });
    assert_eq!(documents("base/webhooks.yaml"), bare);
}

#[test]
fn every_file_is_listed_by_the_kustomization_beside_it() {
    let mut folders = Vec::new();
    kustomizations(Path::new(""), &mut folders);
    assert!(folders.len() >= 8, "{folders:?}");
    for place in folders {
        let kustomization = only(place.join("kustomization.yaml").to_str().unwrap());
        let listed: Vec<&str> = kustomization["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .chain(
                kustomization["patches"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|patch| patch["path"].as_str()),
            )
            .collect();
        for entry in fs::read_dir(folder().join(&place)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_yaml = Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "yaml");
            if entry.path().is_file() && is_yaml && name != "kustomization.yaml" {
                assert!(
                    listed.contains(&name.as_str()),
                    "{}: {name} is not listed",
                    place.display()
                );
            }
        }
    }
}

#[test]
fn service_deployment_budget_and_policy_speak_of_the_same_pods_and_port() {
    let deployment = only("base/deployment.yaml");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = only("base/service.yaml");
    assert_eq!(&service["spec"]["selector"], labels);
    assert_eq!(
        &only("components/high-availability/pdb.yaml")["spec"]["selector"]["matchLabels"],
        labels
    );
    assert_eq!(
        &only("base/networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
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
fn pods_may_do_nothing_and_never_lead_alone() {
    let deployment = only("base/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert!(container["resources"]["requests"]["memory"].is_string());
    assert!(container["resources"]["limits"]["memory"].is_string());
    // A rolling update runs two pods at once even with one replica: they must elect.
    for argument in container["args"].as_array().unwrap() {
        assert!(!argument.as_str().unwrap().contains("leader-elect"), "{argument}");
    }
}

/// What a Canary can name can be read, whichever way the manifests are installed.
#[test]
fn q49_everything_a_canary_names_can_be_read() {
    let granted: Vec<Value> = documents("base/rbac.yaml")
        .iter()
        .flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default())
        .collect();
    for resource in [
        "canaries",
        "metrictemplates",
        "alertproviders",
        "deployments",
        "daemonsets",
        "services",
        "configmaps",
        "secrets",
        "horizontalpodautoscalers",
        "scaledobjects",
    ] {
        let readable = granted.iter().any(|rule| {
            let has = |list: &str, word: &str| rule[list].as_array().unwrap().contains(&word.into());
            has("resources", resource) && has("verbs", "get") && rule.get("resourceNames").is_none()
        });
        assert!(readable, "{resource}");
    }
}

#[test]
fn rights_are_least() {
    for object in documents("base/rbac.yaml") {
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

/// Every example is listed where people look, and speaks of the fields that are ours.
#[test]
fn examples_are_listed_and_read() {
    let listed = fs::read_to_string(folder().join("examples/README.md")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_manifest = Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "yaml");
        if !is_manifest {
            continue;
        }
        assert!(listed.contains(&format!("({name})")), "{name} is not listed");
        for document in documents(&format!("examples/{name}")) {
            assert!(document["kind"].is_string(), "{name}");
            if document["kind"] == "Canary" {
                let settings = verdigris::model::parse::Settings::default();
                let parsed = verdigris::model::parse::canary(&document, &settings);
                assert!(parsed.canary.is_some(), "{name}: {:?}", parsed.report);
            } else {
                let text = document.to_string();
                let ours = ["replicas", "rebase-rules"]
                    .iter()
                    .any(|word| text.contains(word));
                assert!(ours, "{name}: {text}");
            }
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}
