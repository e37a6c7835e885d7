//! Random contracts and random blocks of transactions that meet in them.
//!
//! What a contract does hangs on balances, slots, code and existence that other transactions of the block change, so
//! that an attempt on stale state goes astray: it pays what it has not, destroys what should live, creates what is there.

use alloy_primitives::{Address, B256, U256};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::opcode as op;

use crate::{
    assembler::{CallKind, Code, create2_address},
    case::Case,
    transaction::{Tx, authorization, call, create, pay},
    world::*,
};

/// Contracts of a world.
const CONTRACTS: usize = 6;
/// Accounts that begin with little or nothing.
const STRANGERS: usize = 4;
/// Salts that are used with CREATE2: few, so that they collide.
const SALTS: u64 = 2;

/// What programs and transactions are made of.
pub(crate) struct Ground<'r> {
    random: &'r mut ChaCha8Rng,
    fork: Fork,
    senders: Vec<Address>,
    contracts: Vec<Address>,
    /// Init codes of what contracts create.
    inits: Vec<Code>,
    /// Everybody who may be paid, called or looked at.
    everybody: Vec<Address>,
    beneficiary: Address,
}

/// A random block on a random world.
pub(crate) fn random_case(random: &mut ChaCha8Rng) -> Case {
    let fork = *Fork::ALL.choose(random).expect("there are forks");
    let mut ground = Ground::new(random, fork);
    let world = ground.world();
    let transactions = ground.transactions();
    let mut case = Case::new(fork, &world, &transactions).beneficiary(ground.beneficiary);
    if ground.one_in(4) {
        case = case.gas_limit(ground.random.random_range(300_000..8_000_000));
    }
    if !ground.one_in(4) {
        case = case.skipping();
    }
    if fork >= Fork::Shanghai && ground.one_in(2) {
        let withdrawals: Vec<_> = (0..4).map(|_| (ground.anybody(), ground.random.random_range(0..3))).collect();
        case = case.withdrawals(&withdrawals);
    }
    case
}

/// A random world with an empty block on it, and the transactions of so many blocks. Builders skip those of them that
/// are invalid.
pub(crate) fn random_chain(random: &mut ChaCha8Rng, blocks: usize) -> (Case, Vec<Vec<Tx>>) {
    let fork = *Fork::ALL.choose(random).expect("there are forks");
    let mut ground = Ground::new(random, fork);
    let world = ground.world();
    let lists = (0..blocks).map(|_| ground.transactions()).collect();
    (Case::new(fork, &world, &[]).beneficiary(ground.beneficiary).skipping(), lists)
}

impl<'r> Ground<'r> {
    fn new(random: &'r mut ChaCha8Rng, fork: Fork) -> Self {
        let senders = [ALICE, BOB, CAROL, DAVE][..random.random_range(2..=4)].to_vec();
        let contracts: Vec<_> = (0..CONTRACTS as u8).map(|at| Address::repeat_byte(0x50 + at)).collect();
        let strangers = (0..STRANGERS as u8).map(|at| Address::repeat_byte(0xe0 + at));
        let mut everybody: Vec<_> = senders.iter().chain(&contracts).copied().chain(strangers).collect();
        everybody.extend([MINER, Address::with_last_byte(2), Address::with_last_byte(3)]);
        let mut ground = Self { random, fork, senders, contracts, inits: Vec::new(), everybody, beneficiary: MINER };
        for _ in 0..2 {
            let init = ground.init(1);
            ground.inits.push(init);
        }
        for at in 0..ground.contracts.len() {
            let creator = ground.contracts[at];
            for init in &ground.inits {
                ground.everybody.extend((0..SALTS).map(|salt| create2_address(creator, salt, init)));
            }
            ground.everybody.push(creator.create(1));
        }
        ground.everybody.extend([ALICE.create(0), BOB.create(7), ALICE.create(1), BOB.create(8)]);
        if ground.one_in(2) {
            ground.beneficiary = ground.anybody();
        }
        ground
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.random.random_ratio(1, chances)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(self.random).expect("something to pick from")
    }

    /// The first half of everybody, who are met more often, or anybody.
    fn anybody(&mut self) -> Address {
        let familiar = self.senders.len() + CONTRACTS + STRANGERS;
        let most = if self.one_in(3) { self.everybody.len() } else { familiar };
        let at = self.random.random_range(0..most);
        self.everybody[at]
    }

