//! The verdicts, the words and the bounds, by table and at random.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::template::Context;
use super::*;

/// Queries every Prometheus 3 takes, and what they answer with.
const GOOD: &[(&str, ValueType)] = &[
    // Numbers and strings.
    ("42", ValueType::Scalar),
    ("-.5e-3", ValueType::Scalar),
    ("0xCAFE", ValueType::Scalar),
    ("1_000_000", ValueType::Scalar),
    ("+Inf", ValueType::Scalar),
    ("-nan", ValueType::Scalar),
    ("1h30m", ValueType::Scalar),
    ("--1", ValueType::Scalar),
    ("2 ^ 3 ^ -2", ValueType::Scalar),
    ("1 + 2 * 3 % 4 atan2 5", ValueType::Scalar),
    ("1 == bool 1", ValueType::Scalar),
    ("(1 >= bool 2) - 1", ValueType::Scalar),
    ("\"text\"", ValueType::Text),
    ("'it\\'s'", ValueType::Text),
    ("`raw \\d text`", ValueType::Text),
    // Selectors.
    ("up", ValueType::Vector),
    ("job:requests:rate5m", ValueType::Vector),
    (":odd", ValueType::Vector),
    ("up{}", ValueType::Vector),
    ("up{job=\"api\",}", ValueType::Vector),
    ("up { job = 'api' , env != `dev` }", ValueType::Vector),
    ("up{job=~\"a|b\",env!~\"dev.*\"}", ValueType::Vector),
    ("up{path=~`/api/v\\d+/.*`}", ValueType::Vector),
    ("up{path=~\"\\\\d+\"}", ValueType::Vector),
    ("{job=\"api\"}", ValueType::Vector),
    ("{job!=\"\"}", ValueType::Vector),
    ("{__name__=~\"http_.+\"}", ValueType::Vector),
    ("{\"http.server.duration\"}", ValueType::Vector),
    ("{'größe', \"k8s.pod\"=\"x\", env=\"p\"}", ValueType::Vector),
    ("up{job=\"größe\", le=\"+Inf\"}", ValueType::Vector),
    (
        "up{by=\"a\", sum=\"b\", on=\"c\", offset=\"d\", bool=\"e\"}",
        ValueType::Vector,
    ),
    ("sum", ValueType::Vector),
    ("by + without / offset", ValueType::Vector),
    ("and and and", ValueType::Vector),
    ("start + end + step + range", ValueType::Vector),
    ("fill + fill_left", ValueType::Vector),
    ("anchored + min_of", ValueType::Vector),
    ("up{a=\"#no comment\"} # a comment", ValueType::Vector),
    ("# first\nup{ # in braces\n  a=\"b\" }", ValueType::Vector),
    ("\t up\r\n", ValueType::Vector),
    // Time.
    ("up[5m]", ValueType::Matrix),
    ("up[ 1d2h3m4s5ms ]", ValueType::Matrix),
    ("up[300]", ValueType::Matrix),
    ("up[1.5e2]", ValueType::Matrix),
    ("up[5m # five\n]", ValueType::Matrix),
    ("up offset 1w", ValueType::Vector),
    ("up offset -5m", ValueType::Vector),
    ("up offset 30 * 2", ValueType::Vector),
    ("up[5m] offset 1d @ 1609746000", ValueType::Matrix),
    ("up @ end()", ValueType::Vector),
    ("up @ -1.5e3 offset 1m", ValueType::Vector),
    ("up @ start ( )", ValueType::Vector),
    ("rate(up[5m])[30m:1m]", ValueType::Matrix),
    ("up[30m:]", ValueType::Matrix),
    (
        "max_over_time(rate(x[1m])[1h:30s] @ end() offset 5m)",
        ValueType::Vector,
    ),
    ("(up + 1)[5m:1m]", ValueType::Matrix),
    ("-up offset 5m", ValueType::Vector),
    // Operators.
    ("a + on() b", ValueType::Vector),
    ("a / on(job, \"k8s.pod\",) b", ValueType::Vector),
    ("a * ignoring(instance) group_left b", ValueType::Vector),
    ("a * on(job) group_right(version, env) b", ValueType::Vector),
    ("a * on(by, sum, on, bool, offset) b", ValueType::Vector),
    ("a == bool on(x) b", ValueType::Vector),
    ("a > 5 and b < 3 or c unless on(x) d", ValueType::Vector),
    ("a or vector(0)", ValueType::Vector),
    ("1 - a", ValueType::Vector),
    ("-a ^ 2", ValueType::Vector),
    ("A AND b Or c", ValueType::Vector),
    ("1 + on() 2", ValueType::Scalar),
    // Aggregations.
    ("sum(a)", ValueType::Vector),
    ("SUM(a) BY (b)", ValueType::Vector),
    ("sum by (job) (rate(a[5m]))", ValueType::Vector),
    ("sum without () (a)", ValueType::Vector),
    ("avg(a) by (job, env,)", ValueType::Vector),
    ("count by (\"k8s.pod\", and, a:b) (a)", ValueType::Vector),
    ("topk(3, a)", ValueType::Vector),
    ("bottomk(scalar(b), a) without (x)", ValueType::Vector),
    ("quantile(0.9, a)", ValueType::Vector),
    ("count_values(\"version\", a)", ValueType::Vector),
    (
        "group(a) + stddev(a) + stdvar(a) + min(a) + max(a)",
        ValueType::Vector,
    ),
    // Functions.
    ("time()", ValueType::Scalar),
    ("scalar(up) * pi()", ValueType::Scalar),
    ("vector(1)", ValueType::Vector),
    ("hour() + day_of_month(up)", ValueType::Vector),
    ("round(a) + round(a, 0.1)", ValueType::Vector),
    ("clamp(a, 0, 1)", ValueType::Vector),
    (
        "histogram_quantile(0.99, sum(rate(x_bucket[1m])) by (le))",
        ValueType::Vector,
    ),
    ("histogram_fraction(0, 0.2, rate(x[5m]))", ValueType::Vector),
    (
        "label_replace(up, \"a\", \"$1\", \"b\", `(\\d+).*`)",
        ValueType::Vector,
    ),
    ("label_join(up, \"a\", \"-\")", ValueType::Vector),
    (
        "label_join(up, \"a\", \"-\", \"b\", \"c\", \"d\")",
        ValueType::Vector,
    ),
    ("absent(up{job=\"x\"})", ValueType::Vector),
    ("quantile_over_time(0.5, a[5m])", ValueType::Vector),
    ("predict_linear(a[1h], 4 * 3600)", ValueType::Vector),
    ("sort_desc(deriv(a[1h]))", ValueType::Vector),
    ("timestamp(up) - 5m", ValueType::Vector),
];

