//! Every name is known before anything runs: variables, functions and how many arguments they take.

use std::collections::HashMap;

use regex::Regex;

use crate::model::names::nearest;

use super::ast::{Kind, Node};
use super::functions::{FUNCTIONS, Function, Side};
use super::{Slip, SlipKind, VARIABLES, pattern};

/// The walk over a tree.
#[derive(Default)]
pub(super) struct Checker {
    scope: Vec<String>,
    /// The variables it looks at.
    pub(super) mentions: Vec<&'static str>,
    /// The patterns it writes out.
    pub(super) patterns: HashMap<String, Regex>,
}

impl Checker {
    pub(super) fn walk(&mut self, node: &Node) -> Result<(), Slip> {
        match &node.kind {
            Kind::Name(name) => self.variable(name, node),
            Kind::Macro {
                over,
                variable,
                only,
                body,
                ..
            } => {
                self.walk(over)?;
                self.scope.push(variable.clone());
                let inside = only.iter().map(Box::as_ref).chain([body.as_ref()]);
                let outcome = inside.map(|part| self.walk(part)).find(Result::is_err);
                self.scope.pop();
                outcome.unwrap_or(Ok(()))
            }
            Kind::Call {
                name,
                target,
                arguments,
            } => {
                // optional.of(x): the target is a namespace of functions, not a value.
                if target.as_ref().is_some_and(|target| is_name(target, "optional")) {
                    known(&format!("optional.{name}"), false, arguments.len(), node)?;
                } else {
                    known(name, target.is_some(), arguments.len(), node)?;
                    if let Some(part) = target {
                        self.walk(part)?;
                    }
                }
                for part in arguments {
                    self.walk(part)?;
                }
                if name == "matches"
                    && let Some(Node {
                        kind: Kind::Text(text),
                        span,
                        ..
                    }) = arguments.last()
                {
                    let made = pattern(text).map_err(|error| {
                        Slip::new(
                            SlipKind::Syntax,
                            *span,
                            format!("not a regular expression: {error}"),
                        )
                        .expecting("expected RE2 syntax")
                    })?;
                    self.patterns.insert(text.clone(), made);
                }
                Ok(())
            }
            other => other
                .children()
                .into_iter()
                .try_for_each(|child| self.walk(child)),
        }
    }

    fn variable(&mut self, name: &str, node: &Node) -> Result<(), Slip> {
        if self.scope.iter().any(|known| known == name) {
            return Ok(());
        }
        if let Some(known) = VARIABLES.into_iter().find(|known| *known == name) {
            if !self.mentions.contains(&known) {
                self.mentions.push(known);
            }
            return Ok(());
        }
        let candidates = VARIABLES.into_iter().chain(self.scope.iter().map(String::as_str));
        let fix = nearest(name, candidates).map_or_else(String::new, |near| format!("did you mean {near}?"));
        let slip = Slip::new(
            SlipKind::Syntax,
            node.span,
            format!("there is no variable {name}"),
        );
        Err(slip
            .expecting(format!("expected one of {}", VARIABLES.join(", ")))
            .fixed_by(match name {
                "self" => "write object".to_owned(),
                "oldSelf" => "write oldObject".to_owned(),
                _ => fix,
            }))
    }
}

pub(super) fn is_name(node: &Node, name: &str) -> bool {
    matches!(&node.kind, Kind::Name(found) if found == name)
}

fn known(name: &str, method: bool, arguments: usize, node: &Node) -> Result<(), Slip> {
    let fits = |one: &&Function| match one.side {
        Side::Global => !method,
        Side::Method => method,
        Side::Either => true,
    };
    let named: Vec<&Function> = FUNCTIONS.iter().filter(|one| one.name == name).collect();
    let Some(function) = named.iter().find(|one| fits(one)) else {
        let slip = Slip::new(
            SlipKind::Syntax,
            node.span,
            format!("there is no function {name}()"),
        );
        return Err(match named.first() {
            Some(other) if other.side == Side::Method => slip.fixed_by(format!("write value.{name}(…)")),
            Some(_) => slip.fixed_by(format!("write {name}(value)")),
            None => {
                let near = nearest(name, FUNCTIONS.iter().map(|one| one.name));
                let macros = nearest(name, ["all", "exists", "exists_one", "map", "filter", "has"]);
                match near.or(macros) {
                    Some(near) => slip.fixed_by(format!("did you mean {near}()?")),
                    None => slip.expecting(
                        "expected a function of CEL or of Kubernetes' string, list and URL libraries",
                    ),
                }
            }
        });
    };
    // A global form takes its subject as the first argument.
    let given = if function.side == Side::Either && !method {
        arguments.checked_sub(1)
    } else {
        Some(arguments)
    };
    let (least, most) = function.arguments;
    if given.is_some_and(|given| (least..=most).contains(&given)) {
        return Ok(());
    }
    let wanted = if least == most {
        format!("{least}")
    } else {
        format!("{least} to {most}")
    };
    Err(Slip::new(
        SlipKind::Syntax,
        node.span,
        format!("{name}() with {arguments} arguments"),
    )
    .expecting(format!("expected {wanted}")))
}
