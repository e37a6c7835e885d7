//! Payments of ether between accounts without code.
//!
//! Hot payments go to one recipient. A chain passes money on: each carrier is a new account that owns nothing before
//! its payment arrives and can afford its own payment only because of it. With [`Link::Nonce`](super::Link::Nonce) a
//! chain is one sender that pays several recipients.

use alloy_primitives::{Address, Bytes, TxKind, U256};

use super::{
    genesis::Alloc,
    plan::{Chain, Draft, Fees, Hop, Plan, Round, Shape},
    wallet::{self, Wallet},
};

/// What a payment to an account without code costs (EIP-2028, EIP-7623: no call data).
pub(crate) const PAYMENT_GAS: u64 = 21_000;

/// Payers and recipients; every second recipient is an account that exists from the start.
#[derive(Debug)]
pub(crate) struct Payments {
    seed: u64,
    shape: Shape,
    payers: Vec<Wallet>,
    recipients: Vec<Address>,
    hot_recipient: Address,
    /// Carriers used up so far: each serves in one block only.
    carriers_used: u64,
}

impl Payments {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        Self {
            seed,
            payers: Wallet::derive_many(seed, "payer", 0, shape.senders()),
            recipients: (0..shape.cold() as u64).map(|index| wallet::address(seed, "payee", index)).collect(),
            hot_recipient: wallet::address(seed, "hot payee", 0),
            carriers_used: 0,
            shape,
        }
    }

    fn pay(&self, (sender, recipient): Hop, value: U256, fees: Fees, round: &mut Round<'_>) -> Draft {
        Draft {
            sender,
            to: TxKind::Call(recipient),
            value,
            input: Bytes::new(),
            limit_gas: PAYMENT_GAS,
            fees,
            form: round.form(),
        }
    }

    /// Payments along a chain; what a carrier receives is what it passes on and what that costs, to the wei.
    fn chain(&self, hops: Vec<Hop>, round: &mut Round<'_>) -> Chain {
        let fees = round.exact_fees();
        let passing_on = match self.shape.link {
            super::Link::Value => U256::from(fees.max_wei) * U256::from(PAYMENT_GAS),
            super::Link::Nonce => U256::ZERO,
        };
        let arriving = round.draw.amount(1, 10_000_000);
        let last = hops.len() - 1;
        hops.into_iter()
            .enumerate()
            .map(|(position, hop)| self.pay(hop, arriving + passing_on * U256::from(last - position), fees, round))
            .collect()
    }
}

impl Plan for Payments {
    fn allocate(&self, alloc: &mut Alloc) {
        self.payers.iter().for_each(|payer| alloc.fund(payer.address));
        self.recipients.iter().step_by(2).for_each(|recipient| alloc.fund(*recipient));
        alloc.fund(self.hot_recipient);
    }

    fn declared_gas(&self) -> u64 {
        PAYMENT_GAS * self.shape.txs() as u64
    }

    fn chains(&mut self, round: &mut Round<'_>) -> Vec<Chain> {
        let carriers = Wallet::derive_many(self.seed, "payment carrier", self.carriers_used, self.shape.carriers());
        self.carriers_used += carriers.len() as u64;
        round.draw.shuffle(&mut self.payers);
        round.draw.shuffle(&mut self.recipients);

        let (hot, cold) = self.payers.split_at(self.shape.hot);
        let mut chains: Vec<Chain> = Vec::with_capacity(self.payers.len());
        for &payer in hot {
            let (value, fees) = (round.draw.amount(1, 10_000_000), round.fees());
            chains.push(vec![self.pay((payer, self.hot_recipient), value, fees, round)]);
        }
        for hops in self.shape.routes(cold, &carriers, &self.recipients) {
            chains.push(self.chain(hops, round));
        }
        chains
    }
}