/// Queries a server takes only with a feature flag.
const EXPERIMENTAL: &[&str] = &[
    "mad_over_time(up[5m])",
    "sort_by_label(up, \"a\", \"b\")",
    "info(up)",
    "info(up, {k8s=~\".*\"})",
    "limitk(3, up)",
    "limit_ratio(0.5, up)",
    "up[5m + 1m]",
    "rate(up[step() * 2])",
    "up offset (1m)",
    "up[max_of(1m, step())]",
    "rate(up[5m] anchored)",
    "up smoothed",
    "a + on(x) fill(0) b",
    "a + on(x) fill_left(0) fill_right(-1) b",
    "end() - start()",
    "a </ 5",
    "histogram_quantiles(up, \"q\", 0.5, 0.9, 0.99)",
];

/// Queries no Prometheus takes: the code, and a word the message has to hold.
const BAD: &[(&str, Code, &str)] = &[
    ("", Code::Syntax, "empty"),
    ("  # only a comment", Code::Syntax, "empty"),
    // Brackets and strings.
    ("sum(rate(x[5m])", Code::Syntax, "never closed"),
    ("sum(x))", Code::Syntax, "closes nothing"),
    ("(", Code::Syntax, "never closed"),
    ("()", Code::Syntax, "between the parentheses"),
    ("x{a=\"b\"", Code::Syntax, "never closed"),
    ("x{a=\"b\"[5m]", Code::Syntax, "}"),
    ("x[5m", Code::Syntax, "never closed"),
    ("x[5m)", Code::Syntax, "still open"),
    ("x]", Code::Syntax, "closes nothing"),
    ("x[[5m]]", Code::Syntax, "`[` inside"),
    ("x{a=\"b}", Code::Syntax, "never closed"),
    ("x{a=\"b\nc\"}", Code::Syntax, "never closed"),
    ("x{a=`b}", Code::Syntax, "never closed"),
    ("x{a=\"\\d\"}", Code::Syntax, "escape"),
    ("x{a=\"\\400\"}", Code::Syntax, "escape"),
    ("x{a=“b”}", Code::Syntax, "typographic"),
    ("count_values(‘a’, x)", Code::Syntax, "typographic"),
    ("x\u{a0}+ y", Code::Syntax, "invisible"),
    ("{{ target }}", Code::Syntax, "template action"),
    // Matchers.
    ("x{a=\"b\" c=\"d\"}", Code::Syntax, "comma"),
    ("x{a=\"b\"\n\n  c=~\"d\"}", Code::Syntax, "comma"),
    ("x{a=\"b\";c=\"d\"}", Code::Syntax, "comma"),
    ("x{,}", Code::Syntax, "remove this comma"),
    ("x{a=\"b\",,}", Code::Syntax, "remove this comma"),
    ("x{a}", Code::Syntax, "after the label `a`"),
    ("x{a=b}", Code::Syntax, "without quotes"),
    ("x{a=5}", Code::Syntax, "without quotes"),
    ("x{a==\"b\"}", Code::Syntax, "write ="),
    ("x{a:\"b\"}", Code::Syntax, "label=\"value\""),
    ("x{a>\"5\"}", Code::Syntax, "labels are text"),
    ("x{my-label=\"b\"}", Code::Syntax, "quote such a name"),
    ("x{a=~\"(b\"}", Code::Regex, ")"),
    ("x{a=~\"b**\"}", Code::Regex, "repetition"),
    ("x{a=~\"b(?=c)\"}", Code::Regex, "look-around"),
    ("x{a!~\"*\"}", Code::Regex, "nothing before"),
    ("{}", Code::Type, "every series"),
    ("{a=\"\"}", Code::Type, "every series"),
    ("{a=~\".*\", b!=\"x\"}", Code::Type, "every series"),
    ("x{__name__=\"y\"}", Code::Type, "second metric name"),
    ("x{\"y\"}", Code::Type, "second metric name"),
    // Ranges and time.
    ("rate(x[])", Code::Syntax, "empty range"),
    ("rate(x[5])[1m]", Code::Type, "range after an expression"),
    ("rate(x[0s])", Code::Syntax, "greater than zero"),
    ("rate(x[-5m])", Code::Syntax, "greater than zero"),
    ("rate(x[1.5m])", Code::Syntax, "1m30s"),
    ("rate(x[30m1h])", Code::Syntax, "large to small"),
    ("rate(x[5 m])", Code::Syntax, "without a blank"),
    ("rate(x[five])", Code::Syntax, "a number with a unit"),
    ("rate(x[$interval])", Code::Syntax, "dashboard"),
    ("x[:1m]", Code::Syntax, "range first"),
    ("x[5m:1m:1m]", Code::Syntax, "second `:`"),
    ("x[5m][1m]", Code::Type, "another range"),
    ("x[5m][10m:]", Code::Type, "subquery over a range"),
    ("1[5m:]", Code::Type, "subquery over a scalar"),
    ("x offset 5m[1m]", Code::Type, "range after `offset`"),
    ("x @ 1[1m]", Code::Type, "range after `@`"),
    ("x offset", Code::Syntax, "after `offset`"),
    ("x offset 5m offset 5m", Code::Type, "second `offset`"),
    ("sum(x) offset 5m", Code::Type, "directly after a selector"),
    ("x @ 1 @ 2", Code::Type, "second `@`"),
    ("x @ now()", Code::Syntax, "timestamp"),
    ("x @ Inf", Code::Syntax, "out of bounds"),
    ("1 @ 2", Code::Type, "directly after a selector"),
    // Operators.
    ("a b", Code::Syntax, "operator between"),
    ("a adn b", Code::Syntax, "did you mean and?"),
    ("a +", Code::Syntax, "applies to"),
    ("* a", Code::Syntax, "operand before"),
    ("a + / b", Code::Syntax, "one of the two operators"),
    ("a = 1", Code::Syntax, "write =="),
    ("a =~ \"b\"", Code::Syntax, "inside braces"),
    ("a && b", Code::Syntax, "write `and`"),
    ("a ! b", Code::Syntax, "unless"),
    ("1 < 2", Code::Type, "bool"),
    ("a + bool b", Code::Type, "`bool` after `+`"),
    ("bool", Code::Syntax, "cannot name a metric"),
    ("a and 1", Code::Type, "vector(1)"),
    ("a * group_left b", Code::Syntax, "on(label)"),
    ("a and on(x) group_left b", Code::Type, "set operators"),
    ("a * on(x) group_left(x) b", Code::Type, "both `on`"),
    ("a * on(x) 2", Code::Type, "no instant vector"),
    ("a + b[5m]", Code::Type, "wrap it"),
    ("a == \"b\"", Code::Type, "a string beside"),
    ("-a[5m]", Code::Type, "a range vector beside"),
    ("a.b", Code::Syntax, "dot in a name"),
    ("a, b", Code::Syntax, "a comma parts"),
    ("a on(x) b", Code::Syntax, "operator before"),
    // Functions and aggregations.
    ("rate(x)", Code::Type, "rate(x[1m])"),
    ("rate(sum(x))", Code::Type, "sum(rate("),
    ("abs(x[5m])", Code::Type, "remove the range"),
    ("raet(x[5m])", Code::Function, "did you mean rate?"),
    ("Rate(x[5m])", Code::Function, "did you mean rate?"),
    (
        "histogram_quantil(0.9, x)",
        Code::Function,
        "did you mean histogram_quantile?",
    ),
    (
        "holt_winters(x[5m], 1, 1)",
        Code::Function,
        "double_exponential_smoothing",
    ),
    ("summ by (a) (x)", Code::Function, "did you mean sum?"),
    ("histogram_quantile(x, 0.9)", Code::Type, "swap `x` and `0.9`"),
    ("topk(x, 5)", Code::Type, "swap `x` and `5`"),
    ("time(1)", Code::Type, "no argument"),
    ("rate()", Code::Type, "1 argument"),
    ("round(x, 1, 2)", Code::Type, "1 to 2"),
    ("label_join(x, \"a\")", Code::Type, "at least 3"),
    ("vector(x)", Code::Type, "scalar(x)"),
    ("sum(x,)", Code::Syntax, "comma after the last"),
    ("sum(,x)", Code::Syntax, "remove this comma"),
    ("sum(a b)", Code::Syntax, "comma"),
    ("sum()", Code::Type, "no argument"),
    ("sum(x, y)", Code::Type, "2 arguments"),
    ("sum(1)", Code::Type, "a scalar"),
    ("topk(x)", Code::Type, "topk(number, vector)"),
    ("count_values(5, x)", Code::Type, "quotes"),
    ("sum by job (x)", Code::Syntax, "parentheses"),
    ("sum(x) by job", Code::Syntax, "by (job)"),
    ("sum by (job x) (x)", Code::Syntax, "comma between labels"),
    ("sum by (\"\") (x)", Code::Syntax, "label name"),
    ("sum by (5) (x)", Code::Syntax, "label names"),
    ("sum by (job) x", Code::Syntax, "in parentheses"),
    ("sum by (a) (x) by (b)", Code::Syntax, "one `by`"),
    (
        "rate(x[5m]) by (job)",
        Code::Syntax,
        "sum by (label) (rate(x[5m]))",
    ),
    ("sum rate(x[5m])", Code::Syntax, "sum(…)"),
    ("a:b(x)", Code::Syntax, "not functions"),
    ("x[5m]{a=\"b\"}", Code::Syntax, "before the range"),
    // Numbers.
    ("1e400", Code::Syntax, "64 bits"),
    ("0xeee", Code::Syntax, "neither a number"),
    ("1__0", Code::Syntax, "neither a number"),
    ("5mm", Code::Syntax, "neither a number"),
    ("300y", Code::Syntax, "292 years"),
];

