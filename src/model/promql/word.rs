//! Operators and keywords: how they are written, how tightly they bind, which of them may name a metric.

use super::functions::Aggregation;

/// An operator between (or before) operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `</`, native histograms
    TrimUpper,
    /// `>/`, native histograms
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl Operator {
    /// Binding strength: the greater binds tighter.
    pub(super) fn strength(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::TrimUpper
            | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }

    /// Whether the operator compares, and so takes `bool`.
    pub(super) fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    /// Whether the operator works on sets of series.
    pub(super) fn works_on_sets(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// The operator as PromQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
}

/// A word with a meaning of its own outside braces, written in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Operator(Operator),
    Aggregation(Aggregation),
    Offset,
    Anchored,
    Smoothed,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// Words that are not operators or aggregations.
const WORDS: [(&str, Word); 19] = [
    ("offset", Word::Offset),
    ("anchored", Word::Anchored),
    ("smoothed", Word::Smoothed),
    ("by", Word::By),
    ("without", Word::Without),
    ("on", Word::On),
    ("ignoring", Word::Ignoring),
    ("group_left", Word::GroupLeft),
    ("group_right", Word::GroupRight),
    ("fill", Word::Fill),
    ("fill_left", Word::FillLeft),
    ("fill_right", Word::FillRight),
    ("bool", Word::Bool),
    ("start", Word::Start),
    ("end", Word::End),
    ("step", Word::Step),
    ("range", Word::Range),
    ("max_of", Word::MaxOf),
    ("min_of", Word::MinOf),
];

impl Word {
    /// The keyword a text is; keywords have no case.
    pub(super) fn of(text: &str) -> Option<Self> {
        // No keyword is longer than count_values.
        if text.len() > 12 {
            return None;
        }
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        let operators = [Operator::And, Operator::Or, Operator::Unless, Operator::Atan2];
        let operator = operators.into_iter().find(|one| is(one.name()));
        let aggregation = Aggregation::ALL.into_iter().find(|one| is(one.name()));
        let other = WORDS.iter().find(|(word, _)| is(word));
        operator
            .map(Self::Operator)
            .or(aggregation.map(Self::Aggregation))
            .or(other.map(|(_, word)| *word))
    }

    /// Whether the word may also be the name of a metric.
    pub(super) fn names_a_metric(self) -> bool {
        match self {
            Self::Operator(operator) => operator != Operator::Atan2,
            Self::On | Self::Ignoring | Self::GroupLeft | Self::GroupRight | Self::Bool => false,
            Self::Aggregation(_)
            | Self::Offset
            | Self::Anchored
            | Self::Smoothed
            | Self::By
            | Self::Without
            | Self::Fill
            | Self::FillLeft
            | Self::FillRight
            | Self::Start
            | Self::End
            | Self::Step
            | Self::Range
            | Self::MaxOf
            | Self::MinOf => true,
        }
    }
}
