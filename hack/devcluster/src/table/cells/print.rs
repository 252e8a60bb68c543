//! Cells of the other built-in kinds.

use serde_json::{Map, Value, json};

use super::value::{condition, items, of_text, strings};

pub(super) fn data_count(object: &Value) -> usize {
    let size = |name: &str| object.get(name).and_then(Value::as_object).map_or(0, Map::len);
    size("data") + size("binaryData")
}

pub(super) fn containers(object: &Value, member: &str) -> Value {
    let all = items(object, "/spec/template/spec/containers")
        .iter()
        .filter_map(|c| c[member].as_str());
    json!(all.collect::<Vec<_>>().join(","))
}

pub(super) fn labels_text(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object);
    let mut texts: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    texts.sort();
    if texts.is_empty() {
        "<none>".to_owned()
    } else {
        texts.join(",")
    }
}

/// A label selector in its text form; a plain map counts as one.
pub(super) fn selector_text(selector: &Value) -> String {
    let Some(members) = selector.as_object() else {
        return "<none>".to_owned();
    };
    if !members.contains_key("matchLabels") && !members.contains_key("matchExpressions") {
        return labels_text(Some(selector));
    }
    let mut texts: Vec<String> = Vec::new();
    for (key, value) in members
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        texts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in members
        .get("matchExpressions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = strings(&expression["values"]).join(",");
        texts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    texts.sort();
    if texts.is_empty() {
        "<none>".to_owned()
    } else {
        texts.join(",")
    }
}

pub(super) fn controller(object: &Value) -> Value {
    let owner = items(object, "/metadata/ownerReferences")
        .iter()
        .find(|o| o["controller"] == true);
    json!(owner.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let kind = of_text(owner, "/kind").to_lowercase();
            let group = of_text(owner, "/apiVersion")
                .split_once('/')
                .map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", of_text(owner, "/name"))
        }
    ))
}

pub(super) fn load_balancer(object: &Value) -> String {
    let addresses = items(object, "/status/loadBalancer/ingress")
        .iter()
        .filter_map(|i| i["ip"].as_str().or_else(|| i["hostname"].as_str()));
    addresses.collect::<Vec<_>>().join(",")
}

pub(super) fn external_ip(service: &Value) -> Value {
    let external = strings(&service["spec"]["externalIPs"]).join(",");
    let balanced = load_balancer(service);
    json!(match of_text(service, "/spec/type") {
        "LoadBalancer" if !balanced.is_empty() => balanced,
        "LoadBalancer" if external.is_empty() => "<pending>".to_owned(),
        "ExternalName" => of_text(service, "/spec/externalName").to_owned(),
        _ if external.is_empty() => "<none>".to_owned(),
        _ => external,
    })
}

pub(super) fn service_ports(service: &Value) -> Value {
    let ports = items(service, "/spec/ports").iter().map(|port| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["nodePort"].as_i64().filter(|n| *n > 0) {
            Some(node_port) => format!("{}:{node_port}/{protocol}", port["port"]),
            None => format!("{}/{protocol}", port["port"]),
        }
    });
    let all = ports.collect::<Vec<_>>().join(",");
    json!(if all.is_empty() { "<none>".to_owned() } else { all })
}

pub(super) fn endpoints(object: &Value) -> Value {
    let mut all = Vec::new();
    for subset in items(object, "/subsets") {
        let ports = items(subset, "/ports");
        for address in items(subset, "/addresses") {
            let ip = of_text(address, "/ip");
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
        }
    }
    match all.len() {
        0 => json!("<none>"),
        1..=3 => json!(all.join(",")),
        more => json!(format!("{} + {} more...", all[..3].join(","), more - 3)),
    }
}

pub(super) fn ingress_hosts(ingress: &Value) -> Value {
    let hosts = items(ingress, "/spec/rules")
        .iter()
        .filter_map(|r| r["host"].as_str())
        .collect::<Vec<_>>()
        .join(",");
    json!(if hosts.is_empty() { "*".to_owned() } else { hosts })
}

pub(super) fn subjects(binding: &Value, kind: &str) -> Value {
    let named = items(binding, "/subjects")
        .iter()
        .filter(|s| s["kind"] == kind)
        .map(|s| {
            let name = of_text(s, "/name");
            if kind == "ServiceAccount" {
                format!("{}/{name}", of_text(s, "/namespace"))
            } else {
                name.to_owned()
            }
        });
    json!(named.collect::<Vec<_>>().join(", "))
}

pub(super) fn node_status(node: &Value) -> Value {
    let ready = if condition(node, "Ready") == Some("True") {
        "Ready"
    } else {
        "NotReady"
    };
    let cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    json!(if cordoned {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    })
}

pub(super) fn node_roles(node: &Value) -> Value {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let names = labels
        .into_iter()
        .flatten()
        .filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"));
    let mut roles: Vec<&str> = names.collect();
    roles.sort_unstable();
    json!(if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    })
}

pub(super) fn hpa_targets(hpa: &Value) -> String {
    if let Some(target) = hpa.pointer("/spec/targetCPUUtilizationPercentage") {
        let current = hpa.pointer("/status/currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".to_owned(), |c| format!("{c}%"));
        return format!("cpu: {current}/{target}%");
    }
    let metrics = items(hpa, "/spec/metrics");
    let current = items(hpa, "/status/currentMetrics");
    let texts: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| {
            let now = current.get(index);
            let resource = metric.get("resource").unwrap_or(&Value::Null);
            let name = of_text(resource, "/name");
            if let Some(target) = resource.pointer("/target/averageUtilization") {
                let value = now.and_then(|n| n.pointer("/resource/current/averageUtilization"));
                let value = value.map_or_else(|| "<unknown>".to_owned(), |v| format!("{v}%"));
                return format!("{name}: {value}/{target}%");
            }
            let target = of_text(resource, "/target/averageValue");
            let value = now.map_or("", |n| of_text(n, "/resource/current/averageValue"));
            let value = if value.is_empty() { "<unknown>" } else { value };
            if name.is_empty() {
                "<unknown>".to_owned()
            } else {
                format!("{name}: {value}/{target}")
            }
        })
        .collect();
    match texts.len() {
        0 => "<none>".to_owned(),
        1 | 2 => texts.join(", "),
        more => format!("{} + {} more...", texts[..2].join(", "), more - 2),
    }
}
