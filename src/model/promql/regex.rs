//! Is this a regex Prometheus understands, and does it match the empty string?
//!
//! Prometheus reads regexes with RE2's syntax as Go has it. Its dialect differs from the `regex` crate's in both
//! directions (`\Q…\E`, octal escapes, literal `{`, at most 1000 repetitions, no `a**`), so the syntax is read here:
//! one pass, no recursion, nothing compiled or matched.
//!
//! Source: RE2 syntax page; Go `regexp/syntax` for limits and corner cases.

use super::unicode;

/// What matters about a regex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Regex {
    /// Whether it matches the empty string (anchored at both ends, as Prometheus does).
    pub(super) matches_empty: bool,
}

/// Why a regex is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegexFault {
    pub(super) found: String,
    pub(super) fix: &'static str,
}

/// The largest repetition count, nested counts multiplied.
const MAX_REPEAT: u64 = 1000;
/// Groups nested deeper are refused. Go's limit is 1000; no query a person wrote comes near either.
const MAX_GROUPS: usize = 200;

/// Reads a regex.
pub(super) fn read(pattern: &str) -> Result<Regex, RegexFault> {
    let mut reader = Reader {
        rest: pattern,
        groups: Vec::new(),
        level: Level::default(),
        names: Vec::new(),
    };
    reader.run()?;
    let matches_empty = reader.level.close().empty;
    Ok(Regex { matches_empty })
}

/// A piece of a regex: may it match nothing, and how often do its counted repetitions repeat at most?
#[derive(Debug, Clone, Copy)]
struct Piece {
    empty: bool,
    repeats: u64,
}

impl Piece {
    const CHARACTER: Self = Self {
        empty: false,
        repeats: 1,
    };
    const NOTHING: Self = Self {
        empty: true,
        repeats: 1,
    };
}

/// One level of parentheses.
#[derive(Debug, Default)]
struct Level {
    /// Alternatives that are complete.
    alternatives: Option<Piece>,
    /// The pieces of the current alternative, without the last.
    sequence: Option<Piece>,
    /// The last piece: what a repetition applies to.
    last: Option<Piece>,
}

impl Level {
    fn push(&mut self, piece: Piece) {
        self.sequence = Some(self.so_far());
        self.last = Some(piece);
    }

    /// The current alternative.
    fn so_far(&self) -> Piece {
        [self.sequence, self.last]
            .into_iter()
            .flatten()
            .fold(Piece::NOTHING, |all, piece| Piece {
                empty: all.empty && piece.empty,
                repeats: all.repeats.max(piece.repeats),
            })
    }

    fn next_alternative(&mut self) {
        let done = self.so_far();
        self.alternatives = Some(self.alternatives.map_or(done, |before| Piece {
            empty: before.empty || done.empty,
            repeats: before.repeats.max(done.repeats),
        }));
        self.sequence = None;
        self.last = None;
    }

