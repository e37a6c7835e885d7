//! Random blocks: senders, strangers and contracts that meet in shared slots, balances and addresses.

use std::collections::BTreeMap;

use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip4895::Withdrawal,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_primitives::{Address, Bytes, U256};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::opcode as op;

use crate::{
    case::Ommer,
    fork::{Fork, NUMBER},
    plan::{Key, Plan, PlannedAccount, PlannedCode},
    program::{Action, Condition, Ending, GasFor, Init, Kind, create2_address},
};

pub(crate) const ETHER: u64 = 1_000_000_000_000_000_000;
const CONTRACTS: u8 = 6;
const STRANGERS: u8 = 4;
const SENDERS: u8 = 5;
/// Salts of CREATE2: few, so that they collide.
const SALTS: u64 = 2;
const MINER: Address = Address::repeat_byte(0xaa);
/// What a unit of gas costs at least from London on, in wei, where the block does not give it away.
pub(crate) const BASE_FEE: u64 = 7;

/// What a block is drawn from.
#[derive(Debug)]
pub(crate) struct Ground<'r> {
    pub(crate) random: &'r mut ChaCha8Rng,
    pub(crate) fork: Fork,
    pub(crate) senders: Vec<Key>,
    contracts: Vec<Address>,
    /// How many of `everybody`, from the front, are met more often.
    familiar: usize,
    everybody: Vec<Address>,
    pub(crate) inits: Vec<Init>,
}

impl<'r> Ground<'r> {
    pub(crate) fn new(random: &'r mut ChaCha8Rng, fork: Fork) -> Self {
        let senders: Vec<Key> = (1..=random.random_range(2..=SENDERS)).map(Key).collect();
        let contracts: Vec<Address> = (0..CONTRACTS).map(|at| Address::repeat_byte(0x50 + at)).collect();
        let strangers = (0..STRANGERS).map(|at| Address::repeat_byte(0xe0 + at));
        let mut everybody: Vec<Address> = senders.iter().map(|key| key.address()).collect();
        everybody.extend(contracts.iter().copied().chain(strangers));
        let familiar = everybody.len();
        everybody.push(MINER);
        everybody.extend((1..=9).map(Address::with_last_byte));
        let mut ground = Self { random, fork, senders, contracts, familiar, everybody, inits: Vec::new() };
        for _ in 0..3 {
            let init = ground.init();
            ground.inits.push(init);
        }
        let creators = ground.contracts.clone();
        for creator in creators {
            let bytes = ground.inits.iter().map(Init::bytes);
            let created = bytes.flat_map(|init| (0..SALTS).map(move |salt| create2_address(creator, salt, &init)));
            ground.everybody.extend(created.collect::<Vec<_>>());
            ground.everybody.push(creator.create(1));
        }
        let created = ground.senders.iter().flat_map(|key| (0..4).map(|nonce| key.address().create(nonce)));
        ground.everybody.extend(created.collect::<Vec<_>>());
        ground
    }

    pub(crate) fn plan(mut self) -> Plan {
        let accounts = self.accounts();
        let transactions = self.transactions();
        let rewarded = self.fork < Fork::Paris;
        Plan {
            fork: self.fork,
            beneficiary: if self.one_in(2) { self.anybody() } else { MINER },
            gas_limit: if self.one_in(5) { self.random.random_range(100_000..6_000_000) } else { 30_000_000 },
            base_fee: self.pick(&[BASE_FEE, BASE_FEE, BASE_FEE, 0]),
            excess_blob_gas: self.pick(&[0, 0, 10_000_000]),
            ommers: if rewarded && self.one_in(4) { vec![self.ommer()] } else { Vec::new() },
            withdrawals: if self.fork >= Fork::Shanghai { self.withdrawals() } else { Vec::new() },
            accounts,
            system: system_contracts(self.fork),
            inits: self.inits,
            transactions,
        }
    }

    pub(crate) fn one_in(&mut self, chances: u32) -> bool {
        self.random.random_ratio(1, chances)
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(self.random).expect("something to pick from").clone()
    }

    pub(crate) fn sender(&mut self) -> Key {
        let senders = self.senders.clone();
        self.pick(&senders)
    }

    pub(crate) fn anybody(&mut self) -> Address {
        let most = if self.one_in(3) { self.everybody.len() } else { self.familiar };
        self.everybody[self.random.random_range(0..most)]
    }

    pub(crate) fn contract(&mut self) -> Address {
        let contracts = self.contracts.clone();
        self.pick(&contracts)
    }

    pub(crate) fn slot(&mut self) -> u64 {
        self.random.random_range(0..3)
    }

