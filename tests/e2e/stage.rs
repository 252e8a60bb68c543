//! Where the scenarios play: a cluster, `verdigris run` against it, and what the releases ask.
//!
//! The embedded cluster by default: its pods serve, so load tests, conformance tests and (where Prometheus is on PATH)
//! metrics are real. With `E2E_KUBECONFIG=FILE` the same scenarios play on that cluster, whose API server must reach
//! this machine's loopback; no pod need serve there, hooks and metrics come from the stub. (Not `KUBECONFIG`: tests
//! must never take a cluster somebody happens to be logged in to.)
#![expect(clippy::print_stdout, reason = "says where it plays")]

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use devcluster::DevCluster;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::kubectl::{Said, kubectl, on_path, said};
use crate::stub::Stub;

/// Everything that runs.
pub(crate) struct Stage {
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
    cluster: Option<DevCluster>,
    /// What only a cluster whose pods serve has.
    pub(crate) serving: Option<Serving>,
    pub(crate) stub: Stub,
    webhook: SocketAddr,
    verdigris: Mutex<Option<Child>>,
    others: Vec<Child>,
    /// Tells namespaces of this run from those of others.
    pub(crate) mark: String,
}

/// The ways to pods that serve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serving {
    /// HTTP proxy through which names of Services resolve.
    pub(crate) gateway: SocketAddr,
    pub(crate) loadtester: SocketAddr,
    /// Prometheus, which scrapes every pod.
    pub(crate) prometheus: Option<SocketAddr>,
}

impl Stage {
    /// `None`, with a word why, where there is no kubectl.
    pub(crate) async fn set() -> Option<Self> {
        let Some(program) = kubectl().await else {
            println!("skipped: no kubectl of 1.28 or newer on PATH");
            return None;
        };
        let (webhook, loadtester, prometheus) = (free(), free(), free());
        let mark = webhook.port().to_string();
        let folder = std::env::temp_dir().join(format!("verdigris-e2e-{}-{mark}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut stage = Self {
            program,
            kubeconfig: folder.join("kubeconfig"),
            folder,
            cluster: None,
            serving: None,
            stub: Stub::start().await,
            webhook,
            verdigris: Mutex::new(None),
            others: Vec::new(),
            mark,
        };
        if let Some(file) = std::env::var_os("E2E_KUBECONFIG") {
            println!("on the cluster of {}", Path::new(&file).display());
            std::fs::copy(file, &stage.kubeconfig).unwrap();
            // What a killed run before this one left behind.
            let kubeconfig = stage.kubeconfig.display().to_string();
            let uninstall = ["uninstall", "--kubeconfig", &kubeconfig];
            said(Command::new(env!("CARGO_BIN_EXE_verdigris")).args(uninstall), "").await;
        } else {
            stage.embed(loadtester, prometheus).await;
        }
        stage.install().await;
        Some(stage)
    }

    async fn embed(&mut self, loadtester: SocketAddr, prometheus: SocketAddr) {
        let cluster = DevCluster::start(devcluster::Config::default()).await.unwrap();
        std::fs::write(&self.kubeconfig, cluster.kubeconfig()).unwrap();
        let gateway = cluster.pods().unwrap().gateway();
        self.cluster = Some(cluster);
        let mut serving = Serving {
            gateway,
            loadtester,
            prometheus: None,
        };
        self.serving = Some(serving);
        let address = loadtester.to_string();
        let mut others = vec![self.start(
            "loadtester",
            Path::new(env!("CARGO_BIN_EXE_verdigris")),
            &["loadtester", "--listen", &address],
        )];
        if let Some(program) = on_path("prometheus") {
            let config = format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nscrape_configs:\n- job_name: pods\n  \
                 http_sd_configs: [{{url: 'http://{gateway}/sd/pods', refresh_interval: 1s}}]\n",
            );
            let file = self.folder.join("prometheus.yaml");
            std::fs::write(&file, config).unwrap();
            let arguments = [
                format!("--config.file={}", file.display()),
                format!("--storage.tsdb.path={}", self.folder.join("tsdb").display()),
                format!("--web.listen-address={prometheus}"),
            ];
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            others.push(self.start("prometheus", &program, &arguments));
            serving.prometheus = Some(prometheus);
        } else {
            println!("no prometheus on PATH: every metric comes from the stub");
        }
        self.serving = Some(serving);
        self.others = others;
    }

    fn start(&self, name: &str, program: &Path, arguments: &[&str]) -> Child {
        let open = File::options().create(true).append(true).open(self.log(name));
        let log = open.unwrap();
        let mut command = Command::new(program);
        if let Some(serving) = self.serving {
            command
                .env("http_proxy", format!("http://{}", serving.gateway))
                .env("no_proxy", "127.0.0.1,localhost");
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Starts `verdigris run --install`; returns when its webhooks are registered.
    pub(crate) async fn install(&self) {
        let (listen, url) = (self.webhook.to_string(), format!("https://{}", self.webhook));
        let kubeconfig = self.kubeconfig.display().to_string();
        let arguments = [
            "run",
            "--install",
            "--kubeconfig",
            &kubeconfig,
            "--listen",
            &listen,
            "--webhook-url",
            &url,
            "--metrics-server",
            &self.stub.url,
            "--min-analysis-interval",
            "250ms",
            "--include-label-prefix",
            "app.kubernetes.io",
        ];
        let child = self.start(
            "verdigris",
            Path::new(env!("CARGO_BIN_EXE_verdigris")),
            &arguments,
        );
        *self.verdigris.lock().await = Some(child);
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        for _ in 0..600 {
            pause.tick().await;
            let arguments = ["get", "validatingwebhookconfiguration", "verdigris"];
            if self.kubectl(&arguments, "").await.ok {
                return;
            }
        }
        panic!("{}", self.story());
    }

    /// `kill -9`.
    pub(crate) async fn kill(&self) {
        let mut child = self.verdigris.lock().await.take().unwrap();
        child.kill().await.unwrap();
    }

    /// SIGTERM; the exit status.
    pub(crate) async fn terminate(&self) -> Option<i32> {
        let mut child = self.verdigris.lock().await.take().unwrap();
        let id = child.id().unwrap().to_string();
        said(Command::new("kill").args(["-TERM", &id]), "").await.good();
        let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;
        ended.expect("it ends on SIGTERM").unwrap().code()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.folder.join("cache"))
            .args(arguments);
        command
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Said {
        said(&mut self.command(arguments), stdin).await
    }

    /// `verdigris` with this cluster's kubeconfig.
    pub(crate) async fn verdigris(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verdigris"));
        command.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig);
        said(&mut command, "").await
    }

    /// The end of the log of `verdigris run`.
    pub(crate) fn story(&self) -> String {
        let text = std::fs::read_to_string(self.log("verdigris")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Ends everything and cleans up.
    pub(crate) async fn clear(mut self) {
        for child in &mut self.others {
            child.kill().await.unwrap();
        }
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
