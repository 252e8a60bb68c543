//! Defaults of built-in types, as kube-apiserver fills them in when it decodes an object.
//!
//! Owns: which fields get which value when absent. Promises: pure, and applying twice changes nothing. Never: sets
//! what depends on other objects (see [`super::strategy`]).

mod pods;

use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::server::decode::object_mut;
use crate::server::versions::default_metric;
use pods::{pod_spec, requests_from_limits};

/// Fills in the defaults of a built-in object.
pub(crate) fn apply(kind: &Kind, object: &mut Value) {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => {
            pod_spec(&mut object["spec"]);
            for list in ["containers", "initContainers"] {
                for one in object["spec"]
                    .get_mut(list)
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    requests_from_limits(&mut one["resources"]);
                }
            }
        }
        ("", "podtemplates") => pod_spec(&mut object["template"]["spec"]),
        ("", "services") => service(&mut object["spec"]),
        ("", "secrets") => secret(object),
        ("", "endpoints") => endpoints(object),
        ("", "persistentvolumeclaims") => set(&mut object["spec"], "volumeMode", json!("Filesystem")),
        ("", "replicationcontrollers") => {
            set(&mut object["spec"], "replicas", json!(1));
            let labels = object["spec"]["template"]["metadata"]["labels"].clone();
            if !labels.is_null() {
                set(&mut object["spec"], "selector", labels);
            }
            template(&mut object["spec"]);
        }
        ("apps", "deployments") => deployment(&mut object["spec"]),
        ("apps", "replicasets") => {
            set(&mut object["spec"], "replicas", json!(1));
            template(&mut object["spec"]);
        }
        ("apps", "daemonsets") => daemon_set(&mut object["spec"]),
        ("apps", "statefulsets") => stateful_set(&mut object["spec"]),
        ("batch", "jobs") => job(&mut object["spec"]),
        ("batch", "cronjobs") => cron_job(&mut object["spec"]),
        ("autoscaling", "horizontalpodautoscalers") => autoscaler(kind, &mut object["spec"]),
        ("networking.k8s.io", "networkpolicies") => network_policy(&mut object["spec"]),
        ("discovery.k8s.io", "endpointslices") => {
            for port in items(&mut object["ports"]) {
                set(port, "protocol", json!("TCP"));
                set(port, "name", json!(""));
            }
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            custom_resource_definition(&mut object["spec"]);
        }
        (group, "validatingwebhookconfigurations") if group == ADMISSION => webhooks(object, false),
        (group, "mutatingwebhookconfigurations") if group == ADMISSION => webhooks(object, true),
        (group, "rolebindings" | "clusterrolebindings") if group == RBAC => role_binding(object),
        _ => {}
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The status a controller has not written yet.
pub(crate) fn empty_status(plural: &str) -> Value {
    match plural {
        "replicasets" | "statefulsets" => json!({"replicas": 0}),
        "daemonsets" => {
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0,
            "numberReady": 0})
        }
        "horizontalpodautoscalers" => json!({"desiredReplicas": 0, "currentMetrics": null}),
        "poddisruptionbudgets" => json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
            "expectedPods": 0}),
        _ => json!({}),
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if object.is_object() && object[key].is_null() {
        object[key] = value;
    }
}

/// Sets a member of a sub-object that is made when absent.
fn set_in(object: &mut Value, parent: &str, key: &str, value: Value) {
    if object.is_object() {
        object_mut(&mut object[parent]);
        set(&mut object[parent], key, value);
    }
}

fn items(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut()
        .into_iter()
        .flatten()
        .filter(|item| item.is_object())
}

fn member<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    object.get_mut(key).filter(|v| v.is_object())
}

fn template(spec: &mut Value) {
    if let Some(template) = member(spec, "template") {
        if template["metadata"].is_null() {
            template["metadata"] = json!({});
        }
        pod_spec(&mut template["spec"]);
    }
}

