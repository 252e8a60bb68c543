//! The scale subresource: an `autoscaling/v1` Scale over an object's replica fields.
//!
//! Owns: which fields those are. Promises: pure; a scale write changes the replica count and nothing else. Never:
//! stores.

use serde_json::{Value, json};

use super::decode::{metadata, object_mut};
use super::selector::selector_text;
use super::status::Failure;
use crate::kinds::Kind;

/// Paths, as member names, of the replica fields.
struct Fields {
    spec: Vec<String>,
    status: Vec<String>,
    selector: Option<Vec<String>>,
}

fn fields(kind: &Kind) -> Option<Fields> {
    let path = |text: &str| {
        text.trim_start_matches('.')
            .split('.')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    match &kind.custom {
        None => Some(Fields {
            spec: path("spec.replicas"),
            status: path("status.replicas"),
            selector: None,
        }),
        Some(custom) => {
            let scale = custom.scale(&kind.version)?;
            Some(Fields {
                spec: path(scale["specReplicasPath"].as_str()?),
                status: path(scale["statusReplicasPath"].as_str()?),
                selector: scale["labelSelectorPath"].as_str().map(path),
            })
        }
    }
}

fn at<'a>(object: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(object, |value, key| &value[key.as_str()])
}

/// The Scale of an object.
pub(crate) fn of(kind: &Kind, object: &Value) -> Result<Value, Failure> {
    let fields = fields(kind).ok_or_else(Failure::no_such_path)?;
    let meta = &object["metadata"];
    let mut shown = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta.get(key) {
            shown[key] = value.clone();
        }
    }
    let replicas = at(object, &fields.spec).as_i64();
    let spec = match replicas {
        Some(n) if n != 0 => json!({"replicas": n}),
        _ => json!({}),
    };
    let mut status = json!({"replicas": at(object, &fields.status).as_i64().unwrap_or(0)});
    let selector = match &fields.selector {
        Some(path) => at(object, path).as_str().unwrap_or_default().to_owned(),
        None if kind.custom.is_none() => match &object["spec"]["selector"] {
            selector if kind.is("", "replicationcontrollers") => {
                selector_text(&json!({"matchLabels": selector}))
            }
            selector => selector_text(selector),
        },
        None => String::new(),
    };
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    Ok(
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": shown, "spec": spec, "status": status}),
    )
}

/// The object with the replica count and resourceVersion a Scale asks for.
pub(crate) fn write(kind: &Kind, object: &Value, scale: &Value) -> Result<Value, Failure> {
    let fields = fields(kind).ok_or_else(Failure::no_such_path)?;
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        value => value.as_i64().ok_or_else(|| {
            Failure::bad_request(
                "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas is no integer",
            )
        })?,
    };
    if replicas < 0 {
        let message = format!(
            "Scale.autoscaling {:?} is invalid: spec.replicas: Invalid value: {replicas}: must be greater than or \
             equal to 0",
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        return Err(Failure::new(422, "Invalid", message));
    }
    let mut changed = object.clone();
    if let Some((last, parents)) = fields.spec.split_last() {
        let mut place = &mut changed;
        for key in parents {
            place = object_mut(place).entry(key.clone()).or_insert(Value::Null);
        }
        object_mut(place).insert(last.clone(), json!(replicas));
    }
    if let Some(revision) = scale["metadata"]["resourceVersion"]
        .as_str()
        .filter(|r| !r.is_empty())
    {
        metadata(&mut changed).insert("resourceVersion".to_owned(), json!(revision));
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    #[test]
    fn a_deployments_scale() {
        let kind = Registry::new().find("apps", "v1", "deployments").unwrap();
        let object = json!({"metadata": {"name": "x", "resourceVersion": "3"}, "spec": {"replicas": 2,
            "selector": {"matchLabels": {"a": "b"}}}, "status": {"replicas": 1}});
        let scale = of(&kind, &object).unwrap();
        assert_eq!(scale["spec"]["replicas"], 2);
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "a=b"}));
        let mut wanted = scale;
        wanted["spec"]["replicas"] = json!(5);
        let changed = write(&kind, &object, &wanted).unwrap();
        assert_eq!(changed["spec"]["replicas"], 5);
        assert_eq!(changed["spec"]["selector"], object["spec"]["selector"]);
        wanted["spec"]["replicas"] = json!(-1);
        assert_eq!(write(&kind, &object, &wanted).unwrap_err().code, 422);
    }
}
