//! YAML (and JSON, which is YAML) as text with places: what is where, and changing it without touching the rest.
//!
//! I own the spans of documents and nodes. I promise that bytes outside an edit stay. I never guess: an edit whose
//! outcome does not read back as the wanted value is not made.

use std::ops::Range;

use granit_parser::{Event, Parser, StructureStyle};
use serde_json::Value;

/// A document of a stream.
#[derive(Debug)]
pub(super) struct Document {
    /// The bytes that can be read (and replaced) on their own.
    pub(super) region: Range<usize>,
    /// Its root; `None` for an empty document.
    pub(super) root: Option<Node>,
}

/// A node and the bytes it takes.
#[derive(Debug)]
pub(super) struct Node {
    /// From its first byte to the end of its last.
    span: Range<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(StructureStyle, Vec<(Node, Node)>),
    /// An alias, or anything else that stands for a node.
    Other,
}

impl Node {
    /// The key and the value of a member.
    pub(super) fn member(&self, name: &str) -> Option<(&Node, &Node)> {
        let Kind::Mapping(_, members) = &self.kind else {
            return None;
        };
        members
            .iter()
            .find(|(key, _)| matches!(&key.kind, Kind::Scalar(text) if text == name))
            .map(|(key, value)| (key, value))
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.member(name).map(|(_, value)| value)
    }

    /// An element.
    pub(super) fn at(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            Kind::Sequence(items) => items.get(index),
            Kind::Scalar(_) | Kind::Mapping(..) | Kind::Other => None,
        }
    }
}

/// The documents of a stream, in order.
///
/// # Errors
/// The text is not YAML; the message has line and column.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    // Collections under way: where they began, what they hold, and a key that waits for its value.
    let mut open: Vec<(usize, Kind, Option<Node>)> = Vec::new();
    let mut root = None;
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| error.to_string())?;
        let bytes = span.byte_range().unwrap_or_default();
        let node = match event {
            Event::DocumentStart(..) => {
                root = None;
                continue;
            }
            Event::DocumentEnd => {
                let root: Option<Node> = root.take();
                let start = root
                    .as_ref()
                    .map_or(bytes.start, |root| line_start(text, root.span.start));
                documents.push(Document {
                    region: start..bytes.start.max(start),
                    root,
                });
                continue;
            }
            Event::SequenceStart(..) => {
                open.push((bytes.start, Kind::Sequence(Vec::new()), None));
                continue;
            }
            Event::MappingStart(style, ..) => {
                open.push((bytes.start, Kind::Mapping(style, Vec::new()), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((start, kind, _)) => Node {
                    span: start..bytes.end,
                    kind,
                },
                None => continue,
            },
            Event::Scalar(value, ..) => Node {
                span: bytes,
                kind: Kind::Scalar(value.into_owned()),
            },
            Event::Alias(_) => Node {
                span: bytes,
                kind: Kind::Other,
            },
            // Stream marks, comments and other metadata are no nodes. (The enum belongs to the parser.)
            _ => continue,
        };
        match open.last_mut() {
            Some((_, Kind::Sequence(items), _)) => items.push(node),
            Some((_, Kind::Mapping(_, members), key)) => match key.take() {
                Some(key) => members.push((key, node)),
                None => *key = Some(node),
            },
            Some((_, Kind::Scalar(_) | Kind::Other, _)) => {}
            None => root = Some(node),
        }
    }
    Ok(documents)
}

/// The beginning of the line, if only blanks stand before `at` on it; else `at`.
fn line_start(text: &str, at: usize) -> usize {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    if text[start..at].trim_matches(' ').is_empty() {
        start
    } else {
        at
    }
}

/// Replacements of bytes, collected and then made at once.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Replaces `old` in a scalar as it is written, so that its quotes stay. `None` when it is not written plainly.
    pub(super) fn reword(&mut self, text: &str, node: &Node, old: &str, new: &str) -> Option<()> {
        let raw = text.get(node.span.clone())?;
        let inner = raw.trim_matches(|c| c == '"' || c == '\'');
        if inner != old {
            return None;
        }
        self.0.push((node.span.clone(), raw.replacen(old, new, 1)));
        Some(())
    }

    /// `threshold: 5` → `thresholdRange: {max: 5}`, on one line, the number as it is written.
    pub(super) fn widen(&mut self, text: &str, metric: &Node, side: &str) -> Option<()> {
        let (key, value) = metric.member("threshold")?;
        self.reword(text, key, "threshold", "thresholdRange")?;
        let number = text.get(value.span.clone())?;
        let quote = if text[key.span.clone()].starts_with('"') {
            "\""
        } else {
            ""
        };
        self.0
            .push((value.span.clone(), format!("{{{quote}{side}{quote}: {number}}}")));
        Some(())
    }

    /// `thresholdRange: {max: 5}` → `threshold: 5`. `None` when a comment stands where the text goes.
    pub(super) fn narrow(&mut self, text: &str, metric: &Node, side: &str) -> Option<()> {
        let (key, value) = metric.member("thresholdRange")?;
        let number = value.get(side)?;
        let Kind::Mapping(style, _) = value.kind else {
            return None;
        };
        let end = match style {
            StructureStyle::Flow => value.span.end,
            StructureStyle::Block => number.span.end,
        };
        let (before, after) = (key.span.end..number.span.start, number.span.end..end);
        if text.get(before.clone())?.contains('#') || text.get(after.clone())?.contains('#') {
            return None;
        }
        self.reword(text, key, "thresholdRange", "threshold")?;
        self.0.push((before, ": ".to_owned()));
        self.0.push((after, String::new()));
        Some(())
    }

    /// Replaces a whole region.
    pub(super) fn replace(&mut self, region: Range<usize>, with: String) {
        self.0.push((region, with));
    }

    /// True when there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over the edits of another.
    pub(super) fn append(&mut self, other: Edits) {
        self.0.extend(other.0);
    }

    /// The part `region` of `text` with the edits made.
    pub(super) fn applied(&self, text: &str, region: Range<usize>) -> String {
        let mut edits: Vec<_> = self
            .0
            .iter()
            .filter(|(span, _)| span.start >= region.start && span.end <= region.end)
            .collect();
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let (mut out, mut at) = (String::with_capacity(region.len()), region.start);
        for (span, with) in edits {
            out.push_str(&text[at..span.start.max(at)]);
            out.push_str(with);
            at = span.end.max(at);
        }
        out.push_str(&text[at..region.end]);
        out
    }
}

/// Reads one document.
///
/// # Errors
/// Not YAML, or nothing JSON can hold; the message has line and column within the document.
pub(super) fn read(text: &str) -> Result<Value, String> {
    // JSON is read as JSON: its numbers and strings mean what they mean there.
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_) => serde_saphyr::from_str(text).map_err(|error| plain(&error.to_string())),
    }
}

/// The parser's sentence, without its source excerpt and its advice to programmers.
fn plain(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let end = line.find(", set DuplicateKeyPolicy").unwrap_or(line.len());
    line[..end].to_owned()
}

/// Prints one document; JSON when `json`.
pub(super) fn print(value: &Value, json: bool) -> String {
    let mut text = if json {
        serde_json::to_string_pretty(value).unwrap_or_default()
    } else {
        serde_saphyr::to_string(value).unwrap_or_default()
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
