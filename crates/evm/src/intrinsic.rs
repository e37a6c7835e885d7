//! What a transaction costs before anything runs, where it brings much calldata.
//!
//! revm counts the zero bytes of calldata one by one. Of a transaction that brings a contract of fifty kilobytes that is a tenth
//! of all the time that it takes; here they are counted many at a time. Prices are revm's own.

use revm::{
    context::{Cfg, CfgEnv, Transaction, TransactionType, TxEnv, result::InvalidTransaction},
    context_interface::cfg::GasParams,
    interpreter::InitialAndFloorGas,
    primitives::hardfork::SpecId,
};

/// Bytes of calldata from which on it is worth counting them here.
const LEAST_BYTES: usize = 512;

/// The intrinsic gas of a transaction with much calldata, and the floor of what it pays (EIP-7623), which it must be able to pay
/// for. `None` where there is little, and from Amsterdam on, where revm has more to check.
///
/// # Errors
/// When the transaction's gas limit is below either of them.
pub(crate) fn of_long_calldata(tx: &TxEnv, cfg: &CfgEnv) -> Option<Result<InitialAndFloorGas, InvalidTransaction>> {
    let is_later = cfg.is_amsterdam_eip2780_enabled() || cfg.is_amsterdam_eip8037_enabled();
    if tx.data.len() < LEAST_BYTES || is_later {
        return None;
    }
    let mut gas = gas(tx, cfg.gas_params());
    if cfg.is_eip7623_disabled() {
        gas.set_floor_gas(0);
    }
    let (initial, floor, limit) = (gas.initial_total_gas(), gas.floor_gas(), tx.gas_limit);
    Some(if initial > limit {
        Err(InvalidTransaction::CallGasCostMoreThanGasLimit { gas_limit: limit, initial_gas: initial })
    } else if cfg.spec.is_enabled_in(SpecId::PRAGUE) && floor > limit {
        Err(InvalidTransaction::GasFloorMoreThanGasLimit { gas_limit: limit, gas_floor: floor })
    } else {
        Ok(gas)
    })
}

/// What revm charges for the same transaction without calldata, and for the calldata besides.
fn gas(tx: &TxEnv, prices: &GasParams) -> InitialAndFloorGas {
    let lists = if tx.tx_type() == TransactionType::Legacy { &[][..] } else { &tx.access_list.0[..] };
    let slots = lists.iter().map(|item| item.storage_keys.len() as u64).sum();
    let is_create = tx.kind.is_create();
    let bare =
        prices.initial_tx_gas(&[], is_create, lists.len() as u64, slots, tx.authorization_list_len() as u64, None);
    let (bytes, zeros) = (tx.data.len() as u64, zero_bytes(&tx.data));
    let heavy = prices.tx_token_non_zero_byte_multiplier();
    let tokens = zeros + (bytes - zeros) * heavy;
    let floor_tokens = if prices.tx_floor_token_zero_byte_multiplier() == heavy { bytes * heavy } else { tokens };
    let init_code = if is_create { prices.tx_initcode_cost(tx.data.len()) } else { 0 };
    InitialAndFloorGas::default()
        .with_initial_regular_gas(bare.initial_regular_gas + tokens * prices.tx_token_cost() + init_code)
        .with_floor_gas(bare.floor_gas() + floor_tokens * prices.tx_floor_cost_per_token())
}

/// How many of the bytes are zero.
fn zero_bytes(bytes: &[u8]) -> u64 {
    // As many as a byte can count.
    let in_chunk = |chunk: &[u8]| u64::from(chunk.iter().map(|byte| u8::from(*byte == 0)).sum::<u8>());
    bytes.chunks(usize::from(u8::MAX)).map(in_chunk).sum()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, TxKind, U256};
    use proptest::{collection::vec, prelude::*};
    use revm::{
        context_interface::{
            either::Either,
            transaction::{AccessList, AccessListItem, Authorization, RecoveredAuthority, RecoveredAuthorization},
        },
        handler::validation::validate_initial_tx_gas_with_gas_params,
    };

    use super::*;

    const FORKS: [SpecId; 9] = [
        SpecId::FRONTIER,
        SpecId::HOMESTEAD,
        SpecId::ISTANBUL,
        SpecId::BERLIN,
        SpecId::LONDON,
        SpecId::SHANGHAI,
        SpecId::CANCUN,
        SpecId::PRAGUE,
        SpecId::OSAKA,
    ];

    fn nobodys() -> RecoveredAuthorization {
        let inner = Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 0 };
        RecoveredAuthorization::new_unchecked(inner, RecoveredAuthority::Invalid)
    }

    fn transactions() -> impl Strategy<Value = TxEnv> {
        let byte = prop_oneof![Just(0), any::<u8>()];
        let lists = vec(0..3_usize, 0..3);
        (vec(byte, LEAST_BYTES..2_000), any::<bool>(), 0..5_u8, lists, 20_000..120_000_u64).prop_map(
            |(data, is_create, tx_type, lists, gas_limit)| {
                let item = |slots| AccessListItem { address: Address::ZERO, storage_keys: vec![B256::ZERO; slots] };
                TxEnv {
                    tx_type,
                    gas_limit,
                    kind: if is_create { TxKind::Create } else { TxKind::Call(Address::ZERO) },
                    data: data.into(),
                    access_list: AccessList(lists.into_iter().map(item).collect()),
                    authorization_list: (0..tx_type / 4).map(|_| Either::Right(nobodys())).collect(),
                    ..TxEnv::default()
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn long_calldata_costs_what_revm_says(tx in transactions()) {
            for spec in FORKS {
                let cfg = CfgEnv::new_with_spec(spec);
                let revms = validate_initial_tx_gas_with_gas_params(
                    &tx, spec, cfg.gas_params(), cfg.is_eip7623_disabled(), false, cfg.tx_gas_limit_cap(), None,
                );
                prop_assert_eq!(of_long_calldata(&tx, &cfg), Some(revms), "{:?}", spec);
            }
        }

        #[test]
        fn zero_bytes_are_counted(bytes in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..2_000)) {
            prop_assert_eq!(zero_bytes(&bytes), bytes.iter().filter(|byte| **byte == 0).count() as u64);
        }
    }

    #[test]
    fn little_calldata_and_later_forks_are_left_to_revm() {
        let tx = |len| TxEnv { data: vec![1; len].into(), gas_limit: 1 << 24, ..TxEnv::default() };
        let cfg = CfgEnv::new_with_spec(SpecId::OSAKA);
        assert_eq!(of_long_calldata(&tx(LEAST_BYTES - 1), &cfg), None);
        assert!(of_long_calldata(&tx(LEAST_BYTES), &cfg).is_some());
        assert_eq!(of_long_calldata(&tx(LEAST_BYTES), &CfgEnv::new_with_spec(SpecId::AMSTERDAM)), None);
    }
}
