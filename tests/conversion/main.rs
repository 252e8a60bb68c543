//! Conversion between v1alpha3 and v1beta1: nothing lost, whatever the object holds.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod command;
mod corpus;
mod golden;
mod objects;
mod properties;
mod reviews;
mod rows;
mod server;
mod stash;

use serde_json::{Map, Value};
use verdigris::api::convert::{STASH_ANNOTATION, convert};

const ALPHA: &str = "flagger.app/v1alpha3";
const BETA: &str = "flagger.app/v1beta1";

fn to_beta(object: &Value) -> Value {
    convert(object.clone(), BETA).unwrap()
}

fn to_alpha(object: &Value) -> Value {
    convert(object.clone(), ALPHA).unwrap()
}

/// The stash annotation's text.
fn stash_of(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"].get(STASH_ANNOTATION)?.as_str()
}

/// An object as the API server compares it: without the stash, and with a metadata object.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(map) = &mut object
        && !map.get("metadata").is_some_and(Value::is_object)
    {
        map.insert("metadata".to_owned(), Value::Object(Map::new()));
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata")
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        annotations.shift_remove(STASH_ANNOTATION);
    }
    // A forged or voided stash may be all there is; `stash.rs` tells empty from absent.
    if let Some(Value::Object(metadata)) = object.get_mut("metadata")
        && metadata
            .get("annotations")
            .is_some_and(|annotations| annotations.as_object().is_none_or(Map::is_empty))
    {
        metadata.shift_remove("annotations");
    }
    object
}