fn sentence(fault: &Fault) -> String {
    format!("{}; {}; {}", fault.found, fault.expected, fault.fix)
}

#[test]
fn good_queries_parse_with_their_type() {
    for (query, result) in GOOD {
        let parsed = parse(query).unwrap_or_else(|faults| panic!("{query}: {}", sentence(&faults[0])));
        assert_eq!(parsed.expr.result, *result, "{query}");
        assert_eq!(parsed.notes, Vec::new(), "{query}");
        assert_eq!(parsed.doomed, Vec::new(), "{query}");
        assert!(parsed.expr.span.end <= query.len());
    }
}

#[test]
fn experimental_queries_parse_with_a_note() {
    for query in EXPERIMENTAL {
        let parsed = parse(query).unwrap_or_else(|faults| panic!("{query}: {}", sentence(&faults[0])));
        let experimental = parsed.notes.iter().any(|note| note.code == Code::Experimental);
        assert!(experimental, "{query}");
    }
}

#[test]
fn bad_queries_say_what_is_wrong() {
    for (query, code, word) in BAD {
        let faults = parse(query).map(|parsed| parsed.expr).expect_err(query);
        let hit = faults
            .iter()
            .any(|fault| fault.code == *code && sentence(fault).contains(word));
        assert!(hit, "{query}: {code:?} {word:?} not among {faults:#?}");
    }
}