    pub(crate) fn amount(&mut self) -> u64 {
        self.pick(&[0, 0, 1, 1, 2, 5, 10, 50, 1_000])
    }

    fn balance(&mut self) -> U256 {
        match self.random.random_range(0..3) {
            0 => U256::ZERO,
            1 => U256::from(self.random.random_range(1..60_u64)),
            _ => U256::from(ETHER),
        }
    }

    fn ommer(&mut self) -> Ommer {
        let number = NUMBER - self.random.random_range(1..=6);
        Ommer { number, coinbase: self.anybody() }
    }

    fn withdrawals(&mut self) -> Vec<Withdrawal> {
        let count = self.random.random_range(0..4);
        let withdrawal = |index| Withdrawal {
            index,
            validator_index: 7,
            address: self.anybody(),
            amount: self.random.random_range(0..3),
        };
        (0..count).map(withdrawal).collect()
    }

    fn accounts(&mut self) -> Vec<PlannedAccount> {
        let mut accounts = Vec::new();
        for key in self.senders.clone() {
            // Some have just enough for a few transactions, so that the order of payments decides.
            let poor = self.one_in(4);
            let balance = if poor { self.random.random_range(1_000_000..30_000_000) } else { 100 * u128::from(ETHER) };
            accounts.push(PlannedAccount {
                nonce: self.random.random_range(0..3),
                balance: U256::from(balance),
                ..plain(key.address())
            });
        }
        for address in self.contracts.clone() {
            let (balance, actions, storage) = (self.balance(), self.program(2), self.storage());
            let nonce = if self.one_in(30) { u64::MAX - 1 } else { 1 };
            accounts.push(PlannedAccount { address, nonce, balance, code: PlannedCode::Program(actions), storage });
        }
        for at in 0..STRANGERS {
            accounts.extend(self.stranger(Address::repeat_byte(0xe0 + at)));
        }
        if self.fork < Fork::Paris {
            // From Spurious Dragon on revm clears an empty account 3 whenever a failed call has touched it, not only
            // where the specification does; no chain has such an account (docs/specification.md).
            let clears_ripemd = self.fork >= Fork::SpuriousDragon;
            let precompiles = (1..=4).filter(|at| *at != 3 || !clears_ripemd).map(Address::with_last_byte);
            let existing: Vec<_> = precompiles.filter(|_| self.random.random_ratio(1, 4)).collect();
            accounts.extend(existing.into_iter().map(plain));
        }
        accounts
    }

    fn stranger(&mut self, address: Address) -> Option<PlannedAccount> {
        let balance = self.balance() + U256::ONE;
        match self.random.random_range(0..7) {
            0 | 1 => None,
            2 if self.fork < Fork::Paris => Some(plain(address)),
            // Storage without code: nothing can be created there (EIP-7610).
            3 => Some(PlannedAccount { balance, storage: BTreeMap::from([(1, U256::ONE)]), ..plain(address) }),
            4 if self.fork >= Fork::Prague => {
                let designator = [&[0xef, 0x01, 0x00], self.contract().as_slice()].concat();
                Some(PlannedAccount { balance, code: PlannedCode::Bytes(designator.into()), ..plain(address) })
            }
            _ => Some(PlannedAccount { balance, ..plain(address) }),
        }
    }

    fn storage(&mut self) -> BTreeMap<u64, U256> {
        (0..3).filter(|_| self.random.random_ratio(1, 3)).map(|slot| (slot, U256::from(slot + 1))).collect()
    }

    fn init(&mut self) -> Init {
        let ending = match self.random.random_range(0..10) {
            0 => Ending::Destroy(self.anybody()),
            1 => Ending::Stop,
            2 => Ending::Fail,
            3 => Ending::DeployInvalid,
            _ => Ending::Deploy,
        };
        Init { setup: self.program(0), ending, runtime: self.program(1) }
    }

    /// A program of some actions; deeper ones branch.
    fn program(&mut self, depth: u32) -> Vec<Action> {
        (0..self.random.random_range(1..=3)).map(|_| self.action(depth)).collect()
    }

    fn condition(&mut self) -> Condition {
        match self.random.random_range(0..6) {
            0 => Condition::OddSlot(self.slot()),
            1 => Condition::OddBalance(self.anybody()),
            2 => Condition::Poorer(self.anybody(), self.amount()),
            3 => Condition::HasCode(self.anybody()),
            4 => Condition::OddInput,
            _ => Condition::Paid,
        }
    }

