//! What runs behind the story: the embedded cluster, Prometheus, the load tester, `verdigris run`.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use devcluster::DevCluster;
use tokio::process::{Child, Command};

/// Everything that has to run, and where it is.
pub(crate) struct Stage {
    cluster: DevCluster,
    folder: PathBuf,
    /// The kubeconfig of the embedded cluster.
    pub(crate) kubeconfig: PathBuf,
    /// HTTP proxy through which Service names resolve.
    pub(crate) gateway: SocketAddr,
    /// Where the load tester listens.
    pub(crate) loadtester: SocketAddr,
    /// False: no Prometheus was found, the story runs on hooks alone.
    pub(crate) measured: bool,
}

/// The processes; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Troupe(Vec<(&'static str, Child)>);

impl Troupe {
    /// Resolves when a process ends that should not.
    pub(crate) async fn first_death(&mut self) -> String {
        let waits = self.0.iter_mut().map(|(name, child)| {
            Box::pin(async move {
                let end = child
                    .wait()
                    .await
                    .map_or_else(|error| error.to_string(), |status| status.to_string());
                format!("{name} ended: {end}")
            })
        });
        futures::future::select_all(waits).await.0
    }

    /// Ends every process.
    pub(crate) async fn end(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.start_kill();
        }
        for (_, child) in &mut self.0 {
            let _ = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
        }
    }
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn set(verdigris: &Path) -> Result<(Self, Troupe), String> {
        let mut troupe = Troupe::default();
        let folder = std::env::temp_dir().join(format!("verdigris-playground-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let cluster = DevCluster::start(devcluster::Config::default())
            .await
            .map_err(|error| format!("the embedded cluster did not start: {error}"))?;
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.kubeconfig())
            .map_err(|error| format!("{}: {error}", kubeconfig.display()))?;
        let gateway = cluster
            .pods()
            .map(devcluster::pods::Pods::gateway)
            .ok_or("the embedded cluster runs no pods")?;
        let (loadtester, prometheus, webhook) = (free_port()?, free_port()?, free_port()?);
        let mut stage = Self {
            cluster,
            folder,
            kubeconfig,
            gateway,
            loadtester,
            measured: true,
        };
        println!("An embedded Kubernetes API is up; Services are reached through {gateway}.");

        stage.measured = stage.start_prometheus(prometheus, &mut troupe)?;
        let address = loadtester.to_string();
        let load = ["loadtester", "--listen", address.as_str()];
        troupe
            .0
            .push(("loadtester", stage.start("loadtester", verdigris, &load)?));
        let (kubeconfig, listen) = (stage.kubeconfig.display().to_string(), webhook.to_string());
        let (url, metrics) = (format!("https://{webhook}"), format!("http://{prometheus}"));
        let run = [
            "run",
            "--kubeconfig",
            &kubeconfig,
            "--install",
            "--listen",
            &listen,
            "--webhook-url",
            &url,
            "--metrics-server",
            &metrics,
            "--min-analysis-interval",
            "1s",
        ];
        troupe
            .0
            .push(("verdigris", stage.start("verdigris", verdigris, &run)?));
        Ok((stage, troupe))
    }

    fn start_prometheus(&self, listen: SocketAddr, troupe: &mut Troupe) -> Result<bool, String> {
        let Some(program) = which("prometheus") else {
            println!("No Prometheus on PATH: the story runs with hooks only, metric checks are left out.");
            return Ok(false);
        };
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nscrape_configs:\n- job_name: pods\n  \
             http_sd_configs: [{{url: 'http://{}/sd/pods', refresh_interval: 1s}}]\n",
            self.gateway
        );
        let file = self.folder.join("prometheus.yaml");
        std::fs::write(&file, config).map_err(|error| format!("{}: {error}", file.display()))?;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", self.folder.join("tsdb").display()),
            format!("--web.listen-address={listen}"),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        troupe
            .0
            .push(("prometheus", self.start("prometheus", &program, &arguments)?));
        Ok(true)
    }

    fn start(&self, name: &str, program: &Path, arguments: &[&str]) -> Result<Child, String> {
        let log = self.log(name);
        let open = || File::create(&log).map_err(|error| format!("{}: {error}", log.display()));
        let file = open()?;
        let copy = file
            .try_clone()
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let proxy = format!("http://{}", self.gateway);
        Command::new(program)
            .args(arguments)
            .env("http_proxy", &proxy)
            .env("no_proxy", "127.0.0.1,localhost")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Prints the end of every log.
    pub(crate) fn show_logs(&self) {
        for name in ["prometheus", "loadtester", "verdigris"] {
            let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("\n--- the last lines of {name}");
            for line in lines.iter().skip(lines.len().saturating_sub(15)) {
                println!("    {line}");
            }
        }
    }

    /// Says what a person can do next.
    pub(crate) fn say_how_to_go_on(&self, kept: bool) {
        if kept {
            println!("\nEverything keeps running. In another terminal:\n");
            println!("    export KUBECONFIG={}", self.kubeconfig.display());
            println!(
                "    export http_proxy=http://{}   # for curl http://podinfo.test:9898/",
                self.gateway
            );
            println!("    kubectl -n test get canary -w");
            println!("    kubectl -n test set image deployment/podinfo podinfod=podinfo:7.0.0");
            println!("    kubectl -n test describe canary podinfo");
            println!(
                "\nLogs are in {}. Ctrl-C ends it and cleans up.",
                self.folder.display()
            );
        } else {
            println!("To go on by hand on a cluster like this one: hack/playground --keep");
        }
    }

    /// Ends the cluster and removes the folder.
    pub(crate) async fn clear(self) {
        self.cluster.stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A program on PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn free_port() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port on loopback: {error}"))
}