    fn close(mut self) -> Piece {
        self.next_alternative();
        self.alternatives.unwrap_or(Piece::NOTHING)
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// The levels around the current one.
    groups: Vec<Level>,
    level: Level,
    names: Vec<&'a str>,
}

fn fault<T>(found: impl Into<String>, fix: &'static str) -> Result<T, RegexFault> {
    Err(RegexFault {
        found: found.into(),
        fix,
    })
}

impl<'a> Reader<'a> {
    fn run(&mut self) -> Result<(), RegexFault> {
        let mut after_repeat = false;
        while let Some(character) = self.rest.chars().next() {
            let repeats = match character {
                '*' | '+' | '?' => {
                    self.repeat(character, after_repeat)?;
                    true
                }
                '{' => {
                    let counts = counts(self.rest);
                    if let Some(counts) = counts {
                        self.repeat_counted(counts, after_repeat)?;
                    } else {
                        self.take(1);
                        self.level.push(Piece::CHARACTER);
                    }
                    counts.is_some()
                }
                _ => {
                    self.piece(character)?;
                    false
                }
            };
            after_repeat = repeats;
        }
        if self.groups.is_empty() {
            Ok(())
        } else {
            fault(
                "missing closing )",
                "close every ( in the regex, or write \\( for a literal one",
            )
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn piece(&mut self, character: char) -> Result<(), RegexFault> {
        match character {
            '(' if self.rest.starts_with("(?") => self.flags_or_group(),
            '(' => {
                self.take(1);
                self.open()
            }
            ')' => {
                self.take(1);
                let Some(outer) = self.groups.pop() else {
                    return fault("unexpected )", "remove the ), or write \\) for a literal one");
                };
                let piece = std::mem::replace(&mut self.level, outer).close();
                self.level.push(piece);
                Ok(())
            }
            '|' => {
                self.take(1);
                self.level.next_alternative();
                Ok(())
            }
            '^' | '$' => {
                self.take(1);
                self.level.push(Piece::NOTHING);
                Ok(())
            }
            '[' => {
                self.class()?;
                self.level.push(Piece::CHARACTER);
                Ok(())
            }
            '\\' => self.backslash(),
            _ => {
                self.take(character.len_utf8());
                self.level.push(Piece::CHARACTER);
                Ok(())
            }
        }
    }

    fn open(&mut self) -> Result<(), RegexFault> {
        if self.groups.len() >= MAX_GROUPS {
            return fault("parentheses nested too deep", "simplify the regex");
        }
        self.groups.push(std::mem::take(&mut self.level));
        Ok(())
    }

    /// `(?flags)`, `(?flags:…`, `(?P<name>…`, `(?<name>…`; the opening has been seen.
    fn flags_or_group(&mut self) -> Result<(), RegexFault> {
        const LOOK_AROUND: &str = "RE2 has no look-around: match what you want, or exclude with a !~ matcher";
        for prefix in ["(?=", "(?!", "(?<=", "(?<!"] {
            if self.rest.starts_with(prefix) {
                return fault(format!("look-around `{prefix}…)`"), LOOK_AROUND);
            }
        }
        for prefix in ["(?P<", "(?<"] {
            if let Some(after) = self.rest.strip_prefix(prefix) {
                let Some((name, _)) = after.split_once('>') else {
                    return fault("a group name without >", "write (?P<name>…)");
                };
                let valid = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
                if !valid || self.names.contains(&name) {
                    return fault(
                        format!("the group name `{name}`"),
                        "use letters, digits and _, and each name once",
                    );
                }
                self.names.push(name);
                self.take(prefix.len() + name.len() + 1);
                return self.open();
            }
        }
        self.take(2);
        let (mut negated, mut any) = (false, false);
        while let Some(flag) = self.rest.chars().next() {
            self.take(flag.len_utf8());
            match flag {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if !negated => {
                    negated = true;
                    any = false;
                }
                ':' | ')' if any || !negated => {
                    return if flag == ':' { self.open() } else { Ok(()) };
                }
                _ => break,
            }
        }
        fault(
            "an unknown group or flag after `(?`",
            "use (?:…), (?i), (?P<name>…), or ( for a plain group",
        )
    }

    fn repeat(&mut self, operator: char, after_repeat: bool) -> Result<(), RegexFault> {
        self.take(1);
        self.lazy();
        let piece = self.repeated(operator, after_repeat)?;
        piece.empty |= operator != '+';
        Ok(())
    }

    fn repeat_counted(&mut self, counts: Counts, after_repeat: bool) -> Result<(), RegexFault> {
        const FIX: &str = "repeat at most 1000 times, nested repetitions multiplied";
        let Counts { least, most, length } = counts;
        let text = self.take(length);
        if least.max(most.unwrap_or(0)) > MAX_REPEAT || most.is_some_and(|most| most < least) {
            return fault(format!("the repetition {text}"), FIX);
        }
        self.lazy();
        let piece = self.repeated('{', after_repeat)?;
        let factor = most.unwrap_or(least);
        piece.empty |= least == 0;
        piece.repeats = match (most, factor) {
            (Some(0), _) => 1,
            (_, 0) => piece.repeats,
            (_, factor) => piece.repeats.saturating_mul(factor),
        };
        if (least >= 2 || most.is_some_and(|most| most >= 2)) && piece.repeats > MAX_REPEAT {
            return fault(format!("the nested repetition {text}"), FIX);
        }
        Ok(())
    }

    fn lazy(&mut self) {
        if self.rest.starts_with('?') {
            self.take(1);
        }
    }

    /// The piece a repetition applies to.
    fn repeated(&mut self, operator: char, after_repeat: bool) -> Result<&mut Piece, RegexFault> {
        if after_repeat {
            return fault(
                format!("`{operator}` directly after another repetition"),
                "put the inner repetition in parentheses, or remove one",
            );
        }
        match self.level.last.as_mut() {
            Some(piece) => Ok(piece),
            None => fault(
                format!("`{operator}` with nothing before it to repeat"),
                "write .* for anything, or \\* for a literal star",
            ),
        }
    }

    /// A `\` outside a class.
    fn backslash(&mut self) -> Result<(), RegexFault> {
        let mut after = self.rest.chars().skip(1);
        match after.next() {
            Some('A' | 'z' | 'B') => {
                self.take(2);
                self.level.push(Piece::NOTHING);
            }
            Some('b') => {
                self.take(2);
                // No word boundary in an empty string.
                self.level.push(Piece::CHARACTER);
            }
            Some('Q') => {
                self.take(2);
                let quoted = self
                    .rest
                    .split_once("\\E")
                    .map_or(self.rest, |(quoted, _)| quoted);
                self.take(quoted.len());
                if self.rest.starts_with("\\E") {
                    self.take(2);
                }
                for _ in quoted.chars() {
                    self.level.push(Piece::CHARACTER);
                }
            }
            _ => {
                if !self.class_escape()? {
                    self.escape()?;
                }
                self.level.push(Piece::CHARACTER);
            }
        }
        Ok(())
    }

    /// `\d`, `\pL`, `\p{Greek}`, …; false: not one of them, nothing was taken.
    fn class_escape(&mut self) -> Result<bool, RegexFault> {
        const FIX: &str = "use a class RE2 knows, such as \\d, \\pL or \\p{Greek}";
        let mut after = self.rest.chars();
        if after.next() != Some('\\') {
            return Ok(false);
        }
        match after.next() {
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
                self.take(2);
                Ok(true)
            }
            Some('p' | 'P') => {
                let text = after.as_str();
                let (name, length) = if let Some(braced) = text.strip_prefix('{') {
                    let Some((name, _)) = braced.split_once('}') else {
                        return fault("\\p{ without }", FIX);
                    };
                    (name.strip_prefix('^').unwrap_or(name), name.len() + 4)
                } else {
                    let letter = text.chars().next().map_or(0, char::len_utf8);
                    (&text[..letter], letter + 2)
                };
                if !unicode::is_class(name) {
                    return fault(format!("the character class \\p{{{name}}}"), FIX);
                }
                self.take(length);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// An escaped character; its code.
    fn escape(&mut self) -> Result<u32, RegexFault> {
        const FIX: &str = "use an escape RE2 knows; in double quotes a backslash is written \\\\";
        let bad = |sequence: &str| fault(format!("the escape {sequence}"), FIX);
        self.take(1);
        let Some(character) = self.rest.chars().next() else {
            return fault("a backslash at the end", "write \\\\ for a literal backslash");
        };
        self.take(character.len_utf8());
        let octal = |reader: &Self| reader.rest.chars().next().and_then(|digit| digit.to_digit(8));
        match character {
            '1'..='7' if octal(self).is_none() => fault(
                format!("the back-reference \\{character}"),
                "RE2 has no back-references: spell out what repeats",
            ),
            '0'..='7' => {
                let mut code = character.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    if let Some(digit) = octal(self) {
                        code = code * 8 + digit;
                        self.take(1);
                    }
                }
                Ok(code)
            }
            'x' => {
                let (digits, length) = if let Some(braced) = self.rest.strip_prefix('{') {
                    let Some((digits, _)) = braced.split_once('}') else {
                        return bad("\\x{");
                    };
                    (digits, digits.len() + 2)
                } else {
                    (self.rest.get(..2).unwrap_or_default(), 2)
                };
                let hexadecimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16)
                    .ok()
                    .filter(|code| hexadecimal && *code <= 0x0010_FFFF);
                match code {
                    Some(code) => {
                        self.take(length);
                        Ok(code)
                    }
                    None => bad("\\x"),
                }
            }
            'a' => Ok(7),
            'f' => Ok(12),
            'n' => Ok(10),
            'r' => Ok(13),
            't' => Ok(9),
            'v' => Ok(11),
            _ if character.is_ascii() && !character.is_ascii_alphanumeric() => Ok(u32::from(character)),
            _ => bad(&format!("\\{character}")),
        }
    }

    /// `[…]`; the opening has been seen.
    fn class(&mut self) -> Result<(), RegexFault> {
        const UNCLOSED: &str = "missing closing ]";
        const CLOSE: &str = "close every [ in the regex, or write \\[ for a literal one";
        self.take(1);
        if self.rest.starts_with('^') {
            self.take(1);
        }
        let mut first = true;
        loop {
            if self.rest.is_empty() {
                return fault(UNCLOSED, CLOSE);
            }
            if self.rest.starts_with(']') && !first {
                self.take(1);
                return Ok(());
            }
            first = false;
            if self.posix_class()? || self.class_escape()? {
                continue;
            }
            let low = self.class_character()?;
            if self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]") {
                self.take(1);
                let high = self.class_character()?;
                if high < low {
                    return fault(
                        "a character range that runs backwards",
                        "write the smaller character first, or put - at the end of the class",
                    );
                }
            }
        }
    }

