//! YAML (and JSON, which is YAML) as text with places: what is where.
//!
//! Owns the spans of documents and nodes, and the way from a path, or a place within a scalar, to bytes of the file.
//! Promises: total and bounded for any text whatever (nesting, aliases and merge keys have limits). Never changes a
//! text, and knows nothing of what a document means.

mod scalar;

use std::ops::Range;

use granit_parser::{Event, Parser};
pub use granit_parser::{ScalarStyle, StructureStyle};
use serde_json::Value;

/// Merge keys that are followed one into the next.
const MAX_MERGES: usize = 16;

/// A document of a stream.
#[derive(Debug)]
pub struct Document {
    /// The bytes that can be read (and replaced) on their own.
    pub region: Range<usize>,
    /// Its root; `None` for an empty document.
    pub root: Option<Node>,
}

/// A node and the bytes it takes.
#[derive(Debug)]
pub struct Node {
    /// From its first byte to the end of its last.
    pub span: Range<usize>,
    kind: Kind,
    /// What aliases call it; 0 when it has no anchor.
    anchor: usize,
}

#[derive(Debug)]
enum Kind {
    Scalar(ScalarStyle, String),
    Sequence(Vec<Node>),
    Mapping(StructureStyle, Vec<(Node, Node)>),
    Alias(usize),
}

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A key of a mapping.
    Key(&'a str),
    /// An index of a sequence.
    Index(usize),
}

/// Where a path leads.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// How many steps exist in the document.
    pub depth: usize,
    /// The key of the last of them that is one.
    pub key: Option<&'a Node>,
    /// What the last of them leads to.
    pub value: &'a Node,
}

impl Node {
    /// The key and the value of a member that is written here (not merged in).
    pub fn member(&self, name: &str) -> Option<(&Node, &Node)> {
        let Kind::Mapping(_, members) = &self.kind else {
            return None;
        };
        members
            .iter()
            .find(|(key, _)| key.text() == Some(name))
            .map(|(key, value)| (key, value))
    }

    /// The value of a member that is written here.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.member(name).map(|(_, value)| value)
    }

    /// An element.
    pub fn at(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            Kind::Sequence(items) => items.get(index),
            Kind::Scalar(..) | Kind::Mapping(..) | Kind::Alias(_) => None,
        }
    }

    /// How a mapping is written.
    pub fn structure(&self) -> Option<StructureStyle> {
        match &self.kind {
            Kind::Mapping(style, _) => Some(*style),
            Kind::Scalar(..) | Kind::Sequence(_) | Kind::Alias(_) => None,
        }
    }

    /// What a scalar says.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(_, text) => Some(text),
            Kind::Sequence(_) | Kind::Mapping(..) | Kind::Alias(_) => None,
        }
    }

    /// The bytes of the file a range of a scalar's text comes from; `None` when this is no scalar, or cannot be
    /// retraced.
    pub fn origin(&self, file: &str, range: Range<usize>) -> Option<Range<usize>> {
        let Kind::Scalar(style, text) = &self.kind else {
            return None;
        };
        let raw = file.get(self.span.clone())?;
        let inside = scalar::origin(raw, *style, text, range)?;
        Some(self.span.start + inside.start..self.span.start + inside.end)
    }

    /// The node an alias stands for.
    fn anchored(&self, anchor: usize) -> Option<&Node> {
        if self.anchor == anchor {
            return Some(self);
        }
        match &self.kind {
            Kind::Sequence(items) => items.iter().find_map(|item| item.anchored(anchor)),
            Kind::Mapping(_, members) => members
                .iter()
                .find_map(|(key, value)| key.anchored(anchor).or_else(|| value.anchored(anchor))),
            Kind::Scalar(..) | Kind::Alias(_) => None,
        }
    }
}

