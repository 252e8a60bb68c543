//! Endpoints and EndpointSlices of Services with a selector, from the pods it selects.

use std::collections::BTreeMap;

use futures::FutureExt;
use serde_json::{Value, json};

use super::drive::{Outcome, Trigger, drive, found};
use super::object::{
    ENDPOINTS, Key, NODE, PODS, SERVICES, SLICES, deleting, int, labels, list, name, namespace,
    owner_reference, pod_finished, pod_ready, strings, text, uid,
};
use crate::client::{ApiError, Client, Resource};

/// Runs the controller.
pub(crate) async fn run(client: Client) {
    let triggers = vec![
        Trigger::own(SERVICES),
        Trigger::own(ENDPOINTS),
        Trigger {
            resource: PODS,
            keys: |pod| vec![Key::all(namespace(pod))],
        },
    ];
    drive(client.clone(), SERVICES, triggers, move |key| {
        let client = client.clone();
        async move { reconcile(&client, key).await }.boxed()
    })
    .await;
}

async fn reconcile(client: &Client, key: Key) -> Outcome {
    let Some(service) = found(client.get(SERVICES, &key.namespace, &key.name).await)? else {
        found(client.delete(ENDPOINTS, &key.namespace, &key.name, None).await)?;
        return Ok(None);
    };
    if strings(&service, "/spec/selector").is_empty() || deleting(&service) {
        return Ok(None);
    }
    let pods = client.list(PODS, &key.namespace, "").await?;
    let chosen = selected(&service, &pods);
    put(client, ENDPOINTS, endpoints(&service, &chosen)).await?;
    put(client, SLICES, slice(&service, &chosen)).await?;
    Ok(None)
}

/// Creates or updates an object; unchanged content is not written.
async fn put(client: &Client, resource: Resource, wanted: Value) -> Result<(), ApiError> {
    let (space, title) = (namespace(&wanted).to_owned(), name(&wanted).to_owned());
    let Some(current) = found(client.get(resource, &space, &title).await)? else {
        client.create(resource, &space, wanted).await?;
        return Ok(());
    };
    let mut next = current.clone();
    for key in ["subsets", "endpoints", "ports"] {
        if let Some(value) = wanted.get(key) {
            next[key] = value.clone();
        }
    }
    if next != current {
        client.update(resource, "", next).await?;
    }
    Ok(())
}

/// A selected pod with an address, and the numbers the Service's ports have on it.
struct Chosen<'a> {
    pod: &'a Value,
    ports: Vec<Value>,
    ready: bool,
}

fn selected<'a>(service: &Value, pods: &'a [Value]) -> Vec<Chosen<'a>> {
    let selector = strings(service, "/spec/selector");
    let publish = service
        .pointer("/spec/publishNotReadyAddresses")
        .and_then(Value::as_bool)
        == Some(true);
    let matches = |pod: &&Value| {
        let labels = labels(pod);
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && !text(pod, "/status/podIP").is_empty()
            && !pod_finished(pod)
    };
    let choose = |pod: &'a Value| Chosen {
        pod,
        ports: ports(service, pod),
        ready: publish || pod_ready(pod),
    };
    pods.iter().filter(matches).map(choose).collect()
}

/// A Service's ports as one pod has them; a named target port the pod does not have is left out.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let number = |port: &Value| match port.get("targetPort") {
        Some(Value::String(title)) => title.parse().ok().or_else(|| {
            let containers = list(pod, "/spec/containers").iter();
            let mut ports = containers.flat_map(|container| list(container, "/ports"));
            ports
                .find(|port| text(port, "/name") == title)
                .and_then(|port| int(port, "/containerPort"))
        }),
        Some(Value::Number(target)) if target.as_i64() != Some(0) => target.as_i64(),
        _ => int(port, "/port"),
    };
    let row = |port: &Value| {
        let protocol = match text(port, "/protocol") {
            "" => "TCP",
            protocol => protocol,
        };
        let mut row = json!({"port": number(port)?, "protocol": protocol});
        if !text(port, "/name").is_empty() {
            row["name"] = port["name"].clone();
        }
        if !text(port, "/appProtocol").is_empty() {
            row["appProtocol"] = port["appProtocol"].clone();
        }
        Some(row)
    };
    list(service, "/spec/ports").iter().filter_map(row).collect()
}

