//! The built-in HTTP generator. Understands the command lines of `hey` found in manifests, so that
//! `hey -z 1m -q 10 -c 2 http://podinfo-canary.test:9898/` runs where no `hey` is installed.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: a load generator is an HTTP client, by the clock"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use url::Url;

use crate::model::duration;

/// What to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Where to.
    pub url: String,
    /// `-m`: method.
    pub method: String,
    /// `-H`, `-T`, `-A`, `-a`, `-host`: headers in order.
    pub headers: Vec<(String, String)>,
    /// `-d`, `-D`: body.
    pub body: String,
    /// `-c`: workers.
    pub workers: u32,
    /// `-n`: requests in all; unused with a duration.
    pub requests: u64,
    /// `-z`: how long.
    pub duration: Option<Duration>,
    /// `-q`: requests per second and worker; 0 is unlimited.
    pub rate: f64,
    /// `-t`: deadline of one request; zero is none.
    pub timeout: Duration,
    /// `-disable-redirects`.
    pub follow_redirects: bool,
    /// `-disable-keepalive`.
    pub keep_alive: bool,
    /// `-x`: proxy.
    pub proxy: Option<String>,
}

/// A `hey` command line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hey: {0}")]
pub struct Misuse(String);

/// Reads a command. `None` when it is not a plain `hey` command (another program, pipes, variables): the shell's job.
pub fn parse(command: &str) -> Result<Option<Load>, Misuse> {
    let Some(words) = words(command) else {
        return Ok(None);
    };
    let mut words = words.into_iter();
    match words.next() {
        Some(program) if program == "hey" || program.ends_with("/hey") => {}
        Some(_) | None => return Ok(None),
    }
    let mut load = Load {
        url: String::new(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        body: String::new(),
        workers: 50,
        requests: 200,
        duration: None,
        rate: 0.0,
        timeout: Duration::from_secs(20),
        follow_redirects: true,
        keep_alive: true,
        proxy: None,
    };
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-').map(|flag| flag.trim_start_matches('-')) else {
            load.url = word;
            continue;
        };
        let (flag, inline) = match flag.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| words.next())
                .ok_or_else(|| Misuse(format!("flag -{flag} needs a value")))
        };
        match flag.as_str() {
            "n" => load.requests = number(&flag, &value()?)?,
            "c" => load.workers = number(&flag, &value()?)?,
            "q" => load.rate = number(&flag, &value()?)?,
            "z" => load.duration = Some(time(&flag, &value()?)?),
            "t" => load.timeout = Duration::from_secs(number(&flag, &value()?)?),
            "m" => load.method = value()?.to_ascii_uppercase(),
            "d" => load.body = value()?,
            "D" => {
                let path = value()?;
                load.body =
                    std::fs::read_to_string(&path).map_err(|error| Misuse(format!("-D {path}: {error}")))?;
            }
            "T" => load.headers.push(("Content-Type".to_owned(), value()?)),
            "A" => load.headers.push(("Accept".to_owned(), value()?)),
            "host" => load.headers.push(("Host".to_owned(), value()?)),
            "H" => {
                let header = value()?;
                let (name, text) = header
                    .split_once(':')
                    .ok_or_else(|| Misuse(format!("-H {header:?} is not `Name: value`")))?;
                load.headers
                    .push((name.trim().to_owned(), text.trim().to_owned()));
            }
            "a" => {
                use base64::Engine as _;
                let pair = base64::engine::general_purpose::STANDARD.encode(value()?);
                load.headers
                    .push(("Authorization".to_owned(), format!("Basic {pair}")));
            }
            "x" => load.proxy = Some(value()?),
            "o" | "cpus" => drop(value()?),
            "h2" | "disable-compression" | "more" => {}
            "disable-keepalive" => load.keep_alive = false,
            "disable-redirects" => load.follow_redirects = false,
            other => return Err(Misuse(format!("flag -{other} is not known; see hey's own -h"))),
        }
    }
    match Url::parse(&load.url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {}
        Ok(_) | Err(_) => return Err(Misuse(format!("{:?} is not an http or https URL", load.url))),
    }
    if load.workers == 0 {
        return Err(Misuse("-c 0: at least one worker".to_owned()));
    }
    Ok(Some(load))
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, Misuse> {
    text.parse()
        .map_err(|_| Misuse(format!("-{flag} {text:?} is not a number")))
}

fn time(flag: &str, text: &str) -> Result<Duration, Misuse> {
    duration::go_positive(text)
        .ok_or_else(|| Misuse(format!("-{flag} {text:?} is not a duration; write 30s or 1m")))
}

/// Splits a command into words as a shell does, or `None` when it needs a shell.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        inner => text.push(inner),
                    }
                }
            }
            '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => text.push(chars.next()?),
                        '$' | '`' => return None,
                        inner => text.push(inner),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' => return None,
            '\n' => {
                // A line break ends a command; only trailing ones are harmless.
                if chars.clone().any(|rest| !rest.is_whitespace()) {
                    return None;
                }
            }
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// What a load run saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Answers by status code.
    pub answers: BTreeMap<u16, u64>,
    /// Requests without an answer, by cause.
    pub failures: BTreeMap<String, u64>,
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Answers in all.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Requests that got no answer.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn merge(&mut self, other: Outcome) {
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        for (cause, count) in other.failures {
            *self.failures.entry(cause).or_default() += count;
        }
        self.latencies.extend(other.latencies);
    }

    fn percentile(&mut self, percent: usize) -> Duration {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut own = self.clone();
        write!(f, "{} answers {:?}", own.answered(), own.answers)?;
        if own.failed() > 0 {
            write!(f, ", {} failures {:?}", own.failed(), own.failures)?;
        }
        write!(
            f,
            ", p50 {:?}, p90 {:?}, p99 {:?}",
            own.percentile(50),
            own.percentile(90),
            own.percentile(99)
        )
    }
}

