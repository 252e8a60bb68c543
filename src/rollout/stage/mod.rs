//! What happens in each stage. One file per part of the story, one function per decision.
//!
//! ```text
//! New → Initializing → Initialized ─┐
//!                                   ├─► (Waiting) → Progressing ⇄ WaitingPromotion → Promoting → Finalising → Succeeded
//!                 Succeeded, Failed ┘                    │                              │
//!                                                        └────────────► Failed ◄────────┘
//! ```

pub(super) mod fail;
pub(super) mod finalise;
pub(super) mod initialize;
pub(super) mod progress;
pub(super) mod promote;
pub(super) mod stand;
pub(super) mod terminate;
