//! Raw JSON Canaries out of a string of bytes: any bytes give an object, fewer or smaller bytes a simpler one, so
//! proptest can shrink them (and a fuzzer can breed them).

use serde_json::{Map, Number, Value, json};

use crate::{ALPHA, BETA};

/// Choices, read from bytes; all zero once the bytes are used up.
pub(crate) struct Choices<'a>(std::slice::Iter<'a, u8>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True once in `n` times, never when the bytes are used up.
    pub(crate) fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// Which objects are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// v1alpha3, with anything in it.
    Alpha,
    /// v1beta1, with anything in it (to be pruned by the test).
    Beta,
}

const WORDS: [&str; 14] = [
    "",
    "a",
    "podinfo",
    "1m",
    "99",
    "5s",
    "up",
    "request-success-rate",
    "request-duration",
    "latency",
    "\u{8}<&>\n\té",
    "100 - sum(rate(x[1m]))\n",
    "http",
    "null",
];

fn number(choices: &mut Choices) -> Number {
    match choices.below(9) {
        0 => 0.into(),
        1 => 99.into(),
        2 => (-1).into(),
        3 => Number::from_f64(99.0).unwrap(),
        4 => Number::from_f64(0.5).unwrap(),
        5 => Number::from_f64(1e3).unwrap(),
        6 => 9_007_199_254_740_993_i64.into(),
        7 => i64::MAX.into(),
        _ => u64::from(choices.below(200) as u8).into(),
    }
}

fn scalar(choices: &mut Choices) -> Value {
    match choices.below(5) {
        0 => Value::Null,
        1 => Value::Bool(choices.below(2) == 1),
        2 => Value::Number(number(choices)),
        _ => json!(choices.pick(&WORDS)),
    }
}

/// Any JSON at all.
pub(crate) fn whatever(choices: &mut Choices, depth: usize) -> Value {
    if depth == 0 {
        return scalar(choices);
    }
    match choices.below(6) {
        0..=2 => scalar(choices),
        3 => (0..choices.below(3))
            .map(|_| whatever(choices, depth - 1))
            .collect(),
        _ => {
            let keys = [
                "name",
                "exact",
                "port",
                "extra",
                "min",
                "threshold",
                "analysis",
                "x-y.z/w",
            ];
            (0..choices.below(4))
                .map(|_| (choices.pick(&keys).to_owned(), whatever(choices, depth - 1)))
                .collect()
        }
    }
}

/// Makes the value of a member.
type Member<'a> = &'a dyn Fn(&mut Choices) -> Value;

/// An object with some of `fields`, each as it should be or (rarely) as anything, and rarely an unknown key.
fn object(choices: &mut Choices, fields: &[(&str, Member)]) -> Value {
    let mut map = Map::new();
    for _ in 0..choices.below(fields.len().min(6) + 2) {
        let (name, value) = fields[choices.below(fields.len())];
        let value = if choices.rarely(9) {
            whatever(choices, 2)
        } else {
            value(choices)
        };
        map.insert(name.to_owned(), value);
    }
    if choices.rarely(9) {
        map.insert("extra".to_owned(), whatever(choices, 2));
    }
    Value::Object(map)
}

fn list(choices: &mut Choices, item: &dyn Fn(&mut Choices) -> Value) -> Value {
    (0..choices.below(4))
        .map(|_| {
            if choices.rarely(12) {
                whatever(choices, 2)
            } else {
                item(choices)
            }
        })
        .collect()
}

fn word(choices: &mut Choices) -> Value {
    json!(choices.pick(&WORDS))
}

fn count(choices: &mut Choices) -> Value {
    Value::Number(number(choices))
}

fn flag(choices: &mut Choices) -> Value {
    json!(choices.below(2) == 1)
}

fn words(choices: &mut Choices) -> Value {
    list(choices, &word)
}

fn labels(choices: &mut Choices) -> Value {
    object(choices, &[("app", &word), ("b/c", &word), ("metadata", &word)])
}

fn string_match(choices: &mut Choices) -> Value {
    object(
        choices,
        &[
            ("exact", &word),
            ("prefix", &word),
            ("suffix", &word),
            ("regex", &word),
        ],
    )
}

fn condition(choices: &mut Choices) -> Value {
    object(
        choices,
        &[
            ("uri", &string_match),
            ("headers", &|choices| {
                object(
                    choices,
                    &[("cookie", &string_match), ("user-agent", &string_match)],
                )
            }),
            ("method", &string_match),
            ("port", &count),
            ("sourceLabels", &labels),
            ("gateways", &words),
        ],
    )
}

fn metric(choices: &mut Choices) -> Value {
    let range = |choices: &mut Choices| object(choices, &[("min", &count), ("max", &count)]);
    object(
        choices,
        &[
            ("name", &|choices| {
                json!(choices.pick(&[
                    "request-success-rate",
                    "request-duration",
                    "latency",
                    "istio_requests_total"
                ]))
            }),
            ("threshold", &count),
            ("threshold", &count),
            ("query", &word),
            ("thresholdRange", &range),
            ("interval", &word),
            ("templateRef", &|choices| {
                object(choices, &[("name", &word), ("namespace", &word)])
            }),
        ],
    )
}

fn hook(choices: &mut Choices) -> Value {
    object(
        choices,
        &[
            ("name", &word),
            ("url", &word),
            ("type", &word),
            ("timeout", &word),
            ("metadata", &labels),
            ("retries", &count),
        ],
    )
}