#[test]
fn faults_stand_at_their_place() {
    for (query, start, end) in [
        ("x{a=\"b\" c=\"d\"}", 7, 7),
        ("x{a=\"b\"\n  c=\"d\"}", 7, 7),
        ("sum(rate(x[5m])", 3, 4),
        ("sum(x))", 6, 7),
        ("rate(http_requests)", 5, 18),
        ("a = 1", 2, 3),
        ("1 + raet(x[5m])", 4, 8),
        ("histogram_quantile(x, 0.9)", 19, 20),
        ("x{a=~\"(\"}", 5, 8),
        ("a b", 2, 3),
        ("x{a=\"b}", 4, 5),
        ("größe", 2, 4),
    ] {
        let faults = parse(query).expect_err(query);
        assert_eq!(faults[0].span, Span::new(start, end), "{query}: {faults:?}");
    }
}

#[test]
fn one_answer_holds_every_slip() {
    let query = "rate(a) + raet(b[1m]) + c{x=\"1\" y=\"2\"} = 1";
    let faults = parse(query).expect_err(query);
    let codes: Vec<Code> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(
        codes,
        [Code::Type, Code::Function, Code::Syntax, Code::Syntax],
        "{faults:#?}"
    );
}

#[test]
fn precedence_is_prometheus_own() {
    fn shape(query: &str, expr: &Expr) -> String {
        match &expr.kind {
            ast::ExprKind::Binary { operator, operands } => format!(
                "({} {} {})",
                shape(query, &operands.0),
                operator.name(),
                shape(query, &operands.1)
            ),
            ast::ExprKind::Unary(inner) => format!("[{}]", shape(query, inner)),
            _ => expr.span.of(query).to_owned(),
        }
    }
    for (query, expected) in [
        ("a + b * c", "(a + (b * c))"),
        ("a * b + c", "((a * b) + c)"),
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "[(a ^ b)]"),
        ("-a * b", "([a] * b)"),
        ("a ^ -b * c", "((a ^ [b]) * c)"),
        ("a or b and c == d + e", "(a or (b and (c == (d + e))))"),
        ("a unless b or c", "((a unless b) or c)"),
        ("a > b == c", "((a > b) == c)"),
        ("-a offset 5m + b", "([a offset 5m] + b)"),
    ] {
        let parsed = parse(query).expect(query);
        assert_eq!(shape(query, &parsed.expr), expected);
    }
}

