//! An access list as the writes that are known before its block runs.
//!
//! Nothing is laid down anywhere: a key is looked for in the list when it is named first, and from then on what the list says of
//! it is read where it stands. Of an account the last change of each field below a position counts, of a slot the last change,
//! unless the account lost its storage after that.

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use alloy_eip7928::{AccountChanges, BlockAccessIndex, SlotChanges};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use revm::bytecode::Bytecode;
use ropewalk_engine::{Below, CellId, KnownWrites, Position};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue};

use super::{AccessList, AccessListExtension};
use crate::bundle::analysed;

/// An access list that is [in order](AccessList::check_form), and where in it everything is.
#[derive(Debug)]
pub(crate) struct KnownList {
    list: Arc<AccessList>,
    /// The first eight bytes of the list's addresses, among which a look-up finds its way,
    heads: Vec<u64>,
    /// and where those begin that share their first byte, if there are many.
    by_first_byte: Option<Box<[u32; 257]>>,
    accounts: Vec<AccountEntry>,
    slots: Vec<SlotEntry>,
    /// The first eight bytes of each slot's number, among which a look-up finds its way.
    slot_heads: Vec<u64>,
    /// Changes at each position.
    counts: Vec<u32>,
    /// One more than the number of the cell of each account and slot that somebody has named: it holds the value before the
    /// block. Relaxed: read when all workers have ended.
    cells: Vec<AtomicU32>,
    /// The code that accounts get, ascending by account.
    codes: Vec<(u32, Vec<MadeCode>)>,
}

/// Code with its hash, made when somebody needs it.
type MadeCode = OnceLock<(B256, Bytecode)>;

/// An account of the list.
#[derive(Debug, Clone, Copy)]
struct AccountEntry {
    /// The first position at which it changes itself, or [`NEVER`]: most have not changed where they are looked at;
    first: u32,
    /// and the last.
    last: u32,
    /// The number of its first slot, the numbers of accounts not counted. A slot that changes comes before those that do not.
    slots: u32,
    /// Whether it lost its storage.
    clears: bool,
}

/// A slot of the list.
#[derive(Debug, Clone, Copy)]
struct SlotEntry {
    account: u32,
    /// Its place among those of the account that change, or those that do not.
    at: u32,
    /// The first position at which it changes; [`NEVER`], or [`READ`] where it is not among those that change.
    first: u32,
}

/// Where in a list something is. As a number: accounts, slots, and once more accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// An account.
    Account(usize),
    /// A slot of an account, which changes.
    Changed(usize, usize),
    /// A slot of an account, which does not.
    Read(usize, usize),
    /// Whether an account had storage before the block.
    StorageEmpty(usize),
}

impl KnownList {
    /// Finds out where everything is in the list of a block with so many transactions.
    pub(crate) fn new(list: &Arc<AccessList>, transactions: usize) -> Self {
        let accounts = list.accounts.len();
        // Short lists often name no slot at all.
        let slots = if accounts > FEW { 4 * accounts } else { 0 };
        let mut known = Self {
            heads: Vec::with_capacity(accounts),
            by_first_byte: (accounts > FEW).then(|| Box::new([0; 257])),
            accounts: Vec::with_capacity(accounts),
            slots: Vec::with_capacity(slots),
            slot_heads: Vec::with_capacity(slots),
            counts: vec![0; transactions + 2],
            cells: Vec::new(),
            codes: Vec::new(),
            list: Arc::clone(list),
        };
        list.accounts.iter().enumerate().for_each(|(at, account)| known.add(at, account));
        known.cells = (0..known.numbers()).map(|_| AtomicU32::new(0)).collect();
        if let Some(extension) = &list.extension {
            let clears = extension.storage_cleared.iter().map(|(address, position)| (*address, *position, true));
            let existence = extension.existence.iter().map(|(address, position, _)| (*address, *position, false));
            for (address, position, clears) in clears.chain(existence) {
                known.counts[position as usize] += 1;
                if let Some(account) = known.find_among(0..known.heads.len(), &address) {
                    let entry = &mut known.accounts[account];
                    (entry.first, entry.last) = (entry.first.min(position), entry.last.max(position));
                    entry.clears |= clears;
                }
            }
        }
        let mut begin = 0;
        known.by_first_byte.iter_mut().flat_map(|ends| ends.iter_mut()).for_each(|end| {
            begin = begin.max(*end);
            *end = begin;
        });
        known
    }

