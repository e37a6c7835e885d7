//! The transactions of a random block.

use alloy_eips::{
    eip2935::HISTORY_STORAGE_ADDRESS, eip4788::BEACON_ROOTS_ADDRESS, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_primitives::{Address, Bytes, U256};
use rand::Rng;

use crate::{
    draw::{BASE_FEE, ETHER, Ground},
    fork::{Fork, NUMBER},
    plan::{Form, Key, PlannedAuthorization, PlannedTransaction, Target},
};

impl Ground<'_> {
    pub(crate) fn transactions(&mut self) -> Vec<PlannedTransaction> {
        (0..self.random.random_range(2..=18)).map(|_| self.transaction()).collect()
    }

    fn transaction(&mut self) -> PlannedTransaction {
        let form = self.form();
        let target = self.target(&form);
        let value = match self.random.random_range(0..20) {
            0 => U256::from(99 * u128::from(ETHER)),
            1 => U256::from(ETHER),
            2 => U256::from(self.random.random_range(0..20_000_000_u64)),
            _ => U256::from(self.amount()),
        };
        let lists = !matches!(form, Form::Legacy { .. }) && self.one_in(2);
        PlannedTransaction {
            sender: self.sender(),
            // A gap, or a number that was used.
            nonce: if self.one_in(30) { Some(self.random.random_range(0..6)) } else { None },
            value,
            gas_limit: self.gas_limit(&target),
            target,
            price: self.price(),
            form,
            access_list: if lists { self.access_list() } else { Vec::new() },
        }
    }

    /// Now and then too little even to begin.
    fn gas_limit(&mut self, target: &Target) -> u64 {
        match target {
            Target::Call(_, input) if input.is_empty() => self.pick(&[21_000, 21_000, 60_000, 250_000]),
            _ if self.one_in(20) => self.pick(&[21_000, 40_000, 55_000]),
            _ => self.pick(&[60_000, 120_000, 250_000, 250_000, 500_000, 500_000]),
        }
    }

    fn price(&mut self) -> u128 {
        match self.random.random_range(0..12) {
            0 if self.one_in(3) => 0,
            1 | 2 => u128::from(BASE_FEE),
            3 => 1_000,
            _ => 10,
        }
    }

    fn form(&mut self) -> Form {
        let tip = self.pick(&[0, 0, 0, 1, 1, 1, 3, 3, 3, 20]);
        // Now and then a form that the fork does not know yet.
        let ahead = self.one_in(60);
        let knows = |fork: Fork| ahead || self.fork >= fork;
        let (lists, fees, blobs, delegations) =
            (knows(Fork::Berlin), knows(Fork::London), knows(Fork::Cancun), knows(Fork::Prague));
        match self.random.random_range(0..10) {
            0 if lists => Form::AccessList,
            1 | 2 if fees => Form::DynamicFee { tip },
            3 if blobs => Form::Blobs {
                tip,
                count: self.pick(&[1, 1, 2, 3, 6, 7]),
                max_fee: self.pick(&[0, 1, 100, 100, 100, 100]),
            },
            4 | 5 if delegations => {
                let count = self.random.random_range(1..=3);
                Form::Delegations { tip, authorizations: (0..count).map(|_| self.authorization()).collect() }
            }
            _ => Form::Legacy { protected: self.fork >= Fork::SpuriousDragon && self.one_in(2) },
        }
    }

    fn authorization(&mut self) -> PlannedAuthorization {
        let authority = if self.one_in(3) { Key(self.random.random_range(20..23)) } else { self.sender() };
        let to = match self.random.random_range(0..5) {
            0 => Address::ZERO,
            1 => self.anybody(),
            2 => self.sender().address(),
            _ => self.contract(),
        };
        PlannedAuthorization {
            authority,
            nonce: self.pick(&[None, None, None, Some(0), Some(1), Some(2)]),
            chain_id: self.pick(&[0, 1, 1, 1, 5]),
            to,
        }
    }

    fn target(&mut self, form: &Form) -> Target {
        let creates = !matches!(form, Form::Blobs { .. } | Form::Delegations { .. });
        match self.random.random_range(0..12) {
            0 | 1 if creates => Target::Create(self.random.random_range(0..self.inits.len())),
            2..=4 => Target::Call(self.anybody(), Bytes::new()),
            5 if self.fork >= Fork::Cancun => self.system_contract(),
            _ => Target::Call(self.contract(), Bytes::from(vec![self.random.random::<u8>()])),
        }
    }

    /// A call to what the block itself calls before or after its transactions.
    fn system_contract(&mut self) -> Target {
        let word = |number: u64| Bytes::from(U256::from(number).to_be_bytes_vec());
        let timestamp = 10_000;
        let calls = [
            (BEACON_ROOTS_ADDRESS, word(timestamp)),
            (HISTORY_STORAGE_ADDRESS, word(NUMBER - 1)),
            (HISTORY_STORAGE_ADDRESS, word(NUMBER - 2)),
            (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, Bytes::from(vec![7; 56])),
            (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, Bytes::new()),
            (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, Bytes::from(vec![9; 96])),
        ];
        let (address, input) = self.pick(&calls);
        Target::Call(address, input)
    }

    fn access_list(&mut self) -> Vec<(Address, Vec<u64>)> {
        let count = self.random.random_range(1..=3);
        (0..count).map(|_| (self.anybody(), vec![self.slot(), self.slot()])).collect()
    }
}
