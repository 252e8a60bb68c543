//! composition root: start order, stop order, the only place that spawns.
