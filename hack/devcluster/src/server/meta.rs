//! ObjectMeta: names, labels, and the fields clients cannot choose.
//!
//! Owns: the rules every type shares. Promises: pure, except for the random part of generated names. Never: knows a
//! type.

use serde_json::{Map, Value, json};

use super::call::Call;
use super::decode::metadata;
use super::status::Failure;
use crate::kinds::{Kind, NameRule};
use crate::schema::FieldError;
use crate::schema::error::ErrorKind;

/// Puts the namespace and name of the path into the body, or refuses another one.
pub(crate) fn place(call: &Call, object: &mut Value) -> Result<(), Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request(
            "the object provided is unrecognized: it is no JSON object",
        ));
    }
    if !object["metadata"].is_object() && !object["metadata"].is_null() {
        return Ok(()); // refused with its type
    }
    let fields = metadata(object);
    let text = |fields: &Map<String, Value>, key: &str| {
        fields
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let namespace = text(fields, "namespace");
    if call.kind.namespaced {
        if namespace.is_empty() {
            fields.insert("namespace".to_owned(), json!(call.namespace));
        } else if namespace != call.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    } else {
        fields.shift_remove("namespace");
    }
    let name = text(fields, "name");
    if name.is_empty() && !call.name.is_empty() {
        fields.insert("name".to_owned(), json!(call.name));
    } else if !call.name.is_empty() && name != call.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    Ok(())
}

/// A name from `generateName`: the prefix and five characters that spell no words.
pub(crate) fn generated_name(prefix: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    let suffix: String = random.as_bytes()[..5]
        .iter()
        .map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()]))
        .collect();
    let prefix: String = prefix.chars().take(58).collect();
    format!("{prefix}{suffix}")
}

/// A changed object must be the one that was there. A PUT (`replaced`) names it as a precondition.
pub(crate) fn same_uid(call: &Call, old: &Value, new: &Value, replaced: bool) -> Result<(), Failure> {
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let current = old["metadata"]["uid"].as_str().unwrap_or_default();
    if uid.is_empty() || uid == current {
        return Ok(());
    }
    if !replaced {
        let error = FieldError::invalid("metadata.uid", &json!(uid), "field is immutable");
        return Err(Failure::invalid(&call.kind, &call.name, &[error]));
    }
    let kind = &call.kind;
    let place = if kind.custom.is_some() {
        format!("{}/{}", kind.group, kind.plural)
    } else {
        kind.plural.clone()
    };
    let namespace = if call.namespace.is_empty() {
        String::new()
    } else {
        format!("{}/", call.namespace)
    };
    let detail = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{place}/{namespace}{}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {current}",
        call.name
    );
    Err(Failure::conflict(kind, &call.name, &detail))
}

/// Restores what only the server writes.
pub(crate) fn keep_system_fields(old: &Value, new: &mut Value) {
    let fields = metadata(new);
    for key in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ] {
        match old["metadata"].get(key) {
            Some(value) => fields.insert(key.to_owned(), value.clone()),
            None => fields.shift_remove(key),
        };
    }
    fields.shift_remove("selfLink");
}

/// Mistakes in the metadata of a new or changed object.
pub(crate) fn check(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let meta = &object["metadata"];
    let mut errors = Vec::new();
    match meta["name"].as_str() {
        None | Some("") => errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        )),
        Some(name) => {
            for problem in name_problems(name, kind.names) {
                errors.push(FieldError::invalid("metadata.name", &meta["name"], problem));
            }
        }
    }
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        if !is_qualified(key) {
            errors.push(FieldError::invalid("metadata.labels", &json!(key), QUALIFIED));
        }
        if let Some(text) = value.as_str()
            && !is_label_value(text)
        {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in meta["annotations"].as_object().into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if !is_qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &json!(key),
                QUALIFIED,
            ));
        }
    }
    if size > 256 * 1024 {
        errors.push(FieldError::new(
            ErrorKind::TooLong,
            "metadata.annotations",
            None,
            "may not be more than 262144 bytes",
        ));
    }
    for (index, owner) in meta["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if owner[key].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{key}");
                errors.push(FieldError::invalid(
                    &field,
                    &json!(""),
                    format!("{key} must not be empty"),
                ));
            }
        }
    }
    let controllers: Vec<&Value> = meta["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|owner| owner["controller"] == true)
        .collect();
    if let [first, second, ..] = controllers.as_slice() {
        let name = |owner: &Value| owner["name"].as_str().unwrap_or_default().to_owned();
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            &meta["ownerReferences"],
            format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                name(first),
                name(second)
            ),
        ));
    }
    for finalizer in meta["finalizers"].as_array().into_iter().flatten() {
        let text = finalizer.as_str().unwrap_or_default();
        if !is_qualified(text) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, QUALIFIED));
        }
    }
    errors
}

