//! Walks from an index down to manifests and blobs, bounded in depth and number, without any I/O.

use std::collections::{HashMap, HashSet};

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::document::{Document, ImageIndex, ImageManifest};
use crate::platform::Platform;

/// Most indexes on the way from a tag to a manifest.
pub const MAX_INDEX_DEPTH: usize = 3;
/// Most documents below one tag.
pub const MAX_TREE_DOCUMENTS: usize = 1024;

/// Says why a walk ended without an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Indexes are nested too deeply.
    #[error("indexes are nested deeper than {MAX_INDEX_DEPTH} levels")]
    TooDeep,
    /// There are too many documents.
    #[error("more than {MAX_TREE_DOCUMENTS} documents below one index")]
    TooMany,
    /// The index has nothing for the platform.
    #[error("no image for {wanted}; there is {}", list(.offered))]
    NoPlatform {
        /// The platform asked for.
        wanted: Box<Platform>,
        /// The platforms the index lists.
        offered: Vec<Platform>,
    },
}

fn list(platforms: &[Platform]) -> String {
    const SHOWN: usize = 20;
    if platforms.is_empty() {
        return "none with a platform".to_owned();
    }
    let mut names: Vec<String> = platforms.iter().take(SHOWN).map(ToString::to_string).collect();
    if platforms.len() > SHOWN {
        names.push(format!("{} more", platforms.len() - SHOWN));
    }
    names.join(", ")
}

/// What a [`PlatformWalk`] wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkStep {
    /// The document described has to be fetched and fed in.
    Fetch(Box<Descriptor>),
    /// The walk ended at the manifest of the image.
    Image(Box<ImageManifest>),
}

/// Finds the image for one platform: feed it the first document, then each one it asks for.
#[derive(Debug, Clone)]
pub struct PlatformWalk {
    platform: Platform,
    depth: usize,
}

impl PlatformWalk {
    /// Starts a walk.
    #[must_use]
    pub fn new(platform: Platform) -> Self {
        Self { platform, depth: 0 }
    }

    /// Takes in a document whose digest has been checked.
    ///
    /// # Errors
    /// Fails if indexes are nested too deeply or nothing fits the platform.
    pub fn feed(&mut self, document: Document) -> Result<WalkStep, TreeError> {
        let index = match document {
            Document::Manifest(manifest) => return Ok(WalkStep::Image(manifest)),
            Document::Index(index) => index,
        };
        self.depth += 1;
        if self.depth > MAX_INDEX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        index.select(&self.platform).cloned().map(Box::new).map(WalkStep::Fetch).ok_or_else(|| TreeError::NoPlatform {
            wanted: Box::new(self.platform.clone()),
            offered: index.manifests.iter().filter_map(|entry| entry.platform.clone()).collect(),
        })
    }
}

impl ImageIndex {
    /// Returns the entry that fits a platform best; of equals the first.
    ///
    /// Entries that name no platform are taken only if they are nested indexes, or the only entry.
    #[must_use]
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let best = self
            .manifests
            .iter()
            .filter_map(|entry| Some((wanted.rank(entry.platform.as_ref()?)?, entry)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry);
        best.or_else(|| match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            entries => entries.iter().find(|entry| entry.platform.is_none() && entry.media_type.is_index()),
        })
    }
}

/// Collects everything below a document, for copying all of it.
///
/// Take descriptors from [`ImageTree::wanted`], fetch the documents, feed them in; at the end the documents stand in an
/// order in which each comes after everything it lists.
#[derive(Debug, Clone)]
pub struct ImageTree {
    wanted: Vec<(Descriptor, usize)>,
    seen: HashSet<Digest>,
    documents: Vec<(Descriptor, Document)>,
    blobs: Vec<Descriptor>,
    seen_blobs: HashSet<Digest>,
}

