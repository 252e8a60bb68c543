//! What we may ever tell a person: one enum of reasons, one shape of notice. Texts follow Flagger's events, so
//! that scripts and dashboards that grep them keep working (flagger-behaviour App. A).

/// How serious a notice is. Ordered: `Info < Warning < Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Normal Kubernetes event.
    Info,
    /// Warning event.
    Warning,
    /// Warning event, logged as an error.
    Error,
}

/// Machine-readable reason: the Kubernetes event's `reason` and the label of our counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The primary or canary is not ready yet.
    NotReady,
    /// Bootstrap finished.
    Initialized,
    /// A new revision was seen.
    NewRevision,
    /// The run starts over with a newer revision.
    Restarted,
    /// Analysis begins.
    AnalysisStarted,
    /// An iteration or weight step was taken.
    Advanced,
    /// A check or hook failed; the run does not advance.
    Halted,
    /// A gate is closed.
    WaitingForApproval,
    /// A hook passed.
    HookPassed,
    /// A hook failed outside the analysis.
    HookFailed,
    /// A chat could not be told.
    AlertFailed,
    /// The template is being copied to the primary.
    Promoting,
    /// Traffic moved.
    TrafficShifted,
    /// Promotion finished.
    Promoted,
    /// The run is being rolled back.
    RollingBack,
    /// The run failed.
    Failed,
    /// Metric servers answer, or do not.
    MetricProviders,
    /// The spec cannot be obeyed.
    InvalidSpec,
    /// The provider has no router in Verdigris.
    ProviderNotSupported,
    /// Something the Canary needs is missing or belongs to somebody else.
    Blocked,
    /// Another program keeps setting a field that is ours.
    Contested,
    /// The Canary is suspended.
    Suspended,
    /// An operator's order is taken up; it is carried out as soon as it can be.
    OrderAccepted,
    /// An operator's order is carried out.
    OrderHonoured,
    /// An operator's order cannot be carried out.
    OrderRefused,
    /// The Canary is being deleted.
    Terminating,
    /// A pass failed for a reason outside the Canary.
    ReconcileError,
}

impl Reason {
    /// The CamelCase form written to events and conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotReady => "NotReady",
            Reason::Initialized => "Initialized",
            Reason::NewRevision => "NewRevision",
            Reason::Restarted => "Restarted",
            Reason::AnalysisStarted => "AnalysisStarted",
            Reason::Advanced => "Advanced",
            Reason::Halted => "Halted",
            Reason::WaitingForApproval => "WaitingForApproval",
            Reason::HookPassed => "HookPassed",
            Reason::HookFailed => "HookFailed",
            Reason::AlertFailed => "AlertFailed",
            Reason::Promoting => "Promoting",
            Reason::TrafficShifted => "TrafficShifted",
            Reason::Promoted => "Promoted",
            Reason::RollingBack => "RollingBack",
            Reason::Failed => "Failed",
            Reason::MetricProviders => "MetricProviders",
            Reason::InvalidSpec => "InvalidSpec",
            Reason::ProviderNotSupported => "ProviderNotSupported",
            Reason::Blocked => "Blocked",
            Reason::Contested => "Contested",
            Reason::Suspended => "Suspended",
            Reason::OrderAccepted => "OrderAccepted",
            Reason::OrderHonoured => "OrderHonoured",
            Reason::OrderRefused => "OrderRefused",
            Reason::Terminating => "Terminating",
            Reason::ReconcileError => "ReconcileError",
        }
    }
}

/// One thing said about a Canary: an event, a log line, and for event hooks a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub reason: Reason,
    /// How serious.
    pub severity: Severity,
    /// The text, in Flagger's words.
    pub text: String,
    /// The phase event hooks are told (the object's phase when `None`).
    pub phase: Option<crate::model::status::Stage>,
    /// The alert that goes with it, if any.
    pub alert: Option<AlertText>,
}

/// What is sent to chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertText {
    /// Severity compared with `alerts[].severity`.
    pub severity: Severity,
    /// The message.
    pub text: String,
    /// Target, threshold, deadline and routing are told beside it.
    pub facts: bool,
}

impl Notice {
    /// A Normal event.
    pub fn info(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            severity: Severity::Info,
            text: text.into(),
            phase: None,
            alert: None,
        }
    }

    /// A Warning event.
    pub fn warning(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::info(reason, text)
        }
    }

    /// A Warning event that is logged as an error.
    pub fn error(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::info(reason, text)
        }
    }

    /// Sets the phase event hooks are told.
    #[must_use]
    pub fn in_phase(mut self, phase: crate::model::status::Stage) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Adds an alert.
    #[must_use]
    pub fn alerting(mut self, severity: Severity, text: impl Into<String>) -> Self {
        self.alert = Some(AlertText {
            severity,
            text: text.into(),
            facts: false,
        });
        self
    }

    /// Has the alert tell target, threshold, deadline and routing too.
    #[must_use]
    pub fn with_facts(mut self) -> Self {
        if let Some(alert) = &mut self.alert {
            alert.facts = true;
        }
        self
    }
}

/// Longest text of somebody else (a hook, a metric server) that reaches an event, in characters.
pub const MAX_TEXT: usize = 256;

/// Keeps what a person can read: control characters become spaces, runs of spaces one, the length is capped.
pub fn printable(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    let mut words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > MAX_TEXT {
        words = words.chars().take(MAX_TEXT - 1).collect();
        words.push('…');
    }
    words
}
