//! `ConversionReview` (apiextensions.k8s.io/v1): a whole request to a whole answer.
//!
//! I promise the API server's terms: the uid echoed, as many objects as were sent, in their order; a refusal is said
//! inside the answer and names the object. I never answer with half a list.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::{ConvertError, Stash, convert, convert_noting};

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
    let converted: Result<Vec<Value>, ConvertError> =
        objects.into_iter().map(|object| convert(object, &to)).collect();
    match converted {
        Ok(converted) => answer([
            ("uid".to_owned(), Value::String(uid)),
            ("result".to_owned(), json!({"status": "Success"})),
            ("convertedObjects".to_owned(), Value::Array(converted)),
        ]),
        Err(error) => failure(&uid, &error.to_string()),
    }
}

/// The review around a response. (`json!` would copy the objects.)
fn answer<const N: usize>(response: [(String, Value); N]) -> Value {
    let mut review = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"});
    review["response"] = Value::Object(response.into_iter().collect());
    review
}

fn failure(uid: &str, message: &str) -> Value {
    answer([
        ("uid".to_owned(), Value::String(uid.to_owned())),
        (
            "result".to_owned(),
            json!({"status": "Failure", "message": message}),
        ),
        ("convertedObjects".to_owned(), Value::Array(Vec::new())),
    ])
}

/// The answer to a `ConversionReview` that came over the wire, and what a log or a metric wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The answer, printed.
    pub answer: Vec<u8>,
    /// `request.uid`; empty when it could not be read.
    pub uid: String,
    /// `request.desiredAPIVersion`; empty when it could not be read.
    pub to: String,
    /// `apiVersion` of the first object; empty without one.
    pub from: String,
    /// Number of objects converted.
    pub objects: u64,
    /// Number of objects whose stash was too large to be kept.
    pub stashes_dropped: u64,
    /// Why the review failed, when it did.
    pub failure: Option<String>,
}

/// Answers a `ConversionReview` as it came over the wire.
///
/// Objects are converted and printed one by one as they are read, so a review of ten thousand holds one object tree
/// at a time. The answer equals what [`review`] gives.
pub fn review_bytes(body: &[u8]) -> Reviewed {
    let mut streamed = Streamed::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Envelope(&mut streamed, body.len())
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    let Streamed { uid, to, outcome, .. } = streamed;
    let mut reviewed = Reviewed {
        answer: Vec::new(),
        uid,
        to: to.unwrap_or_default(),
        from: streamed.from,
        objects: streamed.objects,
        stashes_dropped: streamed.stashes_dropped,
        failure: None,
    };
    match (read, outcome) {
        (Err(error), _) => reviewed.fail(format!("the review cannot be read: {error}")),
        (Ok(()), Outcome::Refused(error)) => reviewed.fail(error.to_string()),
        (Ok(()), Outcome::Converted(objects)) => {
            let uid = Value::String(reviewed.uid.clone()).to_string();
            let answer = &mut reviewed.answer;
            answer.reserve_exact(objects.len() + uid.len() + 160);
            answer
                .extend_from_slice(br#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","#);
            answer.extend_from_slice(br#""response":{"uid":"#);
            answer.extend_from_slice(uid.as_bytes());
            answer.extend_from_slice(br#","result":{"status":"Success"},"convertedObjects":["#);
            answer.extend_from_slice(&objects);
            answer.extend_from_slice(b"]}}");
        }
        // Not in the order Go prints a review in: read it as a whole.
        (Ok(()), Outcome::OutOfOrder) => match serde_json::from_slice::<Value>(body) {
            Ok(whole) => {
                reviewed.from = version_of(&whole["request"]["objects"][0]);
                let answer = review(whole);
                let failure = answer.pointer("/response/result/message").and_then(Value::as_str);
                reviewed.failure = failure.map(str::to_owned);
                let objects = answer
                    .pointer("/response/convertedObjects")
                    .and_then(Value::as_array);
                reviewed.objects = objects.map_or(0, Vec::len) as u64;
                reviewed.answer = answer.to_string().into_bytes();
            }
            Err(error) => reviewed.fail(format!("the review cannot be read: {error}")),
        },
    }
    reviewed
}

impl Reviewed {
    fn fail(&mut self, message: String) {
        self.answer = failure(&self.uid, &message).to_string().into_bytes();
        self.failure = Some(message);
        self.objects = 0;
    }
}

/// What has been read of a review.
#[derive(Default)]
struct Streamed {
    uid: String,
    to: Option<String>,
    from: String,
    objects: u64,
    stashes_dropped: u64,
    outcome: Outcome,
}

fn version_of(object: &Value) -> String {
    object["apiVersion"].as_str().unwrap_or_default().to_owned()
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
            match key.as_str() {
                "uid" => self.0.uid = map.next_value()?,
                "desiredAPIVersion" => self.0.to = Some(map.next_value()?),
                "objects" if self.0.to.is_some() => map.next_value_seed(Objects(self.0, self.1))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Converts the objects as they are read.
struct Objects<'a>(&'a mut Streamed, usize);

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let to = self.0.to.clone().unwrap_or_default();
        let mut out = Vec::with_capacity(self.1 + self.1 / 8);
        while let Some(object) = seq.next_element::<Value>()? {
            if self.0.from.is_empty() {
                self.0.from = version_of(&object);
            }
            match convert_noting(object, &to) {
                Ok((converted, stash)) => {
                    if !out.is_empty() {
                        out.push(b',');
                    }
                    serde_json::to_writer(&mut out, &converted).map_err(serde::de::Error::custom)?;
                    self.0.objects += 1;
                    self.0.stashes_dropped += u64::from(stash == Stash::TooLarge);
                }
                Err(error) => {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    self.0.outcome = Outcome::Refused(error);
                    return Ok(());
                }
            }
        }
        self.0.outcome = Outcome::Converted(out);
        Ok(())
    }
}
