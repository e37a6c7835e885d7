//! Every byte that reaches RocksDB: column families, keys, values, and their decoding.
//!
//! Numbers are big endian, so that keys sort as the numbers do. `#x` is the Keccak-256 hash of x, `a | b` stands for
//! concatenation, `[..]` for a part that may be missing, and a bare number for a count of bytes.
//!
//! ```text
//! column family  key                                     value
//! -------------  --------------------------------------  ---------------------------------------------------------
//! accounts       #address 32                             header 1 | nonce 0..8 | [code hash 32] | balance 0..32
//! incarnations   #address 32                             storage incarnation 8, above zero
//! storage        #address 32 | incarnation 8 | #slot 32  value 1..32
//! account_nodes  path 0..64                              RLP of the account trie's node at that path
//! storage_nodes  #address 32 | incarnation 8 | path      the same of a storage trie
//! code           code hash 32                            the code
//! blocks         number 8                                header 1 | hash 32 | [parent hash 32] | [state root 32]
//! changesets     number 8                                what the block overwrote, see `changeset`
//! cleared        number 8 | #address 32                  storage incarnation 8 that the block left
//! block_hashes   number 8                                hash 32
//! head           "head"                                  number 8 | hash 32 | [state root 32]
//!                "layout"                                layout version 4
//!                "loading"                               as "head": the block whose state is being loaded
//!
//! header of an account:  bits 0-3 length of the nonce, bit 4 there is a code hash, others zero
//! header of a block:     bit 0 there is a parent hash, bit 1 there is a state root, others zero
//! ```
//!
//! A path takes one byte for each nibble, so that keys sort as a walk from the root does: a node, what is below it, then
//! its next sibling. Nodes shorter than 32 bytes stand inside their parents and have no key, except for the root. A
//! store that holds only a part of a state, whose head has no state root, has no nodes at all.
//!
//! Nonce, balance and slot values carry no leading zeros, a missing code hash means no code, and zero slots are not
//! stored: each state has one form in bytes, and the decoders refuse any other.
//!
//! # Storage incarnations
//!
//! An account may lose all its storage at once, and there may be millions of slots. So slots are stored under the
//! account's *storage incarnation* (unrelated to the incarnations of a transaction): a number that starts at zero and
//! steps up when storage is cleared. Slots of lower incarnations, and the nodes of their tries, stay on disk and no read
//! reaches them. Clearing costs one small write whatever the size, and undoing it means putting the former number back.
//! `cleared` lists what waits to be removed: once the block that cleared a storage cannot be unwound any more, its slots
//! and nodes are removed by their prefix, together with its changeset.
//!
//! The number has a column family of its own, not a field in the account, because it must outlive the account: if a
//! contract is destroyed and its address used again, the old slots must not return. Nearly all accounts never leave
//! incarnation zero, which is not stored; the family stays so small that the look-up before each slot is answered from
//! memory. A deleted account leaves no other trace, and `accounts` holds existing accounts only.
//!
//! Two rules keep the rest answerable:
//!
//! - The number steps up only if a slot is stored under the present one. Destroying an account without storage (all
//!   those that EIP-161 removes) leaves nothing behind.
//! - The slots of the present incarnation are exactly the slots that are not zero, so an account's storage is empty
//!   if and only if no key starts with `#address | incarnation`: one prefix seek.

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_state::{Account, trie::Nibbles};

/// Version of the layout on this page. It changes when old bytes would be read wrongly.
pub const LAYOUT_VERSION: u32 = 3;

/// The layout before: all the same without changesets. A store in it is taken over, and its blocks cannot be unwound.
pub(crate) const FORMER_LAYOUT: u32 = 2;

/// How many of the latest block hashes are kept: as many as the BLOCKHASH opcode reaches back.
pub const BLOCK_HASHES_KEPT: u64 = 256;

/// Length of the part of a storage key that all slots of one account share, in bytes.
pub(crate) const STORAGE_PREFIX_LENGTH: usize = 40;

/// Length of a storage key, in bytes.
pub(crate) const STORAGE_KEY_LENGTH: usize = STORAGE_PREFIX_LENGTH + 32;