    /// Adds an account of the list, which comes after all that were added before.
    fn add(&mut self, at: usize, account: &AccountChanges) {
        self.heads.push(head(&account.address));
        if let Some(ends) = &mut self.by_first_byte {
            ends[usize::from(account.address[0]) + 1] = at as u32 + 1;
        }
        let (own, slots) = (at as u32, self.slots.len() as u32);
        for (at, slot) in (0..).zip(&account.storage_changes) {
            let (first, _) = self.count(slot.changes.iter().map(|change| change.block_access_index));
            self.slots.push(SlotEntry { account: own, at, first });
            self.slot_heads.push(slot_head(&slot.slot));
        }
        let reads = 0..account.storage_reads.len() as u32;
        self.slots.extend(reads.map(|at| SlotEntry { account: own, at, first: READ }));
        self.slot_heads.extend(account.storage_reads.iter().map(slot_head));
        let balances = self.count(account.balance_changes.iter().map(|change| change.block_access_index));
        let nonces = self.count(account.nonce_changes.iter().map(|change| change.block_access_index));
        let codes = self.count(account.code_changes.iter().map(|change| change.block_access_index));
        let (first, last) = (balances.0.min(nonces.0).min(codes.0), balances.1.max(nonces.1).max(codes.1));
        self.accounts.push(AccountEntry { first, last, slots, clears: false });
        if !account.code_changes.is_empty() {
            self.codes.push((own, account.code_changes.iter().map(|_| OnceLock::new()).collect()));
        }
    }

    /// Counts changes at their positions. Returns the first and the last.
    fn count(&mut self, changes: impl Iterator<Item = BlockAccessIndex>) -> (u32, u32) {
        let (mut first, mut last) = (NEVER, 0);
        for position in changes.map(|position| position.get() as u32) {
            self.counts[position as usize] += 1;
            (first, last) = (first.min(position), last.max(position));
        }
        (first, last)
    }

    /// The cell of an account or slot, by its number, if somebody has named that.
    pub(crate) fn cell(&self, number: u32) -> Option<CellId> {
        self.cells[number as usize].load(Ordering::Relaxed).checked_sub(1).map(CellId::of)
    }

    /// Changes that the list names at a position.
    pub(crate) fn count_at(&self, position: u32) -> Option<u32> {
        self.counts.get(position as usize).copied()
    }

    /// Positions from before the transactions to after them.
    pub(crate) fn positions(&self) -> usize {
        self.counts.len()
    }

    /// Whether an account changes itself, its slots not counted.
    pub(crate) fn changes_itself(&self, account: usize) -> bool {
        self.accounts[account].first != NEVER
    }

    /// The last position at which an account changes itself.
    pub(crate) fn last_change(&self, account: usize) -> u32 {
        self.accounts[account].last
    }

    /// Whether an account gets any code.
    pub(crate) fn changes_code(&self, account: usize) -> bool {
        !self.accounts()[account].code_changes.is_empty()
    }

    /// Whether an account lost its storage.
    pub(crate) fn loses_storage(&self, account: usize) -> bool {
        self.accounts[account].clears
    }

    pub(crate) fn accounts(&self) -> &[AccountChanges] {
        &self.list.accounts
    }

    pub(crate) fn extension(&self) -> Option<&AccessListExtension> {
        self.list.extension.as_ref()
    }

    pub(crate) fn list(&self) -> &AccessList {
        &self.list
    }

    /// Numbers of accounts and slots: those of accounts come first.
    pub(crate) fn numbers(&self) -> usize {
        self.accounts().len() + self.slots.len()
    }