#[test]
fn a_threshold_compares_with_vectors_and_scalars_only() {
    assert!(check("sum(up)").is_ok());
    assert!(check("scalar(up)").is_ok());
    for (query, word) in [
        ("up[5m]", "range vector"),
        ("\"up\"", "string"),
        ("up[5m:1m]", "range vector"),
    ] {
        let faults = check(query).expect_err(query);
        assert_eq!(faults[0].code, Code::Type);
        assert!(faults[0].found.contains(word), "{query}");
    }
    let doomed = check("label_replace(up, \"a\", \"b\", \"c\", \"(\")").expect_err("a broken regex");
    assert_eq!(doomed[0].code, Code::Regex);
}

#[test]
fn quantiles_in_percent_get_a_warning() {
    for query in [
        "histogram_quantile(99, x)",
        "quantile(95, x)",
        "quantile_over_time(50, x[5m])",
    ] {
        let parsed = parse(query).expect(query);
        assert_eq!(parsed.notes[0].code, Code::Quantile, "{query}");
    }
    assert!(
        parse("histogram_quantile(0.99, x)")
            .expect("fine")
            .notes
            .is_empty()
    );
}

// Templates.

fn context() -> Context {
    Context {
        any_variable: false,
        variables: [("code".to_owned(), "5..".to_owned())].into(),
        ..Context::stand_in()
    }
}

