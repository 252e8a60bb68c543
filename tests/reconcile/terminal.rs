//! The operator's verbs, `verdigris status` and the kubectl plugin: the real binary, the real kubectl.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use super::world::{NAMESPACE, World};
use super::{analysis, canary, deployment, image_of, is_parked};

/// A terminal with a kubeconfig.
struct Terminal {
    folder: PathBuf,
    program: PathBuf,
}

impl Terminal {
    fn of(world: &World, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("verdigris-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kubeconfig"), world.kubeconfig()).unwrap();
        Self {
            folder,
            program: PathBuf::from(env!("CARGO_BIN_EXE_verdigris")),
        }
    }

    fn command(&self, program: &Path, line: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(line.split(' '))
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("PATH", format!("{}:{path}", self.folder.display()))
            .kill_on_drop(true);
        command
    }

    /// Runs `verdigris LINE -n test`: exit status, standard output and error together.
    async fn verdigris(&self, line: &str) -> (i32, String) {
        let line = format!("{line} -n {NAMESPACE}");
        said(self.command(&self.program, &line).output().await.unwrap())
    }
}

fn said(output: Output) -> (i32, String) {
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_rules_from_the_command_line() {
    let world = World::start().await;
    let terminal = Terminal::of(&world, "verbs");
    world.create(deployment("podinfo")).await;
    let mut gated = analysis(&world);
    let gate =
        json!({"name": "gate", "type": "confirm-promotion", "url": format!("{}/hook/gate", world.stub.url)});
    gated["webhooks"].as_array_mut().unwrap().push(gate);
    world.create(canary("podinfo", &json!({"analysis": gated}))).await;
    world.until_phase("podinfo", "Initialized").await;
    world.until("Deployment", "podinfo", is_parked).await;
    world.stub.close("gate");

    // What cannot be done is said in words, at once.
    let (code, text) = terminal.verdigris("abort podinfo").await;
    assert!(
        code == 1 && text.contains("nothing runs (phase Initialized)"),
        "{code} {text}"
    );
    let (code, text) = terminal.verdigris("promote podinfoo").await;
    assert!(
        code == 1 && text.contains("canary podinfoo.test was not found; did you mean podinfo?"),
        "{code} {text}"
    );
    let (code, text) = terminal.verdigris("retry podinfo").await;
    assert!(code == 1 && text.contains("nothing has failed"), "{code} {text}");
    let (code, text) = terminal
        .verdigris("status podinfo --wait --target-generation 99 --timeout 1s")
        .await;
    assert!(
        code == 2 && text.contains("not over after 1 s: podinfo.test Initialized"),
        "{code} {text}"
    );

    // CI waits from the moment it set the image; the gate is closed; an operator promotes.
    world.image("Deployment", "podinfo", "podinfo:2").await;
    let line = format!("status podinfo --wait --timeout 80s -n {NAMESPACE}");
    let waiting = terminal.command(&terminal.program, &line).output();
    let promoting = async {
        world.until_phase("podinfo", "WaitingPromotion").await;
        let (code, text) = terminal.verdigris("status podinfo").await;
        assert!(
            code == 0 && text.contains("waiting    confirm-promotion gate"),
            "{code} {text}"
        );
        assert!(
            text.contains("iteration ") && text.contains("metric errors 0 (<= 5) Passed"),
            "{text}"
        );
        assert!(
            text.contains("Halt podinfo.test advancement waiting for promotion approval gate"),
            "{text}"
        );
        terminal.verdigris("promote canary/podinfo").await
    };
    let (waited, (code, text)) = tokio::join!(waiting, promoting);
    assert!(
        code == 0 && text.contains("promoted without further analysis"),
        "{code} {text}"
    );
    let (code, text) = said(waited.unwrap());
    assert!(
        code == 0 && text.contains("podinfo.test WaitingPromotion") && text.contains("promoted"),
        "{code} {text}"
    );
    assert_eq!(
        image_of(&world.get("Deployment", "podinfo-primary").await),
        "podinfo:2"
    );

    // The next one is called off, tried again, held, let go, and promoted.
    world.until("Deployment", "podinfo", is_parked).await;
    world.image("Deployment", "podinfo", "podinfo:3").await;
    world.until_phase("podinfo", "WaitingPromotion").await;
    let (code, text) = terminal.verdigris("abort podinfo").await;
    assert!(
        code == 0 && text.contains("podinfo.test is rolled back"),
        "{code} {text}"
    );
    let failed = world.until_phase("podinfo", "Failed").await;
    assert_eq!(failed["status"]["lastOrder"]["outcome"], "Honoured");
    let (code, text) = terminal.verdigris("status podinfo --wait --timeout 20s").await;
    assert!(code == 1 && text.contains("failed, rolled back"), "{code} {text}");
    assert_eq!(
        image_of(&world.get("Deployment", "podinfo-primary").await),
        "podinfo:2"
    );
    world.until("Deployment", "podinfo", is_parked).await;
    let (code, text) = terminal.verdigris("retry podinfo").await;
    assert!(code == 0 && text.contains("is judged again"), "{code} {text}");
    world.until_phase("podinfo", "Progressing").await;
    let (code, text) = terminal.verdigris("pause podinfo").await;
    assert_eq!(code, 0, "{text}");
    let paused = world
        .until("Canary", "podinfo", |object| object["status"]["paused"] == true)
        .await;
    // Whoever may edit Canaries may not say what became of them.
    world
        .patch(
            "Canary",
            "podinfo",
            json!({"status": {"phase": "Succeeded", "paused": false}}),
        )
        .await;
    let forged = world.get("Canary", "podinfo").await;
    assert_eq!(
        (&forged["status"]["phase"], &forged["status"]["paused"]),
        (&paused["status"]["phase"], &json!(true))
    );
    world.stub.open("gate");
    let (code, _) = terminal.verdigris("resume podinfo").await;
    assert_eq!(code, 0);
    world.until_phase("podinfo", "Succeeded").await;
    assert_eq!(
        image_of(&world.get("Deployment", "podinfo-primary").await),
        "podinfo:3"
    );
    let (code, text) = terminal.verdigris("resume podinfo").await;
    assert!(code == 1 && text.contains("it is not paused"), "{code} {text}");

    let events = world.events("podinfo").await;
    for word in [
        "Order promote:",
        "Order abort:",
        "Order retry:",
        "Order pause:",
        "Order resume:",
        "Order abort refused:",
    ] {
        assert!(
            events.keys().any(|event| event.starts_with(word)),
            "{word}: {events:?}"
        );
    }
    let (code, text) = terminal.verdigris("status -o json").await;
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &all["items"][0]["phase"]), (0, &json!("Succeeded")));
    let (code, text) = terminal.verdigris("status podinfo -o yaml").await;
    assert!(code == 0 && text.contains("phase: Succeeded"), "{code} {text}");
    let (code, text) = terminal.verdigris("status").await;
    assert!(
        code == 0 && text.lines().nth(1).is_some_and(|row| row.starts_with("podinfo ")),
        "{code} {text}"
    );

    // The plugin, where kubectl is.
    std::os::unix::fs::symlink(&terminal.program, terminal.folder.join("kubectl-canary")).unwrap();
    let kubectl = Path::new("kubectl");
    let Ok(output) = terminal
        .command(kubectl, &format!("canary status podinfo -n {NAMESPACE}"))
        .output()
        .await
    else {
        println!("skipped: no kubectl on PATH");
        return;
    };
    let (code, text) = said(output);
    assert!(
        code == 0 && text.contains("podinfo.test  Succeeded"),
        "{code} {text}"
    );
    let (_, text) = said(
        terminal
            .command(kubectl, "canary promote --help")
            .output()
            .await
            .unwrap(),
    );
    assert!(text.contains("Usage: kubectl canary promote"), "{text}");
    let (code, text) = said(
        terminal
            .command(kubectl, &format!("canary abort podinfo -n {NAMESPACE}"))
            .output()
            .await
            .unwrap(),
    );
    assert!(code == 1 && text.contains("nothing runs"), "{code} {text}");
    let _ = std::fs::remove_dir_all(&terminal.folder);
}
