//! `verdigris run` as a process of its own, and what the kernel says of it (Linux).

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// Ticks of processor time in a second, as Linux reports them to everybody.
const TICKS: u32 = 100;

/// The process.
pub(crate) struct Process {
    program: PathBuf,
    folder: PathBuf,
    address: String,
    metrics: String,
    child: Option<Child>,
}

impl Process {
    /// One that has not been started.
    pub(crate) fn new(kubeconfig: &str, metrics: &str) -> Self {
        let program = std::env::current_exe().unwrap().with_file_name("verdigris");
        assert!(
            program.is_file(),
            "{} is missing: cargo build --release",
            program.display()
        );
        let folder = std::env::temp_dir().join(format!("verdigris-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), kubeconfig).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        Self {
            program,
            folder,
            address: free.to_string(),
            metrics: metrics.to_owned(),
            child: None,
        }
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let child = Command::new(&self.program)
            .args([
                "run",
                "--listen",
                &self.address,
                "--webhook-url",
                &format!("https://{}", self.address),
            ])
            .args(["--metrics-server", &self.metrics, "--log-level", "warn"])
            .arg("--kubeconfig")
            .arg(self.folder.join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.unwrap());
    }

    fn id(&self) -> u32 {
        self.child
            .as_ref()
            .unwrap()
            .id()
            .expect("the process ended by itself; see its log")
    }

    /// SIGTERM, and waits.
    pub(crate) async fn stop(&mut self) {
        let id = self.id().to_string();
        Command::new("kill").arg(&id).status().await.unwrap();
        self.child.take().unwrap().wait().await.unwrap();
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
        for line in log
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .take(10)
        {
            println!("    {line}");
        }
    }

    fn memory(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Resident memory.
    pub(crate) fn resident_mib(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// The most it ever was.
    pub(crate) fn peak_mib(&self) -> f64 {
        self.memory("VmHWM:")
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name in brackets may hold anything; fields 14 and 15 are the 12th and 13th after it.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u32 = [11, 12]
            .iter()
            .map(|at| fields[*at].parse::<u32>().unwrap())
            .sum();
        Duration::from_secs(1) * ticks / TICKS
    }

    /// When every Canary has been looked at once.
    pub(crate) async fn until_reconciled(&self, canaries: usize) -> Instant {
        let began = Instant::now();
        loop {
            if self.passes(|_| true).await >= canaries as u64 {
                return Instant::now();
            }
            assert!(
                began.elapsed() < Duration::from_secs(300),
                "not warm after five minutes"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Passes that ended in an error since it started.
    pub(crate) async fn failed_passes(&self) -> u64 {
        self.passes(|labels| labels.contains("outcome=\"error\"")).await
    }

    async fn passes(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let url = format!("https://{}/metrics", self.address);
        let output = Command::new("curl")
            .args(["-sk", "--max-time", "5", &url])
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("verdigris_reconciles_total"));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(labels, _)| wanted(labels))
            .map(|(_, count)| count.parse::<f64>().unwrap_or_default() as u64)
            .sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