/// Mistakes in how the metadata changed.
pub(crate) fn check_update(old: &Value, new: &Value) -> Vec<FieldError> {
    if old["metadata"]["deletionTimestamp"].is_null() {
        return Vec::new();
    }
    let list = |object: &Value| -> Vec<String> {
        let finalizers = object["metadata"]["finalizers"].as_array();
        finalizers
            .into_iter()
            .flatten()
            .filter_map(|f| f.as_str().map(str::to_owned))
            .collect()
    };
    let before = list(old);
    let added: Vec<String> = list(new).into_iter().filter(|f| !before.contains(f)).collect();
    if added.is_empty() {
        return Vec::new();
    }
    let shown: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
    vec![FieldError::new(
        ErrorKind::Forbidden,
        "metadata.finalizers",
        None,
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            shown.join(", ")
        ),
    )]
}

/// Members in the order kube-apiserver prints them.
pub(crate) fn order(object: &mut Value) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    let mut sorted = Map::new();
    for key in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = members.shift_remove(key) {
            sorted.insert(key.to_owned(), value);
        }
    }
    let status = members.shift_remove("status");
    sorted.append(members);
    if let Some(status) = status {
        sorted.insert("status".to_owned(), status);
    }
    if let Some(Value::Object(meta)) = sorted.get_mut("metadata") {
        for key in ["labels", "annotations"] {
            if meta
                .get(key)
                .and_then(Value::as_object)
                .is_some_and(Map::is_empty)
            {
                meta.shift_remove(key);
            }
        }
        for key in ["finalizers", "ownerReferences", "managedFields"] {
            if meta.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
                meta.shift_remove(key);
            }
        }
        meta.sort_keys();
    }
    *members = sorted;
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
    an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with a name.
pub(crate) fn name_problems(name: &str, rule: NameRule) -> Vec<String> {
    let longest = if rule == NameRule::Subdomain { 253 } else { 63 };
    let mut problems = Vec::new();
    if rule != NameRule::Path && name.len() > longest {
        problems.push(format!("must be no more than {longest} characters"));
    }
    let (sound, text) = match rule {
        NameRule::Subdomain => (name.split('.').all(is_label), SUBDOMAIN),
        NameRule::Label => (is_label(name), LABEL),
        NameRule::Path => (
            !matches!(name, "." | "..") && !name.contains(['/', '%']),
            "may not be '.', '..' or contain '/' or '%'",
        ),
    };
    if !sound {
        problems.push(text.to_owned());
    }
    problems
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(is_label))
        && !name.is_empty()
        && is_label_value(name)
}

pub(crate) fn is_label_value(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && edge(text.bytes().next())
        && edge(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let rows = [
            ("a.b-c", NameRule::Subdomain, true),
            ("A", NameRule::Subdomain, false),
            ("a_b", NameRule::Subdomain, false),
            ("a..b", NameRule::Subdomain, false),
            ("a.b", NameRule::Label, false),
            ("1a", NameRule::Label, true),
            ("system:x", NameRule::Path, true),
            ("a/b", NameRule::Path, false),
        ];
        for (name, rule, sound) in rows {
            assert_eq!(name_problems(name, rule).is_empty(), sound, "{name} {rule:?}");
        }
    }

    #[test]
    fn labels() {
        assert!(is_qualified("app.kubernetes.io/name") && is_qualified("a_b.c"));
        assert!(!is_qualified("a/b/c") && !is_qualified("-a") && !is_qualified(""));
        assert!(is_label_value("") && !is_label_value("a b"));
    }

    #[test]
    fn generated_names_are_labels() {
        let name = generated_name("x-");
        assert_eq!(name.len(), 7);
        assert!(name_problems(&name, NameRule::Label).is_empty(), "{name}");
    }

    #[test]
    fn finalizers_cannot_be_added_to_what_is_going() {
        let old = json!({"metadata": {"deletionTimestamp": "t", "finalizers": ["a"]}});
        assert!(check_update(&old, &json!({"metadata": {}})).is_empty());
        let errors = check_update(&old, &json!({"metadata": {"finalizers": ["a", "b"]}}));
        assert!(
            errors[0]
                .to_string()
                .ends_with("found new finalizers []string{\"b\"}")
        );
    }
}