#[test]
fn problems_stand_in_the_authors_text() {
    let template = "sum(rate(x{ns=\"{{ namespace }}\"\n  app=~\"{{target}}-.*\"}[{{ interval }}]))";
    let problems = judge(template, &context());
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let problem = &problems[0];
    assert_eq!(
        (problem.severity, problem.code),
        (Severity::Error, "promql-syntax")
    );
    assert_eq!((problem.line, problem.column), (1, 32));
    assert!(problem.expected.contains("comma"));
    assert_eq!(
        problem.snippet,
        "sum(rate(x{ns=\"{{ namespace }}\"\n                               ^"
    );
}

#[test]
fn an_action_that_renders_to_nonsense_is_marked_as_a_whole() {
    let template = "rate(x[{{ interval }}])";
    let context = Context {
        interval: "1.5m".to_owned(),
        ..context()
    };
    let problems = judge(template, &context);
    assert_eq!(
        problems[0].snippet,
        "rate(x[{{ interval }}])\n       ^^^^^^^^^^^^^^"
    );
    let context = Context {
        interval: String::new(),
        ..context
    };
    assert!(judge(template, &context)[0].found.contains("empty range"));
}

#[test]
fn template_errors_stand_at_their_place() {
    for (template, code, column) in [
        ("up{a=\"{{ targt }}\"}", "template-function", 10),
        ("up{a=\"{{ variables.cod }}\"}", "template-variable", 19),
        ("up{a=\"{{ target }\"}", "template-syntax", 17),
        ("up{{", "template-syntax", 3),
        ("{{ if target }}up{{ end }}", "template-unsupported", 4),
    ] {
        let problems = judge(template, &context());
        assert_eq!(problems.len(), 1, "{template}: {problems:#?}");
        assert_eq!(
            (problems[0].code, problems[0].column),
            (code, column),
            "{template}"
        );
    }
    assert!(judge_template("any text {{ target }} [", &context()).is_empty());
    assert_eq!(
        judge_template("{{ nonsense }}", &context())[0].code,
        "template-function"
    );
}

