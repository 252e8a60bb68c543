//! Tokens to a tree, by precedence (CEL specification, "Syntax"), of bounded depth.

use crate::model::promql::Span;

use super::ast::{Access, Kind, Macro, Node, Operator};
use super::lexer::{Token, tokens};
use super::{MAX_DEPTH, Slip, SlipKind};

/// Brackets within brackets.
const MAX_NESTING: u16 = 24;

/// Words that are no names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

type Parsed = Result<Node, Slip>;

pub(super) fn parse(text: &str) -> Parsed {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        nesting: 0,
    };
    if parser.peek() == &Token::End {
        return Err(Slip::new(SlipKind::Syntax, Span::at(0), "an empty expression").fixed_by("write one"));
    }
    let root = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(root),
        Token::Name(_)
        | Token::Int(_)
        | Token::Uint(_)
        | Token::Double(_)
        | Token::Text(_)
        | Token::Sign(_) => {
            let slip = parser.unexpected("an operator or the end");
            Err(match parser.peek() {
                Token::Name(word) if word.eq_ignore_ascii_case("and") => slip.fixed_by("write &&"),
                Token::Name(word) if word.eq_ignore_ascii_case("or") => slip.fixed_by("write ||"),
                Token::Sign(")" | "]" | "}") => slip.fixed_by("remove it, or open it before"),
                _ => slip,
            })
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Span)>,
    at: usize,
    nesting: u16,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens
            .get(self.at.min(last))
            .map_or(Span::at(0), |(_, span)| *span)
    }

    /// The end of what was read last.
    fn behind(&self) -> usize {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        before.map_or(0, |(_, span)| span.end)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(one) if *one == sign);
        self.at += usize::from(found);
        found
    }

    fn demand(&mut self, sign: &'static str, opened: Span) -> Result<(), Slip> {
        if self.take(sign) {
            return Ok(());
        }
        if self.peek() == &Token::End {
            return Err(Slip::new(SlipKind::Syntax, opened, format!("no {sign} for this"))
                .fixed_by(format!("add {sign}")));
        }
        Err(self.unexpected(&format!("{sign} or an operator")))
    }

    fn unexpected(&self, expected: &str) -> Slip {
        let found = match self.peek() {
            Token::End => "the expression ends here".to_owned(),
            Token::Name(name) => format!("{name} is unexpected here"),
            Token::Text(_) => "a string is unexpected here".to_owned(),
            Token::Int(_) | Token::Uint(_) | Token::Double(_) => "a number is unexpected here".to_owned(),
            Token::Sign(sign) => format!("{sign} is unexpected here"),
        };
        Slip::new(SlipKind::Syntax, self.span(), found).expecting(format!("expected {expected}"))
    }

    fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, Slip>) -> Result<T, Slip> {
        if self.nesting >= MAX_NESTING {
            return Err(
                Slip::new(SlipKind::Syntax, self.span(), "brackets are nested too deeply")
                    .expecting(format!("expected at most {MAX_NESTING} levels"))
                    .fixed_by("split it into several rules"),
            );
        }
        self.nesting += 1;
        let outcome = inside(self);
        self.nesting -= 1;
        outcome
    }

    fn expression(&mut self) -> Parsed {
        let condition = self.many("||", Kind::Or, |parser| {
            parser.many("&&", Kind::And, |parser| parser.binary(0))
        })?;
        if !self.take("?") {
            return Ok(condition);
        }
        let (question, start) = (self.behind() - 1, condition.span.start);
        let then = self.nested(Self::expression)?;
        self.demand(":", Span::new(question, question + 1))?;
        let otherwise = self.nested(Self::expression)?;
        let span = Span::new(start, otherwise.span.end);
        tree(
            Kind::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise)),
            span,
        )
    }

    fn many(
        &mut self,
        sign: &str,
        join: impl FnOnce(Vec<Node>) -> Kind,
        part: impl Fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let first = part(self)?;
        if !matches!(self.peek(), Token::Sign(one) if *one == sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(sign) {
            parts.push(part(self)?);
        }
        let span = Span::new(parts[0].span.start, self.behind());
        tree(join(parts), span)
    }

    /// Comparisons (level 0), sums (1), products (2).
    fn binary(&mut self, level: u8) -> Parsed {
        if level > 2 {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(level) {
            self.at += 1;
            let right = self.binary(level + 1)?;
            let span = left.span.to(right.span);
            left = tree(Kind::Binary(operator, Box::new(left), Box::new(right)), span)?;
        }
        Ok(left)
    }

    fn operator(&self, level: u8) -> Option<Operator> {
        let sign = match self.peek() {
            Token::Sign(sign) => *sign,
            Token::Name(name) if name == "in" => "in",
            Token::Name(_)
            | Token::Int(_)
            | Token::Uint(_)
            | Token::Double(_)
            | Token::Text(_)
            | Token::End => {
                return None;
            }
        };
        let (operator, of) = match sign {
            "==" => (Operator::Equal, 0),
            "!=" => (Operator::NotEqual, 0),
            "<" => (Operator::Less, 0),
            "<=" => (Operator::LessOrEqual, 0),
            ">" => (Operator::Greater, 0),
            ">=" => (Operator::GreaterOrEqual, 0),
            "in" => (Operator::In, 0),
            "+" => (Operator::Add, 1),
            "-" => (Operator::Subtract, 1),
            "*" => (Operator::Multiply, 2),
            "/" => (Operator::Divide, 2),
            "%" => (Operator::Remainder, 2),
            _ => return None,
        };
        (of == level).then_some(operator)
    }

    fn unary(&mut self) -> Parsed {
        let start = self.span().start;
        if self.take("!") {
            let one = self.nested(Self::unary)?;
            let span = Span::new(start, one.span.end);
            return tree(Kind::Not(Box::new(one)), span);
        }
        if self.take("-") {
            // The least number has no positive twin.
            if let Token::Int(magnitude) = *self.peek()
                && let Some(value) = 0_i64.checked_sub_unsigned(magnitude)
            {
                self.at += 1;
                return tree(Kind::Int(value), Span::new(start, self.behind()));
            }
            let one = self.nested(Self::unary)?;
            let span = Span::new(start, one.span.end);
            return tree(Kind::Negate(Box::new(one)), span);
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let mut node = self.primary()?;
        let start = node.span.start;
        loop {
            if self.take(".") {
                let optional = self.take("?");
                let Token::Name(field) = self.peek().clone() else {
                    return Err(self.unexpected("the name of a field or function"));
                };
                self.at += 1;
                let called = matches!(self.peek(), Token::Sign("(")) && !optional;
                if called {
                    node = self.call(field, Some(node), start)?;
                    continue;
                }
                let how = if optional { Access::Optional } else { Access::Plain };
                let span = Span::new(start, self.behind());
                node = tree(
                    Kind::Select {
                        of: Box::new(node),
                        field: unescaped(&field),
                        how,
                    },
                    span,
                )?;
            } else if self.take("[") {
                let opened = Span::new(self.behind() - 1, self.behind());
                let optional = self.take("?");
                let key = self.nested(Self::expression)?;
                self.demand("]", opened)?;
                let span = Span::new(start, self.behind());
                node = tree(
                    Kind::Index {
                        of: Box::new(node),
                        key: Box::new(key),
                        optional,
                    },
                    span,
                )?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let span = self.span();
        match self.peek().clone() {
            Token::Int(value) => {
                self.at += 1;
                let value = i64::try_from(value)
                    .map_err(|_| Slip::new(SlipKind::Syntax, span, "a whole number too large"))?;
                tree(Kind::Int(value), span)
            }
            Token::Uint(value) => {
                self.at += 1;
                tree(Kind::Uint(value), span)
            }
            Token::Double(value) => {
                self.at += 1;
                tree(Kind::Double(value), span)
            }
            Token::Text(text) => {
                self.at += 1;
                tree(Kind::Text(text), span)
            }
            Token::Name(name) => {
                self.at += 1;
                match name.as_str() {
                    "null" => return tree(Kind::Null, span),
                    "true" | "false" => return tree(Kind::Bool(name == "true"), span),
                    _ => {}
                }
                if matches!(self.peek(), Token::Sign("(")) {
                    return self.call(name, None, span.start);
                }
                if matches!(self.peek(), Token::Sign("{")) {
                    return Err(
                        Slip::new(SlipKind::Syntax, span, format!("a message {name}{{…}}"))
                            .expecting("expected a map such as {'key': value}"),
                    );
                }
                if RESERVED.contains(&name.as_str()) || name == "in" {
                    return Err(
                        Slip::new(SlipKind::Syntax, span, format!("{name} is a reserved word"))
                            .expecting("expected a name"),
                    );
                }
                tree(Kind::Name(name), span)
            }
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.nested(Self::expression)?;
                self.demand(")", span)?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.at += 1;
                let items = self.list("]", span)?;
                let span = Span::new(span.start, self.behind());
                tree(Kind::List(items), span)
            }
            Token::Sign("{") => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.take("}") {
                    let key = self.nested(Self::expression)?;
                    self.demand(":", span)?;
                    entries.push((key, self.nested(Self::expression)?));
                    if !self.take(",") {
                        self.demand("}", span)?;
                        break;
                    }
                }
                let span = Span::new(span.start, self.behind());
                tree(Kind::Map(entries), span)
            }
            Token::Sign(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    /// Expressions up to `close`; `opened` is where the bracket stands.
    fn list(&mut self, close: &'static str, opened: Span) -> Result<Vec<Node>, Slip> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.nested(Self::expression)?);
            if !self.take(",") {
                self.demand(close, opened)?;
                break;
            }
        }
        Ok(items)
    }

    /// The arguments of `name(…)`; the parenthesis is next.
    fn call(&mut self, name: String, target: Option<Node>, start: usize) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let arguments = self.list(")", opened)?;
        let span = Span::new(start, self.behind());
        let kind = match (target, name.as_str()) {
            (None, "has") => presence(arguments, span)?,
            (Some(over), "all" | "exists" | "exists_one" | "existsOne" | "map" | "filter") => {
                each(&name, over, arguments, span)?
            }
            (target, _) => Kind::Call {
                name,
                target: target.map(Box::new),
                arguments,
            },
        };
        tree(kind, span)
    }
}

/// A node, if it is not too far from its leaves.
fn tree(kind: Kind, span: Span) -> Parsed {
    let below = kind.children().iter().map(|child| child.depth).max().unwrap_or(0);
    if below >= MAX_DEPTH {
        return Err(
            Slip::new(SlipKind::Syntax, span, "the expression is nested too deeply")
                .expecting(format!("expected at most {MAX_DEPTH} levels"))
                .fixed_by("split it into several rules"),
        );
    }
    Ok(Node {
        kind,
        span,
        depth: below + 1,
    })
}

/// `has(a.b)`.
fn presence(arguments: Vec<Node>, span: Span) -> Result<Kind, Slip> {
    let mut arguments = arguments;
    match (arguments.pop(), arguments.is_empty()) {
        (
            Some(Node {
                kind:
                    Kind::Select {
                        of,
                        field,
                        how: Access::Plain,
                    },
                ..
            }),
            true,
        ) => Ok(Kind::Select {
            of,
            field,
            how: Access::Test,
        }),
        _ => Err(
            Slip::new(SlipKind::Syntax, span, "has() of something else than a field")
                .expecting("expected has(object.field)")
                .fixed_by("ask for a key of a map with 'key' in map"),
        ),
    }
}

/// `over.all(x, …)` and its kin.
fn each(name: &str, over: Node, arguments: Vec<Node>, span: Span) -> Result<Kind, Slip> {
    let kind = match name {
        "all" => Macro::All,
        "exists" => Macro::Exists,
        "map" => Macro::Map,
        "filter" => Macro::Filter,
        _ => Macro::ExistsOne,
    };
    let wrong = || {
        let form = if kind == Macro::Map {
            "map(x, value) or map(x, condition, value)".to_owned()
        } else {
            format!("{name}(x, condition)")
        };
        Slip::new(SlipKind::Syntax, span, format!("{name}() with other arguments"))
            .expecting(format!("expected {form}"))
    };
    let count = arguments.len();
    let mut arguments = arguments.into_iter();
    let (Some(variable), Some(second)) = (arguments.next(), arguments.next()) else {
        return Err(wrong());
    };
    let Kind::Name(variable) = variable.kind else {
        return Err(wrong());
    };
    let (only, body) = match arguments.next() {
        None => (None, second),
        Some(third) if kind == Macro::Map && count == 3 => (Some(Box::new(second)), third),
        Some(_) => return Err(wrong()),
    };
    Ok(Kind::Macro {
        kind,
        over: Box::new(over),
        variable,
        only,
        body: Box::new(body),
    })
}

/// Kubernetes' spelling of fields that CEL cannot say: `__namespace__`, `app__dot__io`.
fn unescaped(field: &str) -> String {
    if !field.contains("__") {
        return field.to_owned();
    }
    let inner = field.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = inner
        && (RESERVED.contains(&word) || matches!(word, "in" | "true" | "false" | "null"))
    {
        return word.to_owned();
    }
    field
        .replace("__dot__", ".")
        .replace("__dash__", "-")
        .replace("__slash__", "/")
        .replace("__underscores__", "__")
}
