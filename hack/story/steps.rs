//! The story itself: each step says what is typed, what came back, and what must be true after it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::hands::{CANARY, DEPLOYMENT, Hands, SERVICE};
use super::process::Stage;
use super::traffic::Traffic;

const APP: &str = include_str!("app.yaml");
const CANARY_YAML: &str = include_str!("canary.yaml");
/// The line of the manifest that lacks its comma.
const BROKEN: &str = "kubernetes_pod_name=~\"podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"\n                status";

/// Plays every step; the first that does not hold ends the story.
pub(crate) async fn play(stage: &Stage, slow: bool) -> Result<(), String> {
    let hands = Hands::find(&stage.kubeconfig).await?;
    let broken = manifest(stage, slow);
    let mended = broken.replace(BROKEN, &BROKEN.replacen("\"\n", "\",\n", 1));
    let pace = if slow { 10 } else { 2 };

    title("An application with a Service, as it runs today");
    typed("kubectl apply -f app.yaml");
    expect(&shown(hands.apply(APP).await?), "applied")?;
    wait("two pods of podinfo:6.0.0", 30, || async {
        ready(&hands, "podinfo").await == Some(2)
    })
    .await?;
    let traffic = Traffic::start(stage.gateway)?;
    wait("traffic through Service podinfo", 15, || async {
        traffic.counts().0 > 10
    })
    .await?;

    if stage.measured {
        title("(a) The manifest of 2019, with the typo nobody noticed");
        typed("kubectl apply -f canary.yaml");
        let reply = until_answered(&hands, &broken).await?;
        println!("{}", indent(&reply.text));
        if reply.ok {
            return Err("the broken manifest was accepted".to_owned());
        }
        for word in [
            "spec.canaryAnalysis.metrics[0].query",
            "line",
            "column",
            "comma",
            "^",
        ] {
            if !reply.text.contains(word) {
                return Err(format!("the refusal does not say {word:?}"));
            }
        }
    }

    title("(b) The mended manifest");
    typed("kubectl apply -f canary.yaml");
    let reply = shown(until_answered(&hands, &mended).await?);
    expect(&reply, "Canary applied")?;

    title("(c) Stored as v1beta1, defaulted");
    typed("kubectl -n test get canaries.v1beta1.flagger.app/podinfo -o yaml");
    let reply = hands.get_yaml(&CANARY, "podinfo").await?;
    let spec: Vec<&str> = reply
        .text
        .lines()
        .skip_while(|line| !line.starts_with("spec:"))
        .collect();
    println!("{}", indent(&spec.join("\n")));
    let object = canary(&hands).await?;
    if object.pointer("/spec/analysis/interval").is_none() || object.pointer("/spec/canaryAnalysis").is_some()
    {
        return Err("the object was not converted to v1beta1".to_owned());
    }

    title("(d) Bootstrap: a primary takes over while traffic flows");
    phase(&hands, "Initialized", 60).await?;
    for name in ["podinfo", "podinfo-primary", "podinfo-canary"] {
        let service = hands
            .get(&SERVICE, name)
            .await?
            .ok_or_else(|| format!("Service {name} is missing"))?;
        println!(
            "    service/{name:<16} selects {}",
            service.pointer("/spec/selector").unwrap_or(&Value::Null)
        );
    }
    let replicas = (
        ready(&hands, "podinfo-primary").await,
        ready(&hands, "podinfo").await,
    );
    println!(
        "    deployment/podinfo-primary has {} ready pods, deployment/podinfo is parked",
        replicas.0.unwrap_or(0)
    );
    if replicas.0 != Some(2) {
        return Err("the primary has not two ready pods".to_owned());
    }
    unharmed(&traffic)?;

    title("(e) A new version: conformance test, load test, checks, promotion");
    release(&hands, "podinfo:6.1.0").await?;
    phase(&hands, "Succeeded", 20 + 12 * pace).await?;
    image(&hands, "podinfo-primary", "podinfo:6.1.0").await?;
    unharmed(&traffic)?;
    events(
        &hands,
        &[
            "Pre-rollout check conformance passed",
            "iteration 5/5",
            "Promotion completed!",
        ],
    )
    .await?;

    title("(f) A version that answers with errors");
    release(&hands, "podinfo:6.2.0-errors50").await?;
    phase(&hands, "Failed", 20 + 12 * pace).await?;
    image(&hands, "podinfo-primary", "podinfo:6.1.0").await?;
    unharmed(&traffic)?;
    let halt = if stage.measured {
        "advancement 5xx percentage"
    } else {
        "advancement external check"
    };
    events(
        &hands,
        &[halt, "failed checks threshold reached 2", "Canary failed!"],
    )
    .await?;

    title("(g) A version that never becomes ready");
    release(&hands, "podinfo:never-ready").await?;
    phase(&hands, "Failed", 60).await?;
    image(&hands, "podinfo-primary", "podinfo:6.1.0").await?;
    unharmed(&traffic)?;
    events(&hands, &["not ready"]).await?;

    let (answered, failed) = traffic.counts();
    println!(
        "\nTraffic through Service podinfo during all of it: {answered} requests answered, {failed} failed."
    );
    Ok(())
}

