//! kube helpers: field managers, apply, error to retry.
