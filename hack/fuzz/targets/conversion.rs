//! Any Canary goes to the other version and comes back, an edit in between is kept, and any bytes get an answer.
//!
//! The first byte chooses the question; the rest breeds the object, as in the property tests.
#![no_main]

#[path = "../../../tests/conversion/objects.rs"]
mod objects;
#[path = "../../../tests/conversion/server.rs"]
mod server;

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use verdigris::api::convert::{STASH_ANNOTATION, convert, review_bytes};

use objects::{Choices, Kind, canary, forged, whatever};

const ALPHA: &str = "flagger.app/v1alpha3";
const BETA: &str = "flagger.app/v1beta1";

fuzz_target!(|bytes: &[u8]| {
    let Some((question, bytes)) = bytes.split_first() else {
        return;
    };
    match question % 5 {
        0 => {
            let object = canary(&mut Choices::new(bytes), Kind::Alpha);
            let over = to(&object, BETA);
            assert_eq!(server::prune(&over), over, "the answer is pruned");
            let back = to(&over, ALPHA);
            assert_eq!(bare(&back), bare(&object));
            assert_eq!(to(&back, BETA).to_string(), over.to_string(), "byte for byte");
            let stored = to(&server::store(&over), ALPHA);
            assert_eq!(server::reprint(&bare(&stored)), server::reprint(&bare(&object)), "out of the store");
        }
        1 => {
            let object = server::prune(&canary(&mut Choices::new(bytes), Kind::Beta));
            let over = to(&object, ALPHA);
            let back = to(&over, BETA);
            assert_eq!(bare(&back), bare(&object));
            assert_eq!(to(&back, ALPHA).to_string(), over.to_string(), "byte for byte");
        }
        2 => {
            let (edits, bytes) = bytes.split_at(bytes.len() / 4);
            let mut over = to(&canary(&mut Choices::new(bytes), Kind::Alpha), BETA);
            edit(&mut over["spec"], &mut Choices::new(edits));
            let over = server::prune(&over);
            assert_eq!(bare(&to(&to(&over, ALPHA), BETA)), bare(&over), "an edit is kept");
        }
        3 => {
            let mut choices = Choices::new(bytes);
            let text = forged(&mut choices);
            let mut object = canary(&mut choices, Kind::Alpha);
            object["metadata"] = serde_json::json!({"name": "a", "annotations": {STASH_ANNOTATION: text}});
            let over = to(&object, BETA);
            assert_eq!(over["metadata"]["name"], "a");
            assert_eq!(over["kind"], "Canary");
        }
        _ => {
            let reviewed = review_bytes(bytes);
            let answer: Value = serde_json::from_slice(&reviewed.answer).expect("the answer is JSON");
            assert_eq!(answer["response"]["uid"], reviewed.uid.as_str());
            let status = if reviewed.failure.is_some() { "Failure" } else { "Success" };
            assert_eq!(answer["response"]["result"]["status"], status);
        }
    }
});

fn to(object: &Value, version: &str) -> Value {
    convert(object.clone(), version).expect("a Canary is converted")
}

/// One edit somewhere below `place`.
fn edit(place: &mut Value, choices: &mut Choices) {
    let stop = choices.below(4) == 3;
    match place {
        Value::Object(map) if !map.is_empty() && !stop => {
            let nth = choices.below(map.len());
            if let Some((_, member)) = map.iter_mut().nth(nth) {
                edit(member, choices);
            }
        }
        Value::Array(items) if !items.is_empty() && !stop => {
            let nth = choices.below(items.len());
            edit(&mut items[nth], choices);
        }
        _ => *place = whatever(choices, 2),
    }
}

/// An object as the API server compares it: without the stash, with a metadata object.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.shift_remove(STASH_ANNOTATION);
        }
        if metadata.get("annotations").is_some_and(|all| all.as_object().is_none_or(Map::is_empty)) {
            metadata.shift_remove("annotations");
        }
    }
    object
}
