//! Same name, changed meaning: what a v1alpha3 manifest said to Flagger 0.23 and says differently today.
//!
//! I own the sentences. I promise to speak only of what the manifest holds. I never change anything.

use serde_json::Value;

/// Metric names Flagger knows by themselves.
const BUILT_IN: [&str; 2] = ["request-success-rate", "request-duration"];
/// Providers the v1beta1 schema accepts.
const PROVIDERS: [&str; 19] = [
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];

/// What changed its meaning for a converted manifest (in v1beta1), one line each, with the path it is about.
pub(super) fn drift(canary: &Value) -> Vec<String> {
    let spec = &canary["spec"];
    let analysis = &spec["analysis"];
    let mut notes = Vec::new();
    if analysis.is_null() {
        notes
            .push("spec.analysis: there is none; new revisions are promoted without being judged".to_owned());
    } else {
        strategy(analysis, &mut notes);
        metrics(spec, analysis, &mut notes);
        hooks(analysis, &mut notes);
        conditions(spec, analysis, &mut notes);
    }
    provider(spec, &mut notes);
    references(spec, &mut notes);
    if let Some(headers) = spec["service"]["headers"].as_object() {
        let more = headers.keys().any(|key| key != "request")
            || spec["service"]["headers"]["request"]
                .as_object()
                .is_some_and(|request| request.keys().any(|key| key != "add"));
        if more {
            notes.push("spec.service.headers: only request.add was applied; now all of it is".to_owned());
        }
    }
    if spec["skipAnalysis"] == true {
        notes.push(
            "spec.skipAnalysis: a skipped analysis now rolls back at the progress deadline and calls post-rollout hooks"
                .to_owned(),
        );
    }
    if canary["status"]["lastAppliedSpec"].is_string() {
        notes.push(
            "status.lastAppliedSpec: hashes are computed differently now; the target counts as changed once"
                .to_owned(),
        );
    }
    notes
}

/// Which strategy, and how many failures.
fn strategy(analysis: &Value, notes: &mut Vec<String>) {
    let threshold = &analysis["threshold"];
    if threshold.is_null() || threshold.as_f64().is_some_and(|number| number <= 0.0) {
        let found = if threshold.is_null() {
            "absent".to_owned()
        } else {
            threshold.to_string()
        };
        notes.push(format!(
            "spec.analysis.threshold: {found} rolled back at once; now it counts as 1, and Flagger's schema of v1beta1 requires the field"
        ));
    }
    let named: Vec<&str> = ["iterations", "stepWeight", "stepWeights"]
        .into_iter()
        .filter(|key| analysis.get(key).is_some())
        .collect();
    match named.as_slice() {
        [_] => {}
        [] => notes.push(
            "spec.analysis: names no strategy; Flagger's schema of v1beta1 requires one of iterations, stepWeight and stepWeights".to_owned(),
        ),
        several => notes.push(format!(
            "spec.analysis: names {}; Flagger's schema of v1beta1 accepts one of them, remove the others",
            several.join(" and ")
        )),
    }
    if analysis["interval"].is_null() {
        notes.push(
            "spec.analysis.interval: absent meant 60s; Flagger's schema of v1beta1 requires the field"
                .to_owned(),
        );
    }
}

fn metrics(spec: &Value, analysis: &Value, notes: &mut Vec<String>) {
    for (index, metric) in list(&analysis["metrics"]) {
        let name = metric["name"].as_str().unwrap_or_default();
        let query = metric["query"].as_str().unwrap_or_default();
        let path = format!("spec.analysis.metrics[{index}]");
        let built_in = BUILT_IN.contains(&name);
        if !built_in && query.is_empty() && metric["templateRef"].is_null() {
            notes.push(format!(
                "{path}: {name:?} is not built in and has no query: it was ignored; now it fails every check"
            ));
        }
        if query.contains("{{") {
            notes.push(format!(
                "{path}.query: was sent as it is; now {{{{ }}}} is read as a Go template"
            ));
        }
        if query.contains('/') {
            notes.push(format!(
                "{path}.query: NaN (0/0, no traffic) passed the check; now it fails as \"no values found\""
            ));
        }
        if name == "request-duration" && matches!(spec["provider"].as_str(), None | Some("istio")) {
            notes.push(format!(
                "{path}: on Istio the duration is read from the milliseconds histogram; the threshold stays in milliseconds"
            ));
        }
        if built_in && !query.is_empty() {
            notes.push(format!(
                "{path}: the built-in check and the query are both made, with one threshold for two meanings; \
                 rename the metric"
            ));
        }
    }
}

