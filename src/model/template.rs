//! The Go-template subset of metric queries: `{{ target }}`, `{{ variables.key }}`, …

use std::collections::BTreeMap;

/// The values a query template may name (Flagger's `MetricTemplateModel`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// `{{ name }}`: the Canary's name.
    pub name: String,
    /// `{{ namespace }}`: the Canary's namespace.
    pub namespace: String,
    /// `{{ target }}`: `spec.targetRef.name`.
    pub target: String,
    /// `{{ service }}`: `spec.service.name`, else the target's.
    pub service: String,
    /// `{{ ingress }}`: `spec.ingressRef.name`, else the target's.
    pub ingress: String,
    /// `{{ route }}`: `spec.routeRef.name`, else the target's.
    pub route: String,
    /// `{{ interval }}`: the metric's interval.
    pub interval: String,
    /// `{{ variables.key }}`: the metric's `templateVariables`.
    pub variables: BTreeMap<String, String>,
    /// Whether a key that [`Self::variables`] does not hold gets a stand-in value instead of an error: true when a
    /// MetricTemplate is judged on its own, before any Canary refers to it.
    pub any_variable: bool,
}

impl Context {
    /// Values to judge a query by when no Canary is at hand (admission of a MetricTemplate).
    pub fn stand_in() -> Self {
        Self {
            name: "canary".to_owned(),
            namespace: "default".to_owned(),
            target: "app".to_owned(),
            service: "app".to_owned(),
            ingress: "app".to_owned(),
            route: "app".to_owned(),
            interval: "1m".to_owned(),
            variables: BTreeMap::new(),
            any_variable: true,
        }
    }
}

/// A rendered template.
pub struct Rendered {
    /// The text.
    pub text: String,
}

/// Renders a template without actions. (Replaced by the full renderer.)
pub fn render(template: &str, _context: &Context) -> Result<Rendered, String> {
    Ok(Rendered {
        text: template.to_owned(),
    })
}
