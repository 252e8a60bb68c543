#![allow(
    clippy::format_collect,
    clippy::disallowed_methods,
    reason = "a test measures by the clock, and nests as deep as it likes"
)]

use std::time::{Duration, Instant};

use kube_cel::KubeCelExt as _;
use kube_cel::cel;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn object() -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "prod", "labels": {"team": "web", "app.kubernetes.io/name": "shop"}},
        "spec": {
            "suspend": false, "deadline": 600, "ratio": 1.5, "nothing": null,
            "analysis": {"interval": "30s", "threshold": 5, "webhooks": [
                {"name": "a", "type": "pre-rollout", "url": "https://tester.prod:8443/x?y=1"},
                {"name": "b", "url": "http://b.prod/"},
            ]},
        },
    })
}

fn evaluate(text: &str) -> Result<bool, Slip> {
    let object = object();
    let facts = Facts {
        object: &object,
        old_object: &Value::Null,
        namespace_object: &Value::Null,
        request: &Value::Null,
    };
    Expression::compile(text)?.truth(&facts, &mut u64::MAX.clone())
}

/// Expressions both engines answer.
const AGREED: &[(&str, bool)] = &[
    ("true", true),
    ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", true),
    ("-3 % 2 == -1 && 7 / 2 == 3 && - 2 < -1", true),
    ("1.5 + 1.5 == 3.0 && 2.0 * 0.5 == 1.0", true),
    ("object.spec.analysis.threshold <= 5", true),
    ("object.spec.analysis.threshold > 5 ? false : true", true),
    ("object.spec.deadline >= 600 || object.nope", true),
    ("has(object.spec.analysis) && !has(object.spec.service)", true),
    ("object.metadata.labels['team'] == 'web'", true),
    (
        "'team' in object.metadata.labels && !('x' in object.metadata.labels)",
        true,
    ),
    ("object.spec.analysis.webhooks.all(w, w.name.size() == 1)", true),
    (
        "object.spec.analysis.webhooks.exists(w, has(w.type) && w.type == 'pre-rollout')",
        true,
    ),
    ("object.spec.analysis.webhooks.exists_one(w, !has(w.type))", true),
    ("object.spec.analysis.webhooks.map(w, w.name) == ['a', 'b']", true),
    (
        "object.spec.analysis.webhooks.map(w, has(w.type), w.name) == ['a']",
        true,
    ),
    (
        "object.spec.analysis.webhooks.filter(w, w.name != 'a').size() == 1",
        true,
    ),
    (
        "size(object.spec.analysis.webhooks) == 2 && size('abc') == 3",
        true,
    ),
    (
        "object.metadata.name.startsWith('sh') && object.metadata.name.endsWith('op')",
        true,
    ),
    (
        "object.metadata.name.matches('^[a-z]+$') && !object.metadata.name.contains('z')",
        true,
    ),
    ("'a' + \"b\" == r'ab' && '\\x41\\u0042\\103' == 'ABC'", true),
    ("[1, 2] + [3] == [1, 2, 3] && 2 in [1, 2]", true),
    ("{'a': 1}['a'] == 1 && {'a': 1, 'b': 2} == {'b': 2, 'a': 1}", true),
    ("[1, 2, 3][1] == 2", true),
    ("object.spec.nothing == null && object.spec.suspend != true", true),
    ("int('7') == 7 && string(7) == '7' && double('1.5') == 1.5", true),
    (
        "duration('90s') == duration('1m30s') && duration('1m') < duration('1h')",
        true,
    ),
    (
        "timestamp('2027-01-01T00:00:00Z') > timestamp('2026-12-31T23:59:59Z')",
        true,
    ),
    ("'Shop'.lowerAscii() == 'shop' && ' a '.trim() == 'a'", true),
    (
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'",
        true,
    ),
    (
        "'aba'.replace('a', 'c') == 'cbc' && 'hello'.substring(1, 3) == 'el'",
        true,
    ),
    (
        "'hello'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3 && 'hello'.charAt(1) == 'e'",
        true,
    ),
    (
        "[3, 1, 2].max() == 3 && [3, 1, 2].min() == 1 && [1, 2].sum() == 3 && [1, 2].isSorted()",
        true,
    ),
    ("isURL('https://a.b:8443/x') && !isURL('../x')", true),
    ("url('https://a.b:8443/x').getHostname() == 'a.b'", true),
    (
        "url('https://a.b:8443/x').getPort() == '8443' && url('https://a.b:8443/x').getScheme() == 'https'",
        true,
    ),
    ("[[1, 2], [3]].all(l, l.exists(x, x > 1))", true),
    ("[1, 2, 3].exists(x, x > 5)", false),
    ("false && object.nope.nope", false),
    ("object.nope.nope && false", false),
    ("'b' < 'a'", false),
];

