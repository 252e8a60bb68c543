//! Where the process itself sends alerts and events: for Canaries that name nobody.

use crate::notify::{Chat, Destination};

/// Flags of Flagger's global notifier. Addresses and the token are secrets: `--help` shows none of their values.
#[derive(Debug, clap::Args)]
pub(super) struct AlertArgs {
    /// Slack webhook or API told about Canaries without alerts
    #[arg(long, env = "SLACK_URL", hide_env_values = true)]
    slack_url: Option<String>,
    /// Token of the Slack API
    #[arg(long, env = "SLACK_TOKEN", hide_env_values = true)]
    slack_token: Option<String>,
    /// HTTP proxy to Slack
    #[arg(long)]
    slack_proxy_url: Option<String>,
    /// Sender in Slack
    #[arg(long, default_value = "flagger")]
    slack_user: String,
    /// Channel in Slack
    #[arg(long)]
    slack_channel: Option<String>,
    /// Microsoft Teams webhook told about Canaries without alerts; wins over Slack
    #[arg(long, env = "MSTEAMS_URL", hide_env_values = true)]
    msteams_url: Option<String>,
    /// HTTP proxy to Microsoft Teams
    #[arg(long)]
    msteams_proxy_url: Option<String>,
    /// Name of this cluster, told in alerts
    #[arg(long)]
    pub(super) cluster_name: Option<String>,
    /// URL called with the events of Canaries without an event hook
    #[arg(long, env = "EVENT_WEBHOOK_URL", hide_env_values = true)]
    pub(super) event_webhook: Option<String>,
}

impl AlertArgs {
    /// The global destination. Slack without a channel is refused: Flagger sends nothing then, and says so in one
    /// line of its log (Q-31).
    pub(super) fn notifier(&self) -> Result<Option<Destination>, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(address) = given(&self.msteams_url) {
            return Ok(Some(Destination {
                chat: Chat::MsTeams,
                address,
                token: None,
                channel: String::new(),
                username: self.slack_user.clone(),
                proxy: given(&self.msteams_proxy_url),
            }));
        }
        let Some(address) = given(&self.slack_url) else {
            return Ok(None);
        };
        let channel = given(&self.slack_channel)
            .ok_or("--slack-url needs a channel, or nobody is told; add --slack-channel NAME")?;
        Ok(Some(Destination {
            chat: Chat::Slack,
            address,
            token: given(&self.slack_token),
            channel,
            username: self.slack_user.clone(),
            proxy: given(&self.slack_proxy_url),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> AlertArgs {
        AlertArgs {
            slack_url: None,
            slack_token: None,
            slack_proxy_url: None,
            slack_user: "flagger".to_owned(),
            slack_channel: None,
            msteams_url: None,
            msteams_proxy_url: None,
            cluster_name: None,
            event_webhook: None,
        }
    }

    #[test]
    fn q31_slack_without_a_channel_is_refused_at_the_start() {
        let mut args = args();
        assert_eq!(args.notifier(), Ok(None));
        args.slack_url = Some("https://hooks.slack.test/x".to_owned());
        let error = args.notifier().unwrap_err();
        assert!(error.contains("--slack-channel") && !error.contains("hooks"));
        args.slack_channel = Some("ops".to_owned());
        assert_eq!(args.notifier().unwrap().unwrap().chat, Chat::Slack);
        args.msteams_url = Some("https://teams.test/x".to_owned());
        assert_eq!(args.notifier().unwrap().unwrap().chat, Chat::MsTeams);
    }
}