impl ImageTree {
    /// Starts at a document.
    #[must_use]
    pub fn new(root: Descriptor) -> Self {
        let seen = HashSet::from([root.digest.clone()]);
        Self { wanted: vec![(root, 0)], seen, documents: Vec::new(), blobs: Vec::new(), seen_blobs: HashSet::new() }
    }

    /// Returns the next document to fetch, or nothing when all are known.
    #[must_use]
    pub fn wanted(&self) -> Option<&Descriptor> {
        self.wanted.last().map(|(descriptor, _)| descriptor)
    }

    /// Takes in the document last returned by [`Self::wanted`], whose digest has been checked.
    ///
    /// # Errors
    /// Fails if indexes are nested too deeply or there are too many documents.
    pub fn feed(&mut self, document: Document) -> Result<(), TreeError> {
        let Some((descriptor, depth)) = self.wanted.pop() else { return Ok(()) };
        match &document {
            Document::Manifest(manifest) => {
                for blob in manifest.blobs() {
                    if self.seen_blobs.insert(blob.digest.clone()) {
                        self.blobs.push(blob.clone());
                    }
                }
            }
            Document::Index(index) => {
                if depth >= MAX_INDEX_DEPTH {
                    return Err(TreeError::TooDeep);
                }
                for entry in &index.manifests {
                    if self.seen.insert(entry.digest.clone()) {
                        self.wanted.push((entry.clone(), depth + 1));
                    }
                }
                if self.seen.len() > MAX_TREE_DOCUMENTS {
                    return Err(TreeError::TooMany);
                }
            }
        }
        self.documents.push((descriptor, document));
        Ok(())
    }

    /// Returns the documents, each after everything it lists; the root is last.
    #[must_use]
    pub fn documents(&self) -> Vec<&(Descriptor, Document)> {
        let heights = self.heights();
        let mut order: Vec<_> = self.documents.iter().collect();
        order.sort_by_key(|(descriptor, _)| heights.get(&descriptor.digest).copied().unwrap_or(0));
        order
    }

    /// Returns every configuration and layer once.
    #[must_use]
    pub fn blobs(&self) -> &[Descriptor] {
        &self.blobs
    }

