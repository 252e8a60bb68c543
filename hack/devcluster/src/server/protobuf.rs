//! Bodies in `application/vnd.kubernetes.protobuf`: what `kubectl create` sends for built-in types.
//!
//! Owns: the envelope and the wire format. The messages are a table, `protobuf.tsv`: a message a line, its fields
//! as `number:name:type`, facts of the protobuf and json tags of k8s.io/api. In a type, `*` is an optional field
//! (its zero value counts), `[` a list, `{` a map with text keys, `!` one that is shown even when empty; a field
//! without a name is inlined into its parent.
//! Promises: the JSON that encoding/json would write, for JSON bodies too ([`drop_empty`]). Never: answers in
//! protobuf.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Magic number in front of every body.
const MAGIC: &[u8] = b"k8s\0";

/// Messages in messages, at most.
const DEPTH: usize = 64;

struct Field {
    name: &'static str,
    kind: &'static str,
    optional: bool,
    /// Shown when empty.
    kept: bool,
}

static MESSAGES: LazyLock<HashMap<&'static str, HashMap<u64, Field>>> = LazyLock::new(|| {
    let line = |line: &'static str| {
        let (message, fields) = line.split_once('\t')?;
        let fields = fields.split(' ').filter_map(|field| {
            let mut parts = field.splitn(3, ':');
            let (number, name, kind) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
            let bare = kind.trim_start_matches(['*', '!']);
            Some((
                number,
                Field {
                    name,
                    kind: bare,
                    optional: kind.starts_with('*'),
                    kept: kind.contains('!'),
                },
            ))
        });
        Some((message, fields.collect()))
    };
    include_str!("protobuf.tsv").lines().filter_map(line).collect()
});

