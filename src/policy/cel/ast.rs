//! The tree of an expression, every node with its place.

use crate::model::promql::Span;

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// What it is.
    pub(super) kind: Kind,
    /// Where it stands.
    pub(super) span: Span,
    /// Levels below it, and itself.
    pub(super) depth: u16,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Name(String),
    /// `of.field`, `of.?field`, or `has(of.field)`.
    Select {
        of: Box<Node>,
        field: String,
        how: Access,
    },
    /// `of[key]` or `of[?key]`.
    Index {
        of: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    Call {
        name: String,
        target: Option<Box<Node>>,
        arguments: Vec<Node>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `a && b && …`.
    And(Vec<Node>),
    /// `a || b || …`.
    Or(Vec<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// `over.all(variable, body)` and its kin.
    Macro {
        kind: Macro,
        over: Box<Node>,
        variable: String,
        /// The condition of `map` with three arguments.
        only: Option<Box<Node>>,
        body: Box<Node>,
    },
}

/// How a field is reached for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Plain,
    Optional,
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::In => "in",
        }
    }
}

impl Kind {
    /// The nodes directly below.
    pub(super) fn children(&self) -> Vec<&Node> {
        match self {
            Kind::Null
            | Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Uint(_)
            | Kind::Double(_)
            | Kind::Text(_)
            | Kind::Name(_) => Vec::new(),
            Kind::Select { of, .. } => vec![of],
            Kind::Not(one) | Kind::Negate(one) => vec![one],
            Kind::Index { of, key, .. } => vec![of, key],
            Kind::Call {
                target, arguments, ..
            } => target.iter().map(Box::as_ref).chain(arguments).collect(),
            Kind::And(parts) | Kind::Or(parts) | Kind::List(parts) => parts.iter().collect(),
            Kind::Binary(_, left, right) => vec![left, right],
            Kind::Conditional(a, b, c) => vec![a, b, c],
            Kind::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            Kind::Macro { over, only, body, .. } => {
                let mut nodes: Vec<&Node> = vec![over];
                nodes.extend(only.iter().map(Box::as_ref));
                nodes.push(body);
                nodes
            }
        }
    }
}