/// Everything the published engine answers, this one answers the same.
#[test]
fn agrees_with_the_published_engine() {
    let object = object();
    for (text, expected) in AGREED {
        let mut context = cel::Context::default().with_all();
        context
            .add_variable("object", cel::to_value(&object).unwrap())
            .unwrap();
        let theirs = cel::Program::compile(text).unwrap().execute(&context);
        assert_eq!(theirs, Ok(cel::Value::Bool(*expected)), "their answer to {text}");
        assert_eq!(evaluate(text), Ok(*expected), "{text}");
    }
}

#[test]
fn what_kubernetes_adds() {
    for text in [
        "object.?spec.?analysis.?threshold.orValue(0) == 5",
        "object.?spec.?service.?port.orValue(0) == 0",
        "!object.spec.?service.hasValue() && object.?spec.hasValue()",
        "object.metadata.labels[?'x'].orValue('none') == 'none'",
        "optional.of(1).value() == 1 && !optional.none().hasValue()",
        "object.metadata.namespace == 'prod' && object.metadata.__namespace__ == 'prod'",
        "object.metadata.labels.app__dot__kubernetes__dot__io__slash__name == 'shop'",
        "object.spec.analysis.webhooks.all(w, isURL(w.url) && url(w.url).getHostname().endsWith('.prod'))",
        "object.spec.analysis.threshold == 5.0 && object.spec.ratio > 1 && 1u < 2",
        "duration(object.spec.analysis.interval) >= duration('30s')",
        "duration('1h30m').getMinutes() == 90 && timestamp('2027-01-02T03:04:05Z').getDayOfWeek() == 6",
        "// a comment\nobject.metadata.name == '''shop'''",
        "'abc'.find('[b-c]+') == 'bc' && 0x10 == 16 && 1e3 == 1000.0",
    ] {
        assert_eq!(evaluate(text), Ok(true), "{text}");
    }
}

