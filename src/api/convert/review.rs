//! `ConversionReview` (apiextensions.k8s.io/v1): a whole request to a whole answer.
//!
//! I promise the API server's terms: the uid echoed, as many objects as were sent, in their order; a refusal is said
//! inside the answer and names the object. I never answer with half a list.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::{ConvertError, convert};

/// Answers a decoded `ConversionReview`.
pub fn review(review: Value) -> Value {
    let mut request = match review {
        Value::Object(mut review) => match review.shift_remove("request") {
            Some(Value::Object(request)) => request,
            Some(_) | None => return failure("", "request: found none; expected a ConversionReview request"),
        },
        _ => return failure("", "found no object; expected a ConversionReview"),
    };
    let uid = match request.shift_remove("uid") {
        Some(Value::String(uid)) => uid,
        Some(_) | None => String::new(),
    };
    let Some(Value::String(to)) = request.shift_remove("desiredAPIVersion") else {
        return failure(
            &uid,
            "request.desiredAPIVersion: found none; expected a version such as flagger.app/v1beta1",
        );
    };
    let objects = match request.shift_remove("objects") {
        Some(Value::Array(objects)) => objects,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return failure(&uid, "request.objects: found no list; expected a list of objects"),
    };
    match objects
        .into_iter()
        .map(|object| convert(object, &to))
        .collect::<Result<Vec<_>, _>>()
    {
        Ok(converted) => answer(json!({
            "uid": uid,
            "result": {"status": "Success"},
            "convertedObjects": converted,
        })),
        Err(error) => failure(&uid, &error.to_string()),
    }
}

fn answer(response: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "response": response,
    })
}

fn failure(uid: &str, message: &str) -> Value {
    answer(json!({"uid": uid, "result": {"status": "Failure", "message": message}, "convertedObjects": []}))
}

/// Answers a `ConversionReview` as it came over the wire.
///
/// Objects are converted and printed one by one as they are read, so a review of ten thousand holds one object tree
/// at a time. The answer equals what [`review`] gives.
pub fn review_bytes(body: &[u8]) -> Vec<u8> {
    let mut streamed = Streamed::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Envelope(&mut streamed, body.len())
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    let response = match (read, streamed.outcome) {
        (Err(error), _) => failure(&streamed.uid, &format!("the review cannot be read: {error}")),
        (Ok(()), Outcome::Converted(objects)) => {
            let uid = Value::String(streamed.uid).to_string();
            let mut out = Vec::with_capacity(objects.len() + 256);
            out.extend_from_slice(
                br#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","response":{"uid":"#,
            );
            out.extend_from_slice(uid.as_bytes());
            out.extend_from_slice(br#","result":{"status":"Success"},"convertedObjects":["#);
            out.extend_from_slice(&objects);
            out.extend_from_slice(b"]}}");
            return out;
        }
        (Ok(()), Outcome::Refused(error)) => failure(&streamed.uid, &error.to_string()),
        // Not in the order Go prints a review in: read it as a whole.
        (Ok(()), Outcome::OutOfOrder) => match serde_json::from_slice(body) {
            Ok(value) => review(value),
            Err(error) => failure(&streamed.uid, &format!("the review cannot be read: {error}")),
        },
    };
    response.to_string().into_bytes()
}

/// What has been read of a review.
#[derive(Default)]
struct Streamed {
    uid: String,
    to: Option<String>,
    outcome: Outcome,
}

/// What became of the objects.
#[derive(Default)]
enum Outcome {
    /// Printed, with commas between them.
    Converted(Vec<u8>),
    /// One could not be converted.
    Refused(ConvertError),
    /// The objects came before the wanted version, or the review has another shape.
    #[default]
    OutOfOrder,
}

/// Reads the review object.
struct Envelope<'a>(&'a mut Streamed, usize);

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ConversionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "request" {
                map.next_value_seed(Request(self.0, self.1))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Reads the request.
struct Request<'a>(&'a mut Streamed, usize);

impl<'de> DeserializeSeed<'de> for Request<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Request<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ConversionReview request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), self.0.to.as_deref()) {
                ("uid", _) => self.0.uid = map.next_value()?,
                ("desiredAPIVersion", _) => self.0.to = Some(map.next_value()?),
                ("objects", Some(to)) => self.0.outcome = map.next_value_seed(Objects(to, self.1))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Converts the objects as they are read.
struct Objects<'a>(&'a str, usize);

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = Outcome;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Outcome, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = Outcome;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Outcome, A::Error> {
        let mut out = Vec::with_capacity(self.1 + self.1 / 8);
        while let Some(object) = seq.next_element::<Value>()? {
            match convert(object, self.0) {
                Ok(converted) => {
                    if !out.is_empty() {
                        out.push(b',');
                    }
                    serde_json::to_writer(&mut out, &converted).map_err(serde::de::Error::custom)?;
                }
                Err(error) => {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Outcome::Refused(error));
                }
            }
        }
        Ok(Outcome::Converted(out))
    }
}
