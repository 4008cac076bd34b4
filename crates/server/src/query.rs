//! Query strings.

use crate::path;

/// Returns the first value of a parameter, decoded; what cannot be decoded is left out.
pub(crate) fn value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| path::decode(&key.replace('+', " ")).as_deref() == Some(name))?;
    path::decode(&value.replace('+', " "))
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
    }
}