#[test]
fn variables_without_a_value_are_tried_as_what_they_may_be() {
    let open = Context::stand_in();
    for template in [
        "rate(x{code=~\"{{ variables.code }}\"}[{{ variables.range }}])",
        "topk({{ variables.k }}, {{ variables.metric }})",
        "histogram_quantile({{ variables.q }}, sum(rate(x[{{ interval }}])) by (le))",
        "x{ {{ variables.matchers }} }",
        "rate({{ variables.selector }})",
        "x offset {{ index variables \"how-far\" }} > {{ variables.limit }}",
    ] {
        assert_eq!(judge(template, &open), Vec::new(), "{template}");
    }
    let depends = judge("sum(x) {{ variables.rest }}", &open);
    assert_eq!(
        (depends[0].severity, depends[0].code),
        (Severity::Warning, "promql-unchecked")
    );
    let wrong = judge("rate(x{a=\"{{ variables.a }}\" b=\"c\"})", &open);
    assert!(
        wrong.iter().all(|problem| problem.severity == Severity::Error),
        "{wrong:#?}"
    );
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
}

// Bounds.

/// Runs on a stack of 512 KiB, a quarter of what any thread of the process has, and returns within the budget.
#[expect(clippy::disallowed_methods, reason = "a test of time and stack measures both")]
fn bounded(query: &str) -> bool {
    let query = query.to_owned();
    let started = Instant::now();
    let refused = std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || {
            let refused = check(&query).is_err();
            judge(&query, &Context::stand_in());
            // Past the cap on length as well: what guards the stack does not rest on it.
            drop(parser::parse(&query));
            refused
        })
        .expect("a thread")
        .join()
        .expect("no overflow, no panic");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    refused
}

#[test]
fn hostile_queries_are_refused_quickly_on_a_small_stack() {
    /// Bytes of a query, far past the cap on length, which has to guard nothing but itself.
    const SIZE: usize = 256 * 1024;
    let shapes = [
        ("(", "x", ")"),
        ("sum(", "x", ")"),
        ("sum by (a) (", "x", ")"),
        ("abs(", "x", ")"),
        ("-", "x", ""),
        ("- ", "1", ""),
        ("1^", "1", ""),
        ("a+", "b", ""),
        ("a or ", "b", ""),
        ("1 or 1 and 1 == 1 + 1 * -1 ^ (", "1", ")"),
        ("{", "", "}"),
        ("x{", "", "}"),
        ("[", "", "]"),
        ("x[", "5m", "]"),
        ("x[(", "5m", ")]"),
        ("x[5m+(", "5m", ")]"),
        ("x[-", "5m", "]"),
        ("x[max_of(1m,", "5m", ")]"),
        ("x offset (", "5m", ")"),
        ("x offset -", "5m", ""),
        ("", "x", "[5m:]"),
        ("", "x", " offset 5m"),
        ("", "x", " @ 5"),
        ("", "x", "[5m]"),
        ("a{b=\"c\",", "", "}"),
        ("a{b=\"c\"} + ", "b", ""),
        ("sum(a,", "b", ")"),
        ("x{a=~\"(", "b", ")\"}"),
        ("x{a=~\"[", "b", "]\"}"),
        ("on(", "a", ")"),
        ("a * on(b) group_left(", "c", ")"),
        ("sum by (", "a", ")"),
        ("\"", "", "\""),
        ("#", "", "\n"),
        ("{{", "", "}}"),
        ("{{ (", "", ") }}"),
        ("\\", "", ""),
        ("“", "", ""),
        ("1e", "", ""),
        ("5m", "", ""),
    ];
    for (open, middle, close) in shapes {
        let many = SIZE / (open.len() + close.len());
        let query = format!("{}{middle}{}", open.repeat(many), close.repeat(many));
        assert!(bounded(&query), "{open}{middle}{close}");
    }
    assert!(bounded(&"(".repeat(1024 * 1024)));
    // Matchers and repetitions that explode in other engines.
    assert!(bounded("x{a=~\"(b{0,1000}){0,1000}\"}"));
    assert!(bounded(&format!("x{{{}}}", "a=\"b\",".repeat(65))));
    assert!(bounded(&format!("x{}", "+x".repeat(257))));
}

