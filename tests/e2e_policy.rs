//! CanaryPolicy through a whole API server with real `kubectl` and the real binary: every mode, what a refusal says,
//! exemptions, defaults, the status the audit keeps, and a controller that starts no run of what breaks a policy.
//!
//! Skipped, with a message, where no kubectl of 1.28 or newer is on PATH (`hack/test` finds one).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "says why it is skipped")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use devcluster::DevCluster;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const APPLICATION: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: production}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: app, image: "podinfo:1", ports: [{name: http, containerPort: 9898}]}]}
"#;

const CANARY: &str = r"
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: cart, namespace: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: cart}
  service: {port: 9898}
  analysis:
    interval: 10s
    threshold: 2
    iterations: 2
    metrics:
    - {name: errors, templateRef: {name: errors}, thresholdRange: {max: 1}}
";

fn policy(mode: &str, rest: &str) -> String {
    format!(
        "apiVersion: verdigris.dev/v1alpha1\nkind: CanaryPolicy\nmetadata: {{name: production}}\nspec:\n  mode: {mode}\n  \
         match: {{namespaceSelector: {{matchLabels: {{tier: production}}}}}}\n{rest}"
    )
}

const LIMITS: &str = "  limits: {interval: {min: 30s}, iterations: {min: 5}}\n";

struct Stage {
    _cluster: DevCluster,
    folder: PathBuf,
    kubectl: PathBuf,
    _verdigris: Child,
}

struct Said {
    ok: bool,
    out: String,
    err: String,
}

async fn kubectl() -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file())?;
    let asked = Command::new(&found)
        .args(["version", "--client", "-o", "json"])
        .output()
        .await
        .ok()?;
    let version: Value = serde_json::from_slice(&asked.stdout).ok()?;
    let minor = version["clientVersion"]["minor"]
        .as_str()?
        .trim_end_matches('+')
        .parse::<u32>()
        .ok()?;
    (minor >= 28).then_some(found)
}

