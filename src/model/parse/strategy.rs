//! The release strategy: inferred from iterations, weights and match as Flagger does, for the provider at hand.

use std::num::NonZeroU32;

use serde_json::Value;

use crate::model::canary::Strategy;
use crate::model::default;
use crate::model::rules;

use super::fields::{Field, Findings};
use super::{Context, provider};

/// Reads what decides how a run advances.
pub(super) fn read(analysis: &Field<'_>, context: &Context<'_>, findings: &mut Findings) -> Strategy {
    let iterations = iterations(analysis, findings);
    let weights = weights(analysis, iterations.is_some(), findings);
    let promotion = promotion(&analysis.get("stepWeightPromotion"), context, findings);
    let mirror = mirror(analysis, context, weights.is_some(), findings);
    let matches = matches(&analysis.get("match"), iterations, context, findings);
    session_affinity(&analysis.get("sessionAffinity"), context, findings);

    if context.is_kubernetes() {
        let has_weights = ["stepWeight", "stepWeights", "maxWeight"]
            .into_iter()
            .find(|key| is_used(&analysis.get(key)));
        if let (None, Some(key)) = (iterations, has_weights) {
            findings.add(
                &rules::WEIGHTS_UNSUPPORTED,
                &analysis.path.key(key),
                "weights with provider kubernetes",
            );
        } else if iterations.is_none() && !analysis.get("iterations").is_set() {
            findings
                .add(
                    &rules::STRATEGY_ABSENT,
                    &analysis.path.key("iterations"),
                    "missing",
                )
                .expecting("read as 10");
        }
        return Strategy::BlueGreen {
            iterations: iterations.unwrap_or(default::ITERATIONS),
            mirror: false,
        };
    }
    match (iterations, weights) {
        (Some(iterations), _) if matches => Strategy::AbTest { iterations },
        (Some(iterations), _) => Strategy::BlueGreen { iterations, mirror },
        (None, Some(weights)) => Strategy::Progressive {
            weights,
            mirror,
            promotion,
        },
        (None, None) => {
            if ["iterations", "stepWeight", "stepWeights"]
                .iter()
                .all(|key| !analysis.get(key).is_set())
            {
                findings.add(
                    &rules::STRATEGY_ABSENT,
                    &analysis.path,
                    "neither iterations nor weights",
                );
            }
            Strategy::Progressive {
                weights: Vec::new(),
                mirror,
                promotion,
            }
        }
    }
}

/// Set, and not the zero value that typed writers of old spelt out.
fn is_used(field: &Field<'_>) -> bool {
    match field.value {
        None => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Null | Value::String(_) | Value::Object(_)) => true,
    }
}

fn iterations(analysis: &Field<'_>, findings: &mut Findings) -> Option<NonZeroU32> {
    let field = analysis.get("iterations");
    let number = field.integer(findings)?;
    let iterations = u32::try_from(number).ok().and_then(NonZeroU32::new);
    let weighted = is_used(&analysis.get("stepWeight")) || is_used(&analysis.get("stepWeights"));
    if iterations.is_none() && (number != 0 || !weighted) {
        findings.add(&rules::ITERATIONS_RANGE, &field.path, number.to_string());
    } else if iterations.is_some() && weighted {
        findings.add(&rules::STRATEGY_TWICE, &field.path, "set together with weights");
    }
    iterations
}

