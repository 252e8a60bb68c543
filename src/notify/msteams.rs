//! Microsoft Teams: the card of the connectors Flagger knows, and the one of the Workflows that replace them.

use serde_json::{Value, json};
use url::Url;

use super::{Message, colour};

pub(super) fn render(message: &Message, url: Url) -> (Url, Value) {
    let body = if is_workflow(&url) {
        adaptive(message)
    } else {
        connector(message)
    };
    (url, body)
}

/// Workflows live on Azure Logic Apps and the Power Platform; they refuse a MessageCard.
fn is_workflow(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    [".logic.azure.com", ".powerplatform.com"]
        .iter()
        .any(|domain| host.ends_with(domain))
}

fn connector(message: &Message) -> Value {
    let facts: Vec<Value> = message
        .facts
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": colour(message.severity, "0076D7", "FF0000"),
        "summary": message.canary,
        "sections": [{
            "activityTitle": message.text,
            "activitySubtitle": message.canary,
            "facts": facts,
        }],
    })
}

fn adaptive(message: &Message) -> Value {
    let facts: Vec<Value> = message
        .facts
        .iter()
        .map(|(title, value)| json!({"title": title, "value": value}))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {
                        "type": "TextBlock",
                        "text": message.text,
                        "weight": "Bolder",
                        "color": colour(message.severity, "Default", "Attention"),
                        "wrap": true,
                    },
                    {"type": "TextBlock", "text": message.canary, "isSubtle": true, "wrap": true},
                    {"type": "FactSet", "facts": facts},
                ],
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::notice::Severity;
    use crate::notify::Chat;
    use crate::notify::tests::{assert_golden, destination, told};

    #[test]
    fn golden_connector() {
        let address = "https://outlook.office.test/webhook/x";
        for (severity, colour) in [(Severity::Warning, "0076D7"), (Severity::Error, "FF0000")] {
            assert_golden(
                &told(severity, &[("Target", "Deployment/podinfo.test")]),
                &destination(Chat::MsTeams, address),
                address,
                &json!({
                    "@type": "MessageCard", "@context": "http://schema.org/extensions", "themeColor": colour,
                    "summary": "podinfo.test",
                    "sections": [{
                        "activityTitle": "Promotion failed <now>", "activitySubtitle": "podinfo.test",
                        "facts": [{"name": "Target", "value": "Deployment/podinfo.test"}],
                    }],
                }),
            );
        }
    }

    #[test]
    fn golden_workflow() {
        let address = "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=y";
        assert_golden(
            &told(Severity::Error, &[("Cluster", "eu")]),
            &destination(Chat::MsTeams, address),
            address,
            &json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard", "version": "1.4",
                        "body": [
                            {"type": "TextBlock", "text": "Promotion failed <now>", "weight": "Bolder",
                             "color": "Attention", "wrap": true},
                            {"type": "TextBlock", "text": "podinfo.test", "isSubtle": true, "wrap": true},
                            {"type": "FactSet", "facts": [{"title": "Cluster", "value": "eu"}]},
                        ],
                    },
                }],
            }),
        );
    }
}