/// The manifest for this stage: where the load tester is, how fast, and without Prometheus hooks only.
fn manifest(stage: &Stage, slow: bool) -> String {
    let mut text = CANARY_YAML.replace("LOADTESTER", &stage.loadtester.to_string());
    if slow {
        text = text.replace("interval: 2s", "interval: 10s");
    }
    if !stage.measured {
        let (head, rest) = text.split_once("    metrics:\n").unwrap_or((&text, ""));
        let hooks = rest.split_once("    webhooks:\n").map_or("", |(_, hooks)| hooks);
        text = format!(
            "{head}    webhooks:\n{hooks}      - name: answers\n        url: http://{}/\n        timeout: 10s\n        \
             metadata:\n          type: bash\n          cmd: \"for i in 1 2 3 4 5 6 7 8 9 10; do curl -fsS --max-time 5 \
             -o /dev/null http://podinfo-canary.test:9898/ || exit 1; done\"\n",
            stage.loadtester
        );
    }
    text
}

fn title(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

fn typed(text: &str) {
    println!("  $ {text}");
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn shown(reply: super::hands::Reply) -> super::hands::Reply {
    println!("{}", indent(&reply.text));
    reply
}

fn expect(reply: &super::hands::Reply, what: &str) -> Result<(), String> {
    if reply.ok {
        Ok(())
    } else {
        Err(format!("expected: {what}; it was refused"))
    }
}

/// Applies until the webhooks are registered: before that, the kind is unknown or nobody judges.
async fn until_answered(hands: &Hands, manifest: &str) -> Result<super::hands::Reply, String> {
    let began = Instant::now();
    loop {
        let reply = hands.apply(manifest).await?;
        let early = [
            "no matches for kind",
            "failed calling webhook",
            "NotFound",
            "not found",
            "conversion webhook",
        ]
        .iter()
        .any(|word| reply.text.contains(word));
        if reply.ok || !early {
            return Ok(reply);
        }
        if began.elapsed() > Duration::from_secs(40) {
            return Err(format!("verdigris did not answer within 40 s: {}", reply.text));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn wait<F: Future<Output = bool>>(
    what: &str,
    seconds: u64,
    check: impl Fn() -> F,
) -> Result<(), String> {
    let began = Instant::now();
    while !check().await {
        if began.elapsed() > Duration::from_secs(seconds) {
            return Err(format!("waited {seconds} s for {what}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("    {what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn canary(hands: &Hands) -> Result<Value, String> {
    hands
        .get(&CANARY, "podinfo")
        .await?
        .ok_or_else(|| "the Canary is gone".to_owned())
}

/// Waits for a phase and prints every change on the way.
async fn phase(hands: &Hands, wanted: &str, seconds: u64) -> Result<(), String> {
    let began = Instant::now();
    let mut before = String::new();
    loop {
        let status = canary(hands).await?.get("status").cloned().unwrap_or_default();
        let text = |key: &str| {
            status
                .get(key)
                .map(|value| value.to_string().replace('"', ""))
                .unwrap_or_default()
        };
        let now = text("phase");
        let line = match now.as_str() {
            "Progressing" => {
                format!(
                    "Progressing, iteration {}, failed checks {}",
                    text("iterations"),
                    text("failedChecks")
                )
            }
            other => other.to_owned(),
        };
        if line != before {
            println!("    {:>5.1} s  {line}", began.elapsed().as_secs_f64());
            before = line;
        }
        if now == wanted {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(seconds) {
            return Err(format!("waited {seconds} s for phase {wanted}; it is {now}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Sets an image and waits until the new revision is seen, so that an old phase is not taken for the new one.
async fn release(hands: &Hands, image: &str) -> Result<(), String> {
    typed(&format!(
        "kubectl -n test set image deployment/podinfo podinfod={image}"
    ));
    expect(&shown(hands.set_image(image).await?), "a new image")?;
    phase(hands, "Progressing", 15).await
}

async fn ready(hands: &Hands, deployment: &str) -> Option<i64> {
    let object = hands.get(&DEPLOYMENT, deployment).await.ok()??;
    object.pointer("/status/readyReplicas").and_then(Value::as_i64)
}

async fn image(hands: &Hands, deployment: &str, wanted: &str) -> Result<(), String> {
    let object = hands.get(&DEPLOYMENT, deployment).await?.unwrap_or_default();
    let runs = object
        .pointer("/spec/template/spec/containers/0/image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    println!("    deployment/{deployment} runs {runs}");
    if runs == wanted {
        Ok(())
    } else {
        Err(format!("deployment/{deployment} runs {runs}, expected {wanted}"))
    }
}

fn unharmed(traffic: &Traffic) -> Result<(), String> {
    let (answered, failed) = traffic.counts();
    println!("    traffic through Service podinfo so far: {answered} answered, {failed} failed");
    if failed == 0 {
        Ok(())
    } else {
        Err(format!("{failed} requests failed: {}", traffic.last_failure()))
    }
}

/// Prints the Canary's latest events and checks that some were said.
async fn events(hands: &Hands, wanted: &[&str]) -> Result<(), String> {
    typed("kubectl -n test get events --field-selector involvedObject.kind=Canary");
    let said = hands.events().await?;
    for (kind, message) in said.iter().skip(said.len().saturating_sub(14)) {
        println!("    {kind:<8} {message}");
    }
    for word in wanted {
        if !said.iter().any(|(_, message)| message.contains(word)) {
            return Err(format!("no event says {word:?}"));
        }
    }
    Ok(())
}
