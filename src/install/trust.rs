//! Whom the targets trust: read through watches of the few objects by name, and mended by applying `caBundle` alone.
//!
//! Promises: nothing but `caBundle` (and, of a CRD's conversion, the values that stand there already) is applied, under
//! the resourceVersion that was read; behind a Service what others put there stays until it expires; an entry that
//! names another server is none of ours. Reads go by one name each, so that the rights can (`resourceNames`).

use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;
use url::Url;

use crate::cluster::ClusterError;
use crate::pki::carried::{self, Carried};

use super::{CRD, Endpoint, MUTATING, NAME, Target, VALIDATING, label};

/// The field manager of `caBundle`.
pub const INJECTOR: &str = "verdigris-ca";

/// Every object that can name us.
const TARGETS: [(Target, &str); 3] = [
    (CRD, "canaries.flagger.app"),
    (MUTATING, NAME),
    (VALIDATING, NAME),
];
/// Somebody else writes at the same moment; more often than this something is wrong.
const ATTEMPTS: usize = 3;

/// Follows every target that names `endpoint`; ends only when its watches do.
pub async fn follow(client: Client, endpoint: Endpoint, told: watch::Sender<Carried>) -> Result<(), String> {
    type Changes = Pin<Box<dyn Stream<Item = (usize, watcher::Result<Option<DynamicObject>>)> + Send>>;
    let changes = TARGETS.iter().enumerate().map(|(index, (target, name))| {
        let changes = watcher::watch_object(target.api(&client), name).default_backoff();
        Box::pin(changes.map(move |change| (index, change))) as Changes
    });
    let mut changes = stream::select_all(changes);
    let mut seen: [Option<Vec<carried::Target>>; TARGETS.len()] = Default::default();
    while let Some((index, change)) = changes.next().await {
        let (target, name) = &TARGETS[index];
        match change {
            Ok(object) => {
                let object = object.map(|object| object.data).unwrap_or_default();
                seen[index] = Some(places(target, name, &object, &endpoint));
            }
            Err(error) => tracing::debug!("{}: {error}", label(target, name)),
        }
        let now = Carried {
            complete: seen.iter().all(Option::is_some),
            targets: seen.iter().flatten().flatten().cloned().collect(),
        };
        told.send_if_modified(|before| {
            let news = *before != now;
            *before = now;
            news
        });
    }
    Err("the watches of the webhook configurations ended".to_owned())
}

