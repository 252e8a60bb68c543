//! Both versions of Canary through a whole API server with real `kubectl` and the real binary: applied at v1alpha3,
//! read and edited at v1beta1, applied again, switched, listed from mixed storage, migrated, deleted.
//!
//! Skipped, with a message, where no kubectl of 1.28 or newer is on PATH (`hack/test` finds one).

#![expect(clippy::print_stdout, reason = "says why it is skipped")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use devcluster::DevCluster;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

#[path = "admission.rs"]
mod admission;

use crate::kubectl::{Said, kubectl, said};

const ALPHA: &str = "canaries.v1alpha3.flagger.app";
const BETA: &str = "canaries.v1beta1.flagger.app";

/// A blue/green Canary as it was written for Flagger 0.x, with a key no schema has ever declared.
const OLD: &str = r#"
apiVersion: flagger.app/v1alpha3
kind: Canary
metadata: {name: podinfo, namespace: default}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  progressDeadlineSeconds: 120
  service:
    port: 9898
    appendHeaders: {x-from: canary}
  canaryAnalysis:
    interval: 1m
    threshold: 2
    iterations: 10
    metrics:
    - {name: errors, threshold: 5, interval: 1m, query: "sum(rate(errors_total[1m]))"}
    - {name: request-duration, threshold: 500, interval: 1m}
    webhooks:
    - {name: acceptance, type: pre-rollout, url: "http://tester.test/", timeout: 5m}
    - {name: load, url: "http://tester.test/", timeout: 5s}
"#;

/// The cluster, Verdigris in it, and a kubectl.
struct Stage {
    cluster: DevCluster,
    folder: PathBuf,
    kubectl: PathBuf,
    verdigris: Option<Child>,
    port: u16,
}

impl Stage {
    /// A cluster without Verdigris; `None` where there is no kubectl.
    async fn empty() -> Option<Self> {
        let Some(kubectl) = kubectl().await else {
            println!("skipped: no kubectl of 1.28 or newer on PATH");
            return None;
        };
        let cluster = DevCluster::start(devcluster::Config {
            controllers: false,
            ..devcluster::Config::default()
        })
        .await
        .unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = std::env::temp_dir().join(format!("verdigris-conversion-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Some(Self {
            cluster,
            folder,
            kubectl,
            verdigris: None,
            port,
        })
    }

    /// A cluster with Verdigris installed.
    async fn set() -> Option<Self> {
        let mut stage = Self::empty().await?;
        stage.install().await;
        Some(stage)
    }

    fn kubeconfig(&self) -> String {
        self.folder.join("kubeconfig").display().to_string()
    }

    /// `verdigris run --install`; returns when both webhook configurations are in force.
    async fn install(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let log = std::fs::File::create(self.folder.join("verdigris.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_verdigris"))
            .args([
                "run",
                "--install",
                "--kubeconfig",
                &self.kubeconfig(),
                "--listen",
                &address,
            ])
            .args(["--webhook-url", &format!("https://{address}")])
            .stdin(Stdio::null())
            .stderr(log)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.verdigris = Some(child);
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..600 {
            let found = self
                .run(&["get", "validatingwebhookconfiguration", "verdigris"], "")
                .await;
            if found.ok {
                return;
            }
            pause.tick().await;
        }
        panic!(
            "{}",
            std::fs::read_to_string(self.folder.join("verdigris.log")).unwrap()
        );
    }

    async fn run(&self, arguments: &[&str], stdin: &str) -> Said {
        said(
            Command::new(&self.kubectl)
                .args(["--kubeconfig", &self.kubeconfig(), "--cache-dir"])
                .arg(self.folder.join("cache"))
                .args(arguments),
            stdin,
        )
        .await
    }

    async fn apply(&self, manifest: &str) -> Said {
        self.run(&["apply", "-f", "-"], manifest).await
    }

    async fn apply_server_side(&self, manifest: &str) -> Said {
        self.run(
            &["apply", "--server-side", "--field-manager", "gitops", "-f", "-"],
            manifest,
        )
        .await
    }

