use super::*;
use Step::{Index, Key};
use std::fmt::Write as _;

/// Where `what` of the scalar at `path` stands in the file, as the text from there on to the end of the line.
fn shown<'a>(file: &'a str, path: &[Step<'_>], what: &str) -> Option<(usize, &'a str)> {
    let documents = documents(file).unwrap();
    let node = documents[0].place(path.iter().copied()).unwrap().value;
    let text = node.text().unwrap();
    let at = text.find(what).unwrap();
    let origin = node.origin(file, at..at + what.len())?;
    let line = file[..origin.start].matches('\n').count() + 1;
    Some((line, &file[origin]))
}

#[test]
fn every_style_leads_back_to_the_file() {
    let q = [Step::Key("q")];
    for (file, what, line) in [
        ("q: a + b", "b", 1),
        ("q: a\n  + \n  b # c", "b", 3),
        ("q: 'a ''b'' c'", "c", 1),
        ("q: 'a ''b'' c'", "b", 1),
        ("q: 'a\n\n  b'", "b", 3),
        ("q: \"a\\n\\\"b\\\" c\"", "c", 1),
        ("q: \"a\\n\\\"b\\\" c\"", "b", 1),
        ("q: \"a \\\n    b\\x41 c\"", "c", 2),
        ("q: \"a \\ud83d\\ude00 b\"", "b", 1),
        ("q: |\n  a{\n    b\n  }\n", "b", 3),
        ("q: |\n  a{\n    b\n  }\n", "}", 4),
        ("q: |2-  # why\n    a\n   b", "b", 3),
        ("q: |\n\n\n  a\n\n  b\n", "b", 6),
        ("q: >\n  a\n  b\n\n  c\n", "c", 5),
        ("q: >-\n  a\n    b\n  c\n", "b", 3),
        ("q: |\n\ta: b", "", 1),
        ("{\"q\": \"a\\tb\\/c\"}", "c", 1),
        ("q: |\r\n  a\r\n  b\r\n", "b", 3),
        ("q: ä ö\n  ü", "ü", 2),
    ] {
        if what.is_empty() {
            assert!(documents(file).is_err(), "{file}");
            continue;
        }
        assert_eq!(shown(file, &q, what), Some((line, what)), "{file}");
    }
}

#[test]
fn ends_of_lines_have_places_too() {
    let file = "q: |\n  sum(\n    a b)\n";
    let documents = documents(file).unwrap();
    let node = documents[0].place([Step::Key("q")]).unwrap().value;
    let text = node.text().unwrap();
    let newline = text.find('\n').unwrap();
    assert_eq!(node.origin(file, newline..newline), Some(11..11));
    // Past the end: behind the last character.
    let end = node.origin(file, text.len()..text.len()).unwrap().end;
    assert!(end >= file.len() - 1, "{end} of {}", file.len());
}

#[test]
fn paths_go_through_aliases_and_merge_keys() {
    let file = "\
base: &base {interval: 1m, deep: {a: [1, 2]}}
more: &more
  threshold: 5
one: *base
two:
  <<: [*base, *more]
  own: x
self: &self
  <<: *self
";
    let documents = documents(file).unwrap();
    let at = |path: &[Step<'_>]| {
        let place = documents[0].place(path.iter().copied()).unwrap();
        (place.depth, &file[place.value.span.clone()])
    };
    assert_eq!(at(&[Key("one"), Key("interval")]), (2, "1m"));
    assert_eq!(at(&[Key("two"), Key("threshold")]), (2, "5"));
    assert_eq!(at(&[Key("two"), Key("deep"), Key("a"), Index(1)]), (4, "2"));
    assert_eq!(at(&[Key("two"), Key("own"), Key("none")]), (2, "x"));
    assert_eq!(at(&[Key("self"), Key("none")]).0, 1);
    let place = documents[0].place([Key("two"), Key("nothing")]).unwrap();
    assert_eq!((place.depth, place.key.unwrap().text()), (1, Some("two")));
}

#[test]
fn what_cannot_be_read_says_where() {
    for (file, line) in [
        ("a: b\nc: [d\n", 2),
        ("a: *b\n", 1),
        ("a: b\n---\nc: *d\n", 3),
        ("a: {{ .Values.b }}\n", 1),
        ("a:\n\tb: c\n", 2),
    ] {
        let found = documents(file).map(|documents| {
            documents
                .iter()
                .map(|document| read(file, document.region.clone()))
                .find_map(Result::err)
                .unwrap()
        });
        let error = match found {
            Ok(error) | Err(error) => error,
        };
        assert_eq!(error.line, line, "{file}: {error}");
        assert!(
            !error.problem.is_empty() && !error.problem.contains('\n'),
            "{error:?}"
        );
    }
}

#[test]
fn bombs_are_defused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let line = vec![before; 10].join(", ");
        let _ = writeln!(laughs, "a{level}: &a{level} [{line}]");
    }
    let parsed = documents(&laughs).unwrap();
    assert!(read(&laughs, parsed[0].region.clone()).is_err());
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        assert!(documents(&deep).is_err());
    }
}