    /// The numbers of an account's slots that change, in the order of the list.
    pub(crate) fn numbers_of_changes(&self, account: usize) -> Range<u32> {
        let first = self.first_number(account);
        first..first + self.accounts()[account].storage_changes.len() as u32
    }

    /// The numbers of an account's slots that do not change, in the order of the list.
    pub(crate) fn numbers_of_reads(&self, account: usize) -> Range<usize> {
        let first = self.numbers_of_changes(account).end as usize;
        first..first + self.accounts()[account].storage_reads.len()
    }

    fn first_number(&self, account: usize) -> u32 {
        self.accounts.len() as u32 + self.accounts[account].slots
    }

    /// Where in the list an account is.
    pub(crate) fn find(&self, address: &Address) -> Option<usize> {
        let byte = usize::from(address[0]);
        let among = match &self.by_first_byte {
            Some(begins) => begins[byte] as usize..begins[byte + 1] as usize,
            None => 0..self.heads.len(),
        };
        self.find_among(among, address)
    }

    fn find_among(&self, among: Range<usize>, address: &Address) -> Option<usize> {
        let (accounts, head) = (&self.list.accounts, head(address));
        let at = among.start + self.heads[among.clone()].partition_point(|other| *other < head);
        match accounts[..among.end].get(at).map(|account| &account.address) {
            Some(found) if found == address => Some(at),
            // Only who chose addresses for it has two that begin alike.
            Some(found) if found[..8] == address[..8] => {
                let found = accounts[at..among.end].binary_search_by_key(address, |account| account.address);
                found.ok().map(|after| at + after)
            }
            _ => None,
        }
    }

    /// The number of an account's slot, if the list names it.
    pub(crate) fn number_of_slot(&self, account: usize, slot: &U256) -> Option<u32> {
        let AccountChanges { storage_changes, storage_reads, .. } = &self.accounts()[account];
        let (first, number) = (self.accounts[account].slots as usize, self.first_number(account));
        let own = first..first + storage_changes.len() + storage_reads.len();
        let (changed, read) = self.slot_heads[own].split_at(storage_changes.len());
        let changed = || find_slot(changed, storage_changes, slot, |changes| changes.slot);
        let read = || Some(storage_changes.len() + find_slot(read, storage_reads, slot, |slot| *slot)?);
        let at = changed().or_else(read)?;
        Some(at as u32 + number)
    }

    /// The place of a number.
    pub(crate) fn place_of(&self, number: u32) -> Place {
        let number = number as usize;
        let Some(slot) = number.checked_sub(self.accounts.len()) else { return Place::Account(number) };
        let Some(SlotEntry { account, at, first }) = self.slots.get(slot).copied() else {
            return Place::StorageEmpty(slot - self.slots.len());
        };
        match first {
            READ => Place::Read(account as usize, at as usize),
            _ => Place::Changed(account as usize, at as usize),
        }
    }

    /// Where an account lost its storage last below a position.
    pub(crate) fn cleared_below(&self, account: usize, position: Position) -> Option<u32> {
        let extension = self.extension().filter(|_| self.loses_storage(account))?;
        let address = self.accounts()[account].address;
        extension.clears_of(address).take_while(|cleared| *cleared < position.0).last()
    }

    /// The last change of an account's existence that is said for itself below a position.
    fn existence_below(&self, account: usize, position: Position) -> Option<(u32, bool)> {
        let extension = self.extension().filter(|extension| !extension.existence.is_empty())?;
        let address = self.accounts()[account].address;
        extension.existence_of(address).take_while(|(at, _)| *at < position.0).last()
    }

    /// What becomes of a slot below a position; `None` where nothing does.
    pub(crate) fn slot_below(&self, account: usize, changes: Option<&SlotChanges>, position: Position) -> Option<U256> {
        let last =
            changes.and_then(|changes| last_below(&changes.changes, position, |change| change.block_access_index));
        match (last, self.cleared_below(account, position)) {
            // What an account loses and gets again at one position it has after it.
            (Some(last), Some(cleared)) if last.block_access_index.get() < u64::from(cleared) => Some(U256::ZERO),
            (Some(last), _) => Some(last.new_value),
            (None, cleared) => cleared.map(|_| U256::ZERO),
        }
    }