/// Text, the character the caret stands under, and what is said.
#[test]
fn slips_are_told_at_their_place() {
    for (text, at, said) in [
        ("", 0, "an empty expression; write one"),
        (
            "object.spec.",
            12,
            "the expression ends here; expected the name of a field or function",
        ),
        ("object.spec = 1", 12, "a single =; compare with =="),
        (
            "objekt.spec == 1",
            0,
            "there is no variable objekt; expected one of object, oldObject, namespaceObject, request; did you mean object?",
        ),
        (
            "self.spec == 1",
            0,
            "there is no variable self; expected one of object, oldObject, namespaceObject, request; write object",
        ),
        (
            "object.name.startWith('a')",
            0,
            "there is no function startWith(); did you mean startsWith()?",
        ),
        (
            "length(object.name)",
            0,
            "there is no function length(); expected a function of CEL or of Kubernetes' string, list and URL libraries",
        ),
        (
            "startsWith('a', 'b')",
            0,
            "there is no function startsWith(); write value.startsWith(…)",
        ),
        ("'a'.startsWith()", 0, "startsWith() with 0 arguments; expected 1"),
        ("(1 + 2", 0, "no ) for this; add )"),
        ("[1, 2", 0, "no ] for this; add ]"),
        (
            "1 + 2)",
            5,
            ") is unexpected here; expected an operator or the end; remove it, or open it before",
        ),
        (
            "true and false",
            5,
            "and is unexpected here; expected an operator or the end; write &&",
        ),
        ("true & false", 5, "'&' means nothing here; write &&"),
        ("'abc", 0, "a string that does not end; add '"),
        (
            "'a\\d'",
            2,
            "a backslash before something that needs none; double the backslash, or write r'…'",
        ),
        (
            "“a” == 'a'",
            0,
            "'“' means nothing here; write straight quotes: ' or \"",
        ),
        (
            "has(object)",
            0,
            "has() of something else than a field; expected has(object.field); ask for a key of a map with 'key' in map",
        ),
        (
            "object.list.all(x)",
            0,
            "all() with other arguments; expected all(x, condition)",
        ),
        (
            "Foo{a: 1}",
            0,
            "a message Foo{…}; expected a map such as {'key': value}",
        ),
        (
            "object.name.matches('[')",
            20,
            "not a regular expression: unclosed character class; expected RE2 syntax",
        ),
        (
            "b'abc' == b'abc'",
            0,
            "a literal of bytes; expected a string: a Canary holds no bytes",
        ),
        ("9223372036854775808 > 0", 0, "a whole number too large"),
        ("package == 1", 0, "package is a reserved word; expected a name"),
    ] {
        let slip = Expression::compile(text).unwrap_err();
        assert_eq!((slip.at.start, slip.to_string().as_str()), (at, said), "{text}");
    }
    let least = "-9223372036854775808 < 0";
    assert_eq!(evaluate(least), Ok(true));
}

#[test]
fn what_fails_while_it_runs_says_why() {
    for (text, kind, said) in [
        (
            "object.spec.treshold == 1",
            SlipKind::Absent,
            "there is no treshold here; where it may be absent, ask with has() first",
        ),
        (
            "object.spec.analysis.treshold == 1",
            SlipKind::Absent,
            "there is no treshold here; did you mean threshold?",
        ),
        (
            "oldObject.spec == 1",
            SlipKind::Absent,
            "field spec of null; ask with != null first",
        ),
        (
            "object.spec.deadline",
            SlipKind::Type,
            "the answer is an int; expected true or false",
        ),
        (
            "object.spec.deadline && true",
            SlipKind::Type,
            "an int for a condition; expected true or false",
        ),
        (
            "object.spec.deadline < '5'",
            SlipKind::Type,
            "< cannot take an int and a string",
        ),
        (
            "object.spec.deadline + 1.5 > 1.0",
            SlipKind::Type,
            "+ cannot take an int and a double; wrap one in int(…) or double(…)",
        ),
        (
            "object.metadata.labels['x'] == 'y'",
            SlipKind::Absent,
            "no key \"x\"; ask first, with `in` or size()",
        ),
        (
            "object.spec.analysis.webhooks[7].name == 'y'",
            SlipKind::Absent,
            "no element 7; ask first, with `in` or size()",
        ),
        (
            "1 / (object.spec.deadline - 600) == 1",
            SlipKind::Value,
            "a division by zero",
        ),
        (
            "9223372036854775807 + 1 > 0",
            SlipKind::Value,
            "a number out of range",
        ),
        (
            "-(-9223372036854775808) > 0",
            SlipKind::Value,
            "a number out of range",
        ),
        (
            "int('x') == 1",
            SlipKind::Value,
            "int() of something that is no int",
        ),
        (
            "url(object.metadata.name).getHost() == 'a'",
            SlipKind::Value,
            "url() of something that is no URL; ask with isURL() first",
        ),
        (
            "object.metadata.name.all(c, true)",
            SlipKind::Type,
            "a loop over a string; expected a list or a map; ask with has() first where it may be absent",
        ),
        (
            "object.spec.analysis.webhooks.all(w, w.type == 'x')",
            SlipKind::Absent,
            "there is no type here; where it may be absent, ask with has() first",
        ),
    ] {
        if text.contains("webhooks.all") {
            // The first hook settles it: false, whatever the second fails at.
            assert_eq!(evaluate(text), Ok(false));
            continue;
        }
        let slip = evaluate(text).unwrap_err();
        assert_eq!((slip.kind, slip.to_string().as_str()), (kind, said), "{text}");
    }
}