fn hooks(analysis: &Value, notes: &mut Vec<String>) {
    for (index, hook) in list(&analysis["webhooks"]) {
        let path = format!("spec.analysis.webhooks[{index}]");
        match hook["type"].as_str() {
            Some("confirm-rollout") => notes.push(format!(
                "{path}: the payload has the real phase instead of Progressing, and an open gate no longer changes the phase"
            )),
            Some("confirm-promotion") => {
                notes.push(format!("{path}: while the gate is closed the phase is WaitingPromotion"));
            }
            Some("event") if hook.get("metadata").is_some() || hook.get("timeout").is_some() => notes.push(format!(
                "{path}: timeout (was always 5s) and metadata (was not sent) are obeyed now"
            )),
            Some(_) | None => {}
        }
        if hook["timeout"] == "" {
            notes.push(format!(
                "{path}.timeout: \"\" meant 10s; Flagger's schema of v1beta1 accepts a duration or nothing, remove it"
            ));
        }
    }
}

fn conditions(spec: &Value, analysis: &Value, notes: &mut Vec<String>) {
    let has_path = |conditions: &Value| list(conditions).any(|(_, condition)| condition.get("uri").is_some());
    if !analysis["match"].is_null() && (has_path(&spec["service"]["match"]) || has_path(&analysis["match"])) {
        notes.push(
            "spec.analysis.match: paths of service.match no longer overwrite those here; every pair of conditions is \
             routed, with the headers and sourceLabels from here"
                .to_owned(),
        );
    }
    if spec["provider"] == "nginx" {
        for (index, condition) in list(&analysis["match"]) {
            let headers = condition["headers"].as_object();
            if headers.is_some_and(|headers| headers.values().any(|header| header.get("regex").is_some())) {
                notes.push(format!(
                    "spec.analysis.match[{index}]: NGINX ignored regex headers; now they are matched"
                ));
            }
        }
    }
}

fn provider(spec: &Value, notes: &mut Vec<String>) {
    let Some(provider) = spec["provider"].as_str() else {
        return;
    };
    let note = match provider {
        "none" => "routed nothing; today it is unknown and read as istio; write kubernetes".to_owned(),
        mesh if mesh.starts_with("supergloo:") => "no longer exists; name the mesh itself".to_owned(),
        mesh if mesh.starts_with("gloo:") => "the part after the colon is ignored; write gloo".to_owned(),
        known if PROVIDERS.contains(&known) => return,
        mesh if mesh.starts_with("smi:") => "the mesh alone is read as istio; write smi:v1alpha1".to_owned(),
        _ => "is no provider v1beta1 knows, and is read as istio".to_owned(),
    };
    notes.push(format!("spec.provider: {provider:?} {note}"));
}

fn references(spec: &Value, notes: &mut Vec<String>) {
    let scaler = &spec["autoscalerRef"]["apiVersion"];
    if scaler
        .as_str()
        .is_some_and(|version| version.starts_with("autoscaling/") && version != "autoscaling/v2")
    {
        notes.push(format!(
            "spec.autoscalerRef.apiVersion: {scaler} is ignored; autoscaling/v2 is used"
        ));
    }
    let ingress = &spec["ingressRef"]["apiVersion"];
    if ingress == "extensions/v1beta1" {
        notes.push(format!(
            "spec.ingressRef.apiVersion: {ingress} is ignored; networking.k8s.io/v1 is used"
        ));
    }
}

