//! SPEAK to chats: pure (flagger-behaviour §6).
//!
//! Owns: which alerts a destination wants, what it is told beside the text, and the body each chat expects. Promises:
//! the same alert is the same bytes, and no error shows an address or token: with most chats the address is the
//! secret. Never: I/O.

use std::fmt::Write as _;

use serde_json::Value;
use url::Url;

use crate::model::canary::{Canary, Strategy};
use crate::model::notice::{AlertText, Severity};

mod gchat;
mod msteams;
mod provider;
mod slack;

pub use provider::read;

/// Chats that Flagger's `AlertProvider.spec.type` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chat {
    /// Slack, by webhook or by API.
    Slack,
    /// Microsoft Teams, by connector or by Workflows.
    MsTeams,
    /// Discord, through its Slack-compatible endpoint.
    Discord,
    /// Rocket.Chat.
    Rocket,
    /// Google Chat.
    GoogleChat,
}

impl Chat {
    /// Every chat.
    pub const ALL: [Chat; 5] = [
        Chat::Slack,
        Chat::MsTeams,
        Chat::Discord,
        Chat::Rocket,
        Chat::GoogleChat,
    ];

    /// The `type` as written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Chat::Slack => "slack",
            Chat::MsTeams => "msteams",
            Chat::Discord => "discord",
            Chat::Rocket => "rocket",
            Chat::GoogleChat => "gchat",
        }
    }
}

/// Where alerts go.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Which chat.
    pub chat: Chat,
    /// URL of its webhook or API.
    pub address: String,
    /// Bearer token (Slack's API).
    pub token: Option<String>,
    /// Name of the channel.
    pub channel: String,
    /// Name of the sender.
    pub username: String,
    /// URL of an HTTP proxy.
    pub proxy: Option<String>,
}

/// Shows neither the address nor the token.
impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination")
            .field("chat", &self.chat)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// What a chat is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `name.namespace` of the Canary.
    pub canary: String,
    /// The alert.
    pub text: String,
    /// How serious it is.
    pub severity: Severity,
    /// Titles and values below the text.
    pub facts: Vec<(String, String)>,
}

/// An HTTP POST, ready to be sent.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// Headers beside `Content-Type`.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Value,
    /// URL of the proxy to use.
    pub proxy: Option<String>,
}

/// Why nothing can be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// The address is no URL.
    #[error("the address is not an http or https URL; expected one such as https://chat.example/hook")]
    Address,
    /// A chat without a channel or a sender.
    #[error("{chat} has no {what}; expected a name; set spec.{what}")]
    Missing {
        /// The chat.
        chat: &'static str,
        /// What it lacks.
        what: &'static str,
    },
}

/// True when a destination that wants `lowest` and worse is told something of this severity.
pub fn is_wanted(lowest: Severity, severity: Severity) -> bool {
    severity >= lowest
}

/// What is told of an alert. `cluster` is `--cluster-name`.
pub fn message(alert: &AlertText, canary: &Canary, cluster: Option<&str>) -> Message {
    let mut facts = Vec::new();
    if let Some(cluster) = cluster.filter(|name| !name.is_empty()) {
        facts.push(("Cluster".to_owned(), cluster.to_owned()));
    }
    if alert.facts {
        let (kind, target) = (canary.target.kind.as_str(), &canary.target.name);
        let analysis = &canary.analysis;
        facts.extend([
            (
                "Target".to_owned(),
                format!("{kind}/{target}.{}", canary.id.namespace),
            ),
            (
                "Failed checks threshold".to_owned(),
                analysis.threshold.to_string(),
            ),
            (
                "Progress deadline".to_owned(),
                format!("{}s", canary.progress_deadline.as_secs()),
            ),
            ("Traffic routing".to_owned(), routing(&analysis.strategy)),
        ]);
    }
    Message {
        canary: canary.id.to_string(),
        text: alert.text.clone(),
        severity: alert.severity,
        facts,
    }
}

fn routing(strategy: &Strategy) -> String {
    match strategy {
        Strategy::BlueGreen { .. } => "Blue/Green".to_owned(),
        Strategy::AbTest { .. } => "A/B Testing".to_owned(),
        Strategy::Progressive { weights, .. } => {
            let max = weights.last().copied().unwrap_or_default();
            let step = weights.first().copied().unwrap_or_default();
            let linear = weights
                .windows(2)
                .all(|pair| pair[0].checked_add(step) == Some(pair[1]));
            if linear {
                return format!("Weight step: {step} max: {max}");
            }
            let mut text = String::from("Weight steps: ");
            for (index, weight) in weights.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{weight}");
            }
            let _ = write!(text, " max: {max}");
            text
        }
    }
}

