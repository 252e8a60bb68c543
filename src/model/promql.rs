//! PromQL, bounded: parse, type-check, and say where a query broke and how to mend it.