fn reference(pod: &Value) -> Value {
    json!({"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)})
}

/// The addresses of the pods that have the same ports.
struct Group<'a> {
    ports: &'a [Value],
    ready: Vec<Value>,
    waiting: Vec<Value>,
}

/// The Endpoints object: pods grouped by the ports they have. A pod on its way out has no place in it.
fn endpoints(service: &Value, chosen: &[Chosen<'_>]) -> Value {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for one in chosen
        .iter()
        .filter(|one| !deleting(one.pod) && !one.ports.is_empty())
    {
        let group = groups
            .entry(Value::from(one.ports.clone()).to_string())
            .or_insert_with(|| Group {
                ports: &one.ports,
                ready: Vec::new(),
                waiting: Vec::new(),
            });
        let side = if one.ready {
            &mut group.ready
        } else {
            &mut group.waiting
        };
        side.push(json!({
            "ip": text(one.pod, "/status/podIP"),
            "nodeName": NODE,
            "targetRef": reference(one.pod),
        }));
    }
    let subset = |group: Group<'_>| {
        let Group {
            ports,
            ready,
            waiting,
        } = group;
        let mut subset = json!({});
        if !ready.is_empty() {
            subset["addresses"] = json!(ready);
        }
        if !waiting.is_empty() {
            subset["notReadyAddresses"] = json!(waiting);
        }
        subset["ports"] = json!(ports);
        subset
    };
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": name(service),
            "namespace": namespace(service),
            "labels": labels(service),
        },
        "subsets": groups.into_values().map(subset).collect::<Vec<_>>(),
    })
}

/// One slice for all: pods on their way out stay in it, marked, as long as they serve.
fn slice(service: &Value, chosen: &[Chosen<'_>]) -> Value {
    let endpoint = |one: &Chosen<'_>| {
        json!({
            "addresses": [text(one.pod, "/status/podIP")],
            "conditions": {
                "ready": one.ready && !deleting(one.pod),
                "serving": one.ready,
                "terminating": deleting(one.pod),
            },
            "nodeName": NODE,
            "targetRef": reference(one.pod),
        })
    };
    let mut labels = labels(service);
    labels.insert("kubernetes.io/service-name".into(), name(service).into());
    labels.insert(
        "endpointslice.kubernetes.io/managed-by".into(),
        "endpointslice-controller.k8s.io".into(),
    );
    let digest = super::object::hash(&json!(uid(service)));
    let with_ports = || chosen.iter().filter(|one| !one.ports.is_empty());
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{}", name(service), &digest[..digest.len().min(5)]),
            "namespace": namespace(service),
            "labels": labels,
            "ownerReferences": [owner_reference("v1", "Service", service)],
        },
        "addressType": "IPv4",
        "endpoints": with_ports().map(endpoint).collect::<Vec<_>>(),
        "ports": with_ports().next().map_or_else(Vec::new, |one| one.ports.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(title: &str, ready: bool, port: (&str, u16)) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({
            "metadata": {"name": title, "namespace": "test", "uid": title, "labels": {"app": "web"}},
            "spec": {"containers": [{"ports": [{"name": port.0, "containerPort": port.1}]}]},
            "status": {"podIP": format!("127.1.0.{}", title.len()), "conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn who_is_an_endpoint() {
        let service = json!({
            "metadata": {"name": "web", "namespace": "test", "uid": "s"},
            "spec": {"selector": {"app": "web"}, "ports": [
                {"name": "http", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 9000},
                {"name": "same", "port": 82}]},
        });
        let mut leaving = pod("aaaa", true, ("http", 9898));
        leaving["metadata"]["deletionTimestamp"] = json!("2024-05-01T10:00:00Z");
        let mut other = pod("aaaaa", true, ("http", 9898));
        other["metadata"]["labels"] = json!({"app": "api"});
        let pods = [
            pod("a", true, ("http", 9898)),
            pod("aa", false, ("http", 9898)),
            pod("aaa", true, ("http", 8080)),
            leaving,
            other,
        ];
        let chosen = selected(&service, &pods);
        let found = endpoints(&service, &chosen);
        let subsets: Vec<String> = list(&found, "/subsets")
            .iter()
            .map(|subset| {
                let ips = |key: &str| {
                    let ips: Vec<&str> = list(subset, key).iter().map(|one| text(one, "/ip")).collect();
                    ips.join(" ")
                };
                let ports: Vec<i64> = list(subset, "/ports")
                    .iter()
                    .filter_map(|port| int(port, "/port"))
                    .collect();
                format!(
                    "{} | {} | {ports:?}",
                    ips("/addresses"),
                    ips("/notReadyAddresses")
                )
            })
            .collect();
        assert_eq!(
            subsets,
            [
                "127.1.0.3 |  | [8080, 9000, 82]",
                "127.1.0.1 | 127.1.0.2 | [9898, 9000, 82]"
            ]
        );
        let slice = slice(&service, &chosen);
        let states: Vec<(bool, bool)> = list(&slice, "/endpoints")
            .iter()
            .map(|one| {
                (
                    one["conditions"]["ready"] == json!(true),
                    one["conditions"]["terminating"] == json!(true),
                )
            })
            .collect();
        assert_eq!(
            states,
            [(true, false), (false, false), (true, false), (false, true)]
        );
    }
}
