//! `analysis.alerts[]`: who is told.

use crate::model::canary::Alert;
use crate::model::notice::Severity;

use super::fields::{Field, Findings};
use super::{Context, object_name};

/// Reads the alerts. An empty severity is info, as documented (Flagger never sends those, Q-01).
pub(super) fn read(field: &Field<'_>, context: &Context<'_>, findings: &mut Findings) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for item in field.objects(findings) {
        if !item.is_set() {
            continue;
        }
        item.only(&["name", "severity", "providerRef"], findings);
        let name = item.get("name").required("a name", findings).unwrap_or_default();
        let severity = item.get("severity");
        let severity = match severity
            .value
            .and_then(|_| severity.word(&["", "info", "warn", "error"], findings))
        {
            Some("warn") => Severity::Warning,
            Some("error") => Severity::Error,
            _ => Severity::Info,
        };
        let reference = item.get("providerRef");
        reference.object(findings);
        reference.only(&["name", "namespace"], findings);
        let provider_field = reference.get("name");
        let provider = provider_field
            .required("the AlertProvider's name", findings)
            .unwrap_or_default();
        object_name(&provider_field, provider, findings);
        let namespace = reference
            .get("namespace")
            .text(findings)
            .filter(|namespace| !namespace.is_empty());
        alerts.push(Alert {
            name: name.to_owned(),
            severity,
            provider_namespace: namespace.unwrap_or(&context.id.namespace).to_owned(),
            provider: provider.to_owned(),
        });
    }
    alerts
}
