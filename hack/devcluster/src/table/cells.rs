//! Columns and cells of built-in kinds, as kube-apiserver's printers give them.

mod pod;
mod print;
mod value;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::schema::KindRef;
use pod::{pod_ready, pod_restarts, pod_status, readiness_gates};
use print::{
    containers, controller, data_count, endpoints, external_ip, hpa_targets, ingress_hosts, labels_text,
    load_balancer, node_roles, node_status, selector_text, service_ports, subjects,
};
use value::{age, condition, count, int_or_string, items, limited, of_text, since, strings, text};
pub(super) use value::{age_of, name};

/// Makes a cell from an object.
type Print = fn(&Value, Timestamp) -> Value;

/// Name, type, priority (1: only `-o wide`) and printer of a column.
type Row = (&'static str, &'static str, i64, Print);

const STRING: &str = "string";
const INTEGER: &str = "integer";

/// The columns of a kind, in order.
pub(super) fn of(kind: &KindRef<'_>) -> Vec<Row> {
    const NAME: Row = ("Name", STRING, 0, name);
    const AGE: Row = ("Age", STRING, 0, age);
    const CREATED: Row = ("Created At", "date", 0, |o, _| {
        text(o, "/metadata/creationTimestamp", "<unknown>")
    });
    let wide: [Row; 3] = [
        ("Containers", STRING, 1, |o, _| containers(o, "name")),
        ("Images", STRING, 1, |o, _| containers(o, "image")),
        ("Selector", STRING, 1, |o, _| {
            json!(selector_text(&o["spec"]["selector"]))
        }),
    ];
    let mut rows: Vec<Row> = vec![NAME];
    match (kind.group, kind.kind) {
        ("", "Pod") => rows.extend::<[Row; 8]>([
            ("Ready", STRING, 0, |o, _| pod_ready(o)),
            ("Status", STRING, 0, |o, _| json!(pod_status(o))),
            ("Restarts", STRING, 0, pod_restarts),
            AGE,
            ("IP", STRING, 1, |o, _| text(o, "/status/podIP", "<none>")),
            ("Node", STRING, 1, |o, _| text(o, "/spec/nodeName", "<none>")),
            ("Nominated Node", STRING, 1, |o, _| {
                text(o, "/status/nominatedNodeName", "<none>")
            }),
            ("Readiness Gates", STRING, 1, |o, _| readiness_gates(o)),
        ]),
        ("apps", "Deployment") => {
            rows.extend::<[Row; 4]>([
                ("Ready", STRING, 0, |o, _| {
                    let desired = o.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
                    json!(format!("{}/{desired}", count(o, "/status/readyReplicas")))
                }),
                ("Up-to-date", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/updatedReplicas"))
                }),
                ("Available", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/availableReplicas"))
                }),
                AGE,
            ]);
            rows.extend(wide);
        }
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            rows.extend::<[Row; 4]>([
                ("Desired", INTEGER, 0, |o, _| {
                    json!(o.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1))
                }),
                ("Current", INTEGER, 0, |o, _| json!(count(o, "/status/replicas"))),
                ("Ready", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/readyReplicas"))
                }),
                AGE,
            ]);
            rows.extend(wide);
        }
        ("apps", "DaemonSet") => {
            rows.extend::<[Row; 7]>([
                ("Desired", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/desiredNumberScheduled"))
                }),
                ("Current", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/currentNumberScheduled"))
                }),
                ("Ready", INTEGER, 0, |o, _| json!(count(o, "/status/numberReady"))),
                ("Up-to-date", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/updatedNumberScheduled"))
                }),
                ("Available", INTEGER, 0, |o, _| {
                    json!(count(o, "/status/numberAvailable"))
                }),
                ("Node Selector", STRING, 0, |o, _| {
                    json!(labels_text(o.pointer("/spec/template/spec/nodeSelector")))
                }),
                AGE,
            ]);
            rows.extend(wide);
        }
        ("apps", "StatefulSet") => {
            rows.extend::<[Row; 2]>([
                ("Ready", STRING, 0, |o, _| {
                    let desired = o.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
                    json!(format!("{}/{desired}", count(o, "/status/readyReplicas")))
                }),
                AGE,
            ]);
            rows.extend(wide.into_iter().take(2));
        }
        ("apps", "ControllerRevision") => rows.extend::<[Row; 3]>([
            ("Controller", STRING, 0, |o, _| controller(o)),
            ("Revision", INTEGER, 0, |o, _| json!(count(o, "/revision"))),
            AGE,
        ]),
        ("", "Service") => rows.extend::<[Row; 6]>([
            ("Type", STRING, 0, |o, _| text(o, "/spec/type", "ClusterIP")),
            ("Cluster-IP", STRING, 0, |o, _| {
                text(o, "/spec/clusterIP", "<none>")
            }),
            ("External-IP", STRING, 0, |o, _| external_ip(o)),
            ("Port(s)", STRING, 0, |o, _| service_ports(o)),
            AGE,
            ("Selector", STRING, 1, |o, _| {
                json!(labels_text(o.pointer("/spec/selector")))
            }),
        ]),
        ("", "Endpoints") => rows.extend::<[Row; 2]>([("Endpoints", STRING, 0, |o, _| endpoints(o)), AGE]),
        ("discovery.k8s.io", "EndpointSlice") => rows.extend::<[Row; 4]>([
            ("AddressType", STRING, 0, |o, _| text(o, "/addressType", "")),
            ("Ports", STRING, 0, |o, _| {
                limited(items(o, "/ports").iter().map(|p| p["port"].to_string()))
            }),
            ("Endpoints", STRING, 0, |o, _| {
                limited(
                    items(o, "/endpoints")
                        .iter()
                        .flat_map(|e| strings(&e["addresses"])),
                )
            }),
            AGE,
        ]),
        ("", "Namespace") => {
            rows.extend::<[Row; 2]>([
                ("Status", STRING, 0, |o, _| text(o, "/status/phase", "Active")),
                AGE,
            ]);
        }
        ("", "ConfigMap") => {
            rows.extend::<[Row; 2]>([("Data", INTEGER, 0, |o, _| json!(data_count(o))), AGE]);
        }
        ("", "Secret") => rows.extend::<[Row; 3]>([
            ("Type", STRING, 0, |o, _| text(o, "/type", "Opaque")),
            ("Data", INTEGER, 0, |o, _| json!(data_count(o))),
            AGE,
        ]),
        ("", "ServiceAccount") => {
            rows.extend::<[Row; 2]>([
                ("Secrets", INTEGER, 0, |o, _| json!(items(o, "/secrets").len())),
                AGE,
            ]);
        }
        ("", "Node") => rows.extend::<[Row; 4]>([
            ("Status", STRING, 0, |o, _| node_status(o)),
            ("Roles", STRING, 0, |o, _| node_roles(o)),
            AGE,
            ("Version", STRING, 0, |o, _| {
                text(o, "/status/nodeInfo/kubeletVersion", "")
            }),
        ]),
        ("" | "events.k8s.io", "Event") => return events(),
        ("autoscaling", "HorizontalPodAutoscaler") => rows.extend::<[Row; 6]>([
            ("Reference", STRING, 0, |o, _| {
                json!(format!(
                    "{}/{}",
                    of_text(o, "/spec/scaleTargetRef/kind"),
                    of_text(o, "/spec/scaleTargetRef/name")
                ))
            }),
            ("Targets", STRING, 0, |o, _| json!(hpa_targets(o))),
            ("MinPods", STRING, 0, |o, _| {
                json!(
                    o.pointer("/spec/minReplicas")
                        .map_or_else(|| "<unset>".to_owned(), Value::to_string)
                )
            }),
            ("MaxPods", INTEGER, 0, |o, _| json!(count(o, "/spec/maxReplicas"))),
            ("Replicas", INTEGER, 0, |o, _| {
                json!(count(o, "/status/currentReplicas"))
            }),
            AGE,
        ]),
        ("coordination.k8s.io", "Lease") => {
            rows.extend::<[Row; 2]>([
                ("Holder", STRING, 0, |o, _| text(o, "/spec/holderIdentity", "")),
                AGE,
            ]);
        }
        ("policy", "PodDisruptionBudget") => rows.extend::<[Row; 4]>([
            ("Min Available", STRING, 0, |o, _| {
                int_or_string(o, "/spec/minAvailable")
            }),
            ("Max Unavailable", STRING, 0, |o, _| {
                int_or_string(o, "/spec/maxUnavailable")
            }),
            ("Allowed Disruptions", INTEGER, 0, |o, _| {
                json!(count(o, "/status/disruptionsAllowed"))
            }),
            AGE,
        ]),
        ("networking.k8s.io", "NetworkPolicy") => rows.extend::<[Row; 2]>([
            ("Pod-Selector", STRING, 0, |o, _| {
                json!(selector_text(&o["spec"]["podSelector"]))
            }),
            AGE,
        ]),
        ("networking.k8s.io", "Ingress") => rows.extend::<[Row; 5]>([
            ("Class", STRING, 0, |o, _| {
                text(o, "/spec/ingressClassName", "<none>")
            }),
            ("Hosts", STRING, 0, |o, _| ingress_hosts(o)),
            ("Address", STRING, 0, |o, _| json!(load_balancer(o))),
            ("Ports", STRING, 0, |o, _| {
                json!(if items(o, "/spec/tls").is_empty() {
                    "80"
                } else {
                    "80, 443"
                })
            }),
            AGE,
        ]),
        ("batch", "Job") => rows.extend::<[Row; 2]>([
            ("Completions", STRING, 0, |o, _| {
                let wanted = o
                    .pointer("/spec/completions")
                    .and_then(Value::as_i64)
                    .unwrap_or(1);
                json!(format!("{}/{wanted}", count(o, "/status/succeeded")))
            }),
            AGE,
        ]),
        ("batch", "CronJob") => rows.extend::<[Row; 3]>([
            ("Schedule", STRING, 0, |o, _| text(o, "/spec/schedule", "")),
            ("Suspend", STRING, 0, |o, _| {
                json!(if o.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
                    "True"
                } else {
                    "False"
                })
            }),
            AGE,
        ]),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            rows.push(CREATED);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rows.extend::<[Row; 5]>([
            ("Role", STRING, 0, |o, _| {
                json!(format!(
                    "{}/{}",
                    of_text(o, "/roleRef/kind"),
                    of_text(o, "/roleRef/name")
                ))
            }),
            AGE,
            ("Users", STRING, 1, |o, _| subjects(o, "User")),
            ("Groups", STRING, 1, |o, _| subjects(o, "Group")),
            ("ServiceAccounts", STRING, 1, |o, _| subjects(o, "ServiceAccount")),
        ]),
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => {
            rows.extend::<[Row; 2]>([
                ("Webhooks", INTEGER, 0, |o, _| json!(items(o, "/webhooks").len())),
                AGE,
            ]);
        }
        ("apiregistration.k8s.io", "APIService") => rows.extend::<[Row; 3]>([
            ("Service", STRING, 0, |o, _| match o.pointer("/spec/service") {
                Some(Value::Object(service)) => {
                    let part = |name: &str| service.get(name).and_then(Value::as_str).unwrap_or_default();
                    json!(format!("{}/{}", part("namespace"), part("name")))
                }
                _ => json!("Local"),
            }),
            ("Available", STRING, 0, |o, _| {
                json!(condition(o, "Available").unwrap_or("Unknown"))
            }),
            AGE,
        ]),
        _ => rows.push(AGE),
    }
    rows
}