/// Absolute canary weights in order; `None` when the manifest has none.
fn weights(analysis: &Field<'_>, iterated: bool, findings: &mut Findings) -> Option<Vec<u8>> {
    let (step_field, list_field, max_field) = (
        analysis.get("stepWeight"),
        analysis.get("stepWeights"),
        analysis.get("maxWeight"),
    );
    let max = match max_field.integer(findings) {
        None | Some(0) => 100,
        Some(max) if (1..=100).contains(&max) => max,
        Some(max) => {
            findings.add(&rules::MAX_WEIGHT_RANGE, &max_field.path, max.to_string());
            100
        }
    };
    let step = step_field.integer(findings);
    if let Some(step) = step.filter(|step| *step > 0) {
        if !iterated && (step > 100 || step > max) {
            findings.add(
                &rules::STEP_WEIGHT_HIGH,
                &step_field.path,
                format!("{step}, and the maximum is {max}"),
            );
        } else if !iterated && max % step != 0 {
            let reached = (max / step + 1) * step;
            findings.add(
                &rules::MAX_WEIGHT_MULTIPLE,
                &max_field.path,
                format!("{max}: steps of {step} reach {}", reached.min(100)),
            );
        }
        let count = (max + step - 1) / step;
        return Some(
            (1..=count)
                .filter_map(|n| u8::try_from((n * step).min(100)).ok())
                .collect(),
        );
    }
    if let Some(step) = step
        && (step < 0 || (!iterated && !is_used(&list_field)))
    {
        findings.add(&rules::STEP_WEIGHT_RANGE, &step_field.path, step.to_string());
    }
    if !list_field.is_set() {
        return None;
    }
    let items = list_field.items(findings);
    if items.is_empty() {
        if !iterated && list_field.value.is_some_and(Value::is_array) {
            findings.add(&rules::STEP_WEIGHTS, &list_field.path, "an empty list");
        }
        return None;
    }
    if is_used(&max_field) {
        findings.add(
            &rules::MAX_WEIGHT_IGNORED,
            &max_field.path,
            "set together with stepWeights",
        );
    }
    let mut weights: Vec<u8> = Vec::with_capacity(items.len());
    for item in items {
        let Some(number) = item.integer(findings) else {
            continue;
        };
        let last = weights.last().copied().unwrap_or(0);
        match u8::try_from(number).ok().filter(|weight| *weight <= 100) {
            Some(weight) if weight > last => weights.push(weight),
            Some(weight) => {
                findings.add(
                    &rules::STEP_WEIGHTS,
                    &item.path,
                    format!("{weight} does not rise above {last}"),
                );
            }
            None => {
                findings.add(&rules::STEP_WEIGHTS, &item.path, number.to_string());
            }
        }
    }
    Some(weights)
}

fn promotion(field: &Field<'_>, context: &Context<'_>, findings: &mut Findings) -> Option<u8> {
    let number = field.integer(findings)?;
    match u8::try_from(number).ok().filter(|weight| *weight <= 100) {
        Some(0) => None,
        Some(weight) => {
            if context.is_kubernetes() {
                findings.add(
                    &rules::PROMOTION_IGNORED,
                    &field.path,
                    "set with provider kubernetes",
                );
            }
            Some(weight)
        }
        None => {
            findings.add(&rules::PROMOTION_WEIGHT, &field.path, number.to_string());
            None
        }
    }
}

fn mirror(analysis: &Field<'_>, context: &Context<'_>, weighted: bool, findings: &mut Findings) -> bool {
    let (field, weight_field) = (analysis.get("mirror"), analysis.get("mirrorWeight"));
    let mirror = field.flag(findings);
    let weight = weight_field.integer(findings);
    if let Some(weight) = weight.filter(|weight| !(0..=100).contains(weight)) {
        findings.add(&rules::MIRROR_WEIGHT, &weight_field.path, weight.to_string());
    }
    let (mirrors, in_part) = provider::mirrors(&context.provider);
    let name = context.provider.as_str();
    // A gatewayapi route mirrors only while iterations are counted.
    if mirror && (!mirrors || (weighted && name != "istio" && !is_used(&analysis.get("iterations")))) {
        findings.add(
            &rules::MIRROR_UNSUPPORTED,
            &field.path,
            format!("provider {name} does not mirror here"),
        );
    } else if weight.is_some_and(|weight| weight != 0) && !in_part {
        findings.add(
            &rules::MIRROR_UNSUPPORTED,
            &weight_field.path,
            format!("provider {name} mirrors nothing in part"),
        );
    } else if mirror
        && context
            .app_protocol
            .as_deref()
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case("tcp"))
    {
        findings.add(&rules::MIRROR_TCP, &field.path, "set with appProtocol tcp");
    }
    mirror
}

