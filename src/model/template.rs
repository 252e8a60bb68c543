//! The Go-template subset of metric queries: `{{ target }}`, `{{ variables.key }}`, `{{ printf "%s" name }}`, …
//!
//! Owns: which actions a query may hold and what they become. Promises: bounded (no loops in the language, no value longer
//! than [`MAX_BYTES`]); every error at its place, all of them at once; a map from the rendered query back to
//! the text its author wrote. Never: guesses at what an unknown action could mean.
//!
//! Source: Flagger's `MetricTemplateModel` and Go's `text/template`.

mod action;
mod format;
mod scan;

use std::collections::{BTreeMap, BTreeSet};

use super::promql::place::Span;

/// The longest template, and the longest text it may become, in bytes.
pub const MAX_BYTES: usize = super::promql::MAX_BYTES;

/// What an unknown variable becomes while no Canary says otherwise.
pub const STAND_IN: &str = "v";

/// The values a query template may name (Flagger's `MetricTemplateModel`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// `{{ name }}`: the Canary's name.
    pub name: String,
    /// `{{ namespace }}`: the Canary's namespace.
    pub namespace: String,
    /// `{{ target }}`: `spec.targetRef.name`.
    pub target: String,
    /// `{{ service }}`: `spec.service.name`, else the target's.
    pub service: String,
    /// `{{ ingress }}`: `spec.ingressRef.name`, else the target's.
    pub ingress: String,
    /// `{{ route }}`: `spec.routeRef.name`, else the target's.
    pub route: String,
    /// `{{ interval }}`: the metric's interval.
    pub interval: String,
    /// `{{ variables.key }}`: the metric's `templateVariables`.
    pub variables: BTreeMap<String, String>,
    /// Whether a key that [`Self::variables`] does not hold gets a stand-in value instead of an error: true when a
    /// MetricTemplate is judged on its own, before any Canary refers to it.
    pub any_variable: bool,
}

impl Context {
    /// Values to judge a query by when no Canary is at hand (admission of a MetricTemplate).
    pub fn stand_in() -> Self {
        Self {
            name: "canary".to_owned(),
            namespace: "default".to_owned(),
            target: "app".to_owned(),
            service: "app".to_owned(),
            ingress: "app".to_owned(),
            route: "app".to_owned(),
            interval: "1m".to_owned(),
            variables: BTreeMap::new(),
            any_variable: true,
        }
    }

    /// The value of a function without arguments.
    fn value(&self, function: &str) -> Option<&str> {
        match function {
            "name" => Some(&self.name),
            "namespace" => Some(&self.namespace),
            "target" => Some(&self.target),
            "service" => Some(&self.service),
            "ingress" => Some(&self.ingress),
            "route" => Some(&self.route),
            "interval" => Some(&self.interval),
            _ => None,
        }
    }
}

/// Which rule a [`TemplateError`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The action is malformed or never closed.
    Syntax,
    /// No such function.
    Function,
    /// No such variable.
    Variable,
    /// Go would run it; we do not.
    Unsupported,
    /// Longer than [`MAX_BYTES`], or nested too deep.
    Limit,
}

impl Code {
    /// The stable kebab-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "template-syntax",
            Self::Function => "template-function",
            Self::Variable => "template-variable",
            Self::Unsupported => "template-unsupported",
            Self::Limit => "template-limit",
        }
    }
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Which rule.
    pub code: Code,
    /// Where, in the template.
    pub span: Span,
    /// What was found.
    pub found: String,
    /// What is expected.
    pub expected: String,
    /// How to mend it.
    pub fix: String,
}

/// A rendered template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The functions the template calls.
    pub functions: BTreeSet<String>,
    /// The keys of `variables` the template asks for.
    pub keys: BTreeSet<String>,
    pieces: Vec<Piece>,
}

/// A stretch of the rendered text and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    rendered: Span,
    template: Span,
    /// None: text copied as it is. Some: an action's output, with the variables it used.
    keys: Option<BTreeSet<String>>,
}

impl Rendered {
    /// The place in the template that a place in the rendered text comes from. Inside the output of an action: the
    /// whole action.
    pub fn origin(&self, span: Span) -> Span {
        if span.start >= span.end {
            let place = self.origin_of_end(span.start);
            return Span::at(place);
        }
        let start = self.origin_of_start(span.start);
        Span::new(start, self.origin_of_end(span.end).max(start))
    }

