//! The environment of a container: literal values, ConfigMaps and Secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::client::{Client, Resource};
use crate::controllers::drive::found;
use crate::controllers::object::{CONFIG_MAPS, SECRETS, list, name, namespace, text};

/// Why a container cannot be configured, as kubelet words it.
pub(crate) type Missing = String;

/// Resolves `envFrom` and `env` of a container; what is referenced must exist unless optional.
pub(crate) async fn resolve(
    client: &Client,
    pod: &Value,
    container: &Value,
) -> Result<BTreeMap<String, String>, Missing> {
    let mut env = BTreeMap::new();
    for source in list(container, "/envFrom") {
        let prefix = text(source, "/prefix");
        for (field, resource) in [("configMapRef", CONFIG_MAPS), ("secretRef", SECRETS)] {
            if let Some(reference) = source.get(field)
                && let Some(data) = load(client, pod, resource, reference).await?
            {
                env.extend(
                    data.into_iter()
                        .map(|(key, value)| (format!("{prefix}{key}"), value)),
                );
            }
        }
    }
    for variable in list(container, "/env") {
        let title = text(variable, "/name").to_owned();
        let Some(from) = variable.get("valueFrom") else {
            env.insert(title, text(variable, "/value").to_owned());
            continue;
        };
        for (field, resource) in [("configMapKeyRef", CONFIG_MAPS), ("secretKeyRef", SECRETS)] {
            let Some(reference) = from.get(field) else {
                continue;
            };
            let Some(mut data) = load(client, pod, resource, reference).await? else {
                continue;
            };
            let key = text(reference, "/key");
            match data.remove(key) {
                Some(value) => {
                    env.insert(title.clone(), value);
                }
                None if optional(reference) => {}
                None => {
                    let kind = kind(resource);
                    let (space, name) = (namespace(pod), text(reference, "/name"));
                    return Err(format!("couldn't find key {key} in {kind} {space}/{name}"));
                }
            }
        }
        match text(from, "/fieldRef/fieldPath") {
            "metadata.name" => env.insert(title, name(pod).to_owned()),
            "metadata.namespace" => env.insert(title, namespace(pod).to_owned()),
            "spec.nodeName" => env.insert(title, text(pod, "/spec/nodeName").to_owned()),
            _ => None,
        };
    }
    Ok(env)
}

fn kind(resource: Resource) -> &'static str {
    if resource == SECRETS {
        "Secret"
    } else {
        "ConfigMap"
    }
}

fn optional(reference: &Value) -> bool {
    reference
        .get("optional")
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

async fn load(
    client: &Client,
    pod: &Value,
    resource: Resource,
    reference: &Value,
) -> Result<Option<BTreeMap<String, String>>, Missing> {
    let title = text(reference, "/name");
    let object = found(client.get(resource, namespace(pod), title).await).map_err(|error| error.message)?;
    let Some(object) = object else {
        if optional(reference) {
            return Ok(None);
        }
        return Err(format!("{} \"{title}\" not found", kind(resource).to_lowercase()));
    };
    let plain = crate::controllers::object::strings(&object, "/data");
    if resource == CONFIG_MAPS {
        return Ok(Some(plain));
    }
    let decode = |coded: String| String::from_utf8(STANDARD.decode(coded).ok()?).ok();
    Ok(Some(
        plain
            .into_iter()
            .filter_map(|(key, coded)| Some((key, decode(coded)?)))
            .collect(),
    ))
}