    /// Code that an account gets, by the number of the change.
    fn code(&self, account: usize, change: usize) -> (B256, Option<Bytecode>) {
        let bytes = &self.accounts()[account].code_changes[change].new_code;
        if bytes.is_empty() {
            return (KECCAK256_EMPTY, None);
        }
        let made = self.made_code(account, change);
        let (hash, code) = made.get_or_init(|| (keccak256(bytes), analysed(bytes.clone())));
        (*hash, Some(code.clone()))
    }

    /// The hash of the code that an account got last below a position.
    pub(crate) fn code_hash_below(&self, account: usize, position: u32) -> Option<B256> {
        let changes = &self.accounts()[account].code_changes;
        let last = count_below(changes, position, |change| change.block_access_index).checked_sub(1)?;
        Some(self.code(account, last).0)
    }

    fn made_code(&self, account: usize, change: usize) -> &MadeCode {
        let at = self.codes.binary_search_by_key(&(account as u32), |(account, _)| *account);
        &self.codes[at.expect("there is an entry for each account that gets code")].1[change]
    }

    /// Whether an account gets this code at a position. What was made of it need not be made again.
    pub(crate) fn says_code(&self, account: usize, position: u32, hash: &B256, code: Option<&Bytecode>) -> bool {
        let changes = &self.accounts()[account].code_changes;
        let at = count_below(changes, position, |change| change.block_access_index);
        let Some(change) = changes.get(at).filter(|it| it.block_access_index.get() == u64::from(position)) else {
            return false;
        };
        match code {
            Some(code) if code.original_byte_slice() == &change.new_code[..] => {
                let _ = self.made_code(account, at).set((*hash, code.clone()));
                true
            }
            Some(_) => false,
            None => self.code(account, at).0 == *hash,
        }
    }

    /// Makes the changes of an account below a position.
    pub(crate) fn change_account(&self, account: usize, position: Position, value: &mut AccountValue) {
        let said = &self.accounts()[account];
        let mut last = self.cleared_below(account, position).map_or(0, u64::from);
        if let Some(change) = last_below(&said.balance_changes, position, |change| change.block_access_index) {
            value.balance = change.post_balance;
            last = last.max(change.block_access_index.get());
        }
        if let Some(change) = last_below(&said.nonce_changes, position, |change| change.block_access_index) {
            value.nonce = change.new_nonce;
            last = last.max(change.block_access_index.get());
        }
        let codes = count_below(&said.code_changes, position.0, |change| change.block_access_index);
        if let Some(change) = codes.checked_sub(1) {
            (value.code_hash, value.code) = self.code(account, change);
            last = last.max(said.code_changes[change].block_access_index.get());
        }
        value.exists = match self.existence_below(account, position) {
            Some((at, exists)) if u64::from(at) >= last => exists,
            _ => !value.is_empty(),
        };
    }
}

/// The first eight bytes of an address, in its order.
fn head(address: &Address) -> u64 {
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _] = address.0.0;
    u64::from_be_bytes(head)
}

/// The first eight bytes of a slot's number, in its order.
fn slot_head(slot: &U256) -> u64 {
    slot.as_limbs()[3]
}

/// Where among ascending slots, of which these are the heads, one is.
fn find_slot<T>(heads: &[u64], slots: &[T], slot: &U256, number: impl Fn(&T) -> U256) -> Option<usize> {
    let head = slot_head(slot);
    let at = heads.partition_point(|other| *other < head);
    let found = slots.get(at).filter(|_| heads[at] == head)?;
    // Numbers that are hashes have heads of their own; small ones have all the same.
    if number(found) == *slot {
        return Some(at);
    }
    slots[at..].binary_search_by_key(slot, number).ok().map(|after| at + after)
}

