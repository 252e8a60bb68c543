//! `status`: Flagger's fields, then ours.

use std::collections::BTreeMap;

wire! {
    /// Where the release stands (Flagger `CanaryStatus`).
    CanaryStatus {
        /// Phase of the release.
        #[schemars(extend("enum" = [
            "", "Initializing", "Initialized", "Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising",
            "Succeeded", "Failed", "Terminating", "Terminated"
        ]))]
        phase: String,
        /// Failed checks of this run.
        failed_checks: i32,
        /// Percentage of traffic on the canary.
        canary_weight: i32,
        /// Checks done in this run of a blue/green release or an A/B test.
        iterations: i32,
        /// Checksums of the ConfigMaps and Secrets the target reads.
        tracked_configs: BTreeMap<String, String>,
        /// Checksums of the ConfigMaps and Secrets the primary reads copies of.
        promoted_configs: BTreeMap<String, String>,
        /// The revision that is or was last judged.
        last_applied_spec: String,
        /// The revision the primary runs.
        last_promoted_spec: String,
        /// When this status was last written.
        #[schemars(extend("format" = "date-time"))]
        last_transition_time: String,
        /// Cookie of the canary in this run.
        session_affinity_cookie: String,
        /// Cookie of the primary in this run.
        primary_session_affinity_cookie: String,
        /// Cookie of the canary in the run before.
        previous_session_affinity_cookie: String,
        /// What is true of the release; `Promoted` first.
        conditions: Vec<CanaryCondition>,
        /// When a check or a gate was last asked.
        #[schemars(extend("format" = "date-time"))]
        last_check_time: String,
        /// When the canary last came closer to ready.
        progress: Progress,
        /// Generation of the Canary this status was computed from.
        observed_generation: i64,
        /// Generation of the target that is or was last judged.
        judged_target_generation: i64,
        /// Generation of the target that was last promoted.
        promoted_target_generation: i64,
        /// An operator ordered to hold everything as it is.
        paused: bool,
        /// The operator's order that was taken up last, and what became of it.
        last_order: LastOrder,
        /// What was asked in this run, or in the last one; oldest first.
        checks: Vec<CheckRecord>,
        /// Why the last release that failed did.
        last_failure: Failure,
        /// A field that another program keeps setting.
        contest: Contest,
    }
}

wire! {
    /// An operator's order (annotation `verdigris.dev/order`) and what became of it.
    LastOrder {
        /// The id of the order.
        id: String,
        /// What was ordered.
        verb: String,
        /// What became of it.
        #[schemars(extend("enum" = ["Accepted", "Honoured", "Refused"]))]
        outcome: String,
        /// The same, for people.
        message: String,
        /// When.
        #[schemars(extend("format" = "date-time"))]
        time: String,
    }
}

wire! {
    /// One check of a run.
    CheckRecord {
        /// When it was judged.
        #[schemars(extend("format" = "date-time"))]
        time: String,
        /// `metric`, or the type of the hook.
        kind: String,
        /// Name of the metric or hook.
        name: String,
        /// What was measured.
        value: String,
        /// The range it must lie in.
        threshold: String,
        /// Passed, Failed, NoValues or Error.
        verdict: String,
        /// Why it did not pass.
        message: String,
    }
}

wire! {
    /// Why a release failed.
    Failure {
        /// When.
        #[schemars(extend("format" = "date-time"))]
        time: String,
        /// Why, in one word.
        reason: String,
        /// Why, for people.
        message: String,
    }
}

wire! {
    /// A field that another program keeps setting.
    Contest {
        /// The object and the field.
        field: String,
        /// Who sets it.
        manager: String,
        /// How often it was corrected.
        corrections: i64,
        /// When it began.
        #[schemars(extend("format" = "date-time"))]
        since: String,
        /// When it was last corrected or found.
        #[schemars(extend("format" = "date-time"))]
        last: String,
    }
}

wire! {
    /// Where a rollout of pods stood when it last moved.
    Progress {
        /// When it moved.
        #[schemars(extend("format" = "date-time"))]
        since: String,
        /// Updated replicas then.
        updated: i32,
        /// Available replicas then.
        available: i32,
    }
}

wire! {
    /// What is true of the release.
    #[schemars(extend("required" = ["type", "status", "reason"]))]
    CanaryCondition {
        /// What is said.
        r#type: String,
        /// True, False or Unknown.
        status: String,
        /// Why, in one word.
        reason: String,
        /// Why, for people.
        message: String,
        /// When anything in it last changed.
        #[schemars(extend("format" = "date-time"))]
        last_update_time: String,
        /// When `status` last changed.
        #[schemars(extend("format" = "date-time"))]
        last_transition_time: String,
    }
}
