//! GET and LIST.
//!
//! Owns: selectors, pages, which revision a list shows. Promises: the pages of one list show one revision. Never:
//! renders.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Cluster;
use super::call::Call;
use super::selector::{Fields, Labels};
use super::status::Failure;
use crate::store::Stored;

/// Query parameters of a LIST.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListOptions {
    pub(crate) labels: String,
    pub(crate) fields: String,
    pub(crate) limit: usize,
    pub(crate) token: String,
    pub(crate) revision: String,
    pub(crate) revision_match: String,
}

/// A page of objects, at the call's version.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Value>,
    pub(crate) revision: u64,
    pub(crate) token: String,
    pub(crate) remaining: Option<usize>,
}

impl Listed {
    /// `metadata` of the list.
    pub(crate) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if !self.token.is_empty() {
            metadata["continue"] = json!(self.token);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        metadata
    }
}

impl Cluster {
    pub(crate) fn stored(&self, call: &Call) -> Result<Stored, Failure> {
        self.store
            .get(&call.kind.table, &call.namespace, &call.name)
            .ok_or_else(|| Failure::not_found(&call.kind, &call.name))
    }

    pub(crate) async fn get(&self, call: &Call) -> Result<Value, Failure> {
        let stored = self.stored(call)?;
        let object = self.read(&call.kind, &stored).await?;
        if call.subresource == "scale" {
            super::scale::of(&call.kind, &object)
        } else {
            Ok(object)
        }
    }

    pub(crate) async fn list(&self, call: &Call, options: &ListOptions) -> Result<Listed, Failure> {
        let labels = Labels::parse(&options.labels).map_err(Failure::bad_request)?;
        let fields = Fields::parse(&options.fields, &call.kind).map_err(Failure::bad_request)?;
        let namespace = (!call.namespace.is_empty()).then_some(call.namespace.as_str());
        let token = if options.token.is_empty() {
            None
        } else {
            Some(Token::decode(&options.token)?)
        };
        let (mut objects, revision) = match &token {
            Some(token) => {
                let objects = self.store.list_at(&call.kind.table, namespace, token.revision).map_err(|_| {
                    Failure::expired(
                        "The provided continue parameter is too old to display a consistent list result. You can \
                         start a new list without the continue parameter.",
                    )
                })?;
                (objects, token.revision)
            }
            None => self.list_from(call, namespace, options)?,
        };
        if let Some(token) = &token {
            objects.retain(|o| position(&o.value) > token.after);
        }
        let selective = !labels.is_empty() || !fields.is_empty();
        let mut items = Vec::new();
        let mut next = None;
        let total = objects.len();
        for (index, stored) in objects.iter().enumerate() {
            if !labels.matches(&stored.value)
                || fields
                    .name()
                    .is_some_and(|n| stored.value["metadata"]["name"] != n)
            {
                continue;
            }
            if options.limit > 0 && items.len() == options.limit {
                next = Some(index);
                break;
            }
            let object = self.read(&call.kind, stored).await?;
            if fields.matches(&object) {
                items.push(object);
            }
        }
        let (token, remaining) =
            match next.and_then(|index| objects.get(index.checked_sub(1)?).map(|o| (index, o))) {
                Some((index, last)) => {
                    let token = Token {
                        revision,
                        after: position(&last.value),
                    };
                    (token.encode(), (!selective).then_some(total - index))
                }
                None => (String::new(), None),
            };
        Ok(Listed {
            items,
            revision,
            token,
            remaining,
        })
    }

    fn list_from(
        &self,
        call: &Call,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<(Vec<Stored>, u64), Failure> {
        let newest = self.store.revision();
        let wanted = parse_revision(&options.revision)?;
        if wanted > newest {
            return Err(too_large(wanted, newest));
        }
        if options.revision_match == "Exact" && wanted > 0 {
            let objects = self
                .store
                .list_at(&call.kind.table, namespace, wanted)
                .map_err(|c| {
                    Failure::expired(format!("too old resource version: {wanted} ({})", c.oldest))
                })?;
            return Ok((objects, wanted));
        }
        Ok(self.store.list(&call.kind.table, namespace))
    }
}

/// A `resourceVersion` parameter; empty is 0.
pub(crate) fn parse_revision(text: &str) -> Result<u64, Failure> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Failure::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))
    })
}

fn too_large(wanted: u64, newest: u64) -> Failure {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {newest}");
    Failure::new(504, "Timeout", message).detailed(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }))
}

type Position = (String, String);

fn position(value: &Value) -> Position {
    let text = |key: &str| value["metadata"][key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// A `continue` token: the revision of the first page and the last object seen.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    revision: u64,
    after: Position,
}

impl Token {
    fn encode(&self) -> String {
        let text = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": [self.after.0, self.after.1]});
        URL_SAFE_NO_PAD.encode(text.to_string())
    }

    fn decode(text: &str) -> Result<Self, Failure> {
        let value: Option<Value> = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        value
            .and_then(|v| {
                let part = |i: usize| Some(v["start"][i].as_str()?.to_owned());
                Some(Self {
                    revision: v["rv"].as_u64()?,
                    after: (part(0)?, part(1)?),
                })
            })
            .ok_or_else(|| {
                Failure::bad_request(
                    "invalid continue token: continue key is not valid: it is no token of this server",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        let token = Token {
            revision: 7,
            after: ("a".to_owned(), "b".to_owned()),
        };
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        assert_eq!(Token::decode("x").unwrap_err().code, 400);
    }

    #[test]
    fn revisions() {
        assert_eq!(parse_revision("").unwrap(), 0);
        assert_eq!(parse_revision("12").unwrap(), 12);
        assert_eq!(parse_revision("x").unwrap_err().code, 400);
    }
}