    fn class_character(&mut self) -> Result<u32, RegexFault> {
        match self.rest.chars().next() {
            Some('\\') => self.escape(),
            Some(character) => {
                self.take(character.len_utf8());
                Ok(u32::from(character))
            }
            None => fault("missing closing ]", "close every [ in the regex"),
        }
    }

    /// `[:alpha:]` inside a class.
    fn posix_class(&mut self) -> Result<bool, RegexFault> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        let Some(after) = self.rest.strip_prefix("[:") else {
            return Ok(false);
        };
        let Some((name, _)) = after.split_once(":]") else {
            return Ok(false);
        };
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return fault(
                format!("the character class [:{name}:]"),
                "use a class such as [[:alnum:]] or [[:digit:]]",
            );
        }
        self.take(name.len() + 4);
        Ok(true)
    }
}

/// A counted repetition. Counts too large to matter are [`u64::MAX`].
#[derive(Debug, Clone, Copy)]
struct Counts {
    least: u64,
    /// None: unbounded.
    most: Option<u64>,
    /// Bytes of the repetition, braces included.
    length: usize,
}

/// `{n}`, `{n,}` or `{n,m}` at the start of the text; none: the brace is a literal one.
fn counts(text: &str) -> Option<Counts> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let (least, most) = match inner.split_once(',') {
        None => (count(inner)?, Some(count(inner)?)),
        Some((least, "")) => (count(least)?, None),
        Some((least, most)) => (count(least)?, Some(count(most)?)),
    };
    Some(Counts {
        least,
        most,
        length: inner.len() + 2,
    })
}

