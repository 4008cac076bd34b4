//! The list of a repository's tags, page by page.

use std::collections::HashSet;

use countersign_image::{Repository, Tag};
use http::header::LINK;
use serde::Deserialize;
use url::Url;

use super::connect::{RegistryClient, pull};
use super::documents::found;
use super::error::RegistryError;
use crate::foreign_text;
use crate::http::{HttpError, Origin, Request, Response};

/// Most tags of one repository.
pub const MAX_TAGS: usize = 200_000;
/// Most pages of one list.
pub const MAX_TAG_PAGES: usize = 1_000;
/// Largest page in bytes.
const MAX_PAGE_BYTES: u64 = 8 * 1024 * 1024;
/// How many tags are asked for at a time.
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// Lists all tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// Fails if the repository is not there, if the registry lists something that is no tag, or lists without end.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let mut address = self.address(repository, "tags/list")?;
        address.query_pairs_mut().append_pair("n", PAGE);
        let mut tags = Vec::new();
        let mut visited = HashSet::from([address.clone()]);
        for _ in 0..MAX_TAG_PAGES {
            let (page, next) = self.retries.run(async || self.page(repository, address.clone()).await).await?;
            for text in page {
                tags.push(Tag::parse(&text).map_err(|_| not_a_tag(&address, &text))?);
            }
            if tags.len() > MAX_TAGS {
                return Err(RegistryError::TooMany { what: "tags", limit: MAX_TAGS });
            }
            let Some(next) = next else { return Ok(tags) };
            if !visited.insert(next.clone()) {
                return Err(HttpError::protocol(&address, "the list of tags leads back to itself").into());
            }
            address = next;
        }
        Err(RegistryError::TooMany { what: "pages of tags", limit: MAX_TAG_PAGES })
    }

    async fn page(&self, repository: &Repository, address: Url) -> Result<(Vec<String>, Option<Url>), RegistryError> {
        let response = self.send(Request::get(address.clone()), &[pull(repository)]).await?;
        let Some(response) = found(response).await? else {
            return Err(RegistryError::NotFound(repository.to_string()));
        };
        let next = next_page(&response, &address)?;
        let bytes = response.bytes(MAX_PAGE_BYTES).await?;
        let page: Page =
            serde_json::from_slice(&bytes).map_err(|error| HttpError::protocol(&address, error.to_string()))?;
        Ok((page.tags.unwrap_or_default(), next))
    }
}

/// Reads the `Link` header (RFC 8288); the next page must be at the same place as this one.
fn next_page(response: &Response, address: &Url) -> Result<Option<Url>, RegistryError> {
    let Some(link) = response.header(&LINK) else { return Ok(None) };
    let Some(target) = link.split(',').find_map(next_target) else { return Ok(None) };
    let malformed = || HttpError::protocol(address, "the link to the next page is malformed");
    let next = address.join(target).map_err(|_| malformed())?;
    if Origin::of(&next).map_err(|_| malformed())? != Origin::of(address)? {
        return Err(HttpError::protocol(address, "the next page is on another host").into());
    }
    Ok(Some(next))
}

fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=next" | "rel=\"next\""));
    is_next.then_some(target)
}

fn not_a_tag(address: &Url, text: &str) -> HttpError {
    HttpError::protocol(address, format!("it lists {:?}, which is no tag", foreign_text(text.as_bytes(), 140)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_page_is_followed() {
        assert_eq!(next_target(r#" </v2/a/tags/list?last=b&n=1>; rel="next""#), Some("/v2/a/tags/list?last=b&n=1"));
        assert_eq!(next_target("</x>; title=y; rel=next"), Some("/x"));
        for link in ["</x>; rel=\"prev\"", "/x; rel=next", "<x", ""] {
            assert_eq!(next_target(link), None, "{link}");
        }
    }
}
