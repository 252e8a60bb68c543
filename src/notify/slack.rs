//! Slack's attachments, which Discord and Rocket.Chat understand too.

use serde_json::{Value, json};
use url::Url;

use super::{Chat, Destination, Message, NotifyError, colour};

pub(super) fn render(
    message: &Message,
    destination: &Destination,
    url: Url,
) -> Result<(Url, Value), NotifyError> {
    let chat = destination.chat;
    for (what, value) in [
        ("username", &destination.username),
        ("channel", &destination.channel),
    ] {
        if value.is_empty() {
            return Err(NotifyError::Missing {
                chat: chat.as_str(),
                what,
            });
        }
    }
    let (good, bad) = match chat {
        Chat::Rocket => ("#0076D7", "#FF0000"),
        Chat::Slack | Chat::Discord | Chat::MsTeams | Chat::GoogleChat => ("good", "danger"),
    };
    let words = |text: &str| {
        if chat == Chat::Slack {
            escaped(text)
        } else {
            text.to_owned()
        }
    };
    let fields: Vec<Value> = message
        .facts
        .iter()
        .map(|(title, value)| json!({"title": title, "value": words(value), "short": false}))
        .collect();
    let body = json!({
        "channel": destination.channel,
        "username": destination.username,
        "icon_url": "",
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": colour(message.severity, good, bad),
            "author_name": message.canary,
            "text": words(&message.text),
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    });
    let url = if chat == Chat::Discord {
        compatible(url)
    } else {
        url
    };
    Ok((url, body))
}

/// Slack reads these three as the beginning of something else: `<!channel>` calls everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Discord's endpoint for bodies like these.
fn compatible(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/slack") {
        url.set_path(&format!("{path}/slack"));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::notice::Severity;
    use crate::notify::tests::{assert_golden, destination, told};

    fn body(colour: &str, text: &str, fields: &Value) -> Value {
        json!({
            "channel": "general", "username": "flagger", "icon_url": "", "icon_emoji": ":rocket:",
            "attachments": [{
                "color": colour, "author_name": "podinfo.test", "text": text, "mrkdwn_in": ["text"], "fields": fields,
            }],
        })
    }

    #[test]
    fn golden_slack() {
        let to = destination(Chat::Slack, "https://hooks.slack.test/services/T0/B0");
        let fields = json!([{"title": "Cluster", "value": "eu", "short": false}]);
        assert_golden(
            &told(Severity::Info, &[("Cluster", "eu")]),
            &to,
            "https://hooks.slack.test/services/T0/B0",
            &body("good", "Promotion failed &lt;now&gt;", &fields),
        );
        assert_golden(
            &told(Severity::Error, &[]),
            &to,
            "https://hooks.slack.test/services/T0/B0",
            &body("danger", "Promotion failed &lt;now&gt;", &json!([])),
        );
    }

    #[test]
    fn golden_discord() {
        for address in [
            "https://discord.test/api/webhooks/1/x",
            "https://discord.test/api/webhooks/1/x/",
            "https://discord.test/api/webhooks/1/x/slack",
        ] {
            assert_golden(
                &told(Severity::Warning, &[]),
                &destination(Chat::Discord, address),
                "https://discord.test/api/webhooks/1/x/slack",
                &body("good", "Promotion failed <now>", &json!([])),
            );
        }
    }

    #[test]
    fn golden_rocket() {
        let to = destination(Chat::Rocket, "https://rocket.test/hooks/x");
        for (severity, colour) in [(Severity::Info, "#0076D7"), (Severity::Error, "#FF0000")] {
            assert_golden(
                &told(severity, &[]),
                &to,
                "https://rocket.test/hooks/x",
                &body(colour, "Promotion failed <now>", &json!([])),
            );
        }
    }

    #[test]
    fn a_channel_and_a_sender_are_needed() {
        let message = told(Severity::Info, &[]);
        let mut to = destination(Chat::Slack, "https://slack.test/api/chat.postMessage");
        to.channel = String::new();
        let error = crate::notify::render(&message, &to).err().unwrap();
        assert_eq!(
            error,
            NotifyError::Missing {
                chat: "slack",
                what: "channel"
            }
        );
    }
}
