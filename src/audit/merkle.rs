//! Merkle trees as RFC 6962 and RFC 9162 hash them: roots, and proofs that a leaf is in a tree or that one tree continues another.
//!
//! Leaves stream by: neither a root nor a proof needs more memory than the height of the tree.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::session::Digest;

/// Hashes what a leaf holds.
pub fn leaf_hash(content: &[u8]) -> Digest {
    hash(0, [content, &[]])
}

/// Hashes two subtrees into the one above them.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    hash(1, [&left.0, &right.0])
}

/// The first byte keeps a leaf from being passed off as a node.
fn hash(kind: u8, parts: [&[u8]; 2]) -> Digest {
    let mut hasher = Sha256::new_with_prefix([kind]);
    parts.iter().for_each(|part| hasher.update(part));
    Digest(hasher.finalize().into())
}

/// A tree of which only the roots of its complete subtrees are kept, the largest first: all that its root, and growing it, needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    roots: Vec<Digest>,
}

impl CompactRange {
    /// The empty tree.
    pub const fn new() -> Self {
        Self { size: 0, roots: Vec::new() }
    }

    /// A tree of `size` leaves, by the roots of its complete subtrees, the largest first; `None` when a tree of that size has another
    /// number of them.
    pub fn from_roots(size: u64, roots: Vec<Digest>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, the largest first.
    pub fn roots(&self) -> &[Digest] {
        &self.roots
    }

    /// Adds a leaf, by its hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut root = leaf;
        // Each bit that is set is a complete subtree; adding one leaf carries as adding one to a number does.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                root = node_hash(&left, &root);
            }
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev().copied();
        let Some(last) = roots.next() else { return Digest::of(&[]) };
        roots.fold(last, |right, left| node_hash(&left, &right))
    }
}

impl Extend<Digest> for CompactRange {
    fn extend<T: IntoIterator<Item = Digest>>(&mut self, leaves: T) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

/// Makes a proof while the leaves of a tree stream by, the first one first.
#[derive(Debug, Clone)]
pub struct ProofBuilder {
    /// The subtrees whose roots are the proof, in its order.
    parts: Vec<(Range<u64>, CompactRange)>,
    next: u64,
}

impl ProofBuilder {
    /// A proof that the leaf at `index`, counted from 0, is in the tree of `size` leaves; `None` when it has no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut tree, mut parts) = (0..size, Vec::new());
        while tree.end - tree.start > 1 {
            let (left, right) = split(&tree);
            let (inside, beside) = if left.contains(&index) { (left, right) } else { (right, left) };
            parts.push(beside);
            tree = inside;
        }
        // What is nearest to the leaf comes first.
        Some(Self::of(parts.into_iter().rev()))
    }

    /// A proof that the tree of `new` leaves continues that of `old` leaves; `None` when it cannot: it is smaller, or `old` is 0, which
    /// every tree continues without a proof.
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        if old == 0 || old > new {
            return None;
        }
        let (mut tree, mut parts) = (0..new, Vec::new());
        while tree.end != old {
            let (left, right) = split(&tree);
            let (inside, beside) = if old <= left.end { (left, right) } else { (right, left) };
            parts.push(beside);
            tree = inside;
        }
        // The old tree itself is known to whoever checks the proof.
        if tree.start > 0 {
            parts.push(tree);
        }
        Some(Self::of(parts.into_iter().rev()))
    }

    fn of(parts: impl Iterator<Item = Range<u64>>) -> Self {
        Self { parts: parts.map(|part| (part, CompactRange::new())).collect(), next: 0 }
    }

    /// The next leaf of the tree, by its hash.
    pub fn push(&mut self, leaf: Digest) {
        let at = self.next;
        self.next += 1;
        if let Some((_, part)) = self.parts.iter_mut().find(|(range, _)| range.contains(&at)) {
            part.push(leaf);
        }
    }

    /// The proof; `None` when leaves are missing.
    pub fn finish(self) -> Option<Vec<Digest>> {
        let whole = |(range, part): (Range<u64>, CompactRange)| (part.size() == range.end - range.start).then(|| part.root());
        self.parts.into_iter().map(whole).collect()
    }
}

