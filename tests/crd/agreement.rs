//! The schema is the net beneath `/mutate`: what it refuses, the parser refuses first, at the same field.
//!
//! The table is the schema itself: every bound, word list, pattern, type and required field of v1beta1 is broken once,
//! alone, in a Canary that is otherwise right. Rules in CEL have rows of their own.

use devcluster::schema::validate::validate;
use serde_json::{Map, Value, json};
use verdigris::api::crd;
use verdigris::model::parse::{self, Settings};

/// `openAPIV3Schema` of the stored version of a kind.
fn schema(kind: &str) -> Value {
    let crds = serde_json::to_value(crd::all(None)).unwrap();
    let found = crds.as_array().unwrap().iter();
    let crd = found
        .into_iter()
        .find(|crd| crd["spec"]["names"]["kind"] == kind)
        .unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// An object of this kind that nobody objects to.
fn sound(kind: &str) -> Value {
    let spec = match kind {
        "Canary" => json!({
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 8080},
            "analysis": {"interval": "30s", "threshold": 3, "iterations": 5},
        }),
        "MetricTemplate" => {
            json!({"provider": {"type": "prometheus", "address": "http://prometheus.test:9090"}, "query": "vector(1)"})
        }
        _ => {
            json!({"type": "slack", "channel": "releases", "address": "https://hooks.slack.test/services/a"})
        }
    };
    json!({"apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": {"name": "shop", "namespace": "prod"}, "spec": spec})
}

/// The fields the parser refuses.
fn refused(object: &Value) -> Vec<String> {
    let settings = Settings::default();
    let report = match object["kind"].as_str().unwrap() {
        "Canary" => parse::canary(object, &settings).report,
        "MetricTemplate" => parse::metric_template(object, &settings),
        _ => parse::alert_provider(object, &settings),
    };
    let found = report.violations.iter();
    found.map(|violation| violation.path.to_string()).collect()
}