/// Sends the load, at most until `limit`.
pub async fn generate(load: &Load, limit: Duration) -> Result<Outcome, Misuse> {
    let client = client(load)?;
    let deadline = Instant::now() + load.duration.unwrap_or(limit).min(limit);
    let load = Arc::new(load.clone());
    let mut workers = JoinSet::new();
    let count = u64::from(load.workers);
    for worker in 0..count {
        let share = match load.duration {
            Some(_) => u64::MAX,
            None => load.requests / count + u64::from(worker < load.requests % count),
        };
        workers.spawn(work(client.clone(), Arc::clone(&load), share, deadline));
    }
    let mut outcome = Outcome::default();
    while let Some(done) = workers.join_next().await {
        outcome.merge(done.map_err(|error| Misuse(format!("a worker died: {error}")))?);
    }
    Ok(outcome)
}

fn client(load: &Load) -> Result<reqwest::Client, Misuse> {
    let mut builder =
        reqwest::Client::builder().user_agent(concat!("verdigris-loadtester/", env!("CARGO_PKG_VERSION")));
    if !load.timeout.is_zero() {
        builder = builder.timeout(load.timeout);
    }
    if !load.follow_redirects {
        builder = builder.redirect(reqwest::redirect::Policy::none());
    }
    if !load.keep_alive {
        builder = builder.pool_max_idle_per_host(0);
    }
    if let Some(proxy) = &load.proxy {
        let address = if proxy.contains("://") {
            proxy.clone()
        } else {
            format!("http://{proxy}")
        };
        let proxy =
            reqwest::Proxy::all(&address).map_err(|error| Misuse(format!("-x {proxy:?}: {error}")))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| Misuse(error.to_string()))
}

async fn work(client: reqwest::Client, load: Arc<Load>, share: u64, deadline: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let pause = if load.rate > 0.0 {
        Duration::from_secs_f64(1.0 / load.rate)
    } else {
        Duration::ZERO
    };
    let began = Instant::now();
    let method = reqwest::Method::from_bytes(load.method.as_bytes()).unwrap_or(reqwest::Method::GET);
    for sent in 0..share {
        if !pause.is_zero() {
            let due = began + pause.saturating_mul(u32::try_from(sent).unwrap_or(u32::MAX));
            tokio::time::sleep_until(due.min(deadline).into()).await;
        }
        if Instant::now() >= deadline {
            break;
        }
        let mut request = client.request(method.clone(), &load.url);
        for (name, value) in &load.headers {
            request = request.header(name, value);
        }
        if !load.body.is_empty() {
            request = request.body(load.body.clone());
        }
        let asked = Instant::now();
        let answer = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            response.bytes().await?;
            Ok::<_, reqwest::Error>(status)
        };
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(status)) => {
                *outcome.answers.entry(status).or_default() += 1;
                outcome.latencies.push(asked.elapsed());
            }
            Ok(Err(error)) => *outcome.failures.entry(cause(&error)).or_default() += 1,
            // Cut off by the end of the run: neither answer nor failure.
            Err(_) => break,
        }
    }
    outcome
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_of_old_are_understood() {
        let load = parse("hey -z 1m -q 10 -c 2 http://podinfo-canary.test:9898/")
            .unwrap()
            .unwrap();
        assert_eq!(load.duration, Some(Duration::from_secs(60)));
        assert_eq!(
            (load.workers, load.url.as_str()),
            (2, "http://podinfo-canary.test:9898/")
        );
        assert!((load.rate - 10.0).abs() < f64::EPSILON);
        let load = parse("hey -z 1m -q 5 -c 2 -m POST -d '{\"test\": true}' -H 'Host: app.example.com' http://a.test/echo\n")
            .unwrap()
            .unwrap();
        assert_eq!(load.body, "{\"test\": true}");
        assert_eq!(load.headers, [("Host".to_owned(), "app.example.com".to_owned())]);
    }

    #[test]
    fn what_needs_a_shell_goes_to_the_shell() {
        for command in [
            "wrk http://a/",
            "hey http://a/ | tee log",
            "hey http://$HOST/",
            "a=1; hey http://a/",
            "hey 'http://a/",
        ] {
            assert_eq!(parse(command), Ok(None), "{command}");
        }
    }

    #[test]
    fn slips_are_told() {
        for (command, word) in [
            ("hey -z 1 http://a/", "duration"),
            ("hey -n x http://a/", "number"),
            ("hey -y http://a/", "-y"),
            ("hey -c 0 http://a/", "worker"),
            ("hey -q 1", "URL"),
            ("hey http://a/ -H nothing", "Name: value"),
            ("hey http://a/ -n", "needs a value"),
        ] {
            assert!(
                parse(command).unwrap_err().to_string().contains(word),
                "{command}"
            );
        }
    }
}