    fn origin_of_start(&self, offset: usize) -> usize {
        let piece = self
            .pieces
            .iter()
            .find(|piece| (piece.rendered.start..piece.rendered.end).contains(&offset));
        match piece {
            Some(piece) if piece.keys.is_none() => piece.template.start + (offset - piece.rendered.start),
            Some(piece) => piece.template.start,
            None => self.pieces.last().map_or(0, |piece| piece.template.end),
        }
    }

    fn origin_of_end(&self, offset: usize) -> usize {
        let piece = self
            .pieces
            .iter()
            .find(|piece| piece.rendered.start < offset && offset <= piece.rendered.end);
        match piece {
            Some(piece) if piece.keys.is_none() => piece.template.start + (offset - piece.rendered.start),
            Some(piece) => piece.template.end,
            None => self.pieces.first().map_or(0, |piece| piece.template.start),
        }
    }

    /// The outputs that depend on a variable: their place in the rendered text, and the variables.
    pub(super) fn variable_outputs(&self) -> impl Iterator<Item = (Span, &BTreeSet<String>)> {
        self.pieces
            .iter()
            .filter_map(|piece| Some((piece.rendered, piece.keys.as_ref()?)))
            .filter(|(_, keys)| !keys.is_empty())
    }
}

/// Renders a template.
///
/// Errors: everything found, in the order of the text.
pub fn render(template: &str, context: &Context) -> Result<Rendered, Vec<TemplateError>> {
    if template.len() > MAX_BYTES {
        return Err(vec![TemplateError {
            code: Code::Limit,
            span: Span::at(0),
            found: format!("a query of {} bytes", template.len()),
            expected: format!("expected at most {MAX_BYTES}"),
            fix: "simplify the query, or record parts of it with recording rules".to_owned(),
        }]);
    }
    let mut rendered = Rendered::default();
    let mut runner = action::Runner::new(template, context);
    let mut errors = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < template.len() {
        let open = template[at..]
            .find("{{")
            .map_or(template.len(), |offset| at + offset);
        let mut text = Span::new(at, open);
        if trim {
            text.start = open - template[at..open].trim_start_matches(is_blank).len();
        }
        if open < template.len() && trims_left(template, open) {
            text.end = text.start + text.of(template).trim_end_matches(is_blank).len();
        }
        push(&mut rendered, text.of(template), text, None);
        if open == template.len() {
            break;
        }
        match runner.run(open) {
            Ok(done) => {
                let action = Span::new(open, done.end);
                push(&mut rendered, &done.output, action, Some(done.keys));
                at = done.end;
                trim = done.trims_right;
                if let Some(error) = done.error {
                    errors.push(error);
                }
            }
            Err(error) => {
                errors.push(error);
                break;
            }
        }
        if rendered.text.len() > MAX_BYTES {
            errors.push(TemplateError {
                code: Code::Limit,
                span: Span::new(open, at),
                found: format!("a query of more than {MAX_BYTES} bytes once rendered"),
                expected: format!("expected at most {MAX_BYTES}"),
                fix: "shorten the values of the variables".to_owned(),
            });
            break;
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    rendered.functions = runner.functions;
    rendered.keys = runner.keys;
    Ok(rendered)
}

fn push(rendered: &mut Rendered, text: &str, template: Span, keys: Option<BTreeSet<String>>) {
    let start = rendered.text.len();
    rendered.text.push_str(text);
    rendered.pieces.push(Piece {
        rendered: Span::new(start, rendered.text.len()),
        template,
        keys,
    });
}

/// What Go's trim markers take away.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// Whether the action opened at this place begins with `{{- `.
fn trims_left(template: &str, open: usize) -> bool {
    template[open..]
        .strip_prefix("{{-")
        .is_some_and(|rest| rest.starts_with(is_blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            target: "podinfo".to_owned(),
            interval: "30s".to_owned(),
            variables: [
                ("code".to_owned(), "5..".to_owned()),
                ("my-key".to_owned(), "dashed".to_owned()),
            ]
            .into(),
            any_variable: false,
            ..Context::stand_in()
        }
    }

    fn text(template: &str) -> String {
        match render(template, &context()) {
            Ok(rendered) => rendered.text,
            Err(errors) => panic!("{template}: {errors:?}"),
        }
    }

    #[test]
    fn actions_become_what_go_makes_of_them() {
        for (template, expected) in [
            ("up", "up"),
            ("", ""),
            ("{{ target }}", "podinfo"),
            ("{{target}}-{{namespace}}", "podinfo-default"),
            ("a {{- target -}} b", "apodinfob"),
            ("a\n  {{- /* gone */ -}}\n b", "ab"),
            ("a{{/* gone }} */}}b", "ab"),
            ("{{ variables.code }}", "5.."),
            ("{{ index variables \"my-key\" }}", "dashed"),
            ("{{ index variables \"none\" }}|", "|"),
            ("{{ (variables).code }}", "5.."),
            ("{{ $x := target }}{{ $x }}/{{ $x }}", "podinfo/podinfo"),
            ("{{ $v := variables }}{{ $v.code }}", "5.."),
            ("{{ $x := target }}{{ $x = name }}{{ $x }}", "canary"),
            ("{{ printf \"%s-%s\" target name }}", "podinfo-canary"),
            (
                "{{ printf `kube(ew)?_%s_%q %d%% %v` namespace name 5 -3 }}",
                "kube(ew)?_default_\"canary\" 5% -3",
            ),
            ("{{ target | printf \"%s-primary\" }}", "podinfo-primary"),
            (
                "{{ printf \"%s\" (printf \"%s.%s\" service namespace) }}",
                "app.default",
            ),
            ("{{ print 1 2 \"a\" 3 4 target }}", "1 2a3 4podinfo"),
            ("{{ println target 1 }}", "podinfo 1\n"),
            ("{{ \"a}}b\" }}", "a}}b"),
            ("{{ `a\\d` }}", "a\\d"),
            ("{{ \"tab\\t\\u00e4\" }}", "tab\t\u{e4}"),
            ("{{\ntarget\n}}", "podinfo"),
            ("rate(x[{{ interval }}]) }}", "rate(x[30s]) }}"),
        ] {
            assert_eq!(text(template), expected, "{template}");
        }
    }

    #[test]
    fn everything_else_is_an_error_at_its_place() {
        for (template, code, start, word) in [
            ("x {{ target", Code::Syntax, 2, "never closed"),
            ("x {{", Code::Syntax, 2, "never closed"),
            ("{{ }}", Code::Syntax, 0, "empty"),
            ("{{ target }", Code::Syntax, 10, "single"),
            ("{{{ target }}}", Code::Syntax, 2, "two braces"),
            ("{{/* a", Code::Syntax, 0, "comment"),
            ("{{/* a */ target }}", Code::Syntax, 9, "directly after"),
            ("{{ \"a }}", Code::Syntax, 3, "never closed"),
            ("{{ \"\\d\" }}", Code::Syntax, 3, "escape"),
            ("{{ targt }}", Code::Function, 3, "did you mean target?"),
            ("{{ region }}", Code::Function, 3, "variables.region"),
            ("{{ .Values.x }}", Code::Unsupported, 3, "no data"),
            ("{{ .Target }}", Code::Unsupported, 3, "write {{ target }}"),
            ("{{ variables.cod }}", Code::Variable, 12, "did you mean code?"),
            ("{{ variables.other }}", Code::Variable, 12, "templateVariables"),
            ("{{ variables.a-b }}", Code::Syntax, 14, "index variables"),
            ("{{ variables }}", Code::Syntax, 3, "without a key"),
            ("{{ target.x }}", Code::Syntax, 9, "only of `variables`"),
            ("{{ target name }}", Code::Syntax, 10, "argument"),
            ("{{ \"a\" target }}", Code::Syntax, 7, "no function"),
            ("{{ $x }}", Code::Variable, 3, "not declared"),
            ("{{ $x = target }}", Code::Variable, 3, "not declared"),
            ("{{ if true }}", Code::Unsupported, 3, "`if`"),
            ("{{ range variables }}", Code::Unsupported, 3, "`range`"),
            ("{{ eq name target }}", Code::Unsupported, 3, "`eq`"),
            ("{{ 0x1f }}", Code::Unsupported, 3, "number"),
            ("{{ 017 }}", Code::Unsupported, 3, "number"),
            ("{{ 1.5 }}", Code::Unsupported, 3, "string"),
            ("{{ 'a' }}", Code::Unsupported, 3, "double quotes"),
            ("{{ print\"a\" }}", Code::Syntax, 8, "add a blank"),
            ("{{ printf \"%5.2f\" 1 }}", Code::Unsupported, 10, "%5"),
            ("{{ printf \"%s\" }}", Code::Syntax, 10, "more verbs"),
            ("{{ printf \"a\" name }}", Code::Syntax, 14, "more values"),
            ("{{ printf \"%d\" name }}", Code::Syntax, 15, "string for %d"),
            ("{{ printf }}", Code::Syntax, 3, "without a format"),
            ("{{ index name \"a\" }}", Code::Syntax, 3, "map and a key"),
            ("{{ (target }}", Code::Syntax, 3, "never closed"),
            ("{{ target ) }}", Code::Syntax, 10, "`)`"),
            ("{{ target | }}", Code::Syntax, 12, "end of the action"),
        ] {
            let errors = render(template, &context()).expect_err(template);
            let error = &errors[0];
            assert_eq!(
                (error.code, error.span.start),
                (code, start),
                "{template}: {errors:?}"
            );
            let sentence = format!("{}; {}; {}", error.found, error.expected, error.fix);
            assert!(sentence.contains(word), "{template}: {sentence}");
        }
    }

    #[test]
    fn all_errors_come_at_once_and_a_refused_block_counts_once() {
        let errors = render("{{ a }}{{ if x }}{{ else }}{{ end }}{{ bb }}", &context()).expect_err("three");
        let codes: Vec<Code> = errors.iter().map(|error| error.code).collect();
        assert_eq!(codes, [Code::Function, Code::Unsupported, Code::Function]);
    }

    #[test]
    fn places_lead_back_to_the_template() {
        let template = "a {{ target }} b{{- /* c */ -}} c";
        let rendered = render(template, &context()).expect("valid");
        assert_eq!(rendered.text, "a podinfo bc");
        for (from, to) in [
            (Span::new(0, 1), Span::new(0, 1)),
            (Span::new(4, 5), Span::new(2, 14)),
            (Span::new(0, 5), Span::new(0, 14)),
            (Span::new(10, 11), Span::new(15, 16)),
            (Span::new(11, 12), Span::new(32, 33)),
            (Span::at(2), Span::at(2)),
            (Span::at(12), Span::at(33)),
            (Span::at(99), Span::at(0)),
        ] {
            assert_eq!(rendered.origin(from), to, "{from:?}");
        }
    }

    #[test]
    fn what_a_template_uses_is_told() {
        let rendered = render("{{ target }}{{ variables.code }}{{ interval }}", &context()).expect("valid");
        assert!(rendered.functions.contains("target") && rendered.functions.contains("interval"));
        assert_eq!(rendered.keys.into_iter().collect::<Vec<_>>(), ["code"]);
        let open = Context::stand_in();
        let rendered = render("{{ $x := variables.a }}{{ $x }}-{{ target }}", &open).expect("valid");
        let outputs: Vec<Span> = rendered.variable_outputs().map(|(span, _)| span).collect();
        assert_eq!(rendered.text, "v-app");
        assert!(outputs.contains(&Span::new(0, 1)), "{outputs:?}");
    }

    #[test]
    fn growth_is_bounded() {
        let doubling = format!(
            "{{{{ $x := `0123456789` }}}}{}{{{{ $x }}}}",
            "{{ $x = printf `%s%s` $x $x }}".repeat(64)
        );
        let errors = render(&doubling, &context()).expect_err("too long");
        assert_eq!(errors[0].code, Code::Limit);
        let long = Context {
            target: "x".repeat(5_000),
            ..context()
        };
        assert_eq!(
            render("{{ target }}{{ target }}", &long).expect_err("too long")[0].code,
            Code::Limit
        );
        let deep = format!("{{{{ {}target{} }}}}", "(".repeat(3_000), ")".repeat(3_000));
        assert_eq!(
            render(&deep, &context()).expect_err("too deep")[0].code,
            Code::Limit
        );
        assert_eq!(
            render(&"x".repeat(MAX_BYTES + 1), &context()).expect_err("too long")[0].code,
            Code::Limit
        );
    }

    proptest::proptest! {
        #[test]
        fn any_template_gets_an_answer(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "{{", "}}", "{{-", "-}}", "{{ ", " }}", "{", "}", " ", "\n", "target", "variables", ".code", "$x", ":=",
                "=", "|", "(", ")", "\"a\"", "\"", "`", "printf", "\"%s\"", "index", "if", "end", "/*", "*/", "1", "-",
                "ä", "up", "\\",
            ]), 0..16),
        ) {
            let template = words.concat();
            match render(&template, &context()) {
                Ok(rendered) => {
                    for offset in 0..=rendered.text.len() {
                        let place = rendered.origin(Span::new(0, offset));
                        proptest::prop_assert!(place.start <= place.end && place.end <= template.len());
                    }
                }
                Err(errors) => {
                    proptest::prop_assert!(!errors.is_empty());
                    for error in errors {
                        proptest::prop_assert!(error.span.end <= template.len(), "{:?}", error);
                        proptest::prop_assert!(!error.found.is_empty() && !error.fix.is_empty());
                    }
                }
            }
        }
    }
}