impl Document {
    /// Follows a path as far as it exists, through aliases and merge keys: what is found is where the text stands.
    /// `None` for an empty document.
    pub fn place<'a, 'b>(&'a self, path: impl IntoIterator<Item = Step<'b>>) -> Option<Place<'a>> {
        let root = self.root.as_ref()?;
        let mut place = Place {
            depth: 0,
            key: None,
            value: root,
        };
        for step in path {
            let here = self.resolved(place.value);
            let next = match step {
                Step::Key(name) => self
                    .merged_member(here, name, 0)
                    .map(|(key, value)| (Some(key), value)),
                Step::Index(index) => here.at(index).map(|value| (None, value)),
            };
            let Some((key, value)) = next else { break };
            place = Place {
                depth: place.depth + 1,
                key: key.or(place.key),
                value,
            };
        }
        place.value = self.resolved(place.value);
        Some(place)
    }

    fn resolved<'a>(&'a self, node: &'a Node) -> &'a Node {
        match (&node.kind, &self.root) {
            (Kind::Alias(anchor), Some(root)) => root.anchored(*anchor).unwrap_or(node),
            _ => node,
        }
    }

    /// A member, written here or merged in by `<<`.
    fn merged_member<'a>(&'a self, node: &'a Node, name: &str, depth: usize) -> Option<(&'a Node, &'a Node)> {
        if let Some(found) = node.member(name) {
            return Some(found);
        }
        let source = self.resolved(node.get("<<").filter(|_| depth < MAX_MERGES)?);
        if let Kind::Sequence(sources) = &source.kind {
            return sources
                .iter()
                .find_map(|source| self.merged_member(self.resolved(source), name, depth + 1));
        }
        self.merged_member(source, name, depth + 1)
    }
}

/// What stops a text from being read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct Unreadable {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Why.
    pub problem: String,
}

/// The documents of a stream, in order.
///
/// # Errors
/// The text is not YAML.
pub fn documents(text: &str) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    // Collections under way: where they began, what they hold, their anchor, and a key that waits for its value.
    let mut open: Vec<(usize, Kind, usize, Option<Node>)> = Vec::new();
    let mut root = None;
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| Unreadable {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            problem: error.info(),
        })?;
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
            Event::SequenceStart(_, anchor, _) => {
                open.push((bytes.start, Kind::Sequence(Vec::new()), anchor, None));
                continue;
            }
            Event::MappingStart(style, anchor, _) => {
                open.push((bytes.start, Kind::Mapping(style, Vec::new()), anchor, None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((start, kind, anchor, _)) => Node {
                    span: start..bytes.end,
                    kind,
                    anchor,
                },
                None => continue,
            },
            Event::Scalar(value, style, anchor, _) => Node {
                span: bytes,
                kind: Kind::Scalar(style, value.into_owned()),
                anchor,
            },
            Event::Alias(anchor) => Node {
                span: bytes,
                kind: Kind::Alias(anchor),
                anchor: 0,
            },
            // Stream marks, comments and other metadata are no nodes. (The enum belongs to the parser.)
            _ => continue,
        };
        match open.last_mut() {
            Some((_, Kind::Sequence(items), ..)) => items.push(node),
            Some((_, Kind::Mapping(_, members), _, key)) => match key.take() {
                Some(key) => members.push((key, node)),
                None => *key = Some(node),
            },
            Some((_, Kind::Scalar(..) | Kind::Alias(_), ..)) => {}
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

/// Reads one document of a text.
///
/// # Errors
/// Nothing JSON can hold, or more than a manifest holds (64 levels, 250 000 nodes, runaway aliases).
pub fn read(text: &str, region: Range<usize>) -> Result<Value, Unreadable> {
    let before = text[..region.start].bytes().filter(|byte| *byte == b'\n').count();
    let document = &text[region];
    // JSON is read as JSON: its numbers and strings mean what they mean there.
    if let Ok(value) = serde_json::from_str(document) {
        return Ok(value);
    }
    serde_saphyr::from_str(document).map_err(|error| {
        let location = error.location();
        let at = |of: fn(&serde_saphyr::Location) -> u64| {
            location
                .as_ref()
                .map_or(1, |location| usize::try_from(of(location)).unwrap_or(1).max(1))
        };
        Unreadable {
            line: before + at(serde_saphyr::Location::line),
            column: at(serde_saphyr::Location::column),
            problem: sentence(&error.without_snippet().to_string()),
        }
    })
}

/// A parser's message on one line, without the place it repeats and its advice to programmers.
fn sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = line.split(" at line ").next().unwrap_or(line);
    let line = line.split(", set DuplicateKeyPolicy").next().unwrap_or(line);
    line.to_owned()
}

#[cfg(test)]
mod tests;
