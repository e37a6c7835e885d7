//! Transfers of one ERC-20 token.
//!
//! Hot transfers go to one holder, whose balance is then read and written by each of them. A chain passes tokens on:
//! each carrier holds ether for gas but no tokens, so its transfer succeeds only because of the one before. With
//! [`Link::Nonce`](super::Link::Nonce) a chain is one holder that pays several recipients.

use alloy_primitives::{Address, TxKind, U256};

use super::{
    contract::{TOKEN, call},
    genesis::Alloc,
    plan::{Chain, Draft, Hop, Plan, Round, Shape},
    wallet::{self, Wallet},
};

/// Gas that wallets declare for a transfer; it uses half of it, more where the recipient held nothing.
pub(crate) const TRANSFER_GAS: u64 = 65_000;

/// Holders of one token, and recipients of whom every second holds some from the start.
#[derive(Debug)]
pub(crate) struct Erc20 {
    pub(crate) token: Address,
    shape: Shape,
    holders: Vec<Wallet>,
    carriers: Vec<Wallet>,
    recipients: Vec<Address>,
    hot_holder: Address,
}

impl Erc20 {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        Self {
            token: wallet::address(seed, "token", 0),
            holders: Wallet::derive_many(seed, "token holder", 0, shape.senders()),
            carriers: Wallet::derive_many(seed, "token carrier", 0, shape.carriers()),
            recipients: (0..shape.cold() as u64).map(|index| wallet::address(seed, "token payee", index)).collect(),
            hot_holder: wallet::address(seed, "hot token holder", 0),
            shape,
        }
    }

    fn transfer(&self, (sender, recipient): Hop, amount: U256, round: &mut Round<'_>) -> Draft {
        transfer(sender, self.token, recipient, amount, round)
    }
}

/// A transfer of `amount` of `token`.
pub(crate) fn transfer(
    sender: Wallet,
    token: Address,
    recipient: Address,
    amount: U256,
    round: &mut Round<'_>,
) -> Draft {
    Draft {
        sender,
        to: TxKind::Call(token),
        value: U256::ZERO,
        input: call("transfer(address,uint256)", &[recipient.into_word(), amount.into()]),
        limit_gas: TRANSFER_GAS,
        fees: round.fees(),
        form: round.form(),
    }
}

/// Puts a token into the genesis state; its supply is what `holders` hold together.
pub(crate) fn allocate_token(alloc: &mut Alloc, token: Address, holders: impl IntoIterator<Item = Address>) {
    alloc.contract(token, &TOKEN);
    let mut supply = U256::ZERO;
    for holder in holders {
        alloc.store(token, TOKEN.element("balanceOf", &[holder]), HOLDING);
        supply += HOLDING;
    }
    alloc.store(token, TOKEN.slot("totalSupply"), supply);
}

/// What each holder of a token has at genesis: 10^27, far more than thousands of blocks move.
pub(crate) const HOLDING: U256 = U256::from_limbs([0x9fd0_803c_e800_0000, 0x033b_2e3c, 0, 0]);

impl Plan for Erc20 {
    fn allocate(&self, alloc: &mut Alloc) {
        self.holders.iter().chain(&self.carriers).for_each(|wallet| alloc.fund(wallet.address));
        let holders = self.holders.iter().map(|wallet| wallet.address);
        let recipients = self.recipients.iter().copied().step_by(2);
        allocate_token(alloc, self.token, holders.chain(recipients).chain([self.hot_holder]));
    }

    fn declared_gas(&self) -> u64 {
        TRANSFER_GAS * self.shape.txs() as u64
    }

    fn chains(&mut self, round: &mut Round<'_>) -> Vec<Chain> {
        round.draw.shuffle(&mut self.holders);
        round.draw.shuffle(&mut self.carriers);
        round.draw.shuffle(&mut self.recipients);

        let (hot, cold) = self.holders.split_at(self.shape.hot);
        let mut chains: Vec<Chain> = Vec::with_capacity(self.holders.len());
        for &holder in hot {
            let amount = round.draw.amount(1, 1_000_000_000);
            chains.push(vec![self.transfer((holder, self.hot_holder), amount, round)]);
        }
        for hops in self.shape.routes(cold, &self.carriers, &self.recipients) {
            let amount = round.draw.amount(1, 1_000_000_000);
            chains.push(hops.into_iter().map(|hop| self.transfer(hop, amount, round)).collect());
        }
        chains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holdings_are_a_round_number() {
        assert_eq!(HOLDING, U256::from(10).pow(U256::from(27)));
    }
}
