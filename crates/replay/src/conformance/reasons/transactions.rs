//! Names for what is wrong with a transaction.

use ropewalk_block::InvalidTransaction;

use super::Names;

/// A transaction whose bytes cannot be read. Rules about fields that have no encoding where they are broken (a blob
/// transaction without a recipient) are rules of reading.
pub(super) fn malformed_transaction(tx_type: Option<u8>) -> Names {
    match tx_type {
        None => &[
            "TransactionException.RLP_*",
            "TransactionException.ADDRESS_TOO_SHORT",
            "TransactionException.ADDRESS_TOO_LONG",
            "TransactionException.NONCE_OVERFLOW",
            "TransactionException.NONCE_TOO_BIG",
            "TransactionException.GASLIMIT_OVERFLOW",
            "TransactionException.VALUE_OVERFLOW",
            "TransactionException.GASPRICE_OVERFLOW",
            "TransactionException.GASLIMIT_PRICE_PRODUCT_OVERFLOW",
            "TransactionException.INVALID_SIGNATURE_VRS",
            "TransactionException.INVALID_CHAINID",
            "TransactionException.INSUFFICIENT_ACCOUNT_FUNDS",
            "InvalidVRS",
            "InvalidTransactionVRS",
            "TR_RLP_WRONGVALUE",
        ],
        Some(1) => &[
            "TransactionException.RLP_*",
            "TransactionException.TYPE_1_TX_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TransactionException.INVALID_SIGNATURE_VRS",
            "TR_TypeNotSupported",
            "TR_RLP_WRONGVALUE",
        ],
        Some(2) => &[
            "TransactionException.RLP_*",
            "TransactionException.TYPE_2_TX_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TransactionException.PRIORITY_OVERFLOW",
            "TransactionException.GASPRICE_OVERFLOW",
            "TransactionException.VALUE_OVERFLOW",
            "TransactionException.GASLIMIT_OVERFLOW",
            "TransactionException.GASLIMIT_PRICE_PRODUCT_OVERFLOW",
            "TransactionException.INSUFFICIENT_ACCOUNT_FUNDS",
            "TransactionException.INVALID_SIGNATURE_VRS",
            "TR_TypeNotSupported",
            "TR_RLP_WRONGVALUE",
        ],
        Some(3) => &[
            "TransactionException.RLP_*",
            "TransactionException.TYPE_3_TX_CONTRACT_CREATION",
            "TransactionException.TYPE_3_TX_PRE_FORK",
            "TransactionException.TYPE_3_TX_WITH_FULL_BLOBS",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TransactionException.INVALID_SIGNATURE_VRS",
            "TR_BLOBCREATE",
            "TR_TypeNotSupported",
        ],
        Some(4) => &[
            "TransactionException.RLP_*",
            "TransactionException.TYPE_4_TX_CONTRACT_CREATION",
            "TransactionException.TYPE_4_INVALID_AUTHORIZATION_FORMAT",
            "TransactionException.TYPE_4_INVALID_AUTHORITY_SIGNATURE",
            "TransactionException.TYPE_4_INVALID_AUTHORITY_SIGNATURE_S_TOO_HIGH",
            "TransactionException.TYPE_4_TX_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TransactionException.INVALID_SIGNATURE_VRS",
        ],
        Some(_) => &["TransactionException.TYPE_NOT_SUPPORTED", "TransactionException.RLP_*", "TR_TypeNotSupported"],
    }
}

