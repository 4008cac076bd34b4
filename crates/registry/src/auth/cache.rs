//! Keeps tokens for as long as they are valid.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::scope::Scope;

/// Most tokens that are kept.
const MAX_TOKENS: usize = 256;
/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(10);

/// What a token was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scopes: Vec<Scope>,
}

/// Tokens by what they were asked for; the header values are marked as sensitive and print as nothing.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(Mutex<HashMap<TokenKey, (HeaderValue, Instant)>>);

impl TokenCache {
    pub(crate) fn get(&self, key: &TokenKey) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(key).filter(|(_, until)| Instant::now() < *until).map(|(value, _)| value.clone())
    }

    pub(crate) fn put(&self, key: TokenKey, value: HeaderValue, lifetime: Duration) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, (_, until)| now < *until);
        if tokens.len() < MAX_TOKENS {
            tokens.insert(key, (value, now + lifetime.saturating_sub(MARGIN)));
        }
    }

    pub(crate) fn forget(&self, key: &TokenKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_until_shortly_before_their_end() {
        let cache = TokenCache::default();
        let key = TokenKey { realm: "r".into(), service: None, scopes: vec![] };
        cache.put(key.clone(), HeaderValue::from_static("a"), Duration::from_mins(1));
        assert!(cache.get(&key).is_some());
        cache.put(key.clone(), HeaderValue::from_static("b"), Duration::from_secs(5));
        assert!(cache.get(&key).is_none());
        cache.put(key.clone(), HeaderValue::from_static("c"), Duration::from_mins(1));
        cache.forget(&key);
        assert!(cache.get(&key).is_none());
    }
}