/// A value that breaks one thing about a node, and what.
type Break = (&'static str, Value);

/// Every way to break what a node says of its own value.
fn breaks(node: &Value) -> Vec<Break> {
    let mut out = Vec::new();
    let number = |key: &str| node[key].as_f64().map(|number| number as i64);
    match node["type"].as_str() {
        Some("string") => {
            out.push(("type", json!(7)));
            if node["enum"].is_array() {
                out.push(("enum", json!("Something-Else")));
            }
            if node["pattern"].is_string() {
                out.push(("pattern", json!("?? ??")));
            }
            if number("minLength") > Some(0) {
                out.push(("minLength", json!("")));
            }
            if let Some(most) = number("maxLength") {
                out.push(("maxLength", json!("a".repeat(most as usize + 1))));
            }
        }
        Some(kind @ ("integer" | "number")) => {
            out.push(("type", json!("seven")));
            if kind == "integer" {
                out.push(("fraction", json!(1.5)));
            }
            if let Some(least) = number("minimum") {
                out.push(("minimum", json!(least - 1)));
            }
            if let Some(most) = number("maximum") {
                out.push(("maximum", json!(most + 1)));
            }
            if node["format"] == "int32" {
                out.push(("int32", json!(3_000_000_000_i64)));
            }
        }
        Some("boolean") => out.push(("type", json!("yes"))),
        Some("array") => {
            out.push(("type", json!("a")));
            if let Some(most) = number("maxItems") {
                let item = sample(&node["items"]);
                out.push(("maxItems", Value::Array(vec![item; most as usize + 1])));
            }
        }
        Some("object") => {
            out.push(("type", json!("a")));
            for name in node["required"].as_array().into_iter().flatten() {
                let mut map = sample(node);
                map.as_object_mut().unwrap().remove(name.as_str().unwrap());
                out.push(("required", map));
            }
            if number("maxProperties") == Some(1) {
                out.push(("maxProperties", json!({"exact": "a", "prefix": "a"})));
            }
            if number("minProperties") == Some(1) {
                out.push(("minProperties", json!({})));
            }
        }
        // int-or-string, and open nodes.
        _ if node["x-kubernetes-int-or-string"] == true => out.push(("type", json!(true))),
        _ => {}
    }
    out
}

/// The least value a node accepts.
fn sample(node: &Value) -> Value {
    if let Some(words) = node["enum"].as_array() {
        return words.iter().find(|word| *word != "").unwrap().clone();
    }
    match node["type"].as_str() {
        Some("integer" | "number") => json!(node["minimum"].as_f64().unwrap_or(1.0).max(1.0) as i64),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => {
            let required = node["required"].as_array().into_iter().flatten();
            let mut map: Map<String, Value> = required
                .map(|name| name.as_str().unwrap())
                .map(|name| (name.to_owned(), sample(&node["properties"][name])))
                .collect();
            if node["minProperties"] == 1 && map.is_empty() {
                map.insert("exact".to_owned(), json!("a"));
            }
            Value::Object(map)
        }
        _ => {
            let seconds = node["pattern"]
                .as_str()
                .is_some_and(|pattern| pattern.contains("ns|us"));
            json!(if seconds { "30s" } else { "a" })
        }
    }
}

/// One step down a schema.
#[derive(Clone)]
enum Step {
    Key(String),
    /// Into the items of a list.
    Item,
    /// Into the values of a map.
    Value,
}

/// Calls `visit` with every node below `spec` and the way to it.
fn each(node: &Value, way: &mut Vec<Step>, visit: &mut dyn FnMut(&[Step], &Value)) {
    visit(way, node);
    for (key, property) in node["properties"].as_object().into_iter().flatten() {
        way.push(Step::Key(key.clone()));
        each(property, way, visit);
        way.pop();
    }
    for (child, step) in [
        (&node["items"], Step::Item),
        (&node["additionalProperties"], Step::Value),
    ] {
        if child.is_object() {
            way.push(step);
            each(child, way, visit);
            way.pop();
        }
    }
}

/// Puts a value at a place, making what leads there; the path as Kubernetes prints it.
fn put(place: &mut Value, node: &Value, way: &[Step], value: &Value) -> String {
    let Some((step, rest)) = way.split_first() else {
        *place = value.clone();
        return String::new();
    };
    if place.is_null() {
        *place = sample(node);
    }
    let (next, child, printed) = match step {
        Step::Key(key) => (
            &mut place[key.as_str()],
            &node["properties"][key.as_str()],
            format!(".{key}"),
        ),
        Step::Value => (&mut place["k"], &node["additionalProperties"], ".k".to_owned()),
        Step::Item => {
            let items = place.as_array_mut().unwrap();
            items.clear();
            items.push(Value::Null);
            (&mut items[0], &node["items"], "[0]".to_owned())
        }
    };
    printed + &put(next, child, rest, value)
}

/// Fields of which one at most may be given; the one in the sound object makes way.
fn make_way(object: &mut Value, path: &str) {
    if path.starts_with(".spec.analysis.stepWeight")
        && !path.starts_with(".spec.analysis.stepWeightPromotion")
    {
        object["spec"]["analysis"]
            .as_object_mut()
            .unwrap()
            .remove("iterations");
    }
    if object["kind"] == "AlertProvider" && path.contains("secretRef") {
        object["spec"].as_object_mut().unwrap().remove("address");
    }
}

#[test]
fn whatever_the_schema_refuses_the_parser_refuses_at_the_same_field() {
    let mut silent = Vec::new();
    let mut rows = 0;
    for kind in ["Canary", "MetricTemplate", "AlertProvider"] {
        let schema = schema(kind);
        assert_eq!(
            (validate(&schema, &sound(kind), None).len(), refused(&sound(kind))),
            (0, vec![]),
            "{kind}"
        );
        let spec = &schema["properties"]["spec"];
        let mut way = vec![Step::Key("spec".to_owned())];
        each(spec, &mut way, &mut |way, node| {
            for (what, value) in breaks(node) {
                let mut object = sound(kind);
                let path = put(&mut object.clone(), &schema, way, &value);
                make_way(&mut object, &path);
                put(&mut object, &schema, way, &value);
                rows += 1;
                let errors = validate(&schema, &object, None);
                assert!(
                    !errors.is_empty(),
                    "{kind} {path}: {what}: {value} passes the schema"
                );
                let path = path.trim_start_matches('.');
                let at = refused(&object);
                if !at.iter().any(|field| near(field, path)) {
                    silent.push(format!("{kind} {path}: {what}: refused at {at:?}"));
                }
            }
        });
    }
    assert!(
        silent.is_empty(),
        "of {rows} mistakes these reach the schema:\n{}",
        silent.join("\n")
    );
    assert!(rows > 400, "{rows}");
}

/// The field itself, one inside it, or (for what is missing) the one around it.
fn near(field: &str, path: &str) -> bool {
    field.starts_with(path) || path.starts_with(field) && field.len() > "spec.x".len()
}

/// Rules in CEL: what breaks them, and where the parser says so.
#[test]
fn rules_in_cel_are_the_parsers_too() {
    let analysis = |key: &str, value: Value| {
        let mut object = sound("Canary");
        object["spec"]["analysis"][key] = value;
        object
    };
    let scaler = |min: i64, max: i64| {
        let mut object = sound("Canary");
        let bounds = json!({"minReplicas": min, "maxReplicas": max});
        object["spec"]["autoscalerRef"] = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "shop", "primaryScalerReplicas": bounds,
        });
        object
    };
    let strategy = |provider: Option<&str>, keys: &[(&str, Value)]| {
        let mut object = sound("Canary");
        let map = object["spec"]["analysis"].as_object_mut().unwrap();
        map.remove("iterations");
        map.extend(keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        if let Some(provider) = provider {
            object["spec"]["provider"] = json!(provider);
        }
        object
    };
    let mirror = |backend: Value| {
        let mut object = sound("Canary");
        object["spec"]["service"]["mirror"] = json!([{"backendRef": backend}]);
        object
    };
    let alert = |keys: &[&str]| {
        let mut object = sound("AlertProvider");
        object["spec"].as_object_mut().unwrap().remove("address");
        for key in keys {
            object["spec"][*key] = match *key {
                "secretRef" => json!({"name": "key"}),
                _ => json!("https://hooks.slack.test/services/a"),
            };
        }
        object
    };
    let range = |min: i64, max: i64| {
        analysis(
            "metrics",
            json!([{"name": "errors", "query": "vector(1)", "thresholdRange": {"min": min, "max": max}}]),
        )
    };
    let gateway = |refs: Value| {
        let mut object = sound("Canary");
        object["spec"]["service"]["trafficPolicy"] = json!({"loadBalancer": refs});
        object
    };
    let table = [
        (range(2, 1), "spec.analysis.metrics[0].thresholdRange"),
        (range(1, 1), ""),
        (scaler(3, 2), "spec.autoscalerRef.primaryScalerReplicas"),
        (scaler(2, 2), ""),
        (strategy(Some("istio"), &[]), "spec.analysis"),
        (strategy(Some("kubernetes"), &[]), "spec.analysis"),
        (strategy(None, &[]), ""),
        (strategy(Some("istio"), &[("stepWeight", json!(10))]), ""),
        (strategy(Some("istio"), &[("stepWeights", json!([1, 2]))]), ""),
        (
            strategy(None, &[("iterations", json!(5)), ("stepWeight", json!(0))]),
            "",
        ),
        (
            mirror(json!({"name": "shop"})),
            "spec.service.mirror[0].backendRef",
        ),
        (mirror(json!({"name": "shop", "port": 80})), ""),
        (
            mirror(json!({"name": "shop", "group": "x.test", "kind": "Backend"})),
            "",
        ),
        (alert(&[]), "spec"),
        (alert(&["address", "secretRef"]), "spec"),
        (alert(&["secretRef"]), ""),
        (
            gateway(json!({"simple": "RANDOM", "consistentHash": {"useSourceIp": true}})),
            "spec.service.trafficPolicy.loadBalancer",
        ),
    ];
    for (mut object, field) in table {
        let schema = schema(object["kind"].as_str().unwrap());
        devcluster::schema::structural::default(&schema, &mut object);
        let (by_schema, by_parser) = (validate(&schema, &object, None), refused(&object));
        let stated = object["spec"].to_string();
        assert_eq!(by_schema.is_empty(), field.is_empty(), "{stated}: {by_schema:?}");
        assert_eq!(
            by_parser.iter().any(|at| at.starts_with(field)),
            !field.is_empty(),
            "{stated}: {by_parser:?}"
        );
    }
}