/// A transaction that may not be where it is.
pub(super) fn transaction(fault: &InvalidTransaction) -> Names {
    match fault {
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => &[
            "TransactionException.PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS",
            "TransactionException.PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS_2",
            "TR_TipGtFeeCap",
        ],
        InvalidTransaction::GasPriceLessThanBasefee => &[
            "TransactionException.INSUFFICIENT_MAX_FEE_PER_GAS",
            "TR_FeeCapLessThanBlocks",
            "TR_FeeCapLessThanBlocksORNoFunds",
            "TR_FeeCapLessThanBlocksORGasLimitReached",
        ],
        InvalidTransaction::CallerGasLimitMoreThanBlock => &[
            "TransactionException.GAS_ALLOWANCE_EXCEEDED",
            "TR_GasLimitReached",
            "TR_FeeCapLessThanBlocksORGasLimitReached",
        ],
        InvalidTransaction::CallGasCostMoreThanGasLimit { .. } => &[
            "TransactionException.INTRINSIC_GAS_TOO_LOW",
            "TransactionException.INTRINSIC_GAS_BELOW_FLOOR_GAS_COST",
            "TR_IntrinsicGas",
            "IntrinsicGas",
            "TR_NoFundsOrGas",
            "intrinsic gas too low",
            "OutOfGas",
        ],
        InvalidTransaction::GasFloorMoreThanGasLimit { .. } => &[
            "TransactionException.INTRINSIC_GAS_BELOW_FLOOR_GAS_COST",
            "TransactionException.INTRINSIC_GAS_TOO_LOW",
            "TR_IntrinsicGas",
        ],
        InvalidTransaction::RejectCallerWithCode => {
            &["TransactionException.SENDER_NOT_EOA", "SenderNotEOA", "SenderNotEOAorNoCASH"]
        }
        InvalidTransaction::LackOfFundForMaxFee { .. } => &[
            "TransactionException.INSUFFICIENT_ACCOUNT_FUNDS",
            "TransactionException.GASLIMIT_PRICE_PRODUCT_OVERFLOW",
            "TR_NoFunds",
            "TR_NoFundsX",
            "TR_NoFundsOrGas",
            "TR_FeeCapLessThanBlocksORNoFunds",
            "SenderNotEOAorNoCASH",
            "Transaction without funds",
        ],
        InvalidTransaction::OverflowPaymentInTransaction => &[
            "TransactionException.GASLIMIT_PRICE_PRODUCT_OVERFLOW",
            "TransactionException.INSUFFICIENT_ACCOUNT_FUNDS",
            "GasLimitPriceProductOverflow",
            "TR_NoFunds",
            "TR_NoFundsX",
        ],
        InvalidTransaction::NonceOverflowInTransaction => &[
            "TransactionException.NONCE_IS_MAX",
            "TransactionException.NONCE_TOO_BIG",
            "TransactionException.NONCE_OVERFLOW",
            "TR_NonceHasMaxValue",
            "NonceMax",
        ],
        InvalidTransaction::NonceTooHigh { .. } => &[
            "TransactionException.NONCE_MISMATCH_TOO_HIGH",
            "TransactionException.NONCE_IS_MAX",
            "TR_NonceTooHigh",
            "TR_NonceHasMaxValue",
        ],
        InvalidTransaction::NonceTooLow { .. } => {
            &["TransactionException.NONCE_MISMATCH_TOO_LOW", "TransactionException.NONCE_IS_MAX", "TR_NonceTooLow"]
        }
        InvalidTransaction::CreateInitCodeSizeLimit => {
            &["TransactionException.INITCODE_SIZE_EXCEEDED", "TR_InitCodeLimitExceeded", "max initcode size exceeded"]
        }
        InvalidTransaction::InvalidChainId | InvalidTransaction::MissingChainId => {
            &["TransactionException.INVALID_CHAINID", "TransactionException.INVALID_SIGNATURE_VRS", "InvalidChainID"]
        }
        InvalidTransaction::TxGasLimitGreaterThanCap { .. } => {
            &["TransactionException.GAS_LIMIT_EXCEEDS_MAXIMUM", "TransactionException.GAS_ALLOWANCE_EXCEEDED"]
        }
        InvalidTransaction::AccessListNotSupported | InvalidTransaction::Eip2930NotSupported => &[
            "TransactionException.TYPE_1_TX_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TR_TypeNotSupported",
        ],
        InvalidTransaction::Eip1559NotSupported => &[
            "TransactionException.TYPE_2_TX_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TR_TypeNotSupported",
            "LegacyBlockBaseFeeTransaction",
        ],
        InvalidTransaction::MaxFeePerBlobGasNotSupported
        | InvalidTransaction::BlobVersionedHashesNotSupported
        | InvalidTransaction::Eip4844NotSupported => &[
            "TransactionException.TYPE_3_TX_PRE_FORK",
            "TransactionException.TYPE_3_TX_ZERO_BLOBS_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TR_TypeNotSupported",
            "TR_TypeNotSupportedBlob",
        ],
        InvalidTransaction::BlobGasPriceGreaterThanMax { .. } => {
            &["TransactionException.INSUFFICIENT_MAX_FEE_PER_BLOB_GAS"]
        }
        InvalidTransaction::EmptyBlobs => &["TransactionException.TYPE_3_TX_ZERO_BLOBS", "TR_EMPTYBLOB"],
        InvalidTransaction::BlobCreateTransaction => {
            &["TransactionException.TYPE_3_TX_CONTRACT_CREATION", "TR_BLOBCREATE"]
        }
        InvalidTransaction::TooManyBlobs { .. } => &[
            "TransactionException.TYPE_3_TX_BLOB_COUNT_EXCEEDED",
            "TransactionException.TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
            "TR_BLOBLIST_OVERSIZE",
        ],
        InvalidTransaction::BlobVersionNotSupported => {
            &["TransactionException.TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH", "TR_BLOBVERSION_INVALID"]
        }
        InvalidTransaction::AuthorizationListNotSupported | InvalidTransaction::Eip7702NotSupported => &[
            "TransactionException.TYPE_4_TX_PRE_FORK",
            "TransactionException.TYPE_NOT_SUPPORTED",
            "TR_TypeNotSupported",
        ],
        InvalidTransaction::EmptyAuthorizationList => &["TransactionException.TYPE_4_EMPTY_AUTHORIZATION_LIST"],
        InvalidTransaction::AuthorizationListInvalidFields => &[
            "TransactionException.TYPE_4_INVALID_AUTHORIZATION_FORMAT",
            "TransactionException.TYPE_4_TX_CONTRACT_CREATION",
        ],
        InvalidTransaction::Eip7873NotSupported
        | InvalidTransaction::Eip7873MissingTarget
        | InvalidTransaction::Str(_) => &["TransactionException.TYPE_NOT_SUPPORTED"],
    }
}