/// Shapes that make the published engine run out of memory or end the process.
#[test]
fn hostile_expressions_are_refused_or_end_on_their_budget() {
    let repeat = |part: &str| part.repeat(MAX_LENGTH / part.len());
    let within = |text: String| text[..text.len().min(MAX_LENGTH)].to_owned();
    let mut hostile = vec![
        repeat("("),
        repeat("["),
        repeat("{'a':"),
        repeat("!"),
        repeat("-"),
        repeat("true?"),
        repeat("object."),
        repeat("has("),
        repeat("a("),
        format!("object{}", repeat("[0]").split_at(2000).0),
        format!("object{}", ".a".repeat(1000)),
        within(format!("1{}", "+1".repeat(1100))),
        within(format!("true{}", "&&true".repeat(400))),
        format!("{}1{}", "[".repeat(1000), "]".repeat(1000)),
        "Foo{a: 1}".to_owned(),
        "x".repeat(MAX_LENGTH + 1),
        repeat("'"),
        repeat("\\"),
        repeat("é"),
    ];
    let digits = "[0,1,2,3,4,5,6,7,8,9]";
    // Loops within loops: 10^9 turns.
    let nested: String = (0..9).map(|n| format!("{digits}.all(v{n}, ")).collect();
    hostile.push(format!("{nested}v8 >= 0{}", ")".repeat(9)));
    // Texts and lists that double.
    hostile.push(format!(
        "['{}']{}.size() > 0",
        "x".repeat(200),
        ".map(a, a + a)".repeat(50)
    ));
    hostile.push(format!("[[1]]{}.size() > 0", ".map(a, a + a)".repeat(60)));
    hostile.push(format!("[[1]]{}.size() > 0", ".map(a, [a, a])".repeat(60)));
    hostile.push(format!(
        "'{}'{}.size() > 0",
        "a".repeat(500),
        ".replace('a', 'aaaaaaaaaa')".repeat(20)
    ));
    hostile.push(format!(
        "'{}'{}.size() > 0",
        "a".repeat(500),
        ".replace('', 'aaaaaaaaaa')".repeat(20)
    ));
    hostile.push("'a'.matches('(a{1,1000}){1,1000}')".to_owned());
    hostile.push(format!("'{}'.matches('(a*)*(a*)*(a*)*b')", "a".repeat(1500)));
    hostile.push(format!(
        "{digits}.map(x, {digits}.map(y, string(x) + '(a{{1,99}}){{1,99}}')).all(l, l.all(p, 'a'.matches(p)))"
    ));
    hostile.push(format!(
        "'{}'.split('').map(a, 'x'.split('')).size() > 0",
        "a".repeat(1500)
    ));
    let mut worst = (Duration::ZERO, String::new());
    for text in &hostile {
        let began = Instant::now();
        let outcome = evaluate(text);
        let shown: String = text.chars().take(60).collect();
        assert!(
            !matches!(outcome, Err(ref slip) if slip.found.is_empty()),
            "{shown} {outcome:?}"
        );
        worst = worst.max((began.elapsed(), shown));
    }
    // A debug build on a busy machine; a release build takes some milliseconds.
    assert!(worst.0 < Duration::from_secs(2), "{worst:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_breaks_it(text in "[a-z0-9.()\\[\\]{}'\"\\\\?:!<>=+*/%,&| \n-]{0,80}") {
        let _ = evaluate(&text);
    }

    #[test]
    fn no_words_break_it(words in proptest::collection::vec(
        prop_oneof!["object", "spec", "\\.", "\\.\\?", "\\(", "\\)", "\\[", "\\]", "'a'", "1", "==", "&&", "\\?", ":", "in", "all", ",", "x", "!", "has", "size", "map", "\\+"],
        0..24,
    )) {
        let text: String = words.iter().map(|word| word.replace('\\', "")).collect::<Vec<_>>().join(" ");
        let _ = evaluate(&text);
    }
}
