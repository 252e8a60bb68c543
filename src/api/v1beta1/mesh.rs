//! The parts of a Canary that are shaped like Istio's and the Gateway API's own types: match conditions, header
//! operations, rewrites, retries, CORS and traffic policies.

use std::collections::BTreeMap;

wire! {
    /// Istio `HTTPMatchRequest` of a generated route.
    HttpMatch {
        /// Name of the condition.
        name: String,
        /// Path.
        uri: StringMatch,
        /// Scheme.
        scheme: StringMatch,
        /// Method.
        method: StringMatch,
        /// Authority.
        authority: StringMatch,
        /// Headers, by lower-case name.
        headers: BTreeMap<String, StringMatch>,
        /// Headers that must not match.
        without_headers: BTreeMap<String, StringMatch>,
        /// Query parameters.
        query_params: BTreeMap<String, StringMatch>,
        /// Match `uri` without regard to case.
        ignore_uri_case: bool,
        /// Port the request came to.
        port: i64,
        /// Labels of the caller.
        source_labels: BTreeMap<String, String>,
        /// Namespace of the caller.
        source_namespace: String,
        /// Gateways the condition applies to.
        gateways: Vec<String>,
    }
}

wire! {
    /// Istio `HTTPMatchRequest` of an A/B test: headers and query parameters name exactly one way to match.
    AnalysisMatch {
        /// Name of the condition.
        name: String,
        /// Path.
        uri: StringMatch,
        /// Scheme.
        scheme: StringMatch,
        /// Method.
        method: StringMatch,
        /// Authority.
        authority: StringMatch,
        /// Headers, by lower-case name.
        headers: BTreeMap<String, HeaderMatch>,
        /// Headers that must not match.
        without_headers: BTreeMap<String, StringMatch>,
        /// Query parameters.
        query_params: BTreeMap<String, StringMatch>,
        /// Match `uri` without regard to case.
        ignore_uri_case: bool,
        /// Port the request came to.
        port: i64,
        /// Labels of the caller.
        source_labels: BTreeMap<String, String>,
        /// Namespace of the caller.
        source_namespace: String,
        /// Gateways the condition applies to.
        gateways: Vec<String>,
    }
}

wire! {
    /// At most one way to match a string.
    #[schemars(extend("maxProperties" = 1))]
    StringMatch {
        /// The whole string.
        exact: String,
        /// Its beginning.
        prefix: String,
        /// Its end.
        suffix: String,
        /// A regular expression over the whole string.
        regex: String,
    }
}

wire! {
    /// Exactly one way to match a string.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    HeaderMatch {
        /// The whole string.
        exact: String,
        /// Its beginning.
        prefix: String,
        /// Its end.
        suffix: String,
        /// A regular expression over the whole string.
        regex: String,
    }
}

wire! {
    /// Exactly one way to match an origin.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    OriginMatch {
        /// The whole origin.
        exact: String,
        /// Its beginning.
        prefix: String,
        /// A regular expression over the whole origin.
        regex: String,
    }
}

wire! {
    /// Retries of a route.
    Retries {
        /// Number of retries.
        attempts: i32,
        /// Timeout of one try.
        per_try_timeout: String,
        /// Conditions that are retried.
        retry_on: String,
    }
}

wire! {
    /// Rewrite of a request.
    Rewrite {
        /// New path.
        uri: String,
        /// New authority.
        authority: String,
        /// `ReplacePrefixMatch`, or `ReplaceFullPath` (when absent).
        r#type: String,
    }
}

wire! {
    /// Header operations of a route.
    HeaderOperations {
        /// On the request.
        request: HeaderChanges,
        /// On the response.
        response: HeaderChanges,
    }
}

wire! {
    /// Changes to one set of headers.
    HeaderChanges {
        /// Headers that are added.
        add: BTreeMap<String, String>,
        /// Headers that are removed.
        remove: Vec<String>,
        /// Headers that are replaced.
        set: BTreeMap<String, String>,
    }
}

wire! {
    /// Cross-origin policy of a route.
    CorsPolicy {
        /// Allow credentials.
        allow_credentials: bool,
        /// Headers a caller may send.
        allow_headers: Vec<String>,
        /// Methods a caller may use.
        allow_methods: Vec<String>,
        /// Origins, verbatim (deprecated: `allowOrigins`).
        allow_origin: Vec<String>,
        /// Origins.
        allow_origins: Vec<OriginMatch>,
        /// Headers a browser may read.
        expose_headers: Vec<String>,
        /// How long a preflight may be cached.
        max_age: String,
    }
}

wire! {
    /// Istio `TrafficPolicy`.
    TrafficPolicy {
        /// Connection pool limits.
        connection_pool: ConnectionPool,
        /// Load balancing.
        load_balancer: LoadBalancer,
        /// When backends are taken out of rotation.
        outlier_detection: OutlierDetection,
        /// TLS towards the backends.
        tls: TlsSettings,
        /// Policies of single ports.
        port_level_settings: Vec<PortPolicy>,
    }
}

