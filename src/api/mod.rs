//! WIRE: what etcd may hold. No behaviour, no semantic defaults.

pub mod alert_provider;
pub mod convert;
pub mod crd;
pub mod metric_template;
pub mod v1alpha3;
pub mod v1beta1;