/// The object in a body; the error says what is wrong with it.
pub(crate) fn decode(body: &[u8]) -> Result<Value, String> {
    let body = body
        .strip_prefix(MAGIC)
        .ok_or("provided data does not appear to be a protobuf message")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &body[..0]);
    for (number, wire) in Wire(body).fields()? {
        match (number, wire) {
            (1, Item::Bytes(meta)) => {
                for (number, wire) in Wire(meta).fields()? {
                    match (number, wire) {
                        (1, Item::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Item::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = crate::kinds::split_api_version(&api_version);
    let message = message_of(group, version, &kind)
        .ok_or_else(|| format!("no protobuf message of kind {kind:?} in version {api_version:?}"))?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    fill(&mut object, &message, raw, DEPTH)?;
    Ok(Value::Object(object))
}

/// The message of a kind, if the table has it.
fn message_of(group: &str, version: &str, kind: &str) -> Option<String> {
    let group = if group.is_empty() {
        "core"
    } else {
        group.split('.').next().unwrap_or_default()
    };
    let name = format!("{group}.{version}.{kind}");
    let meta = format!("meta.{kind}");
    [name, meta]
        .into_iter()
        .find(|m| MESSAGES.contains_key(m.as_str()))
}

/// Removes the empty lists and maps of a built-in object that Go leaves out.
pub(crate) fn drop_empty(group: &str, version: &str, kind: &str, object: &mut Value) {
    if let Some(message) = message_of(group, version, kind) {
        drop_empty_in(&message, object, DEPTH);
    }
}

fn drop_empty_in(message: &str, object: &mut Value, depth: usize) {
    let (Some(members), Some(depth)) = (object.as_object_mut(), depth.checked_sub(1)) else {
        return;
    };
    members.retain(|key, value| {
        let Some(field) = field_named(message, key) else {
            return true;
        };
        let element = field.kind.trim_start_matches(['[', '{']);
        let collection = element.len() != field.kind.len();
        match value {
            Value::Array(items) if collection => {
                for item in items.iter_mut() {
                    drop_empty_in(element, item, depth);
                }
                field.kept || !items.is_empty()
            }
            Value::Object(entries) if collection => {
                for entry in entries.values_mut() {
                    drop_empty_in(element, entry, depth);
                }
                field.kept || !entries.is_empty()
            }
            other => {
                drop_empty_in(element, other, depth);
                true
            }
        }
    });
}

/// A field by its JSON name, also of inlined messages.
fn field_named(message: &str, name: &str) -> Option<&'static Field> {
    let fields = MESSAGES.get(message)?;
    let inlined = || {
        fields
            .values()
            .filter(|f| f.name.is_empty())
            .find_map(|f| field_named(f.kind, name))
    };
    fields.values().find(|f| f.name == name).or_else(inlined)
}

/// Decodes a message's fields into `object`.
fn fill(object: &mut Map<String, Value>, message: &str, bytes: &[u8], depth: usize) -> Result<(), String> {
    let depth = depth.checked_sub(1).ok_or("messages are nested too deeply")?;
    let fields = MESSAGES
        .get(message)
        .ok_or_else(|| format!("unknown protobuf message {message}"))?;
    for (number, item) in Wire(bytes).fields()? {
        let Some(field) = fields.get(&number) else {
            continue;
        };
        if field.name.is_empty() {
            if let Item::Bytes(inner) = item {
                fill(object, field.kind, inner, depth)?;
            }
        } else if let Some(element) = field.kind.strip_prefix('[') {
            let value = value(element, &item, depth)?;
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value);
            }
        } else if let (Some(element), Item::Bytes(entry)) = (field.kind.strip_prefix('{'), &item) {
            let (mut key, mut held) = (String::new(), Value::Null);
            for (number, item) in Wire(entry).fields()? {
                match (number, &item) {
                    (1, Item::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                    (2, _) => held = value(element, &item, depth)?,
                    _ => {}
                }
            }
            let map = object.entry(field.name).or_insert_with(|| json!({}));
            map[key.as_str()] = held;
        } else {
            let value = value(field.kind, &item, depth)?;
            let zero = value.is_null() || value == "" || value == 0 || value == false;
            if field.optional && !value.is_null() || !zero {
                object.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn value(kind: &str, item: &Item<'_>, depth: usize) -> Result<Value, String> {
    match (kind, item) {
        ("string", Item::Bytes(bytes)) => Ok(json!(
            std::str::from_utf8(bytes).map_err(|e| format!("text is not UTF-8: {e}"))?
        )),
        ("bytes", Item::Bytes(bytes)) => Ok(json!(STANDARD.encode(bytes))),
        ("int" | "duration", Item::Number(n)) => Ok(json!(n.cast_signed())),
        ("bool", Item::Number(n)) => Ok(json!(*n != 0)),
        ("double", Item::Number(n)) => Ok(json!(f64::from_bits(*n))),
        ("time", Item::Bytes(bytes)) => time(bytes),
        ("intstr", Item::Bytes(bytes)) => {
            let (mut is_text, mut number, mut text) = (false, 0, json!(""));
            for (field, item) in Wire(bytes).fields()? {
                match (field, &item) {
                    (1, Item::Number(n)) => is_text = *n == 1,
                    (2, Item::Number(n)) => number = n.cast_signed(),
                    (3, _) => text = value("string", &item, depth)?,
                    _ => {}
                }
            }
            Ok(if is_text { text } else { json!(number) })
        }
        ("quantity" | "raw", Item::Bytes(bytes)) => {
            let inner = Wire(bytes).fields()?.into_iter().find(|(number, _)| *number == 1);
            match inner {
                Some((_, item)) if kind == "quantity" => value("string", &item, depth),
                Some((_, Item::Bytes(raw))) => {
                    serde_json::from_slice(raw).map_err(|e| format!("embedded JSON: {e}"))
                }
                _ => Ok(Value::Null),
            }
        }
        (message, Item::Bytes(bytes)) if MESSAGES.contains_key(message) => {
            let mut object = Map::new();
            fill(&mut object, message, bytes, depth)?;
            Ok(Value::Object(object))
        }
        (_, Item::Bytes(_) | Item::Number(_)) => Err(format!("wrong wire type for {kind}")),
    }
}

/// RFC 3339, or null for the zero time.
fn time(bytes: &[u8]) -> Result<Value, String> {
    let (mut seconds, mut nanos) = (0, 0);
    for (field, item) in Wire(bytes).fields()? {
        match (field, item) {
            (1, Item::Number(n)) => seconds = n.cast_signed(),
            (2, Item::Number(n)) => nanos = i32::try_from(n).unwrap_or(0),
            _ => {}
        }
    }
    if seconds == 0 {
        return Ok(Value::Null);
    }
    let at = jiff::Timestamp::new(seconds, nanos).map_err(|e| format!("time: {e}"))?;
    let format = if nanos == 0 {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    };
    Ok(json!(at.strftime(format).to_string()))
}

/// One value on the wire.
enum Item<'a> {
    /// Varints and fixed-size numbers.
    Number(u64),
    /// Texts, bytes, messages.
    Bytes(&'a [u8]),
}

/// An encoded message.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// Field numbers and values, in order.
    fn fields(mut self) -> Result<Vec<(u64, Item<'a>)>, String> {
        let mut fields = Vec::new();
        while !self.0.is_empty() {
            let tag = self.varint()?;
            let item = match tag & 7 {
                0 => Item::Number(self.varint()?),
                1 => Item::Number(u64::from_le_bytes(self.fixed::<8>()?)),
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|e| e.to_string())?;
                    Item::Bytes(self.take(length)?)
                }
                5 => Item::Number(u64::from(u32::from_le_bytes(self.fixed::<4>()?))),
                other => return Err(format!("unknown wire type {other}")),
            };
            fields.push((tag >> 3, item));
        }
        Ok(fields)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("unexpected end of data")?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?
            .try_into()
            .map_err(|_| "unexpected end of data".to_owned())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `field` with a length-delimited value.
    fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [message(1, api_version.as_bytes()), message(2, kind.as_bytes())].concat();
        [
            MAGIC.to_vec(),
            message(1, &meta),
            message(2, raw),
            message(3, b""),
            message(4, b""),
        ]
        .concat()
    }

    #[test]
    fn a_namespace_as_kubectl_sends_it() {
        let meta = [
            message(1, b"foo"),
            message(2, b""),
            vec![0x38, 0],
            message(8, b""),
        ]
        .concat();
        let raw = [message(1, &meta), message(2, b""), message(3, &message(1, b""))].concat();
        let object = decode(&body("v1", "Namespace", &raw)).unwrap();
        let expected = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}, "spec": {}, "status": {}});
        assert_eq!(object, expected);
    }

    #[test]
    fn numbers_maps_and_choices() {
        let labels = message(11, &[message(1, b"a"), message(2, b"b")].concat());
        let rolling = message(1, &[vec![0x08, 1], message(3, b"25%")].concat());
        let strategy = message(4, &[message(1, b"RollingUpdate"), message(2, &rolling)].concat());
        let spec = [vec![0x08, 0, 0x28, 0], strategy].concat();
        let object = decode(&body(
            "apps/v1",
            "Deployment",
            &[message(1, &labels), message(2, &spec)].concat(),
        ))
        .unwrap();
        assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(object["spec"]["replicas"], 0, "an optional zero counts");
        assert_eq!(object["spec"].get("minReadySeconds"), None);
        assert_eq!(
            object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
            "25%"
        );
    }

    #[test]
    fn refusals() {
        assert!(decode(b"{}").unwrap_err().contains("does not appear"));
        assert!(
            decode(&body("v1", "Nothing", b""))
                .unwrap_err()
                .contains("no protobuf message")
        );
        assert!(
            decode(&body("v1", "Namespace", &[0x0a, 9]))
                .unwrap_err()
                .contains("unexpected end")
        );
    }

    #[test]
    fn every_type_in_the_table_is_known() {
        let known = [
            "string", "bytes", "int", "duration", "bool", "double", "time", "intstr", "quantity", "raw",
        ];
        for (message, fields) in MESSAGES.iter() {
            for field in fields.values() {
                let element = field.kind.trim_start_matches(['[', '{']);
                assert!(
                    known.contains(&element) || MESSAGES.contains_key(element),
                    "{message}: {element}"
                );
            }
        }
    }

    #[test]
    fn empty_lists_and_maps_are_left_out() {
        let mut object = json!({"metadata": {"labels": {}}, "spec": {"selector": {"matchLabels": {}}, "template": {
            "spec": {"containers": [{"name": "a", "args": [], "resources": {"limits": {}}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "p", "projected": {"sources": []}}]}}}});
        drop_empty("apps", "v1", "Deployment", &mut object);
        let expected = json!({"metadata": {}, "spec": {"selector": {}, "template": {
            "spec": {"containers": [{"name": "a", "resources": {}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "p", "projected": {"sources": []}}]}}}});
        assert_eq!(object, expected);
    }

    proptest! {
        #[test]
        fn never_panics(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&body("apps/v1", "Deployment", &raw));
        }
    }
}