wire! {
    /// Istio `PortTrafficPolicy`.
    PortPolicy {
        /// The port.
        port: PortSelector,
        /// Connection pool limits.
        connection_pool: ConnectionPool,
        /// Load balancing.
        load_balancer: LoadBalancer,
        /// When backends are taken out of rotation.
        outlier_detection: OutlierDetection,
        /// TLS towards the backends.
        tls: TlsSettings,
    }
}

wire! {
    /// A port, by number or (in old manifests) by name.
    PortSelector {
        /// Number of the port.
        number: i64,
        /// Name of the port.
        name: String,
    }
}

wire! {
    /// Istio `ConnectionPoolSettings`.
    ConnectionPool {
        /// TCP limits.
        tcp: TcpPool,
        /// HTTP limits.
        http: HttpPool,
    }
}

wire! {
    /// TCP limits.
    TcpPool {
        /// Connections to one backend.
        max_connections: i32,
        /// Timeout of a connect.
        connect_timeout: String,
    }
}

wire! {
    /// HTTP limits.
    HttpPool {
        /// Whether HTTP/1.1 is upgraded.
        #[schemars(extend("enum" = ["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]))]
        h2_upgrade_policy: String,
        /// Requests waiting for a connection.
        #[serde(rename = "http1MaxPendingRequests")]
        http1_max_pending_requests: i32,
        /// Requests under way.
        #[serde(rename = "http2MaxRequests")]
        http2_max_requests: i32,
        /// How long an idle connection is kept.
        idle_timeout: String,
        /// Requests one connection carries.
        max_requests_per_connection: i32,
        /// Retries under way.
        max_retries: i32,
    }
}

wire! {
    /// Istio `LoadBalancerSettings`: `simple` or `consistentHash`, not both.
    #[schemars(extend("not" = serde_json::json!({"required": ["simple", "consistentHash"]})))]
    LoadBalancer {
        /// A standard algorithm.
        #[schemars(extend("enum" = ["ROUND_ROBIN", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "LEAST_REQUEST"]))]
        simple: String,
        /// Affinity by hash.
        consistent_hash: ConsistentHash,
        /// Locality of backends.
        locality_lb_setting: LocalitySettings,
        /// How long a new backend is warmed up.
        warmup_duration_secs: String,
    }
}

wire! {
    /// Affinity by hash.
    ConsistentHash {
        /// Hash of a header.
        http_header_name: String,
        /// Hash of a cookie.
        http_cookie: HashCookie,
        /// Hash of the caller's address.
        use_source_ip: bool,
        /// Hash of a query parameter.
        http_query_parameter_name: String,
        /// Least size of the hash ring.
        minimum_ring_size: i64,
    }
}

wire! {
    /// The cookie a hash is taken of.
    HashCookie {
        /// Name of the cookie.
        name: String,
        /// Path of the cookie.
        path: String,
        /// Lifetime of the cookie.
        ttl: String,
    }
}

wire! {
    /// Istio `LocalityLoadBalancerSetting`.
    LocalitySettings {
        /// Weights by place of origin.
        distribute: Vec<LocalityDistribution>,
        /// Where traffic goes when a region fails.
        failover: Vec<LocalityFailover>,
        /// Labels that rank backends.
        #[serde(rename = "failover_priority")]
        failover_priority: Vec<String>,
        /// Whether locality counts.
        enabled: bool,
    }
}

wire! {
    /// Weights of the places traffic goes to.
    LocalityDistribution {
        /// Place of origin.
        from: String,
        /// Weight by place.
        to: BTreeMap<String, i64>,
    }
}

wire! {
    /// The region that takes over.
    LocalityFailover {
        /// Region that failed.
        from: String,
        /// Region that takes over.
        to: String,
    }
}

wire! {
    /// Istio `OutlierDetection`.
    OutlierDetection {
        /// Errors in a row (deprecated by Istio).
        consecutive_errors: i32,
        /// 5xx answers in a row.
        #[serde(rename = "consecutive5xxErrors")]
        consecutive_5xx_errors: i64,
        /// Gateway errors in a row.
        consecutive_gateway_errors: i64,
        /// Local failures in a row.
        consecutive_local_origin_failures: i64,
        /// Count local failures apart.
        split_external_local_origin_errors: bool,
        /// How often backends are looked at.
        interval: String,
        /// Least time a backend stays out.
        base_ejection_time: String,
        /// Percentage of backends that may be out.
        max_ejection_percent: i32,
        /// Percentage of healthy backends below which nothing is taken out.
        min_health_percent: i32,
    }
}

wire! {
    /// Istio `ClientTLSSettings`.
    TlsSettings {
        /// Mode.
        #[schemars(extend("enum" = ["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]))]
        mode: String,
        /// Path of the client certificate.
        client_certificate: String,
        /// Path of the private key.
        private_key: String,
        /// Path of the trusted certificates.
        ca_certificates: String,
        /// Names the backend may present.
        subject_alt_names: Vec<String>,
        /// Server name that is asked for.
        sni: String,
    }
}
