//! An AlertProvider object, read.

use base64::Engine as _;
use serde_json::Value;

use super::{Chat, Destination};

/// The destination an AlertProvider names. `secret` is what its `secretRef` names: its key `address` replaces
/// `spec.address`, its key `token` is optional.
pub fn read(provider: &Value, secret: Option<&Value>) -> Result<Destination, String> {
    let text = |key: &str| {
        let value = provider.pointer("/spec").and_then(|spec| spec.get(key));
        value.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let kind = text("type").unwrap_or_default();
    let chat = Chat::ALL
        .into_iter()
        .find(|chat| chat.as_str() == kind)
        .ok_or_else(|| {
            format!("spec.type: {kind:?} is no chat; expected slack, msteams, discord, rocket or gchat")
        })?;
    let (address, token) = match secret {
        None => (text("address").unwrap_or_default().to_owned(), None),
        Some(secret) => {
            let address = decoded(secret, "address")
                .ok_or("the Secret of spec.secretRef has no readable key address; add it")?;
            (address, decoded(secret, "token"))
        }
    };
    Ok(Destination {
        chat,
        address: address.trim().to_owned(),
        token: token.map(|token| token.trim().to_owned()),
        channel: text("channel").unwrap_or("general").to_owned(),
        username: text("username").unwrap_or("flagger").to_owned(),
        proxy: text("proxy").map(str::to_owned),
    })
}

fn decoded(secret: &Value, key: &str) -> Option<String> {
    let encoded = secret.get("data")?.get(key)?.as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider(kind: &str) -> Value {
        json!({"spec": {"type": kind, "address": "https://chat.test/x"}})
    }

    #[test]
    fn every_chat_has_its_name_and_defaults() {
        for chat in Chat::ALL {
            let read = read(&provider(chat.as_str()), None).unwrap();
            assert_eq!(
                (read.chat, read.address.as_str(), read.token, read.proxy),
                (chat, "https://chat.test/x", None, None)
            );
            assert_eq!(
                (read.channel.as_str(), read.username.as_str()),
                ("general", "flagger")
            );
        }
        assert!(read(&provider("irc"), None).unwrap_err().contains("\"irc\""));
    }

    #[test]
    fn a_secret_holds_address_and_token() {
        let mut object = provider("slack");
        object["spec"]["channel"] = json!("ops");
        object["spec"]["username"] = json!("bot");
        object["spec"]["proxy"] = json!("http://proxy.test:3128");
        // "https://a.test/s\n", "t0\n"
        let secret = json!({"data": {"address": "aHR0cHM6Ly9hLnRlc3Qvcwo=", "token": "dDAK"}});
        let read = read(&object, Some(&secret)).unwrap();
        assert_eq!(
            (read.address.as_str(), read.token.as_deref()),
            ("https://a.test/s", Some("t0"))
        );
        assert_eq!((read.channel.as_str(), read.username.as_str()), ("ops", "bot"));
        assert_eq!(read.proxy.as_deref(), Some("http://proxy.test:3128"));
        for broken in [json!({}), json!({"data": {"address": "%"}})] {
            assert!(super::read(&object, Some(&broken)).is_err(), "{broken}");
        }
    }
}
