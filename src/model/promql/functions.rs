//! What Prometheus can compute: every function with its argument types, every aggregation.
//!
//! Source: the function reference of the Prometheus documentation, versions 3.0 to 3.14. A function that a server
//! knows only behind a feature flag is marked experimental.

use super::ValueType::{self, Matrix, Scalar, Text, Vector};

/// How many arguments past the fixed ones a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// None: as many arguments as types.
    Fixed,
    /// The last type may be left out, and may come up to this many times.
    UpTo(usize),
    /// The last type may be left out, and may come any number of times.
    Any,
}

/// A PromQL function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) takes: &'static [ValueType],
    pub(super) tail: Tail,
    pub(super) gives: ValueType,
    pub(super) experimental: bool,
}

impl Function {
    /// The fewest arguments.
    pub(super) fn fewest(&self) -> usize {
        match self.tail {
            Tail::Fixed => self.takes.len(),
            Tail::UpTo(_) | Tail::Any => self.takes.len() - 1,
        }
    }

    /// The most arguments; none: no bound.
    pub(super) fn most(&self) -> Option<usize> {
        match self.tail {
            Tail::Fixed => Some(self.takes.len()),
            Tail::UpTo(extra) => Some(self.takes.len() - 1 + extra),
            Tail::Any => None,
        }
    }

    /// The type of the argument at an index.
    pub(super) fn argument(&self, index: usize) -> Option<ValueType> {
        match self.tail {
            Tail::Fixed => self.takes.get(index).copied(),
            Tail::UpTo(_) | Tail::Any => self.takes.get(index).or(self.takes.last()).copied(),
        }
    }
}

const fn stable(name: &'static str, takes: &'static [ValueType], tail: Tail, gives: ValueType) -> Function {
    Function {
        name,
        takes,
        tail,
        gives,
        experimental: false,
    }
}

const fn experimental(
    name: &'static str,
    takes: &'static [ValueType],
    tail: Tail,
    gives: ValueType,
) -> Function {
    Function {
        name,
        takes,
        tail,
        gives,
        experimental: true,
    }
}

