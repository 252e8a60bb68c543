//! Google Chat's cards.

use serde_json::{Value, json};
use url::Url;

use super::Message;

pub(super) fn render(message: &Message, url: Url) -> (Url, Value) {
    let paragraph = |html: String| json!({"widgets": [{"textParagraph": {"text": html}}]});
    let mut sections = vec![paragraph(format!(
        "<b><font color=\"#777777\">{}</font></b>",
        escaped(&message.text)
    ))];
    for (name, value) in &message.facts {
        sections.push(paragraph(format!(
            "{}<br><b>{}</b>",
            escaped(name),
            escaped(value)
        )));
    }
    let body = json!({
        "cards": [{
            "header": {
                "title": "Flagger",
                "subtitle": message.canary,
                "imageUrl": "https://flagger.app/favicon.png",
            },
            "sections": sections,
        }],
    });
    (url, body)
}

/// The text is HTML to Google Chat.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::notice::Severity;
    use crate::notify::Chat;
    use crate::notify::tests::{assert_golden, destination, told};

    #[test]
    fn golden_gchat() {
        let address = "https://chat.googleapis.test/v1/spaces/x/messages?key=k";
        assert_golden(
            &told(Severity::Error, &[("Cluster", "eu")]),
            &destination(Chat::GoogleChat, address),
            address,
            &json!({
                "cards": [{
                    "header": {
                        "title": "Flagger", "subtitle": "podinfo.test",
                        "imageUrl": "https://flagger.app/favicon.png",
                    },
                    "sections": [
                        {"widgets": [{"textParagraph": {
                            "text": "<b><font color=\"#777777\">Promotion failed &lt;now&gt;</font></b>"}}]},
                        {"widgets": [{"textParagraph": {"text": "Cluster<br><b>eu</b>"}}]},
                    ],
                }],
            }),
        );
    }
}
