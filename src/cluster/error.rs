//! What a failed call to the API server means for a retry.

/// A failed call to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Somebody else wrote first (409); reading again helps.
    #[error("{what}: changed meanwhile")]
    Conflict {
        /// The object.
        what: String,
    },
    /// Another replica leads: nothing was written.
    #[error("{what}: not written, since another replica leads")]
    NotLeading {
        /// The object.
        what: String,
    },
    /// The API server refused.
    #[error("{what}: {message}")]
    Refused {
        /// The object.
        what: String,
        /// HTTP status code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The API server could not be asked.
    #[error("{what}: {source}")]
    Unreachable {
        /// The object.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object is not what its type says.
    #[error("{what}: {source}")]
    Malformed {
        /// The object.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ClusterError {
    /// Sorts a kube error.
    pub fn of(what: impl Into<String>, error: kube::Error) -> Self {
        let what = what.into();
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => {
                ClusterError::Conflict { what }
            }
            kube::Error::Api(status) => ClusterError::Refused {
                what,
                code: status.code,
                message: status.message.clone(),
            },
            other => ClusterError::Unreachable {
                what,
                source: Box::new(other),
            },
        }
    }

    /// True when the API server refuses for good: asking the same again will not help until somebody changes
    /// something (permissions, an admission policy, a quota). What vanished meanwhile (404) is no refusal.
    pub fn is_refusal(&self) -> bool {
        match self {
            ClusterError::Refused { code, .. } => {
                (400..500).contains(code) && ![401, 404, 408, 410, 429].contains(code)
            }
            ClusterError::Conflict { .. }
            | ClusterError::NotLeading { .. }
            | ClusterError::Unreachable { .. }
            | ClusterError::Malformed { .. } => false,
        }
    }

    /// True for 409.
    pub fn is_conflict(&self) -> bool {
        matches!(self, ClusterError::Conflict { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_no_is_a_refusal() {
        let refused = |code| ClusterError::Refused {
            what: String::new(),
            code,
            message: String::new(),
        };
        for code in [400, 403, 413, 422] {
            assert!(refused(code).is_refusal(), "{code}");
        }
        for code in [401, 404, 408, 410, 429, 500, 503] {
            assert!(!refused(code).is_refusal(), "{code}");
        }
        let conflict = ClusterError::Conflict { what: String::new() };
        assert!(conflict.is_conflict() && !conflict.is_refusal());
    }
}
