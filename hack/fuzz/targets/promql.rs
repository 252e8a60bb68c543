//! Any text is judged: no panic, no endless loop, and every problem stands at a place of the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verdigris::model::promql::judge;
use verdigris::model::template::Context;

fuzz_target!(|query: &str| {
    let problems = judge(query, &Context::stand_in());
    assert_eq!(problems, judge(query, &Context::stand_in()), "judged twice, the same is found");
    for problem in problems {
        assert!(problem.line >= 1 && problem.column >= 1, "{problem:?}");
        assert!(!problem.found.is_empty(), "{problem:?}");
    }
});