/// The POST that tells `destination` a message.
pub fn render(message: &Message, destination: &Destination) -> Result<Request, NotifyError> {
    let url = Url::parse(&destination.address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or(NotifyError::Address)?;
    let (url, body) = match destination.chat {
        Chat::Slack | Chat::Discord | Chat::Rocket => slack::render(message, destination, url)?,
        Chat::MsTeams => msteams::render(message, url),
        Chat::GoogleChat => gchat::render(message, url),
    };
    let token = destination
        .token
        .as_ref()
        .filter(|token| destination.chat == Chat::Slack && !token.is_empty());
    Ok(Request {
        url: url.to_string(),
        headers: token
            .map(|token| ("Authorization".to_owned(), format!("Bearer {token}")))
            .into_iter()
            .collect(),
        body,
        proxy: destination.proxy.clone(),
    })
}

/// Colours of good news and of an error.
fn colour<'a>(severity: Severity, good: &'a str, bad: &'a str) -> &'a str {
    match severity {
        Severity::Info | Severity::Warning => good,
        Severity::Error => bad,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    pub(super) fn told(severity: Severity, facts: &[(&str, &str)]) -> Message {
        Message {
            canary: "podinfo.test".to_owned(),
            text: "Promotion failed <now>".to_owned(),
            severity,
            facts: facts
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    pub(super) fn destination(chat: Chat, address: &str) -> Destination {
        Destination {
            chat,
            address: address.to_owned(),
            token: None,
            channel: "general".to_owned(),
            username: "flagger".to_owned(),
            proxy: None,
        }
    }

    /// Renders, and compares bodies as they are sent, order of keys and all.
    pub(super) fn assert_golden(message: &Message, to: &Destination, url: &str, body: &Value) {
        let request = render(message, to).unwrap();
        assert_eq!(request.url, url);
        assert_eq!(request.body.to_string(), body.to_string());
    }

    #[test]
    fn severities_are_wanted_from_the_lowest_on() {
        use Severity::{Error, Info, Warning};
        let table = [
            (Info, [true, true, true]),
            (Warning, [false, true, true]),
            (Error, [false, false, true]),
        ];
        for (lowest, expected) in table {
            assert_eq!(
                [Info, Warning, Error].map(|severity| is_wanted(lowest, severity)),
                expected
            );
        }
    }

    #[test]
    fn routing_is_told_in_flaggers_words() {
        let weights = |weights: &[u8]| Strategy::Progressive {
            weights: weights.to_vec(),
            mirror: false,
            promotion: None,
        };
        let iterations = NonZeroU32::MIN;
        let table = [
            (
                Strategy::BlueGreen {
                    iterations,
                    mirror: false,
                },
                "Blue/Green",
            ),
            (Strategy::AbTest { iterations }, "A/B Testing"),
            (weights(&[10, 20, 30]), "Weight step: 10 max: 30"),
            (weights(&[1, 2, 10, 80]), "Weight steps: 1,2,10,80 max: 80"),
        ];
        for (strategy, text) in table {
            assert_eq!(routing(&strategy), text);
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_never_shown() {
        let message = told(Severity::Info, &[]);
        for address in ["", "xoxb-secret", "ftp://chat.test/secret", "http://"] {
            for chat in Chat::ALL {
                let error = render(&message, &destination(chat, address)).err().unwrap();
                assert_eq!(error, NotifyError::Address, "{address}");
                assert!(!error.to_string().contains("secret"));
            }
        }
        let secret = destination(Chat::Slack, "https://chat.test/secret");
        assert!(!format!("{secret:?}").contains("secret"));
    }

    #[test]
    fn only_slack_is_given_a_token() {
        for chat in Chat::ALL {
            let mut to = destination(chat, "https://chat.test/x");
            to.token = Some("t".to_owned());
            let headers = render(&told(Severity::Info, &[]), &to).unwrap().headers;
            let expected = vec![("Authorization".to_owned(), "Bearer t".to_owned())];
            assert_eq!(headers, if chat == Chat::Slack { expected } else { Vec::new() });
        }
    }
}