fn list(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

/// The inline queries of an analysis that stands under `spec.<key>`, with their paths.
pub(super) fn queries<'a>(analysis: &'a Value, key: &'a str) -> impl Iterator<Item = (String, &'a str)> {
    list(&analysis["metrics"]).filter_map(move |(index, metric)| {
        let query = metric["query"].as_str().filter(|query| !query.is_empty())?;
        Some((format!("spec.{key}.metrics[{index}].query"), query))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_changed_meaning_is_said() {
        let fine = || json!({"interval": "1m", "threshold": 5, "stepWeight": 10});
        let with = |key: &str, value: Value| {
            let mut analysis = fine();
            analysis[key] = value;
            json!({"spec": {"analysis": analysis}})
        };
        let beside = |key: &str, value: Value| json!({"spec": {"analysis": fine(), key: value}});
        let table = [
            (json!({"spec": {}}), "spec.analysis: there is none"),
            (
                with("threshold", json!(0)),
                "spec.analysis.threshold: 0 rolled back at once",
            ),
            (
                json!({"spec": {"analysis": {"interval": "1m", "stepWeight": 1}}}),
                "spec.analysis.threshold: absent rolled back",
            ),
            (
                with("iterations", json!(3)),
                "spec.analysis: names iterations and stepWeight",
            ),
            (
                json!({"spec": {"analysis": {"interval": "1m", "threshold": 1}}}),
                "spec.analysis: names no strategy",
            ),
            (
                json!({"spec": {"analysis": {"threshold": 1, "stepWeight": 1}}}),
                "spec.analysis.interval: absent meant 60s",
            ),
            (
                with("metrics", json!([{"name": "istio_requests_total"}])),
                "metrics[0]: \"istio_requests_total\" is not built in",
            ),
            (
                with("metrics", json!([{"name": "a", "query": "x{a=\"{{ b }}\"}"}])),
                "metrics[0].query: was sent as it is",
            ),
            (
                with("metrics", json!([{"name": "a", "query": "a / b"}])),
                "metrics[0].query: NaN",
            ),
            (
                with("metrics", json!([{"name": "request-duration"}])),
                "metrics[0]: on Istio",
            ),
            (
                with("metrics", json!([{"name": "request-success-rate", "query": "x"}])),
                "metrics[0]: the built-in check and the query",
            ),
            (
                with("webhooks", json!([{"type": "confirm-rollout"}])),
                "webhooks[0]: the payload has the real phase",
            ),
            (
                with("webhooks", json!([{"type": "confirm-promotion"}])),
                "webhooks[0]: while the gate is closed",
            ),
            (
                with("webhooks", json!([{"type": "event", "metadata": {}}])),
                "webhooks[0]: timeout (was always 5s)",
            ),
            (
                with("webhooks", json!([{"timeout": ""}])),
                "webhooks[0].timeout: \"\" meant 10s",
            ),
            (
                with("match", json!([{"uri": {"prefix": "/"}}])),
                "spec.analysis.match: paths",
            ),
            (
                json!({"spec": {"provider": "nginx", "analysis": {"match": [{"headers": {"a": {"regex": "b"}}}]}}}),
                "spec.analysis.match[0]: NGINX ignored",
            ),
            (
                beside("provider", json!("none")),
                "spec.provider: \"none\" routed nothing",
            ),
            (
                beside("provider", json!("smi:linkerd")),
                "spec.provider: \"smi:linkerd\" the mesh alone",
            ),
            (
                beside("provider", json!("supergloo:istio.a")),
                "spec.provider: \"supergloo:istio.a\" no longer exists",
            ),
            (
                beside("provider", json!("gloo:ns")),
                "spec.provider: \"gloo:ns\" the part after",
            ),
            (
                beside("provider", json!("consul")),
                "spec.provider: \"consul\" is no provider",
            ),
            (
                beside("autoscalerRef", json!({"apiVersion": "autoscaling/v2beta1"})),
                "spec.autoscalerRef.apiVersion",
            ),
            (
                beside("ingressRef", json!({"apiVersion": "extensions/v1beta1"})),
                "spec.ingressRef.apiVersion",
            ),
            (
                beside("service", json!({"headers": {"response": {}}})),
                "spec.service.headers: only request.add",
            ),
            (
                beside("service", json!({"headers": {"request": {"set": {}}}})),
                "spec.service.headers: only request.add",
            ),
            (
                beside("skipAnalysis", json!(true)),
                "spec.skipAnalysis: a skipped analysis",
            ),
            (
                json!({"spec": {"analysis": fine()}, "status": {"lastAppliedSpec": "1"}}),
                "status.lastAppliedSpec: hashes",
            ),
        ];
        for (canary, expected) in table {
            let notes = drift(&canary);
            assert!(
                notes.iter().any(|note| note.contains(expected)),
                "{canary}: {notes:?}"
            );
        }
        assert_eq!(
            drift(
                &json!({"spec": {"analysis": fine(), "provider": "istio", "service": {"headers": {"request": {"add": {}}}}}})
            ),
            [""; 0]
        );
    }
}