/// Accounts among which one is found as soon as by its first byte. Tests have few.
const FEW: usize = if cfg!(test) { 4 } else { 32 };

/// The position of what never changes, which all others are below,
pub(crate) const NEVER: u32 = u32::MAX - 1;
/// and that of a slot which is said not to.
const READ: u32 = u32::MAX;

/// The last of changes that is below a position.
fn last_below<T>(changes: &[T], position: Position, at: impl Fn(&T) -> BlockAccessIndex) -> Option<&T> {
    let below = count_below(changes, position.0, at);
    below.checked_sub(1).map(|last| &changes[last])
}

/// How many of changes are below a position. There is one at each position at most, so it is looked for from there downwards, in
/// steps that double: who is tipped by everybody changes nearly everywhere, and is looked at by everybody.
pub(crate) fn count_below<T>(changes: &[T], position: u32, at: impl Fn(&T) -> BlockAccessIndex) -> usize {
    let is_below = |change: &T| at(change).get() < u64::from(position);
    let (mut below, mut end, mut step) = (0, changes.len().min(position as usize), 1);
    while let Some(last) = end.checked_sub(step) {
        if is_below(&changes[last]) {
            below = last + 1;
            break;
        }
        (end, step) = (last, 2 * step);
    }
    below + changes[below..end].partition_point(is_below)
}

/// What a memory lies over.
#[derive(Debug)]
pub(crate) struct Known(pub(crate) Arc<KnownList>);

impl KnownWrites<EvmProgram> for Known {
    fn place(&self, key: &EvmKey, cell: CellId) -> Option<u32> {
        let (EvmKey::Account(address) | EvmKey::StorageEmpty(address) | EvmKey::Slot(address, _)) = key;
        let account = self.0.find(address)?;
        let place = match key {
            EvmKey::Account(_) => account as u32,
            EvmKey::StorageEmpty(_) => return Some((self.0.numbers() + account) as u32),
            EvmKey::Slot(_, slot) => self.0.number_of_slot(account, slot)?,
        };
        self.0.cells[place as usize].store(cell.number() + 1, Ordering::Relaxed);
        Some(place)
    }

    fn below(&self, place: u32, position: Position) -> Below<EvmValue> {
        let slot = |value: Option<U256>| value.map_or(Below::Nothing, |value| Below::Value(EvmValue::Slot(value)));
        match self.0.place_of(place) {
            Place::Account(account) if self.0.accounts[account].first < position.0 => Below::Changes,
            Place::Account(_) => Below::Nothing,
            Place::Changed(account, at) => {
                let number = place as usize - self.0.accounts.len();
                if !self.0.loses_storage(account) && self.0.slots[number].first >= position.0 {
                    return Below::Nothing;
                }
                slot(self.0.slot_below(account, Some(&self.0.accounts()[account].storage_changes[at]), position))
            }
            // It may have gone with its account's storage.
            Place::Read(account, _) if self.0.loses_storage(account) => {
                slot(self.0.slot_below(account, None, position))
            }
            Place::Read(..) => Below::Nothing,
            Place::StorageEmpty(account) => match self.0.cleared_below(account, position) {
                Some(_) => Below::Value(EvmValue::StorageEmpty(true)),
                None => Below::Nothing,
            },
        }
    }

    fn change(&self, place: u32, position: Position, value: &mut EvmValue) {
        if let (Place::Account(account), EvmValue::Account(value)) = (self.0.place_of(place), value) {
            self.0.change_account(account, position, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_eip7928::NonceChange;
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn as_many_changes_are_below_a_position_as_are_counted(positions in btree_set(0..40_u32, 0..40), position in 0..45_u32) {
            let change = |at: &u32| NonceChange::new(BlockAccessIndex::new(u64::from(*at)), 0);
            let changes: Vec<_> = positions.iter().map(change).collect();
            let counted = positions.iter().filter(|at| **at < position).count();
            prop_assert_eq!(count_below(&changes, position, |change| change.block_access_index), counted);
        }
    }
}