/// `analysis.match`; true when there is something to match.
fn matches(
    field: &Field<'_>,
    iterations: Option<NonZeroU32>,
    context: &Context<'_>,
    findings: &mut Findings,
) -> bool {
    let items = field.objects(findings);
    if items.is_empty() {
        return false;
    }
    if !provider::matches_headers(&context.provider) {
        let found = format!("set with provider {}", context.provider.as_str());
        findings.add(&rules::MATCH_UNSUPPORTED, &field.path, found);
    } else if iterations.is_none() {
        findings.add(&rules::MATCH_ALONE, &field.path, "set without iterations");
    }
    let (dropped, one_header) = provider::match_limits(&context.provider);
    let name = context.provider.as_str();
    for item in &items {
        let Some(map) = item.value.and_then(Value::as_object) else {
            continue;
        };
        for key in map
            .keys()
            .filter(|key| !["headers", "queryParams", "sourceLabels"].contains(&key.as_str()))
        {
            findings.add(
                &rules::MATCH_KEY,
                &item.path.key(key),
                "not a condition of analysis.match",
            );
        }
        if map.contains_key("sourceLabels") && dropped.contains(&"sourceLabels") {
            findings.add(
                &rules::MATCH_OPERATOR,
                &item.path.key("sourceLabels"),
                format!("provider {name} drops it"),
            );
        }
        let headers = item.get("headers");
        let Some(map) = headers.object(findings) else {
            continue;
        };
        if one_header && map.len() > 1 {
            findings.add(
                &rules::MATCH_OPERATOR,
                &headers.path,
                format!("{} headers, and {name} honours one", map.len()),
            );
        }
        for key in map.keys() {
            let header = headers.get(key);
            let Some(operators) = header.object(findings) else {
                continue;
            };
            let words = ["exact", "prefix", "suffix", "regex"];
            for operator in operators.keys() {
                if !words.contains(&operator.as_str()) {
                    findings
                        .add(
                            &rules::UNKNOWN_VALUE,
                            &header.path.key(operator),
                            "not an operator",
                        )
                        .expecting("expected exact, prefix, suffix or regex")
                        .fixed_by("");
                } else if dropped.contains(&operator.as_str()) {
                    findings.add(
                        &rules::MATCH_OPERATOR,
                        &header.path.key(operator),
                        format!("provider {name} drops it"),
                    );
                }
            }
            if operators.len() != 1 {
                findings
                    .add(
                        &rules::MATCH_KEY,
                        &header.path,
                        format!("{} operators", operators.len()),
                    )
                    .expecting("expected exactly one of exact, prefix, suffix, regex")
                    .fixed_by("");
            }
        }
    }
    true
}

fn session_affinity(field: &Field<'_>, context: &Context<'_>, findings: &mut Findings) {
    if !field.is_set() {
        return;
    }
    if !provider::keeps_sessions(&context.provider) {
        let found = format!("set with provider {}", context.provider.as_str());
        findings.add(&rules::AFFINITY_UNSUPPORTED, &field.path, found);
    }
    field.object(findings);
    let known = [
        "cookieName",
        "primaryCookieName",
        "domain",
        "httpOnly",
        "maxAge",
        "partitioned",
        "path",
        "sameSite",
        "secure",
    ];
    field.only(&known, findings);
    let names = [field.get("cookieName"), field.get("primaryCookieName")];
    let canary = names[0].required("a cookie name", findings);
    let primary = names[1].text(findings).filter(|name| !name.is_empty());
    for (field, name) in names.iter().zip([canary, primary]) {
        let Some(name) = name else { continue };
        if name.contains(|c: char| c.is_whitespace() || c.is_control() || "=;,\"\\".contains(c)) {
            findings.add(&rules::COOKIE_NAME, &field.path, format!("{name:?}"));
        }
    }
    if canary.is_some() && canary == primary {
        findings.add(&rules::COOKIE_NAME, &names[1].path, "equal to cookieName");
    }
    if let Some(age) = field.get("maxAge").integer(findings).filter(|age| *age < 0) {
        findings.add(&rules::NEGATIVE, &field.get("maxAge").path, age.to_string());
    }
    let same_site = field.get("sameSite");
    if same_site.is_set() {
        same_site.word(&["Strict", "Lax", "None"], findings);
    }
    for key in ["httpOnly", "partitioned", "secure"] {
        field.get(key).flag(findings);
    }
}
