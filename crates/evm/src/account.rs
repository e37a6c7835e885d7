//! The fields of an account as locations of their own: value, delta and observation.
//!
//! | field | set by | stepped by |
//! |---|---|---|
//! | balance | destruction | every movement of value |
//! | nonce | sender, creator, creation, authorization | |
//! | code | creation, authorization | |
//! | existence | explicitly, or derived: what is not empty exists | |
//! | storage cleared | creation, destruction | |

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use revm::bytecode::Bytecode;
use ropewalk_engine::Fields;
use ropewalk_state::Account;

use crate::program::field;

/// An account as multi-version memory holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountValue {
    /// Whether the account exists. Before EIP-161 an empty one may.
    pub exists: bool,
    /// Balance in wei.
    pub balance: U256,
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// Hash of the code.
    pub code_hash: B256,
    /// The code itself, when it was deployed in this block: the base state does not know it yet.
    pub code: Option<Bytecode>,
    /// The account was destroyed in this block; what exists now came later.
    pub destroyed: bool,
}

impl AccountValue {
    /// What is there when nothing is.
    pub const ABSENT: Self =
        Self { exists: false, balance: U256::ZERO, nonce: 0, code_hash: KECCAK256_EMPTY, code: None, destroyed: false };

    /// Neither nonce nor code: whether the account is empty then hangs on its balance alone.
    pub fn is_bare(&self) -> bool {
        self.nonce == 0 && self.code_hash == KECCAK256_EMPTY
    }

    /// Empty as EIP-161 defines it.
    pub fn is_empty(&self) -> bool {
        self.is_bare() && self.balance.is_zero()
    }

    /// The account, if it exists.
    pub fn account(&self) -> Option<Account> {
        let Self { nonce, balance, code_hash, .. } = *self;
        self.exists.then_some(Account { nonce, balance, code_hash })
    }
}

impl From<Option<Account>> for AccountValue {
    fn from(account: Option<Account>) -> Self {
        match account {
            Some(Account { nonce, balance, code_hash }) => {
                Self { exists: true, balance, nonce, code_hash, ..Self::ABSENT }
            }
            None => Self::ABSENT,
        }
    }
}

/// What a transaction does to a balance, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalanceStep {
    /// Leaves it as it is.
    Keep,
    /// Adds to it. Where it was above that on the way, there being room for it is observed.
    Credit(U256),
    /// Takes from it.
    Debit(U256),
    /// Sets it, whatever it was.
    Set(U256),
}

impl BalanceStep {
    /// What becomes of a balance. One that would leave its range saturates.
    #[must_use]
    pub fn of(self, balance: U256) -> U256 {
        match self {
            Self::Keep => balance,
            Self::Credit(amount) => balance.saturating_add(amount),
            Self::Debit(amount) => balance.saturating_sub(amount),
            Self::Set(balance) => balance,
        }
    }
}

/// What a transaction does to an account's existence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// An account that is not empty afterwards exists; otherwise nothing changes.
    Derived,
    /// It exists afterwards, even if empty.
    Present,
    /// It is gone.
    Absent,
}

/// The code that an account gets. Boxed: few do, and there are many deltas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewCode {
    /// None.
    Empty,
    /// Code of this hash; `None` where only that is known.
    Code(Box<(B256, Option<Bytecode>)>),
}

impl NewCode {
    /// The code of this hash.
    pub fn new(hash: B256, code: Option<Bytecode>) -> Self {
        if hash == KECCAK256_EMPTY { Self::Empty } else { Self::Code(Box::new((hash, code))) }
    }

    /// Its hash.
    pub fn hash(&self) -> B256 {
        match self {
            Self::Empty => KECCAK256_EMPTY,
            Self::Code(code) => code.0,
        }
    }

    /// The code itself, where it is known and not empty.
    pub fn code(&self) -> Option<&Bytecode> {
        match self {
            Self::Empty => None,
            Self::Code(code) => code.1.as_ref(),
        }
    }
}

/// What a transaction does to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDelta {
    /// To its balance.
    pub balance: BalanceStep,
    /// The nonce that it gets.
    pub nonce: Option<u64>,
    /// The code that it gets.
    pub code: Option<NewCode>,
    /// To its existence.
    pub existence: Existence,
    /// Whether its storage is emptied before the transaction's own slot writes.
    pub clears_storage: bool,
}

impl AccountDelta {
    /// Changes nothing.
    pub const NONE: Self = Self {
        balance: BalanceStep::Keep,
        nonce: None,
        code: None,
        existence: Existence::Derived,
        clears_storage: false,
    };

    /// Destroys the account, with all it holds.
    pub const DESTROY: Self = Self {
        balance: BalanceStep::Set(U256::ZERO),
        nonce: Some(0),
        code: Some(NewCode::Empty),
        existence: Existence::Absent,
        clears_storage: true,
    };

    /// Adds `amount` wei.
    pub const fn credit(amount: U256) -> Self {
        Self { balance: BalanceStep::Credit(amount), ..Self::NONE }
    }