/// Greatest length of any key of the store, in bytes: that of a storage trie's deepest node.
pub(crate) const LONGEST_KEY: usize = STORAGE_PREFIX_LENGTH + 64;

/// Key of the head marker, in [`Column::Head`].
pub(crate) const HEAD_KEY: &[u8] = b"head";

/// Key of the layout version, in [`Column::Head`].
pub(crate) const LAYOUT_KEY: &[u8] = b"layout";

/// Key of the mark that a base state is being loaded, in [`Column::Head`].
pub(crate) const LOADING_KEY: &[u8] = b"loading";

const NONCE_LENGTH_MASK: u8 = 0x0f;
const HAS_CODE: u8 = 0x10;
const HAS_PARENT: u8 = 0x01;
const HAS_ROOT: u8 = 0x02;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Accounts,
    Incarnations,
    Storage,
    AccountNodes,
    StorageNodes,
    Code,
    Blocks,
    Changesets,
    Cleared,
    BlockHashes,
    Head,
}

impl Column {
    /// All of them, in the order of their discriminants.
    pub(crate) const ALL: [Self; 11] = [
        Self::Accounts,
        Self::Incarnations,
        Self::Storage,
        Self::AccountNodes,
        Self::StorageNodes,
        Self::Code,
        Self::Blocks,
        Self::Changesets,
        Self::Cleared,
        Self::BlockHashes,
        Self::Head,
    ];

    /// The name that RocksDB knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Incarnations => "incarnations",
            Self::Storage => "storage",
            Self::AccountNodes => "account_nodes",
            Self::StorageNodes => "storage_nodes",
            Self::Code => "code",
            Self::Blocks => "blocks",
            Self::Changesets => "changesets",
            Self::Cleared => "cleared",
            Self::BlockHashes => "block_hashes",
            Self::Head => "head",
        }
    }
}

/// The block whose state a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// Root of the state that the store holds, which is the one that the block's header claims. `None` where a loaded
    /// base state was only a part of its block's state, as in a recorded prestate, and after the blocks on top of it.
    pub state_root: Option<B256>,
}

/// What a store remembers of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockMeta {
    /// The block's hash.
    pub hash: B256,
    /// Hash of its parent; `None` for the block at which a loaded base state begins.
    pub parent_hash: Option<B256>,
    /// State root that its header claims; `None` for a block at which a part of a state begins.
    pub state_root: Option<B256>,
}

/// Bytes in the database are not what this layout writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter or longer than the value can be.
    #[error("{found} bytes where {least} to {most} are possible")]
    Length {
        /// Length found, in bytes.
        found: usize,
        /// Least possible length, in bytes.
        least: usize,
        /// Greatest possible length, in bytes.
        most: usize,
    },
    /// A header with a bit or a length that means nothing.
    #[error("unknown header {0:#04x}")]
    Header(u8),
    /// A number with leading zeros, which is not the form it is written in.
    #[error("a number with leading zeros")]
    LeadingZeros,
    /// A zero that would not have been written.
    #[error("a zero that is never stored")]
    Zero,
    /// The hash of empty code, which is written as no code hash.
    #[error("a hash of empty code")]
    EmptyCodeHash,
}

/// How often an account's storage was cleared while it held something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct StorageIncarnation(u64);

impl StorageIncarnation {
    /// The incarnation after this one; `None` after the last, which 2^64 - 1 clears would reach.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    pub(crate) fn encode(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The number itself, zero included.
    pub(crate) fn from_raw(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match u64::from_be_bytes(exactly(bytes)?) {
            0 => Err(DecodeError::Zero),
            number => Ok(Self(number)),
        }
    }
}

/// Key of an account, and the start of the keys of its slots.
pub(crate) fn account_key(address: &Address) -> B256 {
    keccak256(address)
}

/// What the keys of all slots of an account begin with.
pub(crate) fn storage_prefix(account: &B256, incarnation: StorageIncarnation) -> [u8; STORAGE_PREFIX_LENGTH] {
    let mut prefix = [0; STORAGE_PREFIX_LENGTH];
    prefix[..32].copy_from_slice(account.as_slice());
    prefix[32..].copy_from_slice(&incarnation.encode());
    prefix
}