/// Makes every target that names `endpoint` trust a bundle.
pub async fn inject(
    client: &Client,
    endpoint: &Endpoint,
    bundle_pem: &str,
    now: Timestamp,
) -> Result<(), ClusterError> {
    for (target, name) in TARGETS {
        let api = target.api(client);
        let failed = |error| ClusterError::of(label(&target, name), error);
        for attempt in 1..=ATTEMPTS {
            let Some(object) = api.get_opt(name).await.map_err(failed)? else {
                break;
            };
            let Some(mut wanted) = mended(&target, &object.data, endpoint, bundle_pem, now) else {
                break;
            };
            wanted["metadata"] = json!({ "name": name, "resourceVersion": object.metadata.resource_version });
            let parameters = PatchParams::apply(INJECTOR).force();
            match api.patch(name, &parameters, &Patch::Apply(&wanted)).await {
                Ok(_) => {
                    tracing::info!("{} trusts our certificate authorities", label(&target, name));
                    break;
                }
                Err(kube::Error::Api(status)) if status.is_conflict() && attempt < ATTEMPTS => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(())
}

/// The client configurations of an object, each with the name of its entry.
fn entries<'a>(target: &Target, object: &'a Value) -> Vec<(&'a str, &'a Value)> {
    if *target == CRD {
        let conversion = object.pointer("/spec/conversion/webhook/clientConfig");
        return conversion
            .map(|config| ("conversion", config))
            .into_iter()
            .collect();
    }
    let webhooks = object.get("webhooks").and_then(Value::as_array);
    webhooks
        .into_iter()
        .flatten()
        .filter_map(|webhook| Some((webhook.get("name")?.as_str()?, webhook.get("clientConfig")?)))
        .collect()
}

/// Where an object names `endpoint`, and whom it trusts there.
fn places(target: &Target, name: &str, object: &Value, endpoint: &Endpoint) -> Vec<carried::Target> {
    let found = entries(target, object).into_iter().filter_map(|(entry, config)| {
        Some(carried::Target {
            label: format!("{} {entry}", label(target, name)),
            host: host(config, endpoint)?,
            bundle_pem: bundle(config),
        })
    });
    found.collect()
}

/// The name the API server expects of a client configuration that names `endpoint`; `None` when it names another.
fn host(config: &Value, endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Url(ours) => {
            let url = config.get("url")?.as_str()?;
            url.strip_prefix(ours.trim_end_matches('/'))?
                .starts_with('/')
                .then_some(())?;
            let host = Url::parse(url).ok()?.host_str()?.to_owned();
            Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
        }
        Endpoint::Service { namespace, name, .. } => {
            let service = config.get("service")?;
            let is_ours = service.get("name")? == name && service.get("namespace")? == namespace;
            is_ours.then(|| format!("{name}.{namespace}.svc"))
        }
    }
}

fn bundle(config: &Value) -> String {
    config
        .get("caBundle")
        .and_then(Value::as_str)
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

/// What to apply so that an object trusts a bundle wherever it names `endpoint`; `None` when it does.
fn mended(
    target: &Target,
    object: &Value,
    endpoint: &Endpoint,
    bundle_pem: &str,
    now: Timestamp,
) -> Option<Value> {
    let ours: Vec<(&str, String)> = entries(target, object)
        .into_iter()
        .filter(|(_, config)| host(config, endpoint).is_some())
        .map(|(entry, config)| (entry, bundle(config)))
        .collect();
    let carried = Carried {
        complete: true,
        targets: ours
            .iter()
            .map(|(_, present)| carried::Target {
                label: String::new(),
                host: String::new(),
                bundle_pem: present.clone(),
            })
            .collect(),
    };
    if carried.is_up_to_date(bundle_pem, now) {
        return None;
    }
    let encoded = |present: &str| {
        STANDARD.encode(match endpoint {
            // One process, whose predecessors are dead.
            Endpoint::Url(_) => bundle_pem.to_owned(),
            Endpoint::Service { .. } => carried::merged(bundle_pem, present, now),
        })
    };
    let mut wanted = json!({ "apiVersion": format!("{}/v1", target.group), "kind": target.kind });
    if *target == CRD {
        let webhook = object.pointer("/spec/conversion/webhook")?;
        let (_, present) = ours.first()?;
        wanted["spec"]["conversion"] = json!({
            "strategy": "Webhook",
            "webhook": {
                "conversionReviewVersions": webhook.get("conversionReviewVersions"),
                "clientConfig": { "caBundle": encoded(present) },
            },
        });
    } else {
        let entry = |(name, present): &(&str, String)| json!({ "name": name, "clientConfig": { "caBundle": encoded(present) } });
        wanted["webhooks"] = ours.iter().map(entry).collect();
    }
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Bundle, Names};

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn service() -> Endpoint {
        Endpoint::Service {
            namespace: "sys".to_owned(),
            name: "hook".to_owned(),
            port: 443,
        }
    }

    fn authority() -> String {
        Bundle::generate(&Names::of_service("hook", "sys"), now())
            .unwrap()
            .ca_pem
    }

    fn configuration(bundles: [Option<&str>; 2]) -> Value {
        let ours = |name: &str, bundle: Option<&str>| {
            let mut config = json!({"service": {"namespace": "sys", "name": "hook", "path": "/x"}});
            if let Some(pem) = bundle {
                config["caBundle"] = STANDARD.encode(pem).into();
            }
            json!({"name": name, "clientConfig": config, "failurePolicy": "Fail"})
        };
        json!({"webhooks": [
            ours("a", bundles[0]),
            {"name": "foreign", "clientConfig": {"service": {"namespace": "sys", "name": "other"}}},
            ours("b", bundles[1]),
        ]})
    }

    #[test]
    fn only_the_bundle_of_our_entries_is_applied() {
        let (ours, other) = (authority(), authority());
        let object = configuration([Some(&other), None]);
        let wanted = mended(&VALIDATING, &object, &service(), &ours, now()).unwrap();
        assert_eq!(wanted.as_object().unwrap().len(), 3, "{wanted}");
        let webhooks = wanted["webhooks"].as_array().unwrap();
        assert_eq!(webhooks.len(), 2);
        for (webhook, (name, foreign)) in webhooks.iter().zip([("a", true), ("b", false)]) {
            assert_eq!(webhook["name"], name);
            assert_eq!(webhook.as_object().unwrap().len(), 2);
            assert_eq!(webhook["clientConfig"].as_object().unwrap().len(), 1);
            let pem = bundle(&webhook["clientConfig"]);
            assert!(carried::holds(&pem, &ours));
            assert_eq!(carried::holds(&pem, &other), foreign, "others' stays");
        }
        let mended_already = configuration([Some(&ours), Some(&ours)]);
        assert!(mended(&VALIDATING, &mended_already, &service(), &ours, now()).is_none());
        let elsewhere = Endpoint::Url("https://laptop:9443/".to_owned());
        assert!(
            mended(&VALIDATING, &object, &elsewhere, &ours, now()).is_none(),
            "entries that name another server are left alone"
        );
    }

    #[test]
    fn a_conversion_keeps_what_it_says() {
        let ours = authority();
        let config = json!({"url": "https://127.0.0.1:9443/convert"});
        let object = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": config,
        }}}});
        let endpoint = Endpoint::Url("https://127.0.0.1:9443".to_owned());
        let wanted = mended(&CRD, &object, &endpoint, &ours, now()).unwrap();
        let conversion = &wanted["spec"]["conversion"];
        assert_eq!(conversion["webhook"]["conversionReviewVersions"], json!(["v1"]));
        assert_eq!(bundle(&conversion["webhook"]["clientConfig"]), ours);
        let none = json!({"spec": {"conversion": {"strategy": "None"}}});
        assert!(mended(&CRD, &none, &endpoint, &ours, now()).is_none());
    }

    #[test]
    fn what_names_us_is_found_with_the_name_we_are_called_by() {
        let table = [
            (
                json!({"url": "https://[::1]:9443/validate"}),
                "https://[::1]:9443/",
                Some("::1"),
            ),
            (
                json!({"url": "https://host:9443/validate"}),
                "https://host:9443",
                Some("host"),
            ),
            (
                json!({"url": "https://host:94431/validate"}),
                "https://host:9443",
                None,
            ),
            (
                json!({"service": {"name": "hook", "namespace": "sys"}}),
                "https://host:9443",
                None,
            ),
        ];
        for (config, ours, expected) in table {
            let endpoint = Endpoint::Url(ours.to_owned());
            assert_eq!(host(&config, &endpoint).as_deref(), expected, "{config}");
        }
        let config = json!({"service": {"name": "hook", "namespace": "sys"}});
        assert_eq!(host(&config, &service()).as_deref(), Some("hook.sys.svc"));
    }
}