    async fn get(&self, resource: &str, name: &str) -> Value {
        self.run(
            &["get", resource, name, "-o", "json", "--show-managed-fields"],
            "",
        )
        .await
        .json()
    }

    async fn spec(&self, resource: &str, name: &str) -> Value {
        self.get(resource, name).await["spec"].take()
    }

    /// Changes the CRD of Canary and writes it back.
    async fn crd(&self, change: impl Fn(&mut Value)) {
        let mut crd = self
            .run(&["get", "crd", "canaries.flagger.app", "-o", "json"], "")
            .await
            .json();
        change(&mut crd);
        self.run(&["replace", "-f", "-"], &crd.to_string()).await.good();
    }

    /// Lets new objects be stored at this version.
    async fn store_at(&self, version: &str) {
        self.crd(|crd| {
            for one in crd["spec"]["versions"].as_array_mut().unwrap() {
                one["storage"] = (one["name"] == version).into();
            }
        })
        .await;
    }

    async fn stored_versions(&self) -> Value {
        self.run(&["get", "crd", "canaries.flagger.app", "-o", "json"], "")
            .await
            .json()["status"]["storedVersions"]
            .take()
    }

    async fn clear(mut self) {
        if let Some(child) = &mut self.verdigris {
            child.kill().await.unwrap();
        }
        self.cluster.stop().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

async fn verdigris(arguments: &[&str], stdin: &str) -> Said {
    said(
        Command::new(env!("CARGO_BIN_EXE_verdigris")).args(arguments),
        stdin,
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_old_edited_new_and_applied_old_again() {
    let Some(stage) = Stage::set().await else { return };
    let applied = stage.apply(OLD).await;
    assert!(
        applied.err.contains("v1alpha3 Canary is deprecated"),
        "{}",
        applied.err
    );
    applied.good();

    let alpha = stage.spec(ALPHA, "podinfo").await;
    assert_eq!(alpha["canaryAnalysis"]["metrics"][0]["threshold"], 5);
    assert_eq!(alpha["canaryAnalysis"]["metrics"][1]["threshold"], 500);
    assert_eq!(
        alpha["service"]["appendHeaders"],
        json!({"x-from": "canary"}),
        "kept aside"
    );
    assert_eq!(alpha.get("analysis"), None);
    let beta = stage.spec(BETA, "podinfo").await;
    assert_eq!(
        beta["analysis"]["metrics"][0]["thresholdRange"],
        json!({"max": 5})
    );
    assert_eq!(
        beta["analysis"]["metrics"][1]["thresholdRange"],
        json!({"max": 500})
    );
    assert_eq!(beta["analysis"]["webhooks"], alpha["canaryAnalysis"]["webhooks"]);
    assert_eq!(
        (beta.get("canaryAnalysis"), beta["service"].get("appendHeaders")),
        (None, None)
    );

    // Somebody edits at v1beta1, with an editor, what only v1beta1 has.
    let edited = said(
        Command::new(&stage.kubectl)
            .env(
                "KUBE_EDITOR",
                "sed -i -e 's/^  targetRef:/  suspend: true\\n  targetRef:/' -e 's/max: 500/max: 700/'",
            )
            .args(["--kubeconfig", &stage.kubeconfig(), "edit", BETA, "podinfo"]),
        "",
    )
    .await;
    assert!(edited.out.contains("edited"), "{}{}", edited.out, edited.err);
    let alpha = stage.spec(ALPHA, "podinfo").await;
    assert_eq!(alpha["suspend"], true);
    assert_eq!(alpha["canaryAnalysis"]["metrics"][1]["threshold"], 700);

    // The old manifest, one hook fewer: its own fields follow it, the others stay.
    let shorter = OLD.replace("iterations: 10", "iterations: 12").replace(
        "    - {name: load, url: \"http://tester.test/\", timeout: 5s}\n",
        "",
    );
    stage.apply(&shorter).await.good();
    let beta = stage.spec(BETA, "podinfo").await;
    assert_eq!(beta["suspend"], true);
    assert_eq!(beta["analysis"]["iterations"], 12);
    assert_eq!(beta["analysis"]["webhooks"].as_array().unwrap().len(), 1);
    assert_eq!(
        beta["analysis"]["metrics"][1]["thresholdRange"],
        json!({"max": 500})
    );

    // Applied once more, nothing changes.
    let before = stage.get(BETA, "podinfo").await;
    let again = stage.apply(&shorter).await.good();
    assert!(again.contains("unchanged"), "{again}");
    let after = stage.get(BETA, "podinfo").await;
    assert_eq!(before["spec"], after["spec"]);
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_follows_its_manager_from_version_to_version() {
    let Some(stage) = Stage::set().await else { return };
    stage.apply_server_side(OLD).await.good();
    let patch = r#"{"spec":{"analysis":{"primaryReadyThreshold":80}}}"#;
    stage
        .run(
            &[
                "patch",
                BETA,
                "podinfo",
                "--type",
                "merge",
                "--field-manager",
                "person",
                "-p",
                patch,
            ],
            "",
        )
        .await
        .good();

    // Its own field goes with the manifest, the other manager's stays.
    let without = OLD
        .replace("  progressDeadlineSeconds: 120\n", "")
        .replace("iterations: 10", "iterations: 12");
    stage.apply_server_side(&without).await.good();
    let beta = stage.spec(BETA, "podinfo").await;
    assert_eq!(beta["analysis"]["iterations"], 12);
    assert_eq!(beta["analysis"]["primaryReadyThreshold"], 80);
    assert_ne!(beta["progressDeadlineSeconds"], 120);

    // The same manager goes on at v1beta1, one hook fewer, and without the key v1beta1 has never had.
    let fewer = without
        .replace(
            "    - {name: load, url: \"http://tester.test/\", timeout: 5s}\n",
            "",
        )
        .replace("    appendHeaders: {x-from: canary}\n", "");
    let newer = verdigris(&["convert", "-"], &fewer).await.good();
    assert!(newer.contains("flagger.app/v1beta1"), "{newer}");
    stage.apply_server_side(&newer).await.good();
    let found = stage.get(BETA, "podinfo").await;
    let hooks = found["spec"]["analysis"]["webhooks"].as_array().unwrap();
    assert_eq!(hooks.len(), 1);
    assert_eq!(hooks[0]["name"], "acceptance");
    let versions: Vec<&Value> = found["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        // (What admission filled in belongs to the same manager as an update.)
        .filter(|entry| entry["manager"] == "gitops" && entry["operation"] == "Apply")
        .map(|entry| &entry["apiVersion"])
        .collect();
    assert_eq!(versions, ["flagger.app/v1beta1"]);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_switches_version_first_and_is_edited_then() {
    let Some(stage) = Stage::set().await else { return };
    let old = OLD.replace("    appendHeaders: {x-from: canary}\n", "");
    stage.apply(&old).await.good();
    let before = stage.spec(BETA, "podinfo").await;
    let converted = verdigris(&["convert", "-"], &old).await.good();
    stage.apply(&converted).await.good();
    assert_eq!(
        stage.spec(BETA, "podinfo").await,
        before,
        "the switch alone changes nothing"
    );
    let edited = converted
        .replace("    iterations: 10\n", "    iterations: 5\n")
        .replace("  progressDeadlineSeconds: 120\n", "");
    stage.apply(&edited).await.good();
    let after = stage.spec(BETA, "podinfo").await;
    assert_eq!(after["analysis"]["iterations"], 5);
    assert_ne!(after["progressDeadlineSeconds"], 120);
    assert_eq!(
        stage.spec(ALPHA, "podinfo").await["canaryAnalysis"]["iterations"],
        5
    );
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_written_at_v1alpha3_keeps_the_spec() {
    let Some(stage) = Stage::set().await else { return };
    stage.apply(OLD).await.good();
    let before = (
        stage.get(ALPHA, "podinfo").await,
        stage.get(BETA, "podinfo").await,
    );
    let patch = r#"{"status":{"phase":"Initialized","canaryWeight":0,"failedChecks":1,"iterations":0}}"#;
    let arguments = [
        "patch",
        ALPHA,
        "podinfo",
        "--subresource",
        "status",
        "--type",
        "merge",
        "-o",
        "json",
        "-p",
        patch,
    ];
    let written = stage.run(&arguments, "").await.json();
    assert_eq!(written["status"]["failedChecks"], 1);
    let after = (
        stage.get(ALPHA, "podinfo").await,
        stage.get(BETA, "podinfo").await,
    );
    assert_eq!(after.0["spec"], before.0["spec"]);
    assert_eq!(after.1["spec"], before.1["spec"]);
    assert_eq!(
        after.1["metadata"]["generation"],
        before.1["metadata"]["generation"]
    );
    stage.clear().await;
}

/// The manifest under another name and with a target of its own, at the version it is written in.
fn named(manifest: &str, name: &str) -> String {
    manifest
        .replace("{name: podinfo, namespace", &format!("{{name: {name}, namespace"))
        .replace(
            "kind: Deployment, name: podinfo",
            &format!("kind: Deployment, name: {name}"),
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_storage_is_listed_deleted_and_migrated() {
    let Some(stage) = Stage::set().await else { return };
    stage.store_at("v1alpha3").await;
    for name in ["old-a", "old-b", "old-c"] {
        stage.apply(&named(OLD, name)).await.good();
    }
    stage.store_at("v1beta1").await;
    stage.apply(&named(OLD, "new")).await.good();
    assert_eq!(stage.stored_versions().await, json!(["v1beta1", "v1alpha3"]));

    for (resource, key) in [(ALPHA, "canaryAnalysis"), (BETA, "analysis")] {
        let list = stage.run(&["get", resource, "-o", "json"], "").await.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 4);
        for item in items {
            assert_eq!(item["spec"][key]["iterations"], 10, "{item}");
        }
    }

    // Deleting one that is stored at the old version takes the converter.
    stage.run(&["delete", BETA, "old-c"], "").await.good();
    stage
        .run(&["delete", ALPHA, "new", "--wait=false"], "")
        .await
        .good();
    stage.apply(&named(OLD, "new")).await.good();

    let kubeconfig = stage.kubeconfig();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let before = (stage.get(BETA, "old-a").await, stage.get(BETA, "new").await);
    let plan = verdigris(&["migrate", "--kubeconfig", &kubeconfig, "--dry-run"], "").await;
    assert!(plan.err.contains("would"), "{}", plan.err);
    plan.good();
    assert_eq!(
        stage.stored_versions().await,
        json!(["v1beta1", "v1alpha3"]),
        "a dry run"
    );
    assert_eq!(
        version(&stage.get(BETA, "old-a").await),
        version(&before.0),
        "a dry run"
    );

    let done = verdigris(&["migrate", "--kubeconfig", &kubeconfig, "--page-size", "2"], "").await;
    assert!(done.ok, "{}", done.err);
    assert_eq!(stage.stored_versions().await, json!(["v1beta1"]));
    let after = (stage.get(BETA, "old-a").await, stage.get(BETA, "new").await);
    assert_ne!(version(&after.0), version(&before.0), "rewritten");
    assert_eq!(
        version(&after.1),
        version(&before.1),
        "was stored at v1beta1 already"
    );
    assert_eq!(after.0["spec"], before.0["spec"]);
    assert_eq!(
        after.0["metadata"]["generation"],
        before.0["metadata"]["generation"]
    );

    // Once more: nothing left to do.
    let again = verdigris(&["migrate", "--kubeconfig", &kubeconfig], "").await;
    assert!(again.ok, "{}", again.err);
    assert_eq!(version(&stage.get(BETA, "old-a").await), version(&after.0));
    stage.clear().await;
}

/// A CRD as Flagger 1.0 to 1.5 left it: four versions, one open schema, converted by the label alone.
fn flagger_crd() -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "canaries.flagger.app"},
        "spec": {
            "group": "flagger.app",
            "scope": "Namespaced",
            "names": {"plural": "canaries", "singular": "canary", "kind": "Canary", "listKind": "CanaryList"},
            "versions": [version("v1alpha1", true), version("v1alpha3", false), version("v1beta1", false)],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_flagger_is_taken_over_without_losing_an_object() {
    let Some(mut stage) = Stage::empty().await else {
        return;
    };
    stage
        .run(&["create", "-f", "-"], &flagger_crd().to_string())
        .await
        .good();
    stage
        .apply(&named(OLD, "first").replace("v1alpha3", "v1alpha1"))
        .await
        .good();
    stage.store_at("v1alpha3").await;
    stage.apply(&named(OLD, "second")).await.good();
    assert_eq!(stage.stored_versions().await, json!(["v1alpha1", "v1alpha3"]));

    // Without the converter nothing is touched.
    let kubeconfig = stage.kubeconfig();
    let refused = verdigris(&["migrate", "--kubeconfig", &kubeconfig], "").await;
    assert!(
        !refused.ok && refused.err.contains("verdigris run --install"),
        "{}",
        refused.err
    );
    assert_eq!(stage.stored_versions().await, json!(["v1alpha1", "v1alpha3"]));

    stage.install().await;
    let done = verdigris(&["migrate", "--kubeconfig", &kubeconfig], "").await;
    assert!(done.ok, "{}", done.err);
    assert_eq!(stage.stored_versions().await, json!(["v1beta1"]));
    let crd = stage
        .run(&["get", "crd", "canaries.flagger.app", "-o", "json"], "")
        .await
        .json();
    let names: Vec<&Value> = crd["spec"]["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["v1beta1", "v1alpha3"]);
    for name in ["first", "second"] {
        let found = stage.get(BETA, name).await;
        assert_eq!(
            found["spec"]["analysis"]["metrics"][0]["thresholdRange"],
            json!({"max": 5})
        );
        let entries = found["metadata"]["managedFields"].as_array().unwrap();
        assert!(
            entries
                .iter()
                .all(|entry| entry["apiVersion"] != "flagger.app/v1alpha1"),
            "{entries:?}"
        );
        let old = stage.spec(ALPHA, name).await;
        assert_eq!(old["service"]["appendHeaders"], json!({"x-from": "canary"}));
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_is_applied_at_v1alpha3_and_read_at_both() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/v1alpha3");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: no corpus beside this repository");
        return;
    };
    let Some(stage) = Stage::set().await else { return };
    for (index, file) in files.map(|entry| entry.unwrap().path()).enumerate() {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut written: Value = serde_saphyr::from_str(&text).unwrap();
        let namespace = format!("corpus-{index}");
        written["metadata"]["namespace"] = namespace.as_str().into();
        let name = written["metadata"]["name"].as_str().unwrap().to_owned();
        stage.run(&["create", "namespace", &namespace], "").await.good();
        let applied = stage.apply(&written.to_string()).await;
        assert!(applied.ok, "{}: {}", file.display(), applied.err);
        let at = |resource: &'static str| ["get", resource, "-n"].map(str::to_owned).to_vec();
        for (resource, key) in [(ALPHA, "canaryAnalysis"), (BETA, "analysis")] {
            let mut arguments = at(resource);
            arguments.extend([
                namespace.clone(),
                name.clone(),
                "-o".to_owned(),
                "json".to_owned(),
            ]);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let found = stage.run(&arguments, "").await.json();
            let wanted = &written["spec"]["canaryAnalysis"];
            for field in [
                "interval",
                "threshold",
                "maxWeight",
                "stepWeight",
                "iterations",
                "match",
            ] {
                if let Some(wanted) = wanted.get(field) {
                    assert_eq!(&found["spec"][key][field], wanted, "{}: {field}", file.display());
                }
            }
        }
    }
    stage.clear().await;
}