    /// How many levels of documents stand below each; every pass settles one level more.
    fn heights(&self) -> HashMap<&Digest, usize> {
        let mut heights: HashMap<&Digest, usize> =
            self.documents.iter().map(|(descriptor, _)| (&descriptor.digest, 0)).collect();
        for _ in 0..=MAX_INDEX_DEPTH {
            for (descriptor, document) in &self.documents {
                if let Document::Index(index) = document {
                    let below = index.manifests.iter().filter_map(|entry| heights.get(&entry.digest)).max();
                    let height = below.map_or(0, |below| below + 1);
                    heights.insert(&descriptor.digest, height);
                }
            }
        }
        heights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::MediaType;

    fn manifest(name: &str) -> (Descriptor, Document) {
        let blob = |text: String| Descriptor::of(MediaType::OCI_LAYER_GZIP, text.as_bytes());
        let manifest = ImageManifest::new(
            MediaType::OCI_MANIFEST,
            blob(format!("config {name}")),
            vec![blob("shared".into()), blob(format!("layer {name}"))],
        );
        let bytes = manifest.to_bytes().unwrap();
        (Descriptor::of(MediaType::OCI_MANIFEST, &bytes), Document::Manifest(Box::new(manifest)))
    }

    fn index(entries: Vec<Descriptor>) -> (Descriptor, Document) {
        let index = ImageIndex::new(MediaType::OCI_INDEX, entries);
        let bytes = index.to_bytes().unwrap();
        (Descriptor::of(MediaType::OCI_INDEX, &bytes), Document::Index(index))
    }

    fn on(platform: &str, descriptor: &Descriptor) -> Descriptor {
        Descriptor { platform: Some(Platform::parse(platform).unwrap()), ..descriptor.clone() }
    }

    #[test]
    fn the_entry_for_the_platform_is_found_through_nested_indexes() {
        let (arm, arm_document) = manifest("arm");
        let (inner, inner_document) = index(vec![on("linux/amd64", &manifest("amd").0), on("linux/arm64", &arm)]);
        let (_, outer) = index(vec![inner.clone()]);
        let mut walk = PlatformWalk::new(Platform::parse("linux/arm64").unwrap());
        assert_eq!(walk.feed(outer).unwrap(), WalkStep::Fetch(Box::new(inner)));
        assert_eq!(walk.feed(inner_document).unwrap(), WalkStep::Fetch(Box::new(on("linux/arm64", &arm))));
        assert!(matches!(walk.feed(arm_document).unwrap(), WalkStep::Image(_)));
    }

    #[test]
    fn a_missing_platform_is_named_with_those_that_are_there() {
        let attestation = Descriptor { platform: Some(Platform::new("unknown", "unknown", None)), ..manifest("x").0 };
        let (_, document) = index(vec![on("linux/amd64", &manifest("amd").0), attestation]);
        let error = PlatformWalk::new(Platform::parse("linux/s390x").unwrap()).feed(document).unwrap_err();
        assert_eq!(error.to_string(), "no image for linux/s390x; there is linux/amd64, unknown/unknown");
    }

    #[test]
    fn an_index_within_an_index_without_end_is_refused() {
        let (mut descriptor, mut document) = index(vec![manifest("m").0]);
        let mut levels = vec![document.clone()];
        for _ in 0..MAX_INDEX_DEPTH {
            (descriptor, document) = index(vec![descriptor]);
            levels.push(document.clone());
        }
        levels.reverse();
        let mut walk = PlatformWalk::new(Platform::host());
        let mut tree = ImageTree::new(descriptor);
        let (walked, fed): (Vec<_>, Vec<_>) =
            levels.into_iter().map(|level| (walk.feed(level.clone()), tree.feed(level))).unzip();
        assert_eq!(walked.last().unwrap(), &Err(TreeError::TooDeep));
        assert_eq!(fed.last().unwrap(), &Err(TreeError::TooDeep));
    }

    #[test]
    fn too_many_documents_are_refused() {
        let entries = |prefix: &str| (0..700).map(|n| manifest(&format!("{prefix}{n}")).0).collect::<Vec<_>>();
        let (first, first_document) = index(entries("a"));
        let (second, second_document) = index(entries("b"));
        let (root, root_document) = index(vec![first, second]);
        let mut tree = ImageTree::new(root);
        tree.feed(root_document).unwrap();
        tree.feed(second_document).unwrap();
        assert_eq!(tree.wanted().map(|d| d.media_type.is_manifest()), Some(true));
        tree.wanted.truncate(1);
        assert_eq!(tree.feed(first_document), Err(TreeError::TooMany));
    }

    #[test]
    fn a_tree_lists_children_first_and_every_blob_once() {
        let (a, a_document) = manifest("a");
        let (b, b_document) = manifest("b");
        let (inner, inner_document) = index(vec![a.clone(), b.clone()]);
        let (root, root_document) = index(vec![a.clone(), inner.clone()]);
        let by_digest =
            [(a.clone(), a_document), (b, b_document), (inner.clone(), inner_document), (root.clone(), root_document)];
        let mut tree = ImageTree::new(root.clone());
        while let Some(wanted) = tree.wanted() {
            let document =
                by_digest.iter().find(|(descriptor, _)| descriptor.digest == wanted.digest).unwrap().1.clone();
            tree.feed(document).unwrap();
        }
        let order: Vec<_> = tree.documents().iter().map(|(descriptor, _)| descriptor.digest.clone()).collect();
        assert_eq!(order.len(), 4);
        assert_eq!(order.get(2..).unwrap(), [inner.digest, root.digest]);
        assert_eq!(tree.blobs().len(), 5);
    }
}