    fn contract(&mut self) -> Address {
        let at = self.random.random_range(0..self.contracts.len());
        self.contracts[at]
    }

    /// Few slots, so that they are shared.
    fn slot(&mut self) -> u64 {
        self.random.random_range(0..3)
    }

    fn amount(&mut self) -> u64 {
        self.pick(&[0, 1, 1, 2, 5, 10, 50, 1_000])
    }

    fn balance(&mut self) -> U256 {
        match self.random.random_range(0..40) {
            0..12 => U256::ZERO,
            12..24 => U256::from(self.random.random_range(1..20u64)),
            24..38 => U256::from(ETHER),
            _ => U256::MAX - U256::from(self.random.random_range(0..20u64)),
        }
    }

    fn world(&mut self) -> World {
        let mut world = World::new().block_hash(NUMBER - 1, B256::repeat_byte(0x77));
        for address in self.contracts.clone() {
            let (balance, code) = (self.balance(), self.program(2));
            world = world.funded(address, balance, &code);
            for slot in 0..3 {
                if self.one_in(3) {
                    world = world.slot(address, slot, self.random.random_range(1..4));
                }
            }
        }
        for at in 0..STRANGERS {
            let stranger = Address::repeat_byte(0xe0 + at as u8);
            world = match self.random.random_range(0..6) {
                0 | 1 => world,
                2 => world.empty(stranger),
                3 if self.fork >= Fork::Prague => {
                    let target = self.contract();
                    world.delegated(stranger, 0, target)
                }
                _ => {
                    let balance = self.balance();
                    world.account(stranger, 0, balance)
                }
            };
        }
        for precompile in [2, 3].map(Address::with_last_byte) {
            if self.one_in(3) {
                world = world.empty(precompile);
            }
        }
        for sender in self.senders.clone() {
            if self.one_in(4) {
                let poor = self.random.random_range(1_000_000..20_000_000u64);
                world = world.account(sender, self.random.random_range(0..3), poor);
            }
        }
        world
    }

    /// A program of some actions; deeper ones branch.
    fn program(&mut self, depth: u32) -> Code {
        let mut code = Code::new();
        for _ in 0..self.random.random_range(1..=3) {
            let action = self.action(depth);
            code = code.then(action);
        }
        code
    }

    fn init(&mut self, depth: u32) -> Code {
        let (setup, runtime) = (self.program(0), self.program(depth));
        match self.random.random_range(0..8) {
            0 => {
                let heir = self.anybody();
                setup.destroy(heir)
            }
            1 => setup,
            2 => setup.fail(),
            _ => setup.deploying(&runtime),
        }
    }

    /// `[] -> [condition]`: something that other transactions decide.
    fn condition(&mut self) -> Code {
        let odd = |code: Code| code.push(1).op(op::AND);
        match self.random.random_range(0..7) {
            0 | 1 => odd(Code::new().sload(self.slot())),
            2 => odd(Code::new().balance(self.anybody())),
            3 => Code::new().balance(self.anybody()).push(self.amount()).op(op::LT),
            4 => Code::new().address(self.anybody()).op(op::EXTCODESIZE),
            5 => Code::new().push(0).op(op::CALLDATALOAD).push(0).op(op::BYTE).push(1).op(op::AND),
            _ => Code::new().op(op::CALLVALUE),
        }
    }

