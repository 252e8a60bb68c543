//! Changing a manifest's text without touching the rest of it.
//!
//! I own the edits. I promise that bytes outside an edit stay. I never guess: an edit whose outcome does not read back
//! as the wanted value is not made.

use std::ops::Range;

use serde_json::Value;

use crate::manifest::{Node, StructureStyle};

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
        let end = match value.structure()? {
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