/// The least key that is greater than every key with this prefix; `None` where there is no greater key.
pub(crate) fn after_prefix(prefix: &[u8; STORAGE_PREFIX_LENGTH]) -> Option<[u8; STORAGE_PREFIX_LENGTH]> {
    let mut next = *prefix;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

/// What the key of a slot ends with, which is its key in the trie too.
pub(crate) fn slot_key(slot: &U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}

/// Key of a slot.
pub(crate) fn storage_key(prefix: &[u8; STORAGE_PREFIX_LENGTH], slot: &U256) -> [u8; STORAGE_KEY_LENGTH] {
    let mut key = [0; STORAGE_KEY_LENGTH];
    key[..STORAGE_PREFIX_LENGTH].copy_from_slice(prefix);
    key[STORAGE_PREFIX_LENGTH..].copy_from_slice(slot_key(slot).as_slice());
    key
}

/// Key of a node of the account trie, and the end of the key of a node of a storage trie.
pub(crate) fn node_path(path: &Nibbles) -> Vec<u8> {
    path.to_vec()
}

/// Key of a node of a storage trie.
pub(crate) fn storage_node_key(prefix: &[u8; STORAGE_PREFIX_LENGTH], path: &Nibbles) -> Vec<u8> {
    [&prefix[..], &node_path(path)].concat()
}

/// The account and the incarnation that a key of the storage families begins with.
pub(crate) fn split_storage_prefix(key: &[u8]) -> Result<(B256, StorageIncarnation), DecodeError> {
    let too_short = DecodeError::Length { found: key.len(), least: STORAGE_PREFIX_LENGTH, most: LONGEST_KEY };
    let (account, rest) = key.split_first_chunk::<32>().ok_or(too_short)?;
    let (incarnation, _) = rest.split_first_chunk::<8>().ok_or(too_short)?;
    Ok((B256::new(*account), StorageIncarnation(u64::from_be_bytes(*incarnation))))
}

/// Key of a block.
pub(crate) fn block_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number in a key that begins with one.
pub(crate) fn block_of_key(key: &[u8]) -> Result<u64, DecodeError> {
    let too_short = DecodeError::Length { found: key.len(), least: 8, most: 8 + 32 };
    key.first_chunk().map(|number| u64::from_be_bytes(*number)).ok_or(too_short)
}

/// Key of a storage that the block cleared.
pub(crate) fn cleared_key(number: u64, account: &B256) -> [u8; 8 + 32] {
    let mut key = [0; 8 + 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(account.as_slice());
    key
}

/// The block, the account and the incarnation of a cleared storage.
pub(crate) fn decode_cleared(key: &[u8], value: &[u8]) -> Result<(u64, B256, StorageIncarnation), DecodeError> {
    let number = block_of_key(key)?;
    Ok((number, decode_hash(&key[8..])?, StorageIncarnation::from_raw(exactly(value)?)))
}

pub(crate) fn encode_account(account: &Account) -> Vec<u8> {
    let nonce = account.nonce.to_be_bytes();
    let nonce = without_leading_zeros(&nonce);
    let mut header = u8::try_from(nonce.len()).expect("a nonce has at most 8 bytes");
    if account.has_code() {
        header |= HAS_CODE;
    }
    let mut bytes = Vec::with_capacity(1 + 8 + 32 + 32);
    bytes.push(header);
    bytes.extend_from_slice(nonce);
    if account.has_code() {
        bytes.extend_from_slice(account.code_hash.as_slice());
    }
    bytes.extend_from_slice(&account.balance.to_be_bytes_trimmed_vec());
    bytes
}

pub(crate) fn decode_account(bytes: &[u8]) -> Result<Account, DecodeError> {
    let (header, mut rest) = split_header(bytes, 73)?;
    let nonce_length = usize::from(header & NONCE_LENGTH_MASK);
    let code_length = if header & HAS_CODE == 0 { 0 } else { 32 };
    if header & !(NONCE_LENGTH_MASK | HAS_CODE) != 0 || nonce_length > 8 {
        return Err(DecodeError::Header(header));
    }
    let least = 1 + nonce_length + code_length;
    if bytes.len() < least || bytes.len() > least + 32 {
        return Err(DecodeError::Length { found: bytes.len(), least, most: least + 32 });
    }
    let nonce = number(take(&mut rest, nonce_length))?.to::<u64>();
    let code_hash = match take(&mut rest, code_length) {
        [] => KECCAK256_EMPTY,
        hash if hash == KECCAK256_EMPTY.as_slice() => return Err(DecodeError::EmptyCodeHash),
        hash => B256::from_slice(hash),
    };
    Ok(Account { nonce, balance: number(rest)?, code_hash })
}

/// The bytes of a slot's value, `None` for zero, which is stored as nothing.
pub(crate) fn encode_slot(value: &U256) -> Option<Vec<u8>> {
    (!value.is_zero()).then(|| value.to_be_bytes_trimmed_vec())
}

pub(crate) fn decode_slot(bytes: &[u8]) -> Result<U256, DecodeError> {
    match bytes.len() {
        1..=32 if *bytes == [0] => Err(DecodeError::Zero),
        1..=32 => number(bytes),
        found => Err(DecodeError::Length { found, least: 1, most: 32 }),
    }
}

pub(crate) fn decode_hash(bytes: &[u8]) -> Result<B256, DecodeError> {
    exactly(bytes).map(B256::new)
}

pub(crate) fn decode_layout_version(bytes: &[u8]) -> Result<u32, DecodeError> {
    exactly(bytes).map(u32::from_be_bytes)
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(72);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(self.hash.as_slice());
        bytes.extend_from_slice(self.state_root.as_ref().map_or(&[][..], B256::as_slice));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() != 40 && bytes.len() != 72 {
            return Err(DecodeError::Length { found: bytes.len(), least: 40, most: 72 });
        }
        let mut rest = bytes;
        let number = u64::from_be_bytes(exactly(take(&mut rest, 8))?);
        let hash = decode_hash(take(&mut rest, 32))?;
        let state_root = (!rest.is_empty()).then(|| decode_hash(rest)).transpose()?;
        Ok(Self { number, hash, state_root })
    }
}

impl BlockMeta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut header = 0;
        let mut bytes = Vec::with_capacity(97);
        bytes.push(header);
        bytes.extend_from_slice(self.hash.as_slice());
        for (part, bit) in [(&self.parent_hash, HAS_PARENT), (&self.state_root, HAS_ROOT)] {
            if let Some(part) = part {
                header |= bit;
                bytes.extend_from_slice(part.as_slice());
            }
        }
        bytes[0] = header;
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, mut rest) = split_header(bytes, 97)?;
        if header & !(HAS_PARENT | HAS_ROOT) != 0 {
            return Err(DecodeError::Header(header));
        }
        let length = 33 + 32 * header.count_ones() as usize;
        if bytes.len() != length {
            return Err(DecodeError::Length { found: bytes.len(), least: length, most: length });
        }
        let hash = decode_hash(take(&mut rest, 32))?;
        let mut part = |bit| (header & bit != 0).then(|| decode_hash(take(&mut rest, 32))).transpose();
        Ok(Self { hash, parent_hash: part(HAS_PARENT)?, state_root: part(HAS_ROOT)? })
    }
}

/// The first byte and what follows it.
fn split_header(bytes: &[u8], most: usize) -> Result<(u8, &[u8]), DecodeError> {
    let (header, rest) = bytes.split_first().ok_or(DecodeError::Length { found: 0, least: 1, most })?;
    Ok((*header, rest))
}

/// Cuts the first `length` bytes off, which must be there.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (first, after) = rest.split_at(length);
    *rest = after;
    first
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length { found: bytes.len(), least: N, most: N })
}

/// At most 32 bytes, most significant first, as a number.
pub(crate) fn number(bytes: &[u8]) -> Result<U256, DecodeError> {
    match bytes.first() {
        Some(0) => Err(DecodeError::LeadingZeros),
        _ => Ok(U256::from_be_slice(bytes)),
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests;
