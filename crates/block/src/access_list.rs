//! [EIP-7928](https://eips.ethereum.org/EIPS/eip-7928): block access lists, made from a block's record and taken as the
//! plan of its execution.
//!
//! A list says, per account and slot, what every position of the block wrote, and what was merely looked at. It is the
//! content of multi-version memory at the end of the block: to *produce* one is to write a [`Record`] down in another
//! order, to *consume* one is to lay the memory over it, so that every read finds its value at once and no transaction
//! waits for another. A list that came along with a block is not believed: each position is compared with it by whoever ran
//! it ([`follow`](self), [`verify`](self)), and the first that differs makes the block invalid.
//!
//! Two things that happen to accounts cannot be said in a list, because they no longer happen where lists are part of the
//! protocol. Lists of older blocks say them in an [`AccessListExtension`]:
//!
//! | what | until |
//! |---|---|
//! | an account loses its storage | Cancun (EIP-6780) |
//! | an account exists and is empty | Spurious Dragon (EIP-161) |

mod ahead;
mod ends;
mod fault;
mod follow;
mod known;
mod produce;
mod verify;

use alloy_eip7928::{AccountChanges, BlockAccessListGasError, validate_block_access_list};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::Decodable;

pub(crate) use ahead::read_ahead;
pub(crate) use ends::{Ends, changes};
pub use fault::{AccessListFault, AccessListPart};
pub(crate) use follow::{Followers, Judge, Objection};
pub(crate) use known::{Known, KnownList};
pub(crate) use verify::Verifier;

use crate::{ChainSpec, RecoveredBlock};

/// What a block accessed, and what each of its positions changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessList {
    /// The list of EIP-7928, in its canonical order.
    pub accounts: Vec<AccountChanges>,
    /// What a list of an old fork leaves out. A list that holds for a block before Cancun has one, if an empty one.
    pub extension: Option<AccessListExtension>,
}

/// What EIP-7928 has no words for. Positions are those of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessListExtension {
    /// Accounts that lost their storage, ascending by address and position.
    pub storage_cleared: Vec<(Address, u32)>,
    /// Positions after which an account exists and is empty (`true`), or no longer exists though it had been empty
    /// before (`false`), ascending by address and position.
    pub existence: Vec<(Address, u32, bool)>,
}

/// Gas that an item of a list pays for at the least. A block of an old fork may look at accounts for as little as that
/// (BALANCE in Frontier); from Amsterdam on EIP-7928 asks for more.
const LEAST_ITEM_GAS: u64 = 20;
/// Items that no gas pays for: what system calls, rewards and withdrawals look at.
const FREE_ITEMS: u64 = 1 << 12;

impl AccessList {
    /// The list as a header from Amsterdam on knows it: Keccak-256 of its RLP, without extension.
    pub fn hash(&self) -> B256 {
        alloy_eip7928::compute_block_access_list_hash(&self.accounts)
    }

    /// RLP of the list, without extension.
    pub fn encode(&self) -> Bytes {
        alloy_rlp::encode(&self.accounts).into()
    }

    /// A list from its RLP, without extension. Whether it is in order and of a possible size is asked when it is used.
    ///
    /// # Errors
    /// When the bytes are no list, or more than one.
    pub fn decode(mut rlp: &[u8]) -> alloy_rlp::Result<Self> {
        let accounts = Vec::<AccountChanges>::decode(&mut rlp)?;
        if rlp.is_empty() { Ok(Self { accounts, extension: None }) } else { Err(alloy_rlp::Error::UnexpectedLength) }
    }

    /// Checks what can be known before anything is executed: the header's hash, order, positions, size.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check_form(&self, chain: &ChainSpec, block: &RecoveredBlock) -> Result<(), AccessListFault> {
        let header = &block.header;
        if let Some(expected) = header.block_access_list_hash {
            let found = self.hash();
            if found != expected {
                return Err(AccessListFault::Hash { expected, found });
            }
        }
        validate_block_access_list(&self.accounts, block.transactions.len())?;
        if chain.is_amsterdam_active_at_timestamp(header.timestamp) {
            let items = alloy_eip7928::total_bal_items(&self.accounts);
            if items > header.gas_limit / alloy_eip7928::ITEM_COST as u64 {
                return Err(BlockAccessListGasError::new(items, header.gas_limit).into());
            }
        } else {
            let (items, extended) = (alloy_eip7928::total_bal_items(&self.accounts), self.extended_items());
            let withdrawals = block.withdrawals.as_ref().map_or(0, |withdrawals| withdrawals.len() as u64);
            let most = header.gas_limit / LEAST_ITEM_GAS + FREE_ITEMS + withdrawals;
            if items.saturating_add(extended) > most {
                return Err(AccessListFault::TooManyItems { items, most });
            }
        }
        let last = block.transactions.len() as u32 + 1;
        match &self.extension {
            Some(extension) => extension.check_order(last),
            None if !chain.is_cancun_active_at_timestamp(header.timestamp) => {
                Err(AccessListFault::MissingExtension { fork: chain.fork_name(header) })
            }
            None => Ok(()),
        }
    }

    fn extended_items(&self) -> u64 {
        let items = |extension: &AccessListExtension| extension.storage_cleared.len() + extension.existence.len();
        self.extension.as_ref().map_or(0, |extension| items(extension) as u64)
    }
}

impl AccessListExtension {
    /// Positions at which an account lost its storage, ascending.
    fn clears_of(&self, address: Address) -> impl Iterator<Item = u32> {
        let from = self.storage_cleared.partition_point(|(other, _)| *other < address);
        let own = self.storage_cleared[from..].iter().take_while(move |(other, _)| *other == address);
        own.map(|(_, position)| *position)
    }

    /// Positions at which an account's existence does not follow from the rest, ascending.
    fn existence_of(&self, address: Address) -> impl Iterator<Item = (u32, bool)> {
        let from = self.existence.partition_point(|(other, ..)| *other < address);
        let own = self.existence[from..].iter().take_while(move |(other, ..)| *other == address);
        own.map(|(_, position, exists)| (*position, *exists))
    }

    fn check_order(&self, last: u32) -> Result<(), AccessListFault> {
        let clears = self.storage_cleared.iter().copied();
        let existence = self.existence.iter().map(|(address, position, _)| (*address, *position));
        ascending(clears, last)?;
        ascending(existence, last)
    }
}

/// Checks that entries of an extension ascend and name positions of the block.
fn ascending(entries: impl Iterator<Item = (Address, u32)>, last: u32) -> Result<(), AccessListFault> {
    let mut previous = None;
    for (address, position) in entries {
        if position > last || previous.is_some_and(|previous| previous >= (address, position)) {
            return Err(AccessListFault::ExtensionDisorder { address, position });
        }
        previous = Some((address, position));
    }
    Ok(())
}
