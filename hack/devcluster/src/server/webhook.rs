//! Calls to webhooks over TLS, for admission and conversion.
//!
//! Owns: addressing (`url` or `service`), trust in `caBundle`, deadlines, one connection pool per trust. Promises:
//! failures read as Go's HTTP client words them, because that is what people search for. Never: knows reviews.
#![expect(
    clippy::disallowed_types,
    reason = "shell: the API server's own outbound client"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::store::{Store, Table};

/// Clients by caBundle and, for services, the address they resolved to.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    clients: Mutex<HashMap<String, reqwest::Client>>,
}

/// Where a webhook listens.
struct Target {
    url: String,
    /// For services: the DNS name to present and the address to dial.
    dial: Option<(String, SocketAddr)>,
}

impl Caller {
    /// POSTs a review and decodes the answer; the error is a sentence such as `failed to call webhook: Post
    /// "https://…": dial tcp …: connect: connection refused` without its first three words.
    pub(crate) async fn call(
        &self,
        store: &Store,
        config: &Value,
        timeout: Duration,
        agent: &str,
        review: &Value,
    ) -> Result<Value, String> {
        let target = target(store, config)?;
        let seconds = timeout.as_millis().div_ceil(1000);
        let url = format!("{}?timeout={seconds}s", target.url);
        let client = self.client(config["caBundle"].as_str().unwrap_or_default(), &target)?;
        let sent = client
            .post(&url)
            .header("Accept", "application/json, */*")
            .header("User-Agent", agent)
            .timeout(timeout)
            .json(review)
            .send()
            .await
            .map_err(|e| format!("Post {url:?}: {}", words(&e, &target)))?;
        let code = sent.status();
        let body = sent
            .bytes()
            .await
            .map_err(|e| format!("Post {url:?}: {}", words(&e, &target)))?;
        if !code.is_success() {
            let text = String::from_utf8_lossy(&body);
            let text = text.trim();
            return Err(match code.as_u16() {
                404 => "the server could not find the requested resource".to_owned(),
                413 => "Request Entity Too Large".to_owned(),
                _ if text.is_empty() => format!("the server responded with the status code {code}"),
                _ => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
            });
        }
        serde_json::from_slice(&body).map_err(|e| format!("couldn't decode the answer as JSON: {e}"))
    }

    fn client(&self, bundle: &str, target: &Target) -> Result<reqwest::Client, String> {
        let key = match &target.dial {
            Some((name, address)) => format!("{bundle} {name} {address}"),
            None => bundle.to_owned(),
        };
        if let Some(client) = self
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Ok(client.clone());
        }
        let pem = STANDARD
            .decode(bundle.trim())
            .map_err(|e| format!("caBundle is not base64: {e}"))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|e| format!("unable to load root certificates: {e}"))?;
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only(roots);
        if let Some((name, address)) = &target.dial {
            builder = builder.resolve(name, *address);
        }
        let client = builder
            .build()
            .map_err(|e| format!("unable to build a client: {e}"))?;
        self.clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, client.clone());
        Ok(client)
    }
}

fn target(store: &Store, config: &Value) -> Result<Target, String> {
    if let Some(url) = config["url"].as_str() {
        return Ok(Target {
            url: url.to_owned(),
            dial: None,
        });
    }
    let service = &config["service"];
    let text = |key: &str| service[key].as_str().unwrap_or_default();
    let (namespace, name, path) = (text("namespace"), text("name"), text("path"));
    let port = service["port"].as_u64().unwrap_or(443);
    let address = resolve(store, namespace, name, port)?;
    let host = format!("{name}.{namespace}.svc");
    let slash = if path.is_empty() || path.starts_with('/') {
        ""
    } else {
        "/"
    };
    Ok(Target {
        url: format!("https://{host}:{port}{slash}{path}"),
        dial: Some((host, address)),
    })
}

/// A ready address behind a Service's port, from its Endpoints.
fn resolve(store: &Store, namespace: &str, name: &str, port: u64) -> Result<SocketAddr, String> {
    let core = |plural: &str| Table {
        group: String::new(),
        plural: plural.to_owned(),
    };
    let service = store
        .get(&core("services"), namespace, name)
        .ok_or_else(|| format!("service {name:?} not found"))?;
    let port_name = service.value["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["port"].as_u64() == Some(port))
        .map(|p| p["name"].as_str().unwrap_or_default().to_owned())
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let none = || format!("no endpoints available for service {name:?}");
    let endpoints = store.get(&core("endpoints"), namespace, name).ok_or_else(none)?;
    endpoints.value["subsets"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|subset| {
            let ip = subset["addresses"].as_array()?.first()?["ip"]
                .as_str()?
                .parse()
                .ok()?;
            let ports = subset["ports"].as_array()?;
            let port = ports
                .iter()
                .find(|p| p["name"].as_str().unwrap_or_default() == port_name)?;
            Some(SocketAddr::new(ip, u16::try_from(port["port"].as_u64()?).ok()?))
        })
        .ok_or_else(none)
}

/// A client error in Go's words.
fn words(error: &reqwest::Error, target: &Target) -> String {
    if error.is_timeout() {
        return "context deadline exceeded".to_owned();
    }
    let mut chain = Vec::new();
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(e) = source {
        chain.push(e.to_string());
        source = e.source();
    }
    let all = chain.join(": ");
    let address = match &target.dial {
        Some((_, address)) => address.to_string(),
        None => url::Url::parse(&target.url)
            .ok()
            .and_then(|u| Some(format!("{}:{}", u.host_str()?, u.port_or_known_default()?)))
            .unwrap_or_default(),
    };
    if all.contains("onnection refused") {
        return format!("dial tcp {address}: connect: connection refused");
    }
    if all.contains("UnknownIssuer") || all.contains("BadSignature") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned();
    }
    if all.contains("NotValidForName") {
        return format!("tls: failed to verify certificate: x509: certificate is not valid for {address}");
    }
    if all.contains("Expired") {
        return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
            .to_owned();
    }
    if all.contains("onnection reset") || all.contains("closed before") || all.contains("IncompleteMessage") {
        return "EOF".to_owned();
    }
    chain.pop().unwrap_or(all)
}