fn deployment(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set_in(spec, "strategy", "type", json!("RollingUpdate"));
    if spec["strategy"]["type"] == "RollingUpdate" {
        set_in(
            &mut spec["strategy"],
            "rollingUpdate",
            "maxUnavailable",
            json!("25%"),
        );
        set_in(&mut spec["strategy"], "rollingUpdate", "maxSurge", json!("25%"));
    }
    template(spec);
}

fn daemon_set(spec: &mut Value) {
    set(spec, "revisionHistoryLimit", json!(10));
    set_in(spec, "updateStrategy", "type", json!("RollingUpdate"));
    if spec["updateStrategy"]["type"] == "RollingUpdate" {
        set_in(
            &mut spec["updateStrategy"],
            "rollingUpdate",
            "maxUnavailable",
            json!(1),
        );
        set_in(&mut spec["updateStrategy"], "rollingUpdate", "maxSurge", json!(0));
    }
    template(spec);
}

fn stateful_set(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set_in(spec, "updateStrategy", "type", json!("RollingUpdate"));
    if spec["updateStrategy"]["type"] == "RollingUpdate" {
        set_in(
            &mut spec["updateStrategy"],
            "rollingUpdate",
            "partition",
            json!(0),
        );
    }
    set_in(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        "whenDeleted",
        json!("Retain"),
    );
    set_in(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        "whenScaled",
        json!("Retain"),
    );
    template(spec);
}

fn job(spec: &mut Value) {
    set(spec, "completions", json!(1));
    set(spec, "parallelism", json!(1));
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    template(spec);
}

fn cron_job(spec: &mut Value) {
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(job) = member(spec, "jobTemplate").and_then(|t| member(t, "spec")) {
        template(job);
    }
}

