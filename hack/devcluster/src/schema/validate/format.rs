//! The string formats apiextensions-apiserver knows.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::pattern;

pub(super) fn has_format(format: &str, value: &str) -> bool {
    let matches = |expected: &str| pattern(expected).is_none_or(|p| p.is_match(value));
    match format {
        "date-time" | "datetime" => value.parse::<jiff::Timestamp>().is_ok(),
        "date" => value.parse::<jiff::civil::Date>().is_ok() && value.len() == 10,
        "duration" => matches(
            r"^[+-]?(\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|ms|s|sec|m|min|h|hr|d|day|w|wk)s?(\s*(\d+(\.\d*)?)\s*(ns|us|µs|ms|s|sec|m|min|h|hr|d|day|w|wk)s?)*$",
        ),
        "byte" => matches(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
        "email" => matches(r"^[^@\s]+@[^@\s]+$"),
        "hostname" => {
            matches(r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*\.?$")
        }
        "ipv4" => value.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => value.parse::<Ipv6Addr>().is_ok(),
        "cidr" => value.split_once('/').is_some_and(|(address, bits)| {
            let bits: Option<u8> = bits.parse().ok();
            let v4 = address.parse::<Ipv4Addr>().is_ok() && bits.is_some_and(|b| b <= 32);
            v4 || (address.parse::<Ipv6Addr>().is_ok() && bits.is_some_and(|b| b <= 128))
        }),
        "mac" => matches(r"^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => {
            matches(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
        }
        "uri" => matches(r"^(/|[a-zA-Z][a-zA-Z0-9+.-]*:)\S*$"),
        "hexcolor" => matches(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
        // Unknown formats and those without a rule of their own (password, int32 of a string) accept everything.
        _ => true,
    }
}
