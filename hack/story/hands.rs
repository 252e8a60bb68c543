//! The hands that type: the real `kubectl`, or the library where there is none.

use std::path::PathBuf;
use std::process::Stdio;

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What came back.
pub(crate) struct Reply {
    /// True when the command succeeded.
    pub(crate) ok: bool,
    /// Standard output and error together.
    pub(crate) text: String,
}

/// Who types.
pub(crate) enum Hands {
    /// kubectl 1.28 or newer.
    Kubectl {
        /// The program.
        program: PathBuf,
        /// Its kubeconfig.
        kubeconfig: PathBuf,
    },
    /// kube-rs, saying the same things.
    Library(Client),
}

impl Hands {
    /// Finds kubectl, or falls back to the library.
    pub(crate) async fn find(kubeconfig: &std::path::Path) -> Result<Self, String> {
        let missing = std::env::var_os("VERDIGRIS_NO_KUBECTL").is_some();
        if let Some(program) = super::process::which("kubectl").filter(|_| !missing) {
            return Ok(Self::Kubectl {
                program,
                kubeconfig: kubeconfig.to_owned(),
            });
        }
        println!(
            "No kubectl of 1.28 or newer: the steps go through the library, without kubectl's own words."
        );
        let file = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self::Library(
            Client::try_from(config).map_err(|error| error.to_string())?,
        ))
    }

    /// Runs kubectl with arguments and standard input, without showing it.
    async fn kubectl(
        program: &PathBuf,
        kubeconfig: &PathBuf,
        arguments: &[&str],
        input: &str,
    ) -> Result<Reply, String> {
        let mut child = Command::new(program)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
            .env_remove("http_proxy")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("kubectl: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child
            .wait_with_output()
            .await
            .map_err(|error| format!("kubectl: {error}"))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let text = text
            .lines()
            .filter(|line| !line.contains("version difference between client"))
            .collect::<Vec<_>>();
        Ok(Reply {
            ok: output.status.success(),
            text: text.join("\n").trim_end().to_owned(),
        })
    }

    /// `kubectl apply -f -`.
    pub(crate) async fn apply(&self, manifest: &str) -> Result<Reply, String> {
        match self {
            Self::Kubectl { program, kubeconfig } => {
                Self::kubectl(program, kubeconfig, &["apply", "-f", "-"], manifest).await
            }
            Self::Library(client) => {
                let mut text = Vec::new();
                for document in manifest.split("\n---\n") {
                    let object: DynamicObject =
                        serde_saphyr::from_str(document).map_err(|error| error.to_string())?;
                    let name = object.metadata.name.clone().unwrap_or_default();
                    let namespace = object.metadata.namespace.clone();
                    let api = api(client, &object, namespace.as_deref());
                    let parameters = PatchParams::apply("playground").force();
                    match api.patch(&name, &parameters, &Patch::Apply(&object)).await {
                        Ok(_) => text.push(format!("{name} applied")),
                        Err(kube::Error::Api(status)) => {
                            let causes = status.details.iter().flat_map(|details| &details.causes);
                            let said: Vec<String> = causes
                                .map(|cause| format!("{}: {}", cause.field, cause.message))
                                .collect();
                            text.push(format!("{}\n{}", status.message, said.join("\n")));
                            return Ok(Reply {
                                ok: false,
                                text: text.join("\n"),
                            });
                        }
                        Err(error) => return Err(error.to_string()),
                    }
                }
                Ok(Reply {
                    ok: true,
                    text: text.join("\n"),
                })
            }
        }
    }

    /// `kubectl -n test get RESOURCE NAME -o yaml`, at a version of the Canary or of a built-in kind.
    pub(crate) async fn get_yaml(&self, kind: &Kind, name: &str) -> Result<Reply, String> {
        match self {
            Self::Kubectl { program, kubeconfig } => {
                let what = format!("{}/{name}", kind.typed());
                Self::kubectl(
                    program,
                    kubeconfig,
                    &["-n", "test", "get", &what, "-o", "yaml"],
                    "",
                )
                .await
            }
            Self::Library(_) => {
                let object = self.get(kind, name).await?;
                let text = serde_saphyr::to_string(&object).map_err(|error| error.to_string())?;
                Ok(Reply {
                    ok: object.is_some(),
                    text,
                })
            }
        }
    }

    /// An object as JSON, `None` when it does not exist.
    pub(crate) async fn get(&self, kind: &Kind, name: &str) -> Result<Option<serde_json::Value>, String> {
        match self {
            Self::Kubectl { program, kubeconfig } => {
                let arguments = [
                    "-n",
                    "test",
                    "get",
                    &kind.typed(),
                    name,
                    "-o",
                    "json",
                    "--ignore-not-found",
                ]
                .map(str::to_owned);
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let reply = Self::kubectl(program, kubeconfig, &arguments, "").await?;
                Ok(serde_json::from_str(&reply.text).ok())
            }
            Self::Library(client) => {
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "test", &kind.resource());
                let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
                found
                    .map(|object| serde_json::to_value(object).map_err(|error| error.to_string()))
                    .transpose()
            }
        }
    }

    /// `kubectl -n test set image deployment/podinfo podinfod=IMAGE`.
    pub(crate) async fn set_image(&self, image: &str) -> Result<Reply, String> {
        match self {
            Self::Kubectl { program, kubeconfig } => {
                let container = format!("podinfod={image}");
                let arguments = [
                    "-n",
                    "test",
                    "set",
                    "image",
                    "deployment/podinfo",
                    container.as_str(),
                ];
                Self::kubectl(program, kubeconfig, &arguments, "").await
            }
            Self::Library(client) => {
                let api: Api<DynamicObject> =
                    Api::namespaced_with(client.clone(), "test", &DEPLOYMENT.resource());
                let patch = serde_json::json!({"spec": {"template": {"spec": {"containers": [
                    {"name": "podinfod", "image": image}
                ]}}}});
                api.patch("podinfo", &PatchParams::default(), &Patch::Strategic(&patch))
                    .await
                    .map_err(|error| error.to_string())?;
                Ok(Reply {
                    ok: true,
                    text: "deployment.apps/podinfo image updated".to_owned(),
                })
            }
        }
    }

    /// The Canary's events, oldest first: `(type, message)`.
    pub(crate) async fn events(&self) -> Result<Vec<(String, String)>, String> {
        let list = match self {
            Self::Kubectl { program, kubeconfig } => {
                let arguments = ["-n", "test", "get", "events", "-o", "json"];
                let reply = Self::kubectl(program, kubeconfig, &arguments, "").await?;
                let list: serde_json::Value = serde_json::from_str(&reply.text).unwrap_or_default();
                list.get("items")
                    .and_then(serde_json::Value::as_array)
                    .cloned()
                    .unwrap_or_default()
            }
            Self::Library(client) => {
                let kind = Kind {
                    group: "",
                    version: "v1",
                    name: "Event",
                    plural: "events",
                };
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "test", &kind.resource());
                let found = api
                    .list(&kube::api::ListParams::default())
                    .await
                    .map_err(|error| error.to_string())?;
                found
                    .items
                    .iter()
                    .filter_map(|event| serde_json::to_value(event).ok())
                    .collect()
            }
        };
        let text = |event: &serde_json::Value, pointer: &str| {
            event
                .pointer(pointer)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut events: Vec<_> = list
            .iter()
            .filter(|event| text(event, "/involvedObject/kind") == "Canary")
            .map(|event| {
                let version = text(event, "/metadata/resourceVersion")
                    .parse::<u64>()
                    .unwrap_or_default();
                (version, text(event, "/type"), text(event, "/message"))
            })
            .collect();
        events.sort();
        Ok(events
            .into_iter()
            .map(|(_, kind, message)| (kind, message))
            .collect())
    }
}

/// A resource type of the story.
pub(crate) struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
}

pub(crate) const CANARY: Kind = Kind {
    group: "flagger.app",
    version: "v1beta1",
    name: "Canary",
    plural: "canaries",
};
pub(crate) const DEPLOYMENT: Kind = Kind {
    group: "apps",
    version: "v1",
    name: "Deployment",
    plural: "deployments",
};
pub(crate) const SERVICE: Kind = Kind {
    group: "",
    version: "v1",
    name: "Service",
    plural: "services",
};

impl Kind {
    fn resource(&self) -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(self.group, self.version, self.name),
            self.plural,
        )
    }

    /// As kubectl takes it: `canaries.v1beta1.flagger.app`.
    pub(crate) fn typed(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}.{}", self.plural, self.version, self.group)
        }
    }
}

fn api(client: &Client, object: &DynamicObject, namespace: Option<&str>) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types
        .api_version
        .split_once('/')
        .unwrap_or(("", types.api_version.as_str()));
    let kind = types.kind.as_str();
    let plural = match kind {
        "Canary" => "canaries".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
