//! What becomes of accounts and slots in the end, noted by whoever ran the transaction that changes them last.
//!
//! At that time all of it is at hand: the value before the block lies in the cell, and the value after it was just found to be what
//! the list says. Looked for when the block is over, it would be found in other caches.

use alloy_primitives::{B256, Bytes, U256};
use ropewalk_evm::EvmValue;
use ropewalk_state::Account;

/// What one worker has noted, by numbers of the list. Where a transaction was attempted twice, some of it twice: it is the same.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(super) accounts: Vec<(u32, AccountEnd)>,
    pub(super) slots: Vec<(u32, SlotEnd)>,
}

impl Ends {
    /// Adds an account that ends like this, if its value before the block is known.
    pub(super) fn add_account(&mut self, number: Option<u32>, before: Option<&EvmValue>, after: &EvmValue) {
        let (Some(number), Some(EvmValue::Account(before)), EvmValue::Account(after)) = (number, before, after) else {
            return;
        };
        let is_new = after.code_hash != before.code_hash;
        let code = after.code.as_ref().filter(|_| is_new).map(|code| (after.code_hash, code.original_bytes()));
        self.accounts.push((number, AccountEnd { before: before.account(), after: after.account(), code }));
    }

    /// Adds a slot that ends with this value, if that before the block is known.
    pub(super) fn add_slot(&mut self, number: Option<u32>, before: Option<&EvmValue>, after: U256) {
        if let (Some(number), Some(EvmValue::Slot(before))) = (number, before) {
            self.slots.push((number, SlotEnd { before: *before, after }));
        }
    }
}

/// An account before and after the block, without its slots.
#[derive(Debug, Clone)]
pub(crate) struct AccountEnd {
    pub(super) before: Option<Account>,
    pub(super) after: Option<Account>,
    /// Code that was deployed in the block.
    pub(super) code: Option<(B256, Bytes)>,
}

/// A slot before and after the block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotEnd {
    pub(super) before: U256,
    pub(super) after: U256,
}

/// Where in several lists the ends of numbers are, those from `first` on: one more than the place, the list in the upper bits.
pub(super) struct Directory<'a, T> {
    lists: Vec<&'a [(u32, T)]>,
    places: Vec<u32>,
    first: u32,
}

/// Bits of a place in one list. What has no place is looked for elsewhere.
const PLACE_BITS: u32 = 24;

impl<'a, T> Directory<'a, T> {
    /// A directory of so many numbers.
    pub(super) fn new(lists: impl Iterator<Item = &'a [(u32, T)]>, first: u32, count: usize) -> Self {
        let lists: Vec<_> = lists.take(1 << (u32::BITS - PLACE_BITS)).collect();
        let mut places = vec![0; count];
        for (at, list) in (0..).zip(&lists) {
            for (place, (number, _)) in (1..1 << PLACE_BITS).zip(*list) {
                places[(number - first) as usize] = at << PLACE_BITS | place;
            }
        }
        Self { lists, places, first }
    }

    /// The end of a number, where it was noted.
    pub(super) fn get(&self, number: u32) -> Option<&'a T> {
        let place = self.places[(number - self.first) as usize];
        let list = self.lists.get((place >> PLACE_BITS) as usize)?;
        let at = (place & ((1 << PLACE_BITS) - 1)).checked_sub(1)?;
        list.get(at as usize).map(|(_, end)| end)
    }
}
