//! What a block overwrote, so that it can be undone.
//!
//! ```text
//! changeset = header 1 | [block hash 32] | codes 4 | code hash 32 ... | accounts 4 | account ...
//! account   = address 20 | header 1 | [account: length 1 | as in `accounts`] | [incarnation 8] | slots 4 | slot ...
//! slot      = length 1 | key 0..32 | length 1 | value 0..32
//!
//! header of a changeset:  bit 0 a block hash went out of reach, others zero
//! header of an account:   bit 0 the account itself differs, bit 1 it was there before,
//!                         bit 2 its storage went to a new incarnation, others zero
//! ```
//!
//! A block is undone by what it overwrote in the flat state; the tries follow from that, and their root must be the one
//! of the block before. Addresses and slots are kept as they are, not hashed: whoever wants to know what a block changed
//! can read it here. Numbers of things are big endian; slots and values carry no leading zeros.

use alloy_primitives::{Address, B256, U256};
use ropewalk_state::Account;

use crate::layout::{DecodeError, StorageIncarnation, decode_account, encode_account, number};

const HAS_DROPPED_HASH: u8 = 0x01;
const DIFFERS: u8 = 0x01;
const EXISTED: u8 = 0x02;
const WAS_CLEARED: u8 = 0x04;

/// What one block overwrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changeset {
    /// Hash of the block that went out of the reach of BLOCKHASH.
    pub(crate) dropped_hash: Option<B256>,
    /// Codes that the block stored.
    pub(crate) codes: Vec<B256>,
    /// Accounts that it changed.
    pub(crate) accounts: Vec<FormerAccount>,
}

/// What an account was before a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormerAccount {
    pub(crate) address: Address,
    /// The account where it differs; `None` inside where there was none.
    pub(crate) account: Option<Option<Account>>,
    /// The incarnation of its storage, where that stepped up.
    pub(crate) incarnation: Option<StorageIncarnation>,
    /// Slots that were written, with what they held: zero under a new incarnation.
    pub(crate) slots: Vec<(U256, U256)>,
}

impl Changeset {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.dropped_hash.map_or(0, |_| HAS_DROPPED_HASH)];
        bytes.extend_from_slice(self.dropped_hash.as_ref().map_or(&[][..], B256::as_slice));
        put_count(&mut bytes, self.codes.len());
        self.codes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_slice()));
        put_count(&mut bytes, self.accounts.len());
        self.accounts.iter().for_each(|account| account.encode(&mut bytes));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = Rest { bytes, length: bytes.len() };
        let header = rest.byte()?;
        if header & !HAS_DROPPED_HASH != 0 {
            return Err(DecodeError::Header(header));
        }
        let dropped_hash = (header & HAS_DROPPED_HASH != 0).then(|| rest.hash()).transpose()?;
        let codes = rest.many(Rest::hash)?;
        let accounts = rest.many(FormerAccount::decode)?;
        rest.end()?;
        Ok(Self { dropped_hash, codes, accounts })
    }
}

impl FormerAccount {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut header = 0;
        header |= self.account.map_or(0, |_| DIFFERS);
        header |= self.account.flatten().map_or(0, |_| EXISTED);
        header |= self.incarnation.map_or(0, |_| WAS_CLEARED);
        bytes.extend_from_slice(self.address.as_slice());
        bytes.push(header);
        if let Some(account) = self.account.flatten() {
            put_short(bytes, &encode_account(&account));
        }
        if let Some(incarnation) = self.incarnation {
            bytes.extend_from_slice(&incarnation.encode());
        }
        put_count(bytes, self.slots.len());
        for (slot, value) in &self.slots {
            put_short(bytes, &slot.to_be_bytes_trimmed_vec());
            put_short(bytes, &value.to_be_bytes_trimmed_vec());
        }
    }

    fn decode(rest: &mut Rest<'_>) -> Result<Self, DecodeError> {
        let address = Address::new(rest.array()?);
        let header = rest.byte()?;
        if header & !(DIFFERS | EXISTED | WAS_CLEARED) != 0 || header & (DIFFERS | EXISTED) == EXISTED {
            return Err(DecodeError::Header(header));
        }
        let existed = (header & EXISTED != 0).then(|| decode_account(rest.short()?)).transpose()?;
        let account = (header & DIFFERS != 0).then_some(existed);
        let incarnation = (header & WAS_CLEARED != 0).then(|| Ok(StorageIncarnation::from_raw(rest.array()?)));
        let slots = |rest: &mut Rest<'_>| Ok((number(rest.word()?)?, number(rest.word()?)?));
        Ok(Self { address, account, incarnation: incarnation.transpose()?, slots: rest.many(slots)? })
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a block changes fewer than 2^32 things");
    bytes.extend_from_slice(&count.to_be_bytes());
}

fn put_short(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.push(u8::try_from(part.len()).expect("accounts, slots and values have fewer than 256 bytes"));
    bytes.extend_from_slice(part);
}

/// What is still to be decoded.
struct Rest<'a> {
    bytes: &'a [u8],
    /// Length of the whole, in bytes.
    length: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let least = self.length - self.bytes.len() + length;
        let too_short = DecodeError::Length { found: self.length, least, most: usize::MAX };
        let (part, after) = self.bytes.split_at_checked(length).ok_or(too_short)?;
        self.bytes = after;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let part = self.take(N)?;
        Ok(part.try_into().expect("as many bytes were taken"))
    }

    fn hash(&mut self) -> Result<B256, DecodeError> {
        self.array().map(B256::new)
    }

    /// A part that tells its length in a byte.
    fn short(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// The same for a slot or a value.
    fn word(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.short()? {
            word if word.len() > 32 => Err(DecodeError::Length { found: word.len(), least: 0, most: 32 }),
            word => Ok(word),
        }
    }

    /// As many things as the next four bytes say. Memory is taken for those that are there, not for those announced.
    fn many<T>(&mut self, decode: impl Fn(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let count = u32::from_be_bytes(self.array()?);
        (0..count).map(|_| decode(self)).collect()
    }

    fn end(&self) -> Result<(), DecodeError> {
        let most = self.length - self.bytes.len();
        match self.bytes {
            [] => Ok(()),
            _ => Err(DecodeError::Length { found: self.length, least: most, most }),
        }
    }
}

#[cfg(test)]
mod tests;