fn autoscaler(kind: &Kind, spec: &mut Value) {
    set(spec, "minReplicas", json!(1));
    if kind.version == "v1" || !spec.is_object() {
        return;
    }
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        spec["metrics"] = json!([default_metric()]);
    }
    let Some(behavior) = member(spec, "behavior") else {
        return;
    };
    if let Some(up) = member(behavior, "scaleUp") {
        set(up, "stabilizationWindowSeconds", json!(0));
        set(up, "selectPolicy", json!("Max"));
        set(
            up,
            "policies",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
    if let Some(down) = member(behavior, "scaleDown") {
        set(down, "selectPolicy", json!("Max"));
        set(
            down,
            "policies",
            json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
}

fn network_policy(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    let egress = spec["egress"].as_array().is_some_and(|e| !e.is_empty());
    let types = if egress {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    set(spec, "policyTypes", types);
    for direction in ["ingress", "egress"] {
        for rule in spec[direction].as_array_mut().into_iter().flatten() {
            for port in items(&mut rule["ports"]) {
                set(port, "protocol", json!("TCP"));
            }
        }
        if spec[direction].is_null() {
            object_mut(spec).shift_remove(direction);
        }
    }
}

fn secret(object: &mut Value) {
    use base64::Engine as _;
    let Some(Value::Object(plain)) = object.as_object_mut().and_then(|o| o.shift_remove("stringData")) else {
        set(object, "type", json!("Opaque"));
        return;
    };
    let data = object_mut(&mut object["data"]);
    for (key, value) in plain {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        data.insert(key, json!(encoded));
    }
    set(object, "type", json!("Opaque"));
}

fn endpoints(object: &mut Value) {
    for subset in object["subsets"].as_array_mut().into_iter().flatten() {
        for port in items(&mut subset["ports"]) {
            set(port, "protocol", json!("TCP"));
        }
    }
    if object["subsets"].is_null() {
        object_mut(object).shift_remove("subsets");
    }
}

fn service(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    if spec["sessionAffinity"] == "ClientIP" {
        object_mut(&mut spec["sessionAffinityConfig"]);
        set_in(
            &mut spec["sessionAffinityConfig"],
            "clientIP",
            "timeoutSeconds",
            json!(10800),
        );
    }
    for port in items(&mut spec["ports"]) {
        set(port, "protocol", json!("TCP"));
        if port["targetPort"].is_null() || port["targetPort"] == 0 || port["targetPort"] == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    if spec["ports"].is_null() {
        object_mut(spec).shift_remove("ports");
    }
    if spec["type"] != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
        set(spec, "ipFamilyPolicy", json!("SingleStack"));
        set(spec, "ipFamilies", json!(["IPv4"]));
    }
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if spec["type"] == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

fn custom_resource_definition(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    if let Some(names) = member(spec, "names") {
        let kind = names["kind"].as_str().unwrap_or_default().to_owned();
        if !kind.is_empty() {
            set(names, "singular", json!(kind.to_lowercase()));
            set(names, "listKind", json!(format!("{kind}List")));
        }
    }
    set_in(spec, "conversion", "strategy", json!("None"));
    if let Some(service) = member(&mut spec["conversion"], "webhook")
        .and_then(|w| member(w, "clientConfig"))
        .and_then(|c| member(c, "service"))
    {
        set(service, "port", json!(443));
    }
}

fn webhooks(object: &mut Value, mutating: bool) {
    for entry in object["webhooks"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .filter(|w| w.is_object())
    {
        set(entry, "failurePolicy", json!("Fail"));
        set(entry, "matchPolicy", json!("Equivalent"));
        set(entry, "namespaceSelector", json!({}));
        set(entry, "objectSelector", json!({}));
        set(entry, "timeoutSeconds", json!(10));
        if mutating {
            set(entry, "reinvocationPolicy", json!("Never"));
        }
        for rule in items(&mut entry["rules"]) {
            set(rule, "scope", json!("*"));
        }
        if let Some(service) = member(entry, "clientConfig").and_then(|c| member(c, "service")) {
            set(service, "port", json!(443));
        }
    }
    if object["webhooks"].is_null() {
        object_mut(object).shift_remove("webhooks");
    }
}

fn role_binding(object: &mut Value) {
    if object["roleRef"].is_object() {
        set(&mut object["roleRef"], "apiGroup", json!(RBAC));
    }
    for subject in object["subjects"].as_array_mut().into_iter().flatten() {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            set(subject, "apiGroup", json!(RBAC));
        }
    }
    if object["subjects"].is_null() {
        object_mut(object).shift_remove("subjects");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    fn defaulted(group: &str, version: &str, plural: &str, mut object: Value) -> Value {
        let kind = Registry::new().find(group, version, plural).unwrap();
        apply(&kind, &mut object);
        let once = object.clone();
        apply(&kind, &mut object);
        assert_eq!(once, object, "defaulting twice changes nothing");
        object
    }

    #[test]
    fn a_deployment() {
        let object = defaulted(
            "apps",
            "v1",
            "deployments",
            json!({"spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "x:1", "ports": [{"containerPort": 80}],
                "readinessProbe": {"httpGet": {"port": 80}}}]}}}}),
        );
        assert_eq!(
            object,
            json!({"spec": {
            "template": {
                "metadata": {},
                "spec": {
                    "containers": [{"name": "a", "image": "x:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                            "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                        "resources": {}, "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}],
                    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                    "schedulerName": "default-scheduler", "securityContext": {}}},
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}}})
        );
    }

    #[test]
    fn a_service() {
        let object = defaulted("", "v1", "services", json!({"spec": {"ports": [{"port": 80}]}}));
        assert_eq!(
            object["spec"]["ports"],
            json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])
        );
        assert_eq!(object["spec"]["type"], "ClusterIP");
    }

    #[test]
    fn secrets() {
        let object = defaulted("", "v1", "secrets", json!({"stringData": {"a": "b"}}));
        assert_eq!(object, json!({"data": {"a": "Yg=="}, "type": "Opaque"}));
    }
}