fn events() -> Vec<Row> {
    vec![
        ("Last Seen", STRING, 0, |o, now| {
            let stamps = [
                "/series/lastObservedTime",
                "/lastTimestamp",
                "/deprecatedLastTimestamp",
                "/eventTime",
                "/firstTimestamp",
            ];
            since(o, &stamps, now)
        }),
        ("Type", STRING, 0, |o, _| text(o, "/type", "")),
        ("Reason", STRING, 0, |o, _| text(o, "/reason", "")),
        ("Object", STRING, 0, |o, _| {
            let about = o
                .get("involvedObject")
                .or_else(|| o.get("regarding"))
                .unwrap_or(&Value::Null);
            json!(format!(
                "{}/{}",
                of_text(about, "/kind").to_lowercase(),
                of_text(about, "/name")
            ))
        }),
        ("Subobject", STRING, 1, |o, _| {
            let about = o
                .get("involvedObject")
                .or_else(|| o.get("regarding"))
                .unwrap_or(&Value::Null);
            text(about, "/fieldPath", "")
        }),
        ("Source", STRING, 1, |o, _| {
            let component = of_text(o, "/source/component");
            let component = if component.is_empty() {
                of_text(o, "/reportingController")
            } else {
                component
            };
            let component = if component.is_empty() {
                of_text(o, "/reportingComponent")
            } else {
                component
            };
            let host = of_text(o, "/source/host");
            json!(if host.is_empty() {
                component.to_owned()
            } else {
                format!("{component}, {host}")
            })
        }),
        ("Message", STRING, 0, |o, _| {
            let message = o
                .get("message")
                .or_else(|| o.get("note"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            json!(message.trim())
        }),
        ("First Seen", STRING, 1, |o, now| {
            since(
                o,
                &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"],
                now,
            )
        }),
        ("Count", INTEGER, 1, |o, _| {
            let counts = ["/series/count", "/count", "/deprecatedCount"];
            json!(
                counts
                    .iter()
                    .find_map(|p| o.pointer(p)?.as_i64().filter(|n| *n > 0))
                    .unwrap_or(1)
            )
        }),
        ("Name", STRING, 1, name),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::cells::value::duration;
    use crate::table::{Columns, Include, render};

    /// Cells of the default columns, `wide` ones too when asked.
    fn cells(group: &str, version: &str, kind: &str, object: &Value, wide: bool) -> Vec<Value> {
        let columns = Columns::builtin(&KindRef::new(group, version, kind));
        let table = render(
            &columns,
            std::slice::from_ref(object),
            Include::None,
            &json!({}),
            crate::table::tests::now(),
        );
        let shown = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| wide || c["priority"] == 0);
        let cells = table["rows"][0]["cells"].as_array().unwrap().clone();
        cells
            .into_iter()
            .zip(shown)
            .filter(|(_, shown)| *shown)
            .map(|(cell, _)| cell)
            .collect()
    }

    #[test]
    fn durations() {
        let rows = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (86_400 * 729, "729d"),
            (86_400 * 800, "2y70d"),
            (86_400 * 4000, "10y"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn kinds() {
        let meta = json!({"name": "x", "creationTimestamp": "2026-01-02T03:04:00Z"});
        let with = |rest: Value| {
            let mut object = rest;
            object["metadata"] = meta.clone();
            object
        };
        let rows: Vec<(&str, &str, Value, Value)> = vec![
            (
                "apps",
                "Deployment",
                json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
                json!(["x", "1/3", 2, 1, "5s"]),
            ),
            (
                "apps",
                "Deployment",
                json!({"spec": {}}),
                json!(["x", "0/1", 0, 0, "5s"]),
            ),
            (
                "apps",
                "ReplicaSet",
                json!({"spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": 1}}),
                json!(["x", 2, 2, 1, "5s"]),
            ),
            (
                "apps",
                "DaemonSet",
                json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}, "status": {"desiredNumberScheduled": 1}}),
                json!(["x", 1, 0, 0, 0, 0, "a=b", "5s"]),
            ),
            (
                "apps",
                "StatefulSet",
                json!({"spec": {"replicas": 2}}),
                json!(["x", "0/2", "5s"]),
            ),
            (
                "",
                "Service",
                json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}}),
                json!(["x", "ClusterIP", "10.0.0.1", "<none>", "80/TCP,53/UDP", "5s"]),
            ),
            (
                "",
                "Service",
                json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}}),
                json!(["x", "LoadBalancer", "10.0.0.1", "<pending>", "80:30080/TCP", "5s"]),
            ),
            (
                "",
                "Service",
                json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}),
                json!(["x", "ExternalName", "<none>", "a.b", "<none>", "5s"]),
            ),
            (
                "",
                "ConfigMap",
                json!({"data": {"a": "1"}, "binaryData": {"b": ""}}),
                json!(["x", 2, "5s"]),
            ),
            (
                "",
                "Secret",
                json!({"type": "kubernetes.io/tls", "data": {"a": "1"}}),
                json!(["x", "kubernetes.io/tls", 1, "5s"]),
            ),
            (
                "",
                "Namespace",
                json!({"status": {"phase": "Terminating"}}),
                json!(["x", "Terminating", "5s"]),
            ),
            (
                "",
                "Endpoints",
                json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}], "ports": [{"port": 80}, {"port": 81}]}]}),
                json!(["x", "1.1.1.1:80,1.1.1.1:81,1.1.1.2:80 + 1 more...", "5s"]),
            ),
            ("", "Endpoints", json!({}), json!(["x", "<none>", "5s"])),
            (
                "coordination.k8s.io",
                "Lease",
                json!({"spec": {"holderIdentity": "me"}}),
                json!(["x", "me", "5s"]),
            ),
            (
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                json!({}),
                json!(["x", "2026-01-02T03:04:00Z"]),
            ),
            (
                "autoscaling",
                "HorizontalPodAutoscaler",
                json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 2, "maxReplicas": 4,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}, "status": {"currentReplicas": 2}}),
                json!(["x", "Deployment/d", "cpu: <unknown>/80%", "2", 4, 2, "5s"]),
            ),
            (
                "policy",
                "PodDisruptionBudget",
                json!({"spec": {"minAvailable": "50%"}}),
                json!(["x", "50%", "N/A", 0, "5s"]),
            ),
            (
                "networking.k8s.io",
                "NetworkPolicy",
                json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]}}}),
                json!(["x", "a=b,c in (d,e)", "5s"]),
            ),
            (
                "rbac.authorization.k8s.io",
                "RoleBinding",
                json!({"roleRef": {"kind": "Role", "name": "r"}}),
                json!(["x", "Role/r", "5s"]),
            ),
            (
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration",
                json!({"webhooks": [{}, {}]}),
                json!(["x", 2, "5s"]),
            ),
            ("", "LimitRange", json!({}), json!(["x", "5s"])),
            (
                "",
                "Event",
                json!({"lastTimestamp": "2026-01-02T03:03:05Z", "type": "Warning", "reason": "Synced", "involvedObject": {"kind": "Canary", "name": "podinfo"}, "message": "halt\n"}),
                json!(["60s", "Warning", "Synced", "canary/podinfo", "halt"]),
            ),
            (
                "events.k8s.io",
                "Event",
                json!({"eventTime": "2026-01-02T03:03:05.123456Z", "type": "Normal", "reason": "R", "regarding": {"kind": "Pod", "name": "p"}, "note": "n"}),
                json!(["60s", "Normal", "R", "pod/p", "n"]),
            ),
            (
                "",
                "Node",
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1"}}}),
                json!(["x", "Ready", "<none>", "5s", "v1"]),
            ),
        ];
        for (group, kind, object, expected) in rows {
            assert_eq!(
                json!(cells(group, "v1", kind, &with(object.clone()), false)),
                expected,
                "{kind} {object}"
            );
        }
    }

    #[test]
    fn wide_columns() {
        let deployment = json!({"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"app": "x"}},
            "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}}});
        assert_eq!(
            json!(cells("apps", "v1", "Deployment", &deployment, true)),
            json!(["x", "0/1", 0, 0, "<unknown>", "a,b", "i:1,j:2", "app=x"])
        );
    }

    #[test]
    fn pods() {
        let running = json!({"running": {}});
        let one = |status: Value| json!([status]);
        let rows = [
            (json!({"phase": "Pending"}), json!({}), ["0/1", "Pending", "0"]),
            (
                json!({"phase": "Running", "containerStatuses": one(json!({"ready": true, "state": running, "restartCount": 0}))}),
                json!({}),
                ["1/1", "Running", "0"],
            ),
            (
                json!({"phase": "Running", "containerStatuses": one(json!({"ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": "2026-01-02T03:03:05Z"}}}))}),
                json!({}),
                ["0/1", "CrashLoopBackOff", "3 (60s ago)"],
            ),
            (
                json!({"phase": "Pending", "containerStatuses": one(json!({"state": {"waiting": {"reason": "ContainerCreating"}}}))}),
                json!({}),
                ["0/1", "ContainerCreating", "0"],
            ),
            (
                json!({"phase": "Failed", "containerStatuses": one(json!({"state": {"terminated": {"exitCode": 2}}}))}),
                json!({}),
                ["0/1", "ExitCode:2", "0"],
            ),
            (
                json!({"phase": "Succeeded", "containerStatuses": one(json!({"state": {"terminated": {"reason": "Completed"}}}))}),
                json!({}),
                ["0/1", "Completed", "0"],
            ),
            (
                json!({"phase": "Running", "containerStatuses": one(json!({"ready": true, "state": running}))}),
                json!({"deletionTimestamp": "2026-01-02T03:04:00Z"}),
                ["1/1", "Terminating", "0"],
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": one(json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}}))}),
                json!({}),
                ["0/1", "Init:ImagePullBackOff", "0"],
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": one(json!({"state": running}))}),
                json!({}),
                ["0/1", "Init:0/1", "0"],
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted"}),
                json!({}),
                ["0/1", "Evicted", "0"],
            ),
        ];
        for (status, mut metadata, expected) in rows {
            metadata["name"] = json!("p");
            let pod = json!({"metadata": metadata, "status": status,
                "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}});
            let found = cells("", "v1", "Pod", &pod, false);
            assert_eq!(json!(found[1..4]), json!(expected), "{pod}");
        }
    }
}