#[test]
fn what_stays_under_every_cap_passes() {
    let deepest = format!("{}x{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
    let longest = vec!["x"; MAX_OPERATORS + 1].join("+");
    let powers = vec!["1"; MAX_OPERATORS + 1].join("^");
    let signs = format!("{}x", "-".repeat(MAX_OPERATORS));
    let matchers = format!("x{{{}}}", "a=\"b\",".repeat(MAX_MATCHERS));
    let mixed = format!("{}1{}", "1+1*1^(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
    for query in [deepest, longest, powers, signs, matchers, mixed] {
        assert!(!bounded(&query), "{query}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_gets_a_verdict(query in "\\PC{0,80}") {
        verdict_is_sound(&query)?;
    }

    #[test]
    fn any_tokens_get_a_verdict(words in proptest::collection::vec(prop::sample::select(WORDS.to_vec()), 0..14)) {
        verdict_is_sound(&words.concat())?;
    }

    #[test]
    fn any_mutation_gets_a_verdict(
        seed in prop::sample::select(GOOD.to_vec()),
        place in any::<prop::sample::Index>(),
        cut in 0_usize..4,
        word in prop::sample::select(WORDS.to_vec()),
    ) {
        let characters: Vec<char> = seed.0.chars().collect();
        let at = place.index(characters.len() + 1);
        let mut query: String = characters[..at].iter().collect();
        query.push_str(word);
        query.extend(characters.iter().skip(at + cut));
        verdict_is_sound(&query)?;
    }
}

const WORDS: &[&str] = &[
    "x",
    "sum",
    "rate",
    "by",
    "on",
    "and",
    "offset",
    "bool",
    "group_left",
    "fill",
    "start",
    "inf",
    "5m",
    "1",
    "0x",
    "1e3",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "==",
    "=~",
    "!~",
    "!=",
    "@",
    "+",
    "-",
    "^",
    "/",
    " ",
    "\n",
    "#",
    "\"a\"",
    "\"",
    "'",
    "`",
    "\\",
    "“",
    "{{",
    "}}",
    "{{ target }}",
    "{{ variables.a }}",
    "[5m]",
    "[5m:]",
    "{a=\"b\"}",
    "(x)",
    "ä",
    "$",
    ".",
];

/// A verdict never panics, its places lie in the text, and a refusal says something.
fn verdict_is_sound(query: &str) -> Result<(), TestCaseError> {
    match parse(query) {
        Ok(parsed) => prop_assert!(parsed.expr.span.end <= query.len()),
        Err(faults) => {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(
                    fault.span.start <= fault.span.end && fault.span.end <= query.len(),
                    "{fault:?}"
                );
                prop_assert!(
                    query.is_char_boundary(fault.span.start) && query.is_char_boundary(fault.span.end),
                    "{fault:?}"
                );
                prop_assert!(!fault.found.is_empty() && !fault.expected.is_empty(), "{fault:?}");
            }
        }
    }
    for problem in judge(query, &Context::stand_in()) {
        prop_assert!(problem.line >= 1 && problem.column >= 1);
        prop_assert!(problem.snippet.lines().count() <= 2, "{problem:?}");
    }
    Ok(())
}

// Real manifests.

/// The metric queries of a YAML document, wherever they stand.
fn queries(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    serde_json::Value::String(query) if key == "query" => found.push(query.clone()),
                    _ => queries(field, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[test]
fn real_queries_pass_and_the_broken_one_is_refused_at_its_comma() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let Ok(corpus) = corpus.canonicalize() else {
        return;
    };
    let mut folders = vec![corpus];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let mut found = Vec::new();
            for document in text.split("\n---") {
                if let Ok(value) = serde_saphyr::from_str::<serde_json::Value>(document) {
                    queries(&value, &mut found);
                }
            }
            let is_broken_seed = path.ends_with("seed-bluegreen-v1alpha3.yaml");
            for (index, query) in found.iter().enumerate() {
                let problems = judge(query, &Context::stand_in());
                if is_broken_seed && index == 0 {
                    assert_eq!(problems.len(), 1, "{problems:#?}");
                    assert!(problems[0].found.contains("comma"));
                    assert_eq!((problems[0].line, problems[0].column), (5, 65));
                } else {
                    assert_eq!(problems, Vec::new(), "{}: {query}", path.display());
                }
            }
        }
    }
}