impl Stage {
    async fn set() -> Option<Self> {
        let Some(kubectl) = kubectl().await else {
            println!("skipped: no kubectl of 1.28 or newer on PATH");
            return None;
        };
        let cluster = DevCluster::start(devcluster::Config::default()).await.unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = std::env::temp_dir().join(format!("verdigris-policy-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), cluster.kubeconfig()).unwrap();
        let address = format!("127.0.0.1:{port}");
        let log = std::fs::File::create(folder.join("verdigris.log")).unwrap();
        let kubeconfig = folder.join("kubeconfig");
        let verdigris = Command::new(env!("CARGO_BIN_EXE_verdigris"))
            .args(["run", "--install", "--listen", &address, "--kubeconfig"])
            .arg(&kubeconfig)
            .args(["--webhook-url", &format!("https://{address}")])
            .stdin(Stdio::null())
            .stderr(log)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stage = Self {
            _cluster: cluster,
            folder,
            kubectl,
            _verdigris: verdigris,
        };
        stage
            .until(
                &["get", "validatingwebhookconfiguration", "verdigris"],
                "",
                |said| said.ok,
            )
            .await;
        Some(stage)
    }

    async fn run(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(self.folder.join("kubeconfig"))
            .arg("--cache-dir")
            .arg(self.folder.join("cache"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(stdin.as_bytes()).await.unwrap();
        drop(pipe);
        let output = child.wait_with_output().await.unwrap();
        Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    async fn apply(&self, manifest: &str) -> Said {
        self.run(&["apply", "-f", "-"], manifest).await
    }

    #[track_caller]
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("verdigris.log")).unwrap()
    }

    /// Asks again until the answer is as expected.
    async fn until(&self, arguments: &[&str], stdin: &str, expected: impl Fn(&Said) -> bool) -> Said {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        loop {
            pause.tick().await;
            let said = self.run(arguments, stdin).await;
            if expected(&said) {
                return said;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{arguments:?}: {}{}\n{}",
                said.out,
                said.err,
                self.log()
            );
        }
    }

    /// A policy in force: the dry run of a Canary is answered as expected.
    async fn force(&self, manifest: &str, expected: impl Fn(&Said) -> bool) -> Said {
        let said = self.apply(manifest).await;
        assert!(said.ok, "{}", said.err);
        self.until(&["apply", "--dry-run=server", "-f", "-"], CANARY, expected)
            .await
    }

    async fn canary(&self) -> Value {
        let said = self
            .run(&["-n", "shop", "get", "canary", "cart", "-o", "json"], "")
            .await;
        serde_json::from_str(&said.out).unwrap_or(Value::Null)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_from_apply_to_run() {
    let Some(stage) = Stage::set().await else { return };
    assert!(stage.apply(APPLICATION).await.ok);

    // A policy that cannot work is refused, with its place.
    let bad = policy(
        "Enforce",
        "  rules: [{name: team, expression: \"object.metadata.name.startWith('c')\", message: m}]\n",
    );
    let refused = stage
        .until(&["apply", "-f", "-"], &bad, |said| {
            said.err.contains("did you mean startsWith()?")
        })
        .await;
    assert!(!refused.ok, "{}", refused.err);
    let shown = "object.metadata.name.startWith('c')\n";
    assert!(refused.err.contains(shown), "{}", refused.err);

    // Enforce: every breach at once, with the way out.
    let refused = stage.force(&policy("Enforce", LIMITS), |said| !said.ok).await;
    for line in [
        "* spec.analysis.interval: 10s; policy \"production\" (limits.interval) wants at least 30s; write 30s, or ask for an \
         entry in spec.exemptions of CanaryPolicy production",
        "* spec.analysis.iterations: 2; policy \"production\" (limits.iterations) wants at least 5; write 5, or ask",
    ] {
        assert!(refused.err.contains(line), "{}", refused.err);
    }
    assert!(stage.canary().await.is_null());

    // An exemption that is over exempts nobody, and says so; one that holds warns of its end.
    let exempt = |until: &str| {
        policy(
            "Enforce",
            &format!("{LIMITS}  exemptions: [{{namespace: shop, until: \"{until}\", reason: migration}}]\n"),
        )
    };
    let over = stage
        .force(&exempt("2020-01-01"), |said| {
            said.err.contains("the exemption ended on 2020-01-01")
        })
        .await;
    assert!(!over.ok);
    let held = stage.force(&exempt("2999-01-01"), |said| said.ok).await;
    assert!(
        held.err.contains("Warning: spec.analysis.interval: exempt from policy \"production\" (limits.interval) until 2999-01-01; migration"),
        "{}",
        held.err
    );

    // Warn and Audit admit; only the first says something.
    let warned = stage
        .force(&policy("Warn", LIMITS), |said| {
            said.ok && said.err.contains("wants at least 30s")
        })
        .await;
    assert!(!warned.err.contains("exempt from"), "{}", warned.err);
    stage
        .force(&policy("Audit", LIMITS), |said| {
            said.ok && !said.err.contains("policy")
        })
        .await;

    // Defaults are written down for everybody to see.
    let defaults = format!("{LIMITS}  defaults: {{progressDeadlineSeconds: 120, revertOnDeletion: true}}\n");
    assert!(stage.apply(&policy("Warn", &defaults)).await.ok);
    stage
        .until(
            &["apply", "--dry-run=server", "-o", "json", "-f", "-"],
            CANARY,
            |said| said.out.contains("\"progressDeadlineSeconds\": 120"),
        )
        .await;
    assert!(stage.apply(CANARY).await.ok);
    let spec = stage.canary().await["spec"].clone();
    assert_eq!(
        (&spec["progressDeadlineSeconds"], &spec["revertOnDeletion"]),
        (&120.into(), &true.into())
    );

    // The audit finds what is there already, at the latest when a policy changes.
    assert!(stage.apply(&policy("Warn", LIMITS)).await.ok);
    let audited = ["get", "canarypolicy", "production", "-o", "json"];
    let found = stage
        .until(&audited, "", |said| {
            let policy: Value = serde_json::from_str(&said.out).unwrap_or_default();
            policy["status"]["violations"] == 1
        })
        .await;
    let status = serde_json::from_str::<Value>(&found.out).unwrap()["status"].clone();
    assert_eq!(status["sample"][0]["name"], "cart", "{status}");
    assert_eq!(status["namespaces"][0]["namespace"], "shop", "{status}");
    let table = stage.run(&["get", "canarypolicies"], "").await.out;
    assert!(
        table.contains("MODE") && table.contains("VIOLATIONS") && table.contains("Warn"),
        "{table}"
    );

    // Enforced now, it bricks nothing: what was broken before may stay, and nothing new runs.
    let phase = [
        "-n",
        "shop",
        "get",
        "canary",
        "cart",
        "-o",
        "jsonpath={.status.phase}",
    ];
    stage.until(&phase, "", |said| said.out == "Initialized").await;
    assert!(stage.apply(&policy("Enforce", LIMITS)).await.ok);
    stage
        .until(&audited, "", |said| {
            let policy: Value = serde_json::from_str(&said.out).unwrap_or_default();
            policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
        })
        .await;
    let edited = CANARY.replace("threshold: 2", "threshold: 3");
    let allowed = stage.apply(&edited).await;
    assert!(
        allowed.ok && allowed.err.contains("wants at least 30s"),
        "{}",
        allowed.err
    );
    assert!(
        stage
            .run(
                &["-n", "shop", "set", "image", "deployment/cart", "app=podinfo:2"],
                ""
            )
            .await
            .ok
    );
    let reason = [
        "-n",
        "shop",
        "get",
        "canary",
        "cart",
        "-o",
        "jsonpath={.status.conditions[?(@.type==\"PolicyViolation\")].message}",
    ];
    let told = stage
        .until(&reason, "", |said| said.out.contains("limits.iterations"))
        .await;
    assert!(
        told.out
            .starts_with("no run may start: spec.analysis.interval: 10s"),
        "{}",
        told.out
    );
    assert_eq!(stage.run(&phase, "").await.out, "Initialized");
    let events = stage.run(&["-n", "shop", "get", "events"], "").await.out;
    assert!(events.contains("PolicyViolation"), "{events}");

    // An exemption lets it go.
    assert!(stage.apply(&exempt("2999-01-01")).await.ok);
    stage
        .until(&phase, "", |said| {
            said.out == "Progressing" || said.out == "Failed"
        })
        .await;

    // The way out when all else fails: policies can always be deleted.
    assert!(stage.run(&["delete", "canarypolicy", "production"], "").await.ok);
    stage
        .until(&["apply", "--dry-run=server", "-f", "-"], CANARY, |said| {
            said.ok && !said.err.contains("policy")
        })
        .await;
}
