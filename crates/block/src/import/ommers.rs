//! Ommers: valid headers that branched off recently and that no ancestor included. Yellow Paper, section 11.1.

use alloy_consensus::Header;
use alloy_primitives::B256;

use super::{DecodedBlock, ImportError, OmmerFault, eip3675::Consensus, header::check_successor};
use crate::ChainSpec;

/// Ancestors that the rule looks at: an ommer's parent is the second to the seventh of them.
pub const MOST_ANCESTORS: usize = 7;

/// A block that the checked one builds upon.
#[derive(Debug, Clone, Copy)]
pub struct Ancestor<'a> {
    /// Its hash.
    pub hash: B256,
    /// Its header.
    pub header: &'a Header,
    /// The ommers that it included.
    pub ommers: &'a [Header],
}

/// Checks the ommers of a block against its ancestors: the parent first, as many as there are up to
/// [`MOST_ANCESTORS`]. How many ommers there may be is a rule of the body.
///
/// # Errors
/// Names the first ommer that may not be included.
pub fn check_ommers(chain: &ChainSpec, decoded: &DecodedBlock, ancestors: &[Ancestor<'_>]) -> Result<(), ImportError> {
    let ommers = &decoded.block.body.ommers;
    if ommers.is_empty() {
        return Ok(());
    }
    let ancestors = &ancestors[..ancestors.len().min(MOST_ANCESTORS)];
    let mut included: Vec<B256> =
        ancestors.iter().flat_map(|ancestor| ancestor.ommers).map(Header::hash_slow).collect();
    included.push(decoded.hash);
    for (index, ommer) in ommers.iter().enumerate() {
        let hash = ommer.hash_slow();
        let fault = |fault| ImportError::Ommer { index, fault };
        if included.contains(&hash) {
            return Err(fault(OmmerFault::Duplicate { hash }));
        }
        included.push(hash);
        check_ommer(chain, hash, ommer, ancestors).map_err(fault)?;
    }
    Ok(())
}

fn check_ommer(chain: &ChainSpec, hash: B256, ommer: &Header, ancestors: &[Ancestor<'_>]) -> Result<(), OmmerFault> {
    if ancestors.iter().any(|ancestor| ancestor.hash == hash) {
        return Err(OmmerFault::Ancestor { hash });
    }
    let parent = ommer.parent_hash;
    match ancestors.iter().position(|ancestor| ancestor.hash == parent) {
        None => Err(OmmerFault::UnknownParent { parent }),
        Some(0) => Err(OmmerFault::Sibling { parent }),
        Some(at) => Ok(check_successor(chain, ommer, ancestors[at].header, Consensus::Work)?),
    }
}
