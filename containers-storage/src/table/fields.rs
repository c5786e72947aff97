//! How the format writes absent values: `""`, `null`, `0` or no member at all, and all of them mean the same when read.
//!
//! A value that this version cannot read (a digest of a new algorithm, say) is read as absent; since `Table::update` keeps what it did
//! not change, it survives. IDs are not treated so: they become paths, and a wrong one is an error.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::Digest;

/// A value, or its default where the member is `null`.
pub fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An ID, or none where the member is `""` or `null`.
pub fn optional_id<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => text.parse().map(Some).map_err(serde::de::Error::custom),
        _ => Ok(None),
    }
}

/// A digest; none where the member is empty or no digest that this version knows.
pub fn optional_digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

/// Digests by key, without those that are none.
pub fn digests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Digest>, D::Error> {
    let texts = Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(texts.into_iter().filter_map(|(key, text)| Some((key, text.parse().ok()?))).collect())
}

/// Whether a number is left out.
pub fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The time now, as records have it: RFC 3339, UTC, nanoseconds without trailing zeros.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}
