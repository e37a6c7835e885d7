//! Transactions that are rare on a real chain, each of which an executor has to get right all the same.
//!
//! | kind | what it is |
//! |---|---|
//! | creation | deploys a token; every second one is followed by a transfer of the new token |
//! | failure | reverts in a token, in a pool, for want of a payable function, or runs out of gas |
//! | unusual | blobs, delegations of one's own and of another's account, an access list, a payment to the beneficiary, a withdrawal request, a payment of nothing to nobody |
//!
//! Each sender appears once per block, with both transactions of a creation. Delegations change from block to block: to
//! another instance of the code, and, for the accounts of others, back to none.

use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

use super::{
    contract::{ACCOUNT, TOKEN, call},
    erc20::{HOLDING, allocate_token, transfer},
    exchange::swap,
    genesis::{self, Alloc},
    payments::PAYMENT_GAS,
    plan::{Chain, Draft, Form, Plan, Round},
    wallet::{self, Wallet},
};

/// Gas declared for a creation; for anything that failed; for anything else that is rare.
const CREATION_GAS: u64 = 500_000;
const FAILURE_GAS: u64 = 160_000;
const UNUSUAL_GAS: u64 = 300_000;
/// Enough for a transfer to begin, not to write a balance.
const TOO_LITTLE_GAS: u64 = 26_000;
/// Bounds per block that keep the price of blobs and of withdrawal requests at its minimum (EIP-7691, EIP-7002).
const MOST_BLOBS: usize = 6;
const MOST_REQUESTS: usize = 2;

/// How many transactions of each kind a block has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) creations: usize,
    pub(crate) failures: usize,
    pub(crate) unusual: usize,
}

/// Senders of rare transactions, who hold a token of their own.
#[derive(Debug)]
pub(crate) struct Rare {
    seed: u64,
    counts: Counts,
    token: Address,
    /// Pool on which swaps fail.
    pool: Address,
    /// Instances of one code to which accounts delegate.
    delegates: [Address; 2],
    senders: Vec<Wallet>,
    /// Accounts without ether whose delegation somebody else pays for.
    wards: Vec<Wallet>,
    /// Blocks made so far.
    blocks: usize,
}

impl Rare {
    /// `pool` is an exchange that some other plan allocates.
    pub(crate) fn new(seed: u64, counts: Counts, pool: Address) -> Self {
        let senders = counts.creations.div_ceil(2) + counts.failures + counts.unusual;
        Self {
            seed,
            counts,
            token: wallet::address(seed, "token", 3),
            pool,
            delegates: [0, 1].map(|index| wallet::address(seed, "account code", index)),
            senders: Wallet::derive_many(seed, "rare sender", 0, senders),
            wards: Wallet::derive_many(seed, "ward", 0, counts.unusual.div_ceil(UNUSUAL.len())),
            blocks: 0,
        }
    }

    fn creation(&self, creator: Wallet, with_transfer: bool, round: &mut Round<'_>) -> Chain {
        let supply = B256::from(HOLDING);
        let create = Draft {
            sender: creator,
            to: TxKind::Create,
            value: U256::ZERO,
            input: [TOKEN.creation.as_ref(), supply.as_slice()].concat().into(),
            limit_gas: CREATION_GAS,
            fees: round.fees(),
            form: round.form(),
        };
        if !with_transfer {
            return vec![create];
        }
        let created = creator.address.create(round.nonce(&creator.address));
        let amount = round.draw.amount(1, 1_000);
        vec![create, transfer(creator, created, self.pool, amount, round)]
    }

    fn failure(&self, sender: Wallet, kind: usize, round: &mut Round<'_>) -> Draft {
        let amount = round.draw.amount(1, 1_000);
        match kind % 4 {
            0 => transfer(sender, self.token, self.pool, HOLDING + amount, round),
            1 => swap(sender, self.pool, true, amount, HOLDING, round),
            2 => pay(sender, self.token, amount, FAILURE_GAS, round),
            _ => Draft { limit_gas: TOO_LITTLE_GAS, ..transfer(sender, self.token, self.pool, amount, round) },
        }
    }

