//! Prometheus: `GET /api/v1/query` (Prometheus HTTP API, instant queries).

use serde::Deserialize;
use url::Url;

use super::Missing;

/// The query every Prometheus answers with 1; used to tell whether a server is there.
pub const PROBE: &str = "vector(1)";

/// The URL of an instant query. The text is sent as it is: collapsing white space, as Flagger does, would let a `#`
/// comment eat the rest of the query.
pub fn request(server: &str, query: &str) -> Result<Url, Missing> {
    let mut url = Url::parse(server)
        .map_err(|error| Missing::Unreadable(format!("{server:?} is not a URL: {error}")))?;
    let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.query_pairs_mut().append_pair("query", query.trim());
    Ok(url)
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    #[serde(default)]
    result_type: String,
    #[serde(default)]
    result: serde_json::Value,
}

/// Reads the number out of an answer: the last series of a vector, or a scalar. NaN is no value.
pub fn read(status: u16, body: &[u8]) -> Result<f64, Missing> {
    let envelope: Result<Envelope, _> = serde_json::from_slice(body);
    if status >= 400 {
        let said = match envelope {
            Ok(Envelope {
                error: Some(error), ..
            }) => error,
            Ok(Envelope { error: None, .. }) | Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        let said = crate::model::notice::printable(&said);
        return Err(Missing::Refused(format!(
            "error response: Status {status}: {said}"
        )));
    }
    let envelope = envelope.map_err(|error| Missing::Unreadable(error.to_string()))?;
    if let Some(error) = envelope.error.filter(|_| envelope.status == "error") {
        return Err(Missing::Refused(crate::model::notice::printable(&error)));
    }
    let data = envelope
        .data
        .ok_or_else(|| Missing::Unreadable("no data".to_owned()))?;
    let text = match data.result_type.as_str() {
        "scalar" | "string" => sample(&data.result).ok_or(Missing::NoValues)?,
        "matrix" => return Err(Missing::MultipleValues),
        _ => {
            let series = data.result.as_array().ok_or(Missing::NoValues)?;
            if series.iter().any(|one| one.get("values").is_some()) {
                return Err(Missing::MultipleValues);
            }
            series
                .iter()
                .rev()
                .find_map(|one| sample(one.get("value")?))
                .ok_or(Missing::NoValues)?
        }
    };
    let value: f64 = text
        .parse()
        .map_err(|_| Missing::Unreadable(format!("{text:?} is not a number")))?;
    if value.is_nan() {
        Err(Missing::NoValues)
    } else {
        Ok(value)
    }
}

/// `[<unix time>, "<value>"]` → the value's text (`NaN`, `+Inf` included).
fn sample(pair: &serde_json::Value) -> Option<String> {
    pair.get(1)?
        .as_str()
        .map(|text| text.trim_start_matches('+').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[&str]) -> Vec<u8> {
        let result: Vec<_> = values
            .iter()
            .map(|value| serde_json::json!({"metric": {}, "value": [1.0, value]}))
            .collect();
        serde_json::json!({"status": "success", "data": {"resultType": "vector", "result": result}})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn values_and_their_absence() {
        assert_eq!(read(200, &vector(&["99.5"])), Ok(99.5));
        assert_eq!(read(200, &vector(&["1", "2"])), Ok(2.0), "the last series counts");
        assert_eq!(read(200, &vector(&[])), Err(Missing::NoValues));
        assert_eq!(read(200, &vector(&["NaN"])), Err(Missing::NoValues));
        assert_eq!(read(200, &vector(&["+Inf"])), Ok(f64::INFINITY));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1.0,"4"]}}"#;
        assert_eq!(read(200, scalar), Ok(4.0));
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]}]}}"#;
        assert_eq!(read(200, matrix), Err(Missing::MultipleValues));
        let histogram = br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#;
        assert_eq!(
            read(200, histogram),
            Err(Missing::NoValues),
            "a native histogram has no value (Q-40)"
        );
    }

    #[test]
    fn refusals_keep_the_servers_words() {
        let body =
            br#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}"#;
        assert_eq!(
            read(400, body),
            Err(Missing::Refused(
                "error response: Status 400: parse error: unexpected end of input".to_owned()
            ))
        );
        assert!(matches!(read(200, b"<html>"), Err(Missing::Unreadable(_))));
    }

    #[test]
    fn the_path_of_the_server_is_kept() {
        let url = request("http://thanos:9090/tenant/", "\nsum( up )\n").unwrap();
        assert_eq!(
            url.as_str(),
            "http://thanos:9090/tenant/api/v1/query?query=sum%28+up+%29"
        );
    }
}