fn analysis(choices: &mut Choices) -> Value {
    object(
        choices,
        &[
            ("interval", &word),
            ("threshold", &count),
            ("metrics", &|choices| list(choices, &metric)),
            ("metrics", &|choices| list(choices, &metric)),
            ("iterations", &count),
            ("stepWeight", &count),
            ("webhooks", &|choices| list(choices, &hook)),
            ("match", &|choices| list(choices, &condition)),
            ("mirror", &flag),
            ("stepWeights", &|choices| list(choices, &count)),
            ("alerts", &|choices| {
                list(choices, &|choices| {
                    object(choices, &[("name", &word), ("providerRef", &labels)])
                })
            }),
        ],
    )
}

fn service(choices: &mut Choices) -> Value {
    let pool = |choices: &mut Choices| {
        object(
            choices,
            &[
                ("tcp", &|choices| object(choices, &[("maxConnections", &count)])),
                ("http", &labels),
            ],
        )
    };
    let policy = |choices: &mut Choices| {
        object(
            choices,
            &[
                ("connectionPool", &pool),
                ("tls", &|choices| object(choices, &[("mode", &word)])),
            ],
        )
    };
    object(
        choices,
        &[
            ("port", &count),
            ("targetPort", &scalar),
            ("portDiscovery", &flag),
            ("hosts", &words),
            ("match", &|choices| list(choices, &condition)),
            ("trafficPolicy", &policy),
            ("appendHeaders", &labels),
            ("apex", &|choices| object(choices, &[("labels", &labels)])),
            ("retries", &|choices| object(choices, &[("attempts", &count)])),
        ],
    )
}

fn status(choices: &mut Choices) -> Value {
    let condition = |choices: &mut Choices| {
        object(
            choices,
            &[("type", &word), ("status", &word), ("lastUpdateTime", &scalar)],
        )
    };
    object(
        choices,
        &[
            ("phase", &word),
            ("failedChecks", &count),
            ("trackedConfigs", &labels),
            ("lastTransitionTime", &scalar),
            ("conditions", &|choices| list(choices, &condition)),
            ("state", &word),
        ],
    )
}

fn annotations(choices: &mut Choices) -> Value {
    let mut map = Map::new();
    for _ in 0..choices.below(3) {
        let key = choices.pick(&[
            "kubectl.kubernetes.io/last-applied-configuration",
            "a",
            "flagger.app/conversion-stash",
        ]);
        let value = match (key, choices.below(4)) {
            ("flagger.app/conversion-stash", 0) => json!(forged(choices)),
            ("flagger.app/conversion-stash", 1) => json!("{"),
            (_, 2) => whatever(choices, 1),
            _ => word(choices),
        };
        map.insert(key.to_owned(), value);
    }
    Value::Object(map)
}

/// A stash as somebody might make one up.
pub(crate) fn forged(choices: &mut Choices) -> String {
    let path = |choices: &mut Choices| -> Value {
        let steps = [
            "spec",
            "canaryAnalysis",
            "analysis",
            "metrics",
            "metadata",
            "name",
            "extra",
            "service",
            "status",
        ];
        (0..choices.below(5))
            .map(|_| {
                if choices.below(4) == 3 {
                    json!(choices.below(3))
                } else {
                    json!(choices.pick(&steps))
                }
            })
            .collect()
    };
    let entries: Vec<Value> = (0..choices.below(4))
        .map(|_| {
            let mut entry = json!({"p": path(choices), "u": path(choices), "g": choices.pick(&["-", "0123456789abcdef"])});
            if choices.below(2) == 1 {
                entry["o"] = whatever(choices, 2);
            }
            entry
        })
        .collect();
    json!({"v": 1, "of": choices.pick(&[ALPHA, BETA, "flagger.app/v2"]), "e": entries}).to_string()
}

/// A Canary of the wanted version, complete or partial.
pub(crate) fn canary(choices: &mut Choices, kind: Kind) -> Value {
    let (version, key, other) = match kind {
        Kind::Alpha => (ALPHA, "canaryAnalysis", "analysis"),
        Kind::Beta => (BETA, "analysis", "canaryAnalysis"),
    };
    let mut canary = json!({"apiVersion": version, "kind": "Canary"});
    let mut metadata = json!({"name": "podinfo", "namespace": "test"});
    match choices.below(8) {
        0..=3 => {}
        4 | 5 => metadata["annotations"] = annotations(choices),
        6 => metadata = json!({}),
        _ => metadata["annotations"] = whatever(choices, 1),
    }
    if !choices.rarely(16) {
        canary["metadata"] = metadata;
    }
    let mut spec = object(
        choices,
        &[
            ("provider", &word),
            ("targetRef", &|choices| {
                object(
                    choices,
                    &[("apiVersion", &word), ("kind", &word), ("name", &word)],
                )
            }),
            ("autoscalerRef", &|choices| whatever(choices, 2)),
            ("service", &service),
            ("service", &service),
            ("progressDeadlineSeconds", &count),
            ("skipAnalysis", &flag),
            ("suspend", &flag),
        ],
    );
    if !choices.rarely(10) {
        spec[key] = if choices.rarely(10) {
            whatever(choices, 2)
        } else {
            analysis(choices)
        };
    }
    if choices.rarely(8) {
        spec[other] = if choices.rarely(3) {
            whatever(choices, 2)
        } else {
            analysis(choices)
        };
    }
    if !choices.rarely(16) {
        canary["spec"] = if choices.rarely(16) {
            whatever(choices, 3)
        } else {
            spec
        };
    }
    if choices.rarely(3) {
        canary["status"] = status(choices);
    }
    if choices.rarely(10) {
        canary["extra"] = whatever(choices, 3);
    }
    canary
}
