//! Resource quantities in their canonical form.
//!
//! Owns: `resource.Quantity`'s suffix arithmetic (apimachinery `pkg/api/resource`). Promises: what it cannot read it
//! leaves alone. Never: compares quantities.

use serde_json::Value;

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 9] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
];

/// `0.5` → `500m`, `1024Mi` → `1Gi`, `1000m` → `1`; `None` for what is no quantity.
pub(crate) fn canonical(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let at = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(at);
    if let Some(power) = BINARY.iter().skip(1).position(|s| *s == suffix) {
        return binary(number, power + 1);
    }
    let exponent = match suffix.strip_prefix(['e', 'E']) {
        Some(digits) if !digits.is_empty() => digits.parse().ok()?,
        _ if suffix == "E" => 18,
        _ => DECIMAL.iter().find(|(s, _)| *s == suffix)?.1,
    };
    decimal(number, exponent)
}

/// Digits without the point, and how many of them follow it.
fn digits(number: &str) -> Option<(i128, i32)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    Some((all.parse().ok()?, i32::try_from(fraction.len()).ok()?))
}

fn decimal(number: &str, exponent: i32) -> Option<String> {
    let (mut value, fraction) = digits(number)?;
    let mut power = exponent - fraction;
    if value == 0 {
        return Some("0".to_owned());
    }
    while value % 10 == 0 {
        value /= 10;
        power += 1;
    }
    let (suffix, base) = DECIMAL
        .iter()
        .rev()
        .chain([&("E", 18)])
        .filter(|(_, p)| *p <= power)
        .max_by_key(|(_, p)| *p)?;
    let factor = 10_i128.checked_pow(u32::try_from(power - base).ok()?)?;
    Some(format!("{}{suffix}", value.checked_mul(factor)?))
}

fn binary(number: &str, power: usize) -> Option<String> {
    let (value, fraction) = digits(number)?;
    let unit = 1024_i128.checked_pow(u32::try_from(power).ok()?)?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction).ok()?)?;
    let bytes = value.checked_mul(unit)?.div_euclid(scale);
    if bytes == 0 {
        return Some("0".to_owned());
    }
    let (mut value, mut power) = (bytes, 0);
    while value % 1024 == 0 && power + 1 < BINARY.len() {
        value /= 1024;
        power += 1;
    }
    Some(format!("{value}{}", BINARY[power]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_forms() {
        let rows = [
            (json!("500m"), Some("500m")),
            (json!("0.5"), Some("500m")),
            (json!(1), Some("1")),
            (json!("1000m"), Some("1")),
            (json!("1024Mi"), Some("1Gi")),
            (json!("1.5Gi"), Some("1536Mi")),
            (json!("64Mi"), Some("64Mi")),
            (json!("1500"), Some("1500")),
            (json!("2000"), Some("2k")),
            (json!("1e3"), Some("1k")),
            (json!("0"), Some("0")),
            (json!("ten"), None),
        ];
        for (value, expected) in rows {
            assert_eq!(canonical(&value).as_deref(), expected, "{value}");
        }
    }
}