/// Splits a tree of more than one leaf into its two subtrees: the left one is the largest complete one that leaves something over.
fn split(tree: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let leaves = tree.end - tree.start;
    let left = 1 << (leaves - 1).ilog2();
    (tree.start..tree.start + left, tree.start + left..tree.end)
}

/// Whether `proof` shows that `leaf`, a hash, is the leaf at `index` of the tree of `size` leaves that has this `root`.
pub fn is_included(leaf: &Digest, index: u64, size: u64, root: &Digest, proof: &[Digest]) -> bool {
    let Some(mut last) = size.checked_sub(1).filter(|last| index <= *last) else { return false };
    let (mut at, mut hash) = (index, *leaf);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(beside, &hash);
            climb_to_right(&mut at, &mut last);
        } else {
            hash = node_hash(&hash, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new` leaves with the root `new_root` continues that of `old` leaves with the root `old_root`.
/// Nothing is shown about an empty one.
pub fn is_consistent(old: u64, new: u64, old_root: &Digest, new_root: &Digest, proof: &[Digest]) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    // A complete old tree stands in the new one as it is, so that the proof does not name it.
    let known = old.is_power_of_two().then_some(old_root);
    let mut proof = known.into_iter().chain(proof);
    let Some(first) = proof.next() else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    let complete = at.trailing_ones();
    (at, last) = (at >> complete, last >> complete);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(beside, &old_hash);
            new_hash = node_hash(beside, &new_hash);
            climb_to_right(&mut at, &mut last);
        } else {
            new_hash = node_hash(&new_hash, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// Passes over the levels on which a node on the right edge has nothing beside it.
const fn climb_to_right(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// The leaves and roots of the reference implementation of RFC 6962, as `testonly/constants.go` of
    /// github.com/transparency-dev/merkle (417fb0c) has them.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn leaves(count: u64) -> Vec<Digest> {
        (0..count).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
    }

    fn root(leaves: &[Digest]) -> Digest {
        let mut tree = CompactRange::new();
        tree.extend(leaves.iter().copied());
        tree.root()
    }

    fn proof(mut builder: ProofBuilder, leaves: &[Digest]) -> Vec<Digest> {
        leaves.iter().for_each(|leaf| builder.push(*leaf));
        builder.finish().unwrap()
    }

    #[test]
    fn the_roots_of_the_reference_implementation_come_out() {
        let mut tree = CompactRange::new();
        assert_eq!(tree.root().to_string(), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.push(leaf_hash(&unhex(leaf)));
            assert_eq!(tree.root().to_string(), *root, "{} leaves", tree.size());
        }
        // `rfc6962/rfc6962_test.go` of the same repository.
        assert_eq!(leaf_hash(b"L123456").to_string(), "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
        let node = hash(1, [b"N123", b"N456"]);
        assert_eq!(node.to_string(), "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb");
        // `TestParseTree` of golang.org/x/mod/sumdb/tlog.
        assert_eq!(BASE64_STANDARD.encode(leaf_hash(b"hello world").0), "TszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=");
    }

    /// A vector of github.com/transparency-dev/merkle (417fb0c), `testdata/inclusion` and `testdata/consistency`: facts, one a line.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe<T> {
        #[serde(flatten)]
        of: T,
        proof: Option<Vec<String>>,
        want_err: bool,
        from: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inclusion {
        leaf_idx: u64,
        tree_size: u64,
        root: String,
        leaf_hash: String,
    }

    #[derive(Deserialize)]
    struct Consistency {
        size1: u64,
        size2: u64,
        root1: String,
        root2: String,
    }

    fn bytes(text: &str) -> Vec<u8> {
        BASE64_STANDARD.decode(text).unwrap()
    }

    /// What is no hash stands for its own digest, so that what is equal stays so.
    fn hash_or_other(text: &str) -> Digest {
        Digest::from_slice(&bytes(text)).unwrap_or_else(|| Digest::of(&bytes(text)))
    }

    fn probes<T: for<'de> Deserialize<'de>>(text: &str) -> Vec<Probe<T>> {
        let probes: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(probes.len(), 98, "all of them");
        probes
    }

    #[test]
    fn published_inclusion_proofs_are_judged_as_published() {
        for probe in probes::<Inclusion>(include_str!("../../tests/data/audit/inclusion_proofs.ndjson")) {
            let Inclusion { leaf_idx, tree_size, root, leaf_hash } = probe.of;
            let proof: Vec<_> = probe.proof.iter().flatten().map(|hash| hash_or_other(hash)).collect();
            // No hash of another length can be written down here.
            let (leaf, root) = (Digest::from_slice(&bytes(&leaf_hash)), Digest::from_slice(&bytes(&root)));
            let held = leaf.zip(root).is_some_and(|(leaf, root)| is_included(&leaf, leaf_idx, tree_size, &root, &proof));
            assert_eq!(held, !probe.want_err, "{}", probe.from);
        }
    }

    #[test]
    fn published_consistency_proofs_are_judged_as_published() {
        for probe in probes::<Consistency>(include_str!("../../tests/data/audit/consistency_proofs.ndjson")) {
            let Consistency { size1, size2, root1, root2 } = probe.of;
            let proof: Vec<_> = probe.proof.iter().flatten().map(|hash| hash_or_other(hash)).collect();
            let held = is_consistent(size1, size2, &hash_or_other(&root1), &hash_or_other(&root2), &proof);
            assert_eq!(held, !probe.want_err, "{}", probe.from);
        }
    }

    #[test]
    fn a_tree_goes_on_from_the_roots_of_its_complete_subtrees() {
        let leaves = leaves(70);
        for size in 0..leaves.len() {
            let mut tree = CompactRange::new();
            tree.extend(leaves[..size].iter().copied());
            assert_eq!(tree.roots().len(), size.count_ones() as usize);
            let mut again = CompactRange::from_roots(size as u64, tree.roots().to_vec()).unwrap();
            again.extend(leaves[size..].iter().copied());
            assert_eq!(again.root(), root(&leaves), "{size}");
        }
        assert!(CompactRange::from_roots(3, vec![Digest::ZERO]).is_none());
    }

    #[test]
    fn each_proof_holds_for_what_it_was_made_and_for_no_other_root_leaf_or_place() {
        for size in 1..=33_u64 {
            let all = leaves(size);
            let whole = root(&all);
            for index in 0..size {
                let leaf = all[index as usize];
                let proof = proof(ProofBuilder::inclusion(index, size).unwrap(), &all);
                assert!(is_included(&leaf, index, size, &whole, &proof), "{index} of {size}");
                assert!(!is_included(&leaf_hash(b"other"), index, size, &whole, &proof));
                assert!(!is_included(&leaf, index, size, &Digest::ZERO, &proof));
                assert!(!is_included(&leaf, index ^ 1, size, &whole, &proof));
            }
            for old in 1..=size {
                let part = root(&all[..old as usize]);
                let proof = proof(ProofBuilder::consistency(old, size).unwrap(), &all);
                assert!(is_consistent(old, size, &part, &whole, &proof), "{old} to {size}");
                assert!(!is_consistent(old, size, &Digest::ZERO, &whole, &proof));
                assert!(!is_consistent(old, size, &part, &Digest::ZERO, &proof));
                if old < size {
                    assert!(!is_consistent(old + 1, size, &part, &whole, &proof));
                }
            }
        }
        assert!(ProofBuilder::inclusion(3, 3).is_none() && ProofBuilder::consistency(0, 3).is_none());
        assert!(ProofBuilder::consistency(4, 3).is_none());
        assert!(ProofBuilder::inclusion(0, 2).unwrap().finish().is_none(), "no leaf came");
    }

    proptest! {
        #[test]
        fn no_proof_makes_a_panic(at: u64, size: u64, other: u64, proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70)) {
            let proof: Vec<_> = proof.into_iter().map(Digest).collect();
            let _ = is_included(&Digest::ZERO, at, size, &Digest::ZERO, &proof);
            let _ = is_consistent(size, other, &Digest::ZERO, &Digest::ZERO, &proof);
            let _ = (ProofBuilder::inclusion(at, size), ProofBuilder::consistency(size, other));
        }
    }
}