    pub(crate) fn fits(&self, value: &AccountValue) -> bool {
        match self.balance {
            BalanceStep::Keep | BalanceStep::Set(_) => true,
            BalanceStep::Credit(amount) => value.balance.checked_add(amount).is_some(),
            BalanceStep::Debit(amount) => value.balance >= amount,
        }
    }

    /// Makes the change. A balance that would leave its range saturates.
    pub fn apply(&self, value: &mut AccountValue) {
        value.balance = self.balance.of(value.balance);
        if let Some(nonce) = self.nonce {
            value.nonce = nonce;
        }
        match &self.code {
            None => {}
            Some(NewCode::Empty) => (value.code_hash, value.code) = (KECCAK256_EMPTY, None),
            Some(NewCode::Code(code)) => {
                value.code_hash = code.0;
                value.code.clone_from(&code.1);
            }
        }
        match self.existence {
            Existence::Derived => value.exists |= !value.is_empty(),
            Existence::Present => value.exists = true,
            Existence::Absent => {
                value.destroyed = true;
                value.exists = false;
            }
        }
    }

    /// Whether it says of every field what it is afterwards.
    pub(crate) fn is_absolute(&self) -> bool {
        let sets_all = matches!(self.balance, BalanceStep::Set(_)) && self.nonce.is_some() && self.code.is_some();
        sets_all && self.existence != Existence::Derived
    }

    /// The fields that it sets, whatever they were.
    pub(crate) fn sets(&self) -> Fields {
        let mut fields = 0;
        if matches!(self.balance, BalanceStep::Set(_)) {
            fields |= field::BALANCE;
        }
        if self.nonce.is_some() {
            fields |= field::NONCE;
        }
        if self.code.is_some() {
            fields |= field::CODE;
        }
        fields
    }

    pub(crate) fn fields(&self) -> Fields {
        let mut fields = 0;
        if self.balance != BalanceStep::Keep {
            fields |= field::BALANCE;
        }
        if self.nonce.is_some() {
            fields |= field::NONCE;
        }
        if self.code.is_some() {
            fields |= field::CODE;
        }
        if self.existence != Existence::Derived {
            fields |= field::EXISTENCE;
        }
        if self.clears_storage {
            fields |= field::STORAGE;
        }
        fields
    }
}

/// The balances, in wei and inclusive, for which an attempt would have gone the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceRange {
    /// Least balance.
    pub least: U256,
    /// Greatest balance.
    pub most: U256,
}

impl BalanceRange {
    /// Any balance.
    pub const ANY: Self = Self { least: U256::ZERO, most: U256::MAX };

    /// Exactly `balance`.
    pub const fn exactly(balance: U256) -> Self {
        Self { least: balance, most: balance }
    }

    /// Whether `balance` is inside.
    pub fn contains(&self, balance: U256) -> bool {
        self.least <= balance && balance <= self.most
    }
}

/// What an attempt learnt from an account, field by field; `None` is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountObservation {
    /// Where the balance was.
    pub balance: BalanceRange,
    /// The nonce.
    pub nonce: Option<u64>,
    /// The hash of the code.
    pub code_hash: Option<B256>,
    /// Whether it was [bare](AccountValue::is_bare).
    pub bare: Option<bool>,
    /// Whether it existed.
    pub exists: Option<bool>,
}

impl AccountObservation {
    /// Nothing learnt.
    pub const NONE: Self = Self { balance: BalanceRange::ANY, nonce: None, code_hash: None, bare: None, exists: None };

    pub(crate) fn exact(value: &AccountValue) -> Self {
        Self {
            balance: BalanceRange::exactly(value.balance),
            nonce: Some(value.nonce),
            code_hash: Some(value.code_hash),
            bare: Some(value.is_bare()),
            exists: Some(value.exists),
        }
    }

    /// What it says of each field, by itself.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let Self { balance, nonce, code_hash, bare, exists } = *self;
        let parts = [
            Self { balance, ..Self::NONE },
            Self { nonce, ..Self::NONE },
            Self { code_hash, ..Self::NONE },
            Self { bare, ..Self::NONE },
            Self { exists, ..Self::NONE },
        ];
        parts.into_iter().filter(|part| *part != Self::NONE).collect()
    }

    pub(crate) fn holds(&self, value: &AccountValue) -> bool {
        self.balance.contains(value.balance)
            && self.nonce.is_none_or(|nonce| nonce == value.nonce)
            && self.code_hash.is_none_or(|hash| hash == value.code_hash)
            && self.bare.is_none_or(|bare| bare == value.is_bare())
            && self.exists.is_none_or(|exists| exists == value.exists)
    }

    pub(crate) fn fields(&self) -> Fields {
        let mut fields = 0;
        if self.balance != BalanceRange::ANY {
            fields |= field::BALANCE;
        }
        if self.nonce.is_some() || self.bare.is_some() {
            fields |= field::NONCE;
        }
        if self.code_hash.is_some() || self.bare.is_some() {
            fields |= field::CODE;
        }
        if self.exists.is_some() {
            // Existence follows from the other fields too.
            fields |= field::EXISTENCE | field::BALANCE | field::NONCE | field::CODE;
        }
        fields
    }
}

#[cfg(test)]
mod tests;
