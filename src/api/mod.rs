//! WIRE: what etcd may hold. No behaviour, no semantic defaults.
//!
//! I own the shape of every version of Flagger's kinds, the CustomResourceDefinitions made from it, and the way
//! from one version to the other. I promise that what the API server stores can be read back as it was written.
//! I never decide what a field means, fill in a default, or refuse a value: that is `model`'s work.

/// Declares a wire struct: every field optional (absent stays absent), JSON in camelCase, unknown keys ignored.
///
/// What the schema requires is said with `#[schemars(extend("required" = [...]))]`, because a Rust field that is not
/// an `Option` would make one malformed object fail a whole typed LIST.
macro_rules! wire {
    ($(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident: $ty:ty, )* }) => {
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $(#[$meta])*
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$ty>,
            )*
        }
    };
}

pub mod alert_provider;
pub mod canary_policy;
pub mod convert;
pub mod crd;
pub mod metric_template;
pub mod v1alpha3;
pub mod v1beta1;
