//! `spec.provider`: which it is, what it can do, and what it cannot work without.

use crate::model::canary::Provider;
use crate::model::names::nearest;
use crate::model::rules;

use super::fields::{Field, Findings};
use super::{Context, Settings};

/// Every provider Flagger's schema knows.
const KNOWN: [&str; 19] = [
    "kubernetes",
    "istio",
    "linkerd",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "nginx",
    "skipper",
    "traefik",
    "apisix",
    "kuma",
    "knative",
    "osm",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
];

/// The provider of this name, for flags (`--mesh-provider`).
///
/// # Errors
/// Flagger knows no such provider; the sentence says what was meant, if anything is near.
pub fn named(name: &str) -> Result<Provider, String> {
    match name {
        "kubernetes" => Ok(Provider::Kubernetes),
        known if KNOWN.contains(&known) => Ok(Provider::Other(known.to_owned())),
        other => Err(match nearest(other, KNOWN) {
            Some(near) => format!("not known; did you mean {near}?"),
            None => format!("not known; expected one of {}", KNOWN.join(", ")),
        }),
    }
}

/// Reads `spec.provider`, or takes the process-wide one.
pub(super) fn read(field: &Field<'_>, settings: &Settings, findings: &mut Findings) -> Provider {
    let named = field
        .value
        .and_then(serde_json::Value::as_str)
        .is_some_and(|name| !name.is_empty());
    findings.provider_is_certain = named || settings.provider_is_certain;
    let provider = if named {
        match field.word(&KNOWN, findings) {
            Some("kubernetes") => Provider::Kubernetes,
            Some(name) => Provider::Other(name.to_owned()),
            None => return settings.provider.clone(),
        }
    } else {
        field.text(findings);
        settings.provider.clone()
    };
    if let Provider::Other(name) = &provider {
        let found = if named {
            format!("{name:?}")
        } else {
            format!("{name:?}, from --mesh-provider")
        };
        findings.add(&rules::PROVIDER_NOT_ROUTED, &field.path, found);
    }
    provider
}

/// Whether traffic can be chosen by request header (`analysis.match`).
pub(super) fn matches_headers(provider: &Provider) -> bool {
    match provider {
        Provider::Kubernetes => false,
        Provider::Other(name) => {
            matches!(
                name.as_str(),
                "istio" | "contour" | "nginx" | "gloo" | "crossover"
            ) || name.starts_with("appmesh")
                || name.starts_with("gatewayapi")
        }
    }
}

/// Whether traffic can be mirrored, and whether only a part of it can.
pub(super) fn mirrors(provider: &Provider) -> (bool, bool) {
    match provider {
        Provider::Kubernetes => (false, false),
        Provider::Other(name) => (name == "istio" || name.starts_with("gatewayapi"), name == "istio"),
    }
}

/// Whether cookies can keep a user on one version (`analysis.sessionAffinity`).
pub(super) fn keeps_sessions(provider: &Provider) -> bool {
    mirrors(provider).0
}

/// Operators of `analysis.match` this provider drops, and whether it honours only one header.
pub(super) fn match_limits(provider: &Provider) -> (&'static [&'static str], bool) {
    match provider {
        Provider::Other(name) if name.starts_with("gatewayapi") => {
            (&["prefix", "suffix", "sourceLabels"], false)
        }
        Provider::Other(name) if name == "contour" => (&["regex"], true),
        Provider::Other(name) if name == "istio" => (&["suffix"], false),
        Provider::Other(name) if name == "nginx" || name.starts_with("appmesh") => (&[], true),
        Provider::Kubernetes | Provider::Other(_) => (&[], false),
    }
}

/// Reports references and fields this provider needs and lacks, or has and ignores.
pub(super) fn needs(spec: &Field<'_>, context: &Context<'_>, findings: &mut Findings) {
    let provider = context.provider.as_str();
    let service = spec.get("service");
    for (key, providers, kind) in [
        ("ingressRef", &["nginx", "skipper"][..], "Ingress"),
        ("routeRef", &["apisix"][..], "ApisixRoute"),
        ("upstreamRef", &["gloo"][..], "Upstream"),
    ] {
        let reference = spec.get(key);
        let wanted = providers.contains(&provider);
        if reference.is_set() {
            reference.object(findings);
            reference.only(&["apiVersion", "kind", "name", "namespace"], findings);
            reference.get("kind").word(&[kind], findings);
            reference.get("name").required("a name", findings);
            reference.get("apiVersion").text(findings);
            if !wanted {
                let found = format!("set, but provider {provider} does not use it");
                findings.add(&rules::REF_UNUSED, &reference.path, found);
            } else if key == "upstreamRef" && !reference.get("namespace").is_set() {
                let path = reference.path.key("namespace");
                findings
                    .add(&rules::REF_MISSING, &path, "missing")
                    .expecting("expected the Upstream's namespace");
            }
        } else if wanted && key != "upstreamRef" {
            let found = format!("missing, and provider {provider} is set");
            findings
                .add(&rules::REF_MISSING, &reference.path, found)
                .expecting(format!("expected a reference to an {kind}"));
        }
    }
    let empty = |key: &str| {
        service
            .get(key)
            .value
            .is_none_or(|v| v.as_array().is_some_and(Vec::is_empty) || v == "")
    };
    if provider.starts_with("gatewayapi") && empty("gatewayRefs") {
        let path = service.path.key("gatewayRefs");
        findings
            .add(&rules::REF_MISSING, &path, "missing")
            .expecting("expected at least one Gateway");
    }
    if provider == "appmesh" && empty("meshName") {
        let path = service.path.key("meshName");
        findings
            .add(&rules::REF_MISSING, &path, "missing")
            .expecting("expected the name of the mesh");
    }
    if context.is_kubernetes() && service.is_set() {
        let ignored: Vec<_> = [
            "hosts",
            "gateways",
            "gatewayRefs",
            "match",
            "rewrite",
            "retries",
            "timeout",
            "backendTimeout",
            "headers",
            "corsPolicy",
            "trafficPolicy",
            "mirror",
            "meshName",
            "backends",
            "delegation",
        ]
        .into_iter()
        .filter(|key| service.get(key).is_set())
        .collect();
        if !ignored.is_empty() {
            findings.add(
                &rules::SERVICE_IGNORED,
                &service.path,
                format!("{} set", ignored.join(", ")),
            );
        }
    }
}
