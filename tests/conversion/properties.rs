//! What holds for every object, on raw JSON.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};
use verdigris::api::convert::{STASH_ANNOTATION, convert, review, review_bytes};

use crate::objects::{Choices, Kind, canary, forged, whatever};
use crate::{ALPHA, BETA, bare, server, stash_of, to_alpha, to_beta};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // Eight at a time: proptest pays per element.
    vec(any::<u64>(), 0..24).prop_map(|words| words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

fn alpha(bytes: &[u8]) -> Value {
    canary(&mut Choices::new(bytes), Kind::Alpha)
}

fn beta(bytes: &[u8]) -> Value {
    server::prune(&canary(&mut Choices::new(bytes), Kind::Beta))
}

/// A place in a value, and what is put there.
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
            let index = choices.below(items.len());
            match choices.below(6) {
                4 => items.insert(index, json!({"name": "request-success-rate", "threshold": 7})),
                5 => drop(items.remove(index)),
                _ => edit(&mut items[index], choices),
            }
        }
        _ => *place = whatever(choices, 2),
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn alpha_goes_over_and_comes_back(bytes in bytes()) {
        let object = alpha(&bytes);
        let over = to_beta(&object);
        prop_assert_eq!(&server::prune(&over), &over, "the answer is pruned");
        let back = to_alpha(&over);
        prop_assert_eq!(bare(&back), bare(&object));
        prop_assert_eq!(to_beta(&back), over, "the second conversion writes what the first did");
    }

    #[test]
    fn beta_goes_over_and_comes_back(bytes in bytes()) {
        let object = beta(&bytes);
        let over = to_alpha(&object);
        let back = to_beta(&over);
        prop_assert_eq!(bare(&back), bare(&object));
        prop_assert_eq!(to_alpha(&back), over, "the second conversion writes what the first did");
    }

    #[test]
    fn an_edit_in_beta_is_kept(bytes in bytes(), edits in vec(any::<u8>(), 0..24)) {
        let mut over = to_beta(&alpha(&bytes));
        let mut choices = Choices::new(&edits);
        if let Some(spec) = over.get_mut("spec") {
            edit(spec, &mut choices);
        }
        let over = server::prune(&over);
        prop_assert_eq!(bare(&to_beta(&to_alpha(&over))), bare(&over));
    }

    #[test]
    fn an_edit_in_alpha_is_kept(bytes in bytes(), edits in vec(any::<u8>(), 0..24)) {
        let mut over = to_alpha(&beta(&bytes));
        let mut choices = Choices::new(&edits);
        if let Some(spec) = over.get_mut("spec") {
            edit(spec, &mut choices);
        }
        prop_assert_eq!(bare(&to_alpha(&to_beta(&over))), bare(&over));
    }
}

proptest! {
    #![proptest_config(cases(2_500))]

    #[test]
    fn the_answer_is_always_the_same(bytes in bytes()) {
        let object = alpha(&bytes);
        prop_assert_eq!(to_beta(&object).to_string(), to_beta(&object).to_string());
        let object = beta(&bytes);
        prop_assert_eq!(to_alpha(&object).to_string(), to_alpha(&object).to_string());
    }

    #[test]
    fn an_edit_of_metadata_leaves_the_rest_alone(bytes in bytes()) {
        let object = alpha(&bytes);
        let mut over = to_beta(&object);
        over["metadata"]["labels"] = json!({"team": "a"});
        let back = to_alpha(&over);
        prop_assert_eq!(&back["spec"], &object["spec"]);
        prop_assert_eq!(&back["status"], &object["status"]);
    }

    #[test]
    fn a_forged_or_truncated_stash_reaches_neither_metadata_nor_kind(bytes in bytes(), cut in any::<u16>()) {
        let mut choices = Choices::new(&bytes);
        let text = forged(&mut choices);
        let text = if cut % 3 == 0 { text.chars().take(usize::from(cut) % (text.len() + 1)).collect() } else { text };
        for (kind, to) in [(Kind::Alpha, BETA), (Kind::Beta, ALPHA)] {
            let mut object = canary(&mut choices, kind);
            object["metadata"] = json!({"name": "podinfo", "labels": {"a": "b"}, "annotations": {STASH_ANNOTATION: text}});
            let over = convert(object, to).unwrap();
            prop_assert_eq!(&over["kind"], "Canary");
            prop_assert_eq!(&over["apiVersion"], to);
            prop_assert_eq!(&bare(&over)["metadata"], &json!({"name": "podinfo", "labels": {"a": "b"}}));
        }
    }

    #[test]
    fn nothing_is_lost_in_the_store(bytes in bytes()) {
        let object = alpha(&bytes);
        let stored = server::store(&to_beta(&object));
        prop_assert_eq!(server::reprint(&bare(&to_alpha(&stored))), server::reprint(&bare(&object)));
    }

    #[test]
    fn a_batch_equals_its_singles(bytes in vec(bytes(), 0..6), to_latest in any::<bool>()) {
        let to = if to_latest { BETA } else { ALPHA };
        let objects: Vec<Value> = bytes
            .iter()
            .enumerate()
            .map(|(index, bytes)| if index % 2 == 0 { alpha(bytes) } else { beta(bytes) })
            .collect();
        let singles: Vec<Value> = objects.iter().map(|object| convert(object.clone(), to).unwrap()).collect();
        let request = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {"uid": "7f", "desiredAPIVersion": to, "objects": objects},
        });
        let answer = review(request.clone());
        prop_assert_eq!(&answer["response"]["convertedObjects"], &Value::Array(singles));
        let streamed: Value = serde_json::from_slice(&review_bytes(request.to_string().as_bytes()).answer).unwrap();
        prop_assert_eq!(streamed, answer);
    }

    #[test]
    fn any_json_is_answered(bytes in bytes()) {
        let mut choices = Choices::new(&bytes);
        let mut object = whatever(&mut choices, 5);
        for to in [ALPHA, BETA, "flagger.app/v9", ""] {
            let _ = convert(object.clone(), to);
        }
        if let Value::Object(map) = &mut object {
            map.insert("apiVersion".to_owned(), json!(ALPHA));
            map.insert("kind".to_owned(), json!("Canary"));
            let over = to_beta(&object);
            prop_assert!(over["metadata"].is_object());
            prop_assert_eq!(bare(&to_alpha(&over)), bare(&object));
        }
    }
}

#[test]
fn the_generator_reaches_both_the_short_and_the_long_way() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut with, mut without) = (0, 0);
    for _ in 0..500 {
        let bytes = bytes().new_tree(&mut runner).unwrap().current();
        if stash_of(&to_beta(&alpha(&bytes))).is_some() {
            with += 1;
        } else {
            without += 1;
        }
    }
    assert!(
        with > 50 && without > 50,
        "{with} with a stash, {without} without"
    );
}
