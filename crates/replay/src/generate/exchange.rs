//! Swaps on constant-product pools over two tokens.
//!
//! Each chain has a pool of its own, on which different traders swap one after another: every swap reads the reserves
//! that the one before it left. Hot swaps share one pool. With [`Link::Nonce`] a chain is one trader
//! that swaps on a different pool each time. Who trades where is fixed at genesis, since allowances are given there;
//! amounts and directions are drawn for each block.

use alloy_primitives::{Address, B256, TxKind, U256};

use super::{
    Link,
    contract::{EXCHANGE, TOKEN, call},
    erc20::{HOLDING, allocate_token},
    genesis::Alloc,
    plan::{Chain, Draft, Plan, Round, Shape},
    wallet::{self, Wallet},
};

/// Gas that traders declare for a swap; it uses somewhat more than half of it.
pub(crate) const SWAP_GAS: u64 = 120_000;

/// Traders and the pools on which they may trade.
#[derive(Debug)]
pub(crate) struct Exchange {
    tokens: [Address; 2],
    shape: Shape,
    hot_pool: Address,
    /// Traders of the hot pool.
    hot_traders: Vec<Wallet>,
    /// For each chain the trader and the pool of each of its swaps.
    venues: Vec<Vec<(Wallet, Address)>>,
}

impl Exchange {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        let traders = Wallet::derive_many(seed, "trader", 0, shape.txs());
        let (hot, cold) = traders.split_at(shape.hot);
        let pool = |index: usize| wallet::address(seed, "pool", index as u64);
        let mut next = 0;
        let venue = |&length: &usize| {
            let first = next;
            next += length;
            let at = |index| match shape.link {
                Link::Value => (cold[index], pool(first)),
                Link::Nonce => (cold[first], pool(index)),
            };
            (first..next).map(at).collect()
        };
        Self {
            tokens: [wallet::address(seed, "token", 1), wallet::address(seed, "token", 2)],
            hot_pool: wallet::address(seed, "hot pool", 0),
            hot_traders: hot.to_vec(),
            venues: shape.chains.iter().map(venue).collect(),
            shape,
        }
    }

    /// The pool that hot swaps share.
    pub(crate) fn hot_pool(&self) -> Address {
        self.hot_pool
    }

    /// Every trader with each pool on which it trades, pairs not repeated.
    fn pairs(&self) -> impl Iterator<Item = (Address, Address)> {
        let hot = self.hot_traders.iter().map(|trader| (trader.address, self.hot_pool));
        hot.chain(self.venues.iter().flatten().map(|(trader, pool)| (trader.address, *pool)))
    }

    fn swap(trader: Wallet, pool: Address, round: &mut Round<'_>) -> Draft {
        let (zero_for_one, amount) = (round.draw.percent(50), round.draw.amount(1_000, 1_000_000_000));
        swap(trader, pool, zero_for_one, amount, U256::ZERO, round)
    }
}

/// A swap of `amount` that must yield at least `minimum`.
pub(crate) fn swap(
    trader: Wallet,
    pool: Address,
    zero_for_one: bool,
    amount: U256,
    minimum: U256,
    round: &mut Round<'_>,
) -> Draft {
    let arguments = [B256::with_last_byte(u8::from(zero_for_one)), amount.into(), minimum.into()];
    Draft {
        sender: trader,
        to: TxKind::Call(pool),
        value: U256::ZERO,
        input: call("swap(bool,uint256,uint256)", &arguments),
        limit_gas: SWAP_GAS,
        fees: round.fees(),
        form: round.form(),
    }
}

impl Plan for Exchange {
    fn allocate(&self, alloc: &mut Alloc) {
        let mut pools: Vec<Address> = self.pairs().map(|(_, pool)| pool).chain([self.hot_pool]).collect();
        let mut traders: Vec<Address> = self.pairs().map(|(trader, _)| trader).collect();
        for addresses in [&mut pools, &mut traders] {
            addresses.sort_unstable();
            addresses.dedup();
        }
        traders.iter().for_each(|trader| alloc.fund(*trader));
        for token in self.tokens {
            allocate_token(alloc, token, pools.iter().chain(&traders).copied());
            for (trader, pool) in self.pairs() {
                alloc.store(token, TOKEN.element("allowance", &[trader, pool]), U256::MAX);
            }
        }
        for pool in pools {
            alloc.contract(pool, &EXCHANGE);
            for (variable, token) in ["token0", "token1"].into_iter().zip(self.tokens) {
                alloc.store(pool, EXCHANGE.slot(variable), token.into_word().into());
            }
            let reserves = ["reserve0", "reserve1"].map(|variable| EXCHANGE.packed(variable, HOLDING));
            alloc.store(pool, EXCHANGE.slot("reserve0"), reserves[0] | reserves[1]);
        }
    }

    fn declared_gas(&self) -> u64 {
        SWAP_GAS * self.shape.txs() as u64
    }

    fn chains(&mut self, round: &mut Round<'_>) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::with_capacity(self.shape.senders());
        chains.extend(self.hot_traders.iter().map(|&trader| vec![Self::swap(trader, self.hot_pool, round)]));
        for venues in &self.venues {
            chains.push(venues.iter().map(|&(trader, pool)| Self::swap(trader, pool, round)).collect());
        }
        chains
    }
}