/// Sorted by name.
const FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], Tail::Fixed, Vector),
    stable("absent", &[Vector], Tail::Fixed, Vector),
    stable("absent_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("acos", &[Vector], Tail::Fixed, Vector),
    stable("acosh", &[Vector], Tail::Fixed, Vector),
    stable("asin", &[Vector], Tail::Fixed, Vector),
    stable("asinh", &[Vector], Tail::Fixed, Vector),
    stable("atan", &[Vector], Tail::Fixed, Vector),
    stable("atanh", &[Vector], Tail::Fixed, Vector),
    stable("avg_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("ceil", &[Vector], Tail::Fixed, Vector),
    stable("changes", &[Matrix], Tail::Fixed, Vector),
    stable("clamp", &[Vector, Scalar, Scalar], Tail::Fixed, Vector),
    stable("clamp_max", &[Vector, Scalar], Tail::Fixed, Vector),
    stable("clamp_min", &[Vector, Scalar], Tail::Fixed, Vector),
    stable("cos", &[Vector], Tail::Fixed, Vector),
    stable("cosh", &[Vector], Tail::Fixed, Vector),
    stable("count_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("day_of_month", &[Vector], Tail::UpTo(1), Vector),
    stable("day_of_week", &[Vector], Tail::UpTo(1), Vector),
    stable("day_of_year", &[Vector], Tail::UpTo(1), Vector),
    stable("days_in_month", &[Vector], Tail::UpTo(1), Vector),
    stable("deg", &[Vector], Tail::Fixed, Vector),
    stable("delta", &[Matrix], Tail::Fixed, Vector),
    stable("deriv", &[Matrix], Tail::Fixed, Vector),
    experimental(
        "double_exponential_smoothing",
        &[Matrix, Scalar, Scalar],
        Tail::Fixed,
        Vector,
    ),
    experimental("end", &[], Tail::Fixed, Scalar),
    stable("exp", &[Vector], Tail::Fixed, Vector),
    stable("first_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("floor", &[Vector], Tail::Fixed, Vector),
    stable("histogram_avg", &[Vector], Tail::Fixed, Vector),
    stable("histogram_count", &[Vector], Tail::Fixed, Vector),
    stable(
        "histogram_fraction",
        &[Scalar, Scalar, Vector],
        Tail::Fixed,
        Vector,
    ),
    stable("histogram_quantile", &[Scalar, Vector], Tail::Fixed, Vector),
    experimental(
        "histogram_quantiles",
        &[Vector, Text, Scalar, Scalar],
        Tail::UpTo(9),
        Vector,
    ),
    stable("histogram_stddev", &[Vector], Tail::Fixed, Vector),
    stable("histogram_stdvar", &[Vector], Tail::Fixed, Vector),
    stable("histogram_sum", &[Vector], Tail::Fixed, Vector),
    stable("hour", &[Vector], Tail::UpTo(1), Vector),
    stable("idelta", &[Matrix], Tail::Fixed, Vector),
    stable("increase", &[Matrix], Tail::Fixed, Vector),
    experimental("info", &[Vector, Vector], Tail::UpTo(1), Vector),
    stable("irate", &[Matrix], Tail::Fixed, Vector),
    stable("label_join", &[Vector, Text, Text, Text], Tail::Any, Vector),
    stable(
        "label_replace",
        &[Vector, Text, Text, Text, Text],
        Tail::Fixed,
        Vector,
    ),
    stable("last_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("ln", &[Vector], Tail::Fixed, Vector),
    stable("log10", &[Vector], Tail::Fixed, Vector),
    stable("log2", &[Vector], Tail::Fixed, Vector),
    experimental("mad_over_time", &[Matrix], Tail::Fixed, Vector),
    experimental("max_of", &[Scalar, Scalar], Tail::Fixed, Scalar),
    stable("max_over_time", &[Matrix], Tail::Fixed, Vector),
    experimental("min_of", &[Scalar, Scalar], Tail::Fixed, Scalar),
    stable("min_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("minute", &[Vector], Tail::UpTo(1), Vector),
    stable("month", &[Vector], Tail::UpTo(1), Vector),
    stable("pi", &[], Tail::Fixed, Scalar),
    stable("predict_linear", &[Matrix, Scalar], Tail::Fixed, Vector),
    stable("present_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("quantile_over_time", &[Scalar, Matrix], Tail::Fixed, Vector),
    stable("rad", &[Vector], Tail::Fixed, Vector),
    experimental("range", &[], Tail::Fixed, Scalar),
    stable("rate", &[Matrix], Tail::Fixed, Vector),
    stable("resets", &[Matrix], Tail::Fixed, Vector),
    stable("round", &[Vector, Scalar], Tail::UpTo(1), Vector),
    stable("scalar", &[Vector], Tail::Fixed, Scalar),
    stable("sgn", &[Vector], Tail::Fixed, Vector),
    stable("sin", &[Vector], Tail::Fixed, Vector),
    stable("sinh", &[Vector], Tail::Fixed, Vector),
    stable("sort", &[Vector], Tail::Fixed, Vector),
    experimental("sort_by_label", &[Vector, Text], Tail::Any, Vector),
    experimental("sort_by_label_desc", &[Vector, Text], Tail::Any, Vector),
    stable("sort_desc", &[Vector], Tail::Fixed, Vector),
    stable("sqrt", &[Vector], Tail::Fixed, Vector),
    experimental("start", &[], Tail::Fixed, Scalar),
    experimental("start_timestamp", &[Vector], Tail::Fixed, Vector),
    stable("stddev_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("stdvar_over_time", &[Matrix], Tail::Fixed, Vector),
    experimental("step", &[], Tail::Fixed, Scalar),
    stable("sum_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("tan", &[Vector], Tail::Fixed, Vector),
    stable("tanh", &[Vector], Tail::Fixed, Vector),
    stable("time", &[], Tail::Fixed, Scalar),
    stable("timestamp", &[Vector], Tail::Fixed, Vector),
    experimental("ts_of_first_over_time", &[Matrix], Tail::Fixed, Vector),
    experimental("ts_of_last_over_time", &[Matrix], Tail::Fixed, Vector),
    experimental("ts_of_max_over_time", &[Matrix], Tail::Fixed, Vector),
    experimental("ts_of_min_over_time", &[Matrix], Tail::Fixed, Vector),
    stable("vector", &[Scalar], Tail::Fixed, Vector),
    stable("year", &[Vector], Tail::UpTo(1), Vector),
];

/// The function of a name; names are case-sensitive.
pub(super) fn function(name: &str) -> Option<&'static Function> {
    let index = FUNCTIONS
        .binary_search_by(|function| function.name.cmp(name))
        .ok()?;
    FUNCTIONS.get(index)
}

/// The names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// An aggregation over series. Keywords: any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk(k, …)`
    Topk,
    /// `bottomk(k, …)`
    Bottomk,
    /// `count_values("label", …)`
    CountValues,
    /// `quantile(φ, …)`
    Quantile,
    /// `limitk(k, …)`, experimental
    Limitk,
    /// `limit_ratio(r, …)`, experimental
    LimitRatio,
}

impl Aggregation {
    /// Every aggregation.
    pub(super) const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The word as PromQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter before the expression; none: the aggregation has no parameter.
    pub(super) fn parameter(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => Some(Scalar),
            Self::CountValues => Some(Text),
            Self::Sum
            | Self::Avg
            | Self::Count
            | Self::Min
            | Self::Max
            | Self::Group
            | Self::Stddev
            | Self::Stdvar => None,
        }
    }

    /// Known to a server only behind a feature flag.
    pub(super) fn experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_name_is_found() {
        for window in FUNCTIONS.windows(2) {
            assert!(
                window[0].name < window[1].name,
                "{} comes before {}",
                window[0].name,
                window[1].name
            );
        }
        for name in names() {
            assert_eq!(function(name).map(|found| found.name), Some(name));
        }
        assert_eq!(function("Rate"), None, "function names are case-sensitive");
    }

    #[test]
    fn arities_follow_the_tail() {
        let arity = |name| function(name).map(|found| (found.fewest(), found.most()));
        assert_eq!(arity("rate"), Some((1, Some(1))));
        assert_eq!(arity("round"), Some((1, Some(2))));
        assert_eq!(arity("hour"), Some((0, Some(1))));
        assert_eq!(arity("label_join"), Some((3, None)));
        assert_eq!(arity("time"), Some((0, Some(0))));
    }
}