/// A decimal count without leading zeros.
fn count(digits: &str) -> Option<u64> {
    let decimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    (decimal && !leading_zero).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches_empty(pattern: &str) -> Option<bool> {
        read(pattern).ok().map(|regex| regex.matches_empty)
    }

    #[test]
    fn regexes_prometheus_takes() {
        for (pattern, empty) in [
            ("", true),
            (".*", true),
            (".+", false),
            ("a|", true),
            ("a|b", false),
            ("(a?)(b*)", true),
            ("(a?)(b+)", false),
            ("podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)", false),
            ("5..|4[0-9]{2}", false),
            ("a{0,3}", true),
            ("a{", false),
            ("a{,5}", false),
            ("x{1000}", false),
            ("(x{10}){100}", false),
            ("^$", true),
            (r"\b", false),
            (r"\B", true),
            (r"\Qa.b\E.*", false),
            (r"\Q\E", true),
            (r"[[:alpha:]_]+", false),
            (r"[]a]", false),
            (r"[^]a]", false),
            (r"[a-]", false),
            (r"[\d\-x]", false),
            (r"\pL\p{Greek}\P{^Lu}", false),
            (r"(?i)abc", false),
            (r"(?i:abc)?", true),
            (r"(?P<name>a)(?<other>b)", false),
            (r"\x{10FFFF}\x41\012", false),
            (r"a*?b+?c??", false),
            (r"\_\-\/\.", false),
            ("[[]", false),
        ] {
            assert_eq!(matches_empty(pattern), Some(empty), "{pattern}");
        }
    }

    #[test]
    fn regexes_prometheus_refuses() {
        for pattern in [
            "(",
            ")",
            "a)",
            "[",
            "[a",
            "[b-a]",
            "*",
            "+a",
            "?",
            "(*a)",
            "a|*",
            "a**",
            "a*+",
            "a{2}{3}",
            "x{1001}",
            "x{2,1}",
            "(x{10}){101}",
            r"\",
            r"\1",
            r"\8",
            r"\u0041",
            r"\x{110000}",
            r"\xg",
            r"\Z",
            r"\C",
            r"\é",
            r"(?=a)",
            r"(?!a)",
            r"(?<=a)",
            r"(?<!a)",
            r"(?P<n>a)(?P<n>b)",
            r"(?P<>a)",
            r"(?x)a",
            r"(?i-)a",
            "(?",
            r"\p{Nonsense}",
            r"\p{Greek",
            "[[:nope:]]",
            r"[a-\d]",
        ] {
            assert!(read(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read(&"(".repeat(100_000)).is_err());
        assert!(read(&format!("{}a{}", "(".repeat(150), ")".repeat(150))).is_ok());
    }
}