    fn unusual(&self, sender: Wallet, kind: Unusual, turn: usize, round: &mut Round<'_>) -> Draft {
        let amount = round.draw.amount(1, 1_000);
        let stranger = wallet::address(self.seed, "stranger", round.draw.below(u64::MAX));
        match kind {
            Unusual::Blobs => {
                let mut hash = wallet::label(self.seed, "blob", round.draw.below(u64::MAX));
                hash[0] = 1;
                Draft { form: Form::Blobs(vec![hash]), ..pay(sender, stranger, amount, PAYMENT_GAS, round) }
            }
            Unusual::OwnDelegation => Draft {
                to: TxKind::Call(sender.address),
                value: U256::ZERO,
                input: self.pay_all(amount, turn),
                form: Form::SetCode { authority: sender, delegate: self.delegates[self.blocks % 2] },
                ..pay(sender, sender.address, amount, UNUSUAL_GAS, round)
            },
            Unusual::OthersDelegation => {
                let (ward, [first, second]) = (self.wards[turn], self.delegates);
                // A delegation to the zero address takes the delegation back.
                let delegate = [first, second, Address::ZERO][self.blocks % 3];
                let form = Form::SetCode { authority: ward, delegate };
                Draft { form, ..pay(sender, ward.address, amount, UNUSUAL_GAS, round) }
            }
            Unusual::AccessList => {
                let slot = TOKEN.element("balanceOf", &[sender.address]);
                let item = AccessListItem { address: self.token, storage_keys: vec![slot.into()] };
                let form = Form::AccessList(AccessList(vec![item]));
                Draft { form, ..transfer(sender, self.token, stranger, amount, round) }
            }
            Unusual::ToBeneficiary => pay(sender, genesis::beneficiary(self.seed), amount, PAYMENT_GAS, round),
            Unusual::WithdrawalRequest => {
                let key = wallet::label(self.seed, "validator", round.draw.below(u64::MAX));
                // A public key of 48 bytes and an amount of 8; zero asks for a full exit.
                let input = [key.as_slice(), &key[..16], &[0; 8]].concat().into();
                Draft { input, ..pay(sender, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, amount, UNUSUAL_GAS, round) }
            }
            Unusual::Nothing => pay(sender, stranger, U256::ZERO, PAYMENT_GAS, round),
        }
    }

    /// Call data that pays three recipients `amount` of the token each.
    fn pay_all(&self, amount: U256, turn: usize) -> Bytes {
        let recipients = (0..3).map(|index| wallet::address(self.seed, "staff", 3 * turn as u64 + index).into_word());
        let head = [self.token.into_word(), amount.into(), B256::with_last_byte(0x60), B256::with_last_byte(3)];
        call("payAll(address,uint256,address[])", &head.into_iter().chain(recipients).collect::<Vec<_>>())
    }
}

/// The unusual kinds, which take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unusual {
    Blobs,
    OwnDelegation,
    OthersDelegation,
    AccessList,
    ToBeneficiary,
    WithdrawalRequest,
    Nothing,
}

const UNUSUAL: [Unusual; 7] = [
    Unusual::AccessList,
    Unusual::OwnDelegation,
    Unusual::OthersDelegation,
    Unusual::Blobs,
    Unusual::WithdrawalRequest,
    Unusual::ToBeneficiary,
    Unusual::Nothing,
];

impl Unusual {
    /// The kind of the unusual transaction number `index` of a block, and how often it has been there before.
    fn at(index: usize) -> (Self, usize) {
        let (turn, kind) = (index / UNUSUAL.len(), UNUSUAL[index % UNUSUAL.len()]);
        match kind {
            Self::Blobs if turn >= MOST_BLOBS => (Self::AccessList, turn),
            Self::WithdrawalRequest if turn >= MOST_REQUESTS => (Self::ToBeneficiary, turn),
            _ => (kind, turn),
        }
    }
}

fn pay(sender: Wallet, to: Address, value: U256, limit_gas: u64, round: &mut Round<'_>) -> Draft {
    let (fees, form) = (round.fees(), round.form());
    Draft { sender, to: TxKind::Call(to), value, input: Bytes::new(), limit_gas, fees, form }
}

impl Plan for Rare {
    fn allocate(&self, alloc: &mut Alloc) {
        self.senders.iter().for_each(|sender| alloc.fund(sender.address));
        allocate_token(alloc, self.token, self.senders.iter().map(|sender| sender.address));
        self.delegates.iter().for_each(|delegate| alloc.contract(*delegate, &ACCOUNT));
    }

    fn declared_gas(&self) -> u64 {
        let Counts { creations, failures, unusual } = self.counts;
        CREATION_GAS * creations as u64 + FAILURE_GAS * failures as u64 + UNUSUAL_GAS * unusual as u64
    }

    fn chains(&mut self, round: &mut Round<'_>) -> Vec<Chain> {
        let Counts { creations, failures, unusual } = self.counts;
        let mut senders = self.senders.iter().copied();
        let mut chains = Vec::with_capacity(self.senders.len());
        for (index, creator) in senders.by_ref().take(creations.div_ceil(2)).enumerate() {
            chains.push(self.creation(creator, 2 * index + 1 < creations, round));
        }
        for (kind, sender) in senders.by_ref().take(failures).enumerate() {
            chains.push(vec![self.failure(sender, kind, round)]);
        }
        for (index, sender) in senders.take(unusual).enumerate() {
            let (kind, turn) = Unusual::at(index);
            chains.push(vec![self.unusual(sender, kind, turn, round)]);
        }
        self.blocks += 1;
        chains
    }
}
