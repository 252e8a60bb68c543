//! The names of Services, as cluster DNS spells them. Pure.

/// Service and namespace of a host name: `web`, `web.test`, `web.test.svc`, `web.test.svc.cluster.local`, with or
/// without the final dot. A bare name is of namespace `default`.
pub(crate) fn parse(host: &str) -> Option<(&str, &str)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let labels: Vec<&str> = host.split('.').collect();
    let (service, namespace) = match labels.as_slice() {
        [service] => (*service, "default"),
        [service, namespace]
        | [service, namespace, "svc"]
        | [service, namespace, "svc", "cluster", "local"] => (*service, *namespace),
        _ => return None,
    };
    let label = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (label(service) && label(namespace)).then_some((service, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let table = [
            ("web", Some(("web", "default"))),
            ("web.test", Some(("web", "test"))),
            ("web-canary.test.", Some(("web-canary", "test"))),
            ("web.test.svc", Some(("web", "test"))),
            ("web.test.svc.cluster.local", Some(("web", "test"))),
            ("web.test.svc.cluster", None),
            ("www.example.com", None),
            ("", None),
            (".test", None),
            ("127.0.0.1", None),
        ];
        for (name, expected) in table {
            assert_eq!(parse(name), expected, "{name}");
        }
    }
}