    fn action(&mut self, depth: u32) -> Action {
        if depth > 0 && self.one_in(3) {
            return Action::Branch(self.condition(), self.program(depth - 1), self.program(depth - 1));
        }
        match self.random.random_range(0..30) {
            0 | 1 => Action::Increment(self.slot()),
            2 | 3 => Action::Store(self.slot(), self.random.random_range(0..3)),
            4 => Action::LogSlot(self.slot()),
            5 => Action::LogBalance(self.anybody()),
            6 => Action::LogOwnBalance,
            7 => Action::LogCodeSize(self.anybody()),
            8 if self.fork >= Fork::ConstantinopleFix => Action::LogCodeHash(self.anybody()),
            9 => Action::LogCode(self.anybody()),
            10 => Action::LogGas,
            11 => self.environment(),
            12 => Action::LogBlockHash(self.pick(&[NUMBER - 1, NUMBER - 3, NUMBER, NUMBER + 1, NUMBER - 257])),
            13 if self.fork >= Fork::Byzantium => Action::LogReturned,
            14 => Action::PassOn(self.anybody()),
            15 => Action::PayAll(self.anybody()),
            16..=18 => self.call(),
            19 | 20 => Action::Create { init: self.random.random_range(0..3), value: self.amount() },
            21 | 22 if self.fork >= Fork::ConstantinopleFix => Action::Create2 {
                init: self.random.random_range(0..3),
                value: self.amount(),
                salt: self.random.random_range(0..SALTS),
            },
            23 if self.fork >= Fork::Cancun => Action::Transient,
            24 if self.fork >= Fork::Byzantium => Action::Revert,
            24 => Action::Fail,
            25 => self.pick(&[Action::Return, Action::Fail, Action::Loop, Action::Grow(3_000), Action::Grow(900_000)]),
            26 | 27 => Action::Destroy(self.anybody()),
            _ => Action::Call { kind: Kind::Call, to: self.anybody(), value: 0, gas: GasFor::Rest },
        }
    }

    /// What the block and the transaction say about themselves.
    fn environment(&mut self) -> Action {
        let mut opcodes = vec![op::COINBASE, op::DIFFICULTY, op::GASLIMIT, op::NUMBER, op::TIMESTAMP, op::ORIGIN];
        opcodes.extend([op::CALLER, op::ADDRESS, op::GASPRICE, op::CALLVALUE, op::CALLDATASIZE, op::CODESIZE]);
        let later = [
            (Fork::Istanbul, op::CHAINID),
            (Fork::Istanbul, op::SELFBALANCE),
            (Fork::London, op::BASEFEE),
            (Fork::Cancun, op::BLOBBASEFEE),
            (Fork::Shanghai, op::PUSH0),
        ];
        opcodes.extend(later.iter().filter(|(fork, _)| self.fork >= *fork).map(|(_, opcode)| *opcode));
        Action::LogOp(self.pick(&opcodes))
    }

    fn call(&mut self) -> Action {
        let kind = match self.random.random_range(0..6) {
            0 if self.fork >= Fork::Homestead => Kind::DelegateCall,
            1 if self.fork >= Fork::Byzantium => Kind::StaticCall,
            2 => Kind::CallCode,
            _ => Kind::Call,
        };
        let gas = match self.random.random_range(0..4) {
            0 => GasFor::Fixed(self.pick(&[0, 2_300, 30_000])),
            _ => GasFor::Rest,
        };
        let to = if self.one_in(2) { self.contract() } else { self.anybody() };
        Action::Call { kind, to, value: self.amount(), gas }
    }
}

/// An account with nothing in it.
fn plain(address: Address) -> PlannedAccount {
    let (nonce, balance) = (0, U256::ZERO);
    PlannedAccount { address, nonce, balance, code: PlannedCode::None, storage: BTreeMap::new() }
}

/// What the fork calls, or moves, besides the transactions.
fn system_contracts(fork: Fork) -> Vec<PlannedAccount> {
    if fork == Fork::Dao {
        // The specification brings those that are not there into being; on mainnet all of them are.
        let accounts = DAO_HARDFORK_ACCOUNTS.into_iter().chain([DAO_HARDFORK_BENEFICIARY]);
        return accounts.map(|address| PlannedAccount { balance: U256::ONE, ..plain(address) }).collect();
    }
    let contracts: [(Fork, Address, &Bytes); 4] = [
        (Fork::Cancun, BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        (Fork::Prague, HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
        (Fork::Prague, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (Fork::Prague, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ];
    let active = contracts.into_iter().filter(|(since, ..)| fork >= *since);
    let deployed = |(_, address, code): (Fork, Address, &Bytes)| PlannedAccount {
        nonce: 1,
        code: PlannedCode::Bytes(code.clone()),
        ..plain(address)
    };
    active.map(deployed).collect()
}
