//! Query strings.

use crate::path;

/// Returns the first value of a parameter, decoded; what cannot be decoded is left out.
pub(crate) fn value(query: &str, name: &str) -> Option<String> {
    raw(query, name).next().and_then(decode)
}

/// Returns all values of a parameter, decoded, without those that cannot be.
pub(crate) fn values(query: &str, name: &str) -> impl Iterator<Item = String> {
    raw(query, name).filter_map(decode)
}

fn raw<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| decode(key).as_deref() == Some(name)).map(|(_, value)| value)
}

fn decode(text: &str) -> Option<String> {
    path::decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_is_decoded() {
        assert_eq!(value("a=1&b=2&b=3", "b").as_deref(), Some("2"));
        assert_eq!(value("%62=x%20y+z", "b").as_deref(), Some("x y z"));
        assert_eq!(value("b", "b").as_deref(), Some(""));
        assert_eq!(value("bb=1", "b"), None);
        assert_eq!(value("b=%zz", "b"), None);
        assert_eq!(values("b=1&a=2&b=%zz&b=3", "b").collect::<Vec<_>>(), ["1", "3"]);
    }
}
