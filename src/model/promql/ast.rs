//! A parsed query: every node with its place and its type.

use super::functions::Aggregation;
use super::place::Span;
use super::word::Operator;

/// What an expression answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// An instant vector: one sample for each of any number of series.
    Vector,
    /// A range vector: many samples for each series.
    Matrix,
    /// A string.
    Text,
}

impl ValueType {
    /// The name in the Prometheus documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        }
    }

    /// The name with its article, for sentences.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Scalar => "a scalar",
            Self::Vector => "an instant vector",
            Self::Matrix => "a range vector",
            Self::Text => "a string",
        }
    }
}

/// A node of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// Its place in the query.
    pub span: Span,
    /// What it answers with.
    pub result: ValueType,
    /// What it is.
    pub kind: ExprKind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number; durations count seconds.
    Number(f64),
    /// A string; bytes that are no UTF-8 are replaced.
    Text(String),
    /// `name{label="value"}`
    Selector(Box<Selector>),
    /// `selector[5m]`
    Range(Box<Selector>),
    /// `expression[30m:1m]`
    Subquery {
        /// What is evaluated at every step.
        inner: Box<Expr>,
        /// Offset and `@`.
        moved: Moved,
    },
    /// `rate(…)`
    Call {
        /// The function's name, as written.
        function: String,
        /// Its arguments.
        arguments: Vec<Expr>,
    },
    /// `sum by (label) (…)`
    Aggregate {
        /// Which.
        aggregation: Aggregation,
        /// The parameter of `topk`, `quantile`, …
        parameter: Option<Box<Expr>>,
        /// The labels of `by` or `without`.
        grouping: Vec<String>,
        /// What is aggregated; none only after an error.
        inner: Option<Box<Expr>>,
    },
    /// `left + right`
    Binary {
        /// Which.
        operator: Operator,
        /// Left and right.
        operands: Box<(Expr, Expr)>,
    },
    /// `-inner` or `+inner`
    Unary(Box<Expr>),
    /// `(inner)`
    Paren(Box<Expr>),
}

/// A vector selector.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selector {
    /// The metric name before the braces.
    pub name: Option<String>,
    /// The matchers in the braces.
    pub matchers: Vec<Matcher>,
    /// Offset and `@`.
    pub moved: Moved,
}

/// Whether a selector or subquery looks at another time than now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// `offset`, other than zero.
    pub offset: bool,
    /// `@`.
    pub at: bool,
    /// `anchored`, experimental.
    pub anchored: bool,
    /// `smoothed`, experimental.
    pub smoothed: bool,
}

/// A label matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// Its place.
    pub span: Span,
    /// The label, `__name__` for a quoted metric name.
    pub label: String,
    /// The value or regex.
    pub value: String,
    /// Whether a series without the label would match.
    pub matches_empty: bool,
}