    fn action(&mut self, depth: u32) -> Code {
        if depth > 0 && self.one_in(3) {
            let (condition, yes, no) = (self.condition(), self.program(depth - 1), self.program(depth - 1));
            return condition.branch(yes, no);
        }
        let code = Code::new();
        match self.random.random_range(0..24) {
            0 | 1 => code.increment(self.slot()),
            2 => code.sstore(self.slot(), 0),
            3 => code.sload(self.slot()).log_top(),
            4 => code.balance(self.anybody()).log_top(),
            5 => code.op(op::ADDRESS).op(op::BALANCE).log_top(),
            6 => code.op(op::CALLVALUE).pay_top(self.anybody()).log_top(),
            7 | 8 => code.call(CallKind::Call, self.anybody(), self.amount()).log_top(),
            9 => code.op(op::ADDRESS).op(op::BALANCE).pay_top(self.anybody()).log_top(),
            10 => code.pay(self.anybody(), 0),
            11 | 12 => code.call(CallKind::Call, self.contract(), self.amount()).log_top(),
            13 => code.call(self.call_kind(), self.contract(), self.amount()).log_top(),
            14 => code.address(self.anybody()).op(op::EXTCODESIZE).log_top(),
            15 if self.fork >= Fork::Petersburg => code.address(self.anybody()).op(op::EXTCODEHASH).log_top(),
            16 => code.op(op::GAS).push(7).op(op::AND).log_top(),
            17 => {
                let init = self.an_init();
                code.create(&init, self.amount()).log_top()
            }
            18 | 19 if self.fork >= Fork::Petersburg => {
                let init = self.an_init();
                code.create2(&init, self.amount(), self.random.random_range(0..SALTS)).log_top()
            }
            20 => code.destroy(self.anybody()),
            21 if self.fork >= Fork::Byzantium => code.revert(),
            21 => code.fail(),
            22 if self.fork >= Fork::Cancun => code.push(1).op(op::TLOAD).log_top().push(9).push(1).op(op::TSTORE),
            22 => code.push(NUMBER - 1).op(op::BLOCKHASH).log_top(),
            _ => code.op(op::COINBASE).op(op::BALANCE).log_top(),
        }
    }

    fn an_init(&mut self) -> Code {
        match self.inits.choose(self.random) {
            Some(init) => init.clone(),
            None => Code::new().log(1),
        }
    }

    fn call_kind(&mut self) -> CallKind {
        match self.random.random_range(0..3) {
            0 if self.fork >= Fork::Homestead => CallKind::DelegateCall,
            1 if self.fork >= Fork::Byzantium => CallKind::StaticCall,
            _ => CallKind::CallCode,
        }
    }

    fn transactions(&mut self) -> Vec<Tx> {
        let count = self.random.random_range(4..=28);
        let mut transactions: Vec<_> = (0..count).map(|_| self.transaction()).collect();
        for transaction in &mut transactions {
            // A gap, or a number that was used.
            if self.one_in(25) {
                *transaction = transaction.clone().nonce(self.random.random_range(0..12));
            }
        }
        transactions
    }

    fn transaction(&mut self) -> Tx {
        let senders = self.senders.clone();
        let sender = self.pick(&senders);
        let transaction = match self.random.random_range(0..10) {
            0..3 => {
                let value = match self.random.random_range(0..6) {
                    0 => U256::ZERO,
                    1 => U256::from(RICH - ETHER),
                    2 => U256::from(ETHER),
                    _ => U256::from(self.amount()),
                };
                pay(sender, self.anybody(), value)
            }
            3 => create(sender, &self.an_init()).value(self.amount()),
            4 if self.fork >= Fork::Prague => {
                let to = self.anybody();
                let count = self.random.random_range(1..=2);
                let authorizations: Vec<_> = (0..count).map(|_| self.authorization()).collect();
                call(sender, to).authorizing(authorizations)
            }
            5 => call(sender, self.anybody()).value(self.amount()),
            _ => {
                let to = self.contract();
                call(sender, to).value(self.amount()).input([self.random.random::<u8>()])
            }
        };
        let transaction =
            transaction.gas(self.pick(&[21_000, 60_000, 120_000, 400_000, 400_000, 1_000_000, 1_000_000]));
        let free = if self.fork >= Fork::London { u128::from(BASE_FEE) } else { 0 };
        match self.random.random_range(0..8) {
            0 => transaction.price(free),
            1 if self.fork >= Fork::London => transaction.tip(self.pick(&[0, 1, 3])),
            2 if self.fork >= Fork::Berlin => {
                let (address, slot) = (self.anybody(), self.slot());
                transaction.warm(address, &[slot])
            }
            _ => transaction,
        }
    }

    fn authorization(&mut self) -> alloy_eips::eip7702::RecoveredAuthorization {
        let authority = if self.one_in(2) {
            let senders = self.senders.clone();
            self.pick(&senders)
        } else {
            self.anybody()
        };
        let target = if self.one_in(5) { Address::ZERO } else { self.anybody() };
        let nonce = match self.random.random_range(0..3) {
            0 => self.random.random_range(0..10),
            _ => self.pick(&[0, 0, 1, 1, 2]),
        };
        authorization(authority, nonce, target)
    }
}
