//! `flagger.app/v1beta1` AlertProvider: a channel that is told about releases.

use kube::CustomResource;

use super::metric_template::LocalRef;

wire! {
    /// A channel that is told about releases (Flagger `AlertProviderSpec`).
    #[derive(CustomResource)]
    #[kube(
        group = "flagger.app",
        version = "v1beta1",
        kind = "AlertProvider",
        plural = "alertproviders",
        singular = "alertprovider",
        namespaced,
        status = "AlertProviderStatus",
        derive = "PartialEq",
        category = "all",
        doc = "An AlertProvider is a channel that is told about releases.",
        annotation("helm.sh/resource-policy", "keep"),
        printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.type"}"#
    )]
    #[schemars(extend(
        "required" = ["type"],
        "x-kubernetes-validations" = serde_json::json!([{
            "rule": "has(self.address) != has(self.secretRef)",
            "message": "exactly one of address and secretRef is expected"
        }])
    ))]
    AlertProviderSpec {
        /// Kind of channel.
        #[schemars(extend("enum" = ["slack", "msteams", "discord", "rocket", "gchat"]))]
        r#type: String,
        /// Name of the channel.
        channel: String,
        /// Name of the sender.
        username: String,
        /// Address of the channel.
        address: String,
        /// Address of an HTTP proxy.
        proxy: String,
        /// Secret with the key `address`, in the namespace of the provider.
        secret_ref: LocalRef,
    }
}

wire! {
    /// Nothing yet: Flagger declares the status subresource without fields.
    AlertProviderStatus {}
}
