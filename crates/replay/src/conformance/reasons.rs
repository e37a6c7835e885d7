//! The suites' names for the reasons why a block is rejected.
//!
//! A test expects a block to be rejected under one of some names; our reason must be one that the name stands for. Most
//! names are a rule's own. Some cover several, because clients check in different orders, and the tools that wrote the
//! older suites had names for what their own clients happened to say. What each of our reasons may be called:
//!
//! | source | spelling |
//! |---|---|
//! | execution-spec-tests | `BlockException.X`, `TransactionException.X` |
//! | ethereum/tests, filled by retesteth and others before it | `InvalidGasLimit2`, `TR_NoFunds`, `RLP_...` |
//!
//! A name that no reason has is not taken for any of them.

use ropewalk_block::{
    AccessListFault, InvalidBlock, SignatureFault, SystemCallFailure, TransactionFault,
    import::{BodyFault, HeaderFault, HeaderField, ImportError, MalformedBlock, OmmerFault, OutcomeFault},
};

mod transactions;

use transactions::{malformed_transaction, transaction};

type Names = &'static [&'static str];

/// Whether a rejection for `error` is one that a test which expects `names` means. A test that names nothing is content
/// with any reason that lies in the block.
pub(super) fn is_expected(error: &ImportError, names: &[&str]) -> bool {
    if names.is_empty() {
        return is_about_the_block(error);
    }
    let ours = names_of(error);
    names.iter().any(|name| ours.iter().any(|ours| is_called(name, ours)))
}

/// A name that ends with `*` stands for all that begin like it.
fn is_called(name: &str, ours: &str) -> bool {
    match ours.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == ours,
    }
}

/// Whether the block is to blame, and not its state or this program.
fn is_about_the_block(error: &ImportError) -> bool {
    !matches!(error, ImportError::Execution(other) if other.as_invalid().is_none())
}

/// All names of a reason.
fn names_of(error: &ImportError) -> Vec<&'static str> {
    match error {
        ImportError::Malformed(fault) => malformed(fault),
        ImportError::UnknownParent { .. } => {
            vec![
                "BlockException.UNKNOWN_PARENT",
                "BlockException.UNKNOWN_PARENT_ZERO",
                "UnknownParent",
                "UnknownParent2",
            ]
        }
        ImportError::Header(fault) => header(fault).to_vec(),
        ImportError::Body(fault) => body(fault).to_vec(),
        ImportError::Ommer { fault, .. } => ommer(fault),
        ImportError::Execution(error) => error.as_invalid().map(invalid).unwrap_or_default().to_vec(),
        ImportError::Outcome(fault) => outcome(fault).to_vec(),
    }
}

/// Any bytes that are no block; the older suites have a name for each field that may be bent in each way.
const RLP: Names = &[
    "BlockException.RLP_STRUCTURES_ENCODING",
    "RLP_*",
    "OVERSIZE_RLP",
    "INPUT_UNMARSHAL_ERROR",
    "INPUT_UNMARSHAL_SIZE_ERROR",
    "INPUT_UNMARSHAL_ADDRESS_ERROR",
    "TooLong_*",
    "BLOCKHEADER_VALUE_TOOLARGE",
    "TRANSACTION_VALUE_TOOLARGE",
    "TRANSACTION_VALUE_TOOSHORT",
];

fn malformed(fault: &MalformedBlock) -> Vec<&'static str> {
    let more: Names = match fault {
        MalformedBlock::Structure(_) => &["BlockException.INCORRECT_BLOCK_FORMAT"],
        MalformedBlock::TrailingBytes { .. } => {
            &["BlockException.INCORRECT_BLOCK_FORMAT", "BlockException.RLP_WITHDRAWALS_NOT_READ"]
        }
        MalformedBlock::Header(_) => &[
            "BlockException.INCORRECT_BLOCK_FORMAT",
            "BlockException.RLP_INVALID_FIELD_OVERFLOW_64",
            "BlockException.RLP_INVALID_ADDRESS",
            "BlockException.GASLIMIT_TOO_BIG",
            "BlockException.EXTRA_DATA_TOO_BIG",
            "BlockException.INVALID_BLOCK_NUMBER",
            "InvalidDifficulty_TooLarge",
            "InvalidGasLimit3",
        ],
        MalformedBlock::Transaction { tx_type, .. } => malformed_transaction(*tx_type),
        MalformedBlock::TransactionWithBlobs { .. } => &["TransactionException.TYPE_3_TX_WITH_FULL_BLOBS"],
        MalformedBlock::Ommer { .. } => &["BlockException.INCORRECT_BLOCK_FORMAT"],
        MalformedBlock::Withdrawals(_) => &[
            "BlockException.RLP_WITHDRAWALS_NOT_READ",
            "BlockException.RLP_INVALID_FIELD_OVERFLOW_64",
            "BlockException.RLP_INVALID_ADDRESS",
            "InvalidWithdrawals",
            "WithdrawalsRLPlistInvalid",
        ],
    };
    RLP.iter().chain(more).copied().collect()
}

fn header(fault: &HeaderFault) -> Names {
    match fault {
        HeaderFault::ParentHash { .. } => &["BlockException.UNKNOWN_PARENT", "UnknownParent", "UnknownParent2"],
        HeaderFault::Number { .. } => &["BlockException.INVALID_BLOCK_NUMBER", "InvalidNumber"],
        HeaderFault::Timestamp { .. } => &[
            "BlockException.INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT",
            "InvalidTimestamp",
            "InvalidTimestampOlderParent",
            "InvalidTimestampEqualParent",
        ],
        HeaderFault::GasLimitStep { .. } => &[
            "BlockException.INVALID_GASLIMIT",
            "InvalidGasLimit",
            "InvalidGasLimit2",
            "1559BlockImportImpossible_TargetGasLow",
            "1559BlockImportImpossible_TargetGasHigh",
            "1559BlockImportImpossible_InitialGasLimitInvalid",
        ],
        HeaderFault::GasLimitRange { .. } => &[
            "BlockException.INVALID_GASLIMIT",
            "BlockException.GASLIMIT_TOO_BIG",
            "InvalidGasLimit",
            "InvalidGasLimit2",
            "InvalidGasLimit3",
        ],
        HeaderFault::GasUsedAboveLimit { .. } => &[
            "BlockException.INVALID_GAS_USED_ABOVE_LIMIT",
            "BlockException.GAS_USED_OVERFLOW",
            "BlockException.INVALID_GAS_USED",
            "TransactionException.GAS_ALLOWANCE_EXCEEDED",
            "TooMuchGasUsed",
            "TooMuchGasUsed2",
            "InvalidGasUsed",
            "InvalidGasUsed2",
            "TR_GasLimitReached",
        ],
        HeaderFault::BaseFee { .. } => &[
            "BlockException.INVALID_BASEFEE_PER_GAS",
            "1559BlockImportImpossible_BaseFeeWrong",
            "1559BlockImportImpossible_InitialBaseFeeWrong",
        ],
        HeaderFault::ExtraDataSize { .. } => &["BlockException.EXTRA_DATA_TOO_BIG", "ExtraDataTooBig"],
        HeaderFault::DaoExtraData { .. } => {
            &["BlockException.EXTRA_DATA_INVALID_DAO", "ExtraDataIncorrect", "ExtraDataIncorrectDAO"]
        }
        HeaderFault::Difficulty { .. } => &[
            "BlockException.INVALID_DIFFICULTY",
            "BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POS",
            "InvalidDifficulty",
            "InvalidDifficulty2",
            // A header in the form of proof of stake, on a chain that never leaves proof of work.
            "3675PoSBlockRejected",
        ],
        HeaderFault::WorkAfterMerge { .. } => &[
            "BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POW",
            "BlockException.IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS",
            "BlockException.IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS",
            "BlockException.INVALID_DIFFICULTY",
            "3675PoWBlockRejected",
            "3675PreParis1559BlockRejected",
            "PostParisDifficultyIsNot0",
            "InvalidDifficulty",
        ],
        HeaderFault::StakeBeforeMerge { .. } => &[
            "BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POS",
            "BlockException.INVALID_DIFFICULTY",
            "3675PoSBlockRejected",
            "InvalidDifficulty",
        ],
        HeaderFault::Nonce { .. } => &[
            "BlockException.INCORRECT_BLOCK_FORMAT",
            "BlockException.IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS",
            "3675PreParis1559BlockRejected",
            "3675PoWBlockRejected",
        ],
        HeaderFault::OmmersAfterMerge { .. } => &[
            "BlockException.IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS",
            "BlockException.IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS",
            "BlockException.INVALID_UNCLES_HASH",
            "3675PreParis1559BlockRejected",
            "PostParisUncleHashIsNotEmpty",
            "InvalidUnclesHash",
        ],
        HeaderFault::MissingField(field) => missing_field(*field),
        HeaderFault::UnexpectedField(_) => &[
            "BlockException.INCORRECT_BLOCK_FORMAT",
            "BlockException.IMPORT_IMPOSSIBLE_LONDON_WRONG_PARENT",
            "BlockException.IMPORT_IMPOSSIBLE_SHANGHAI",
            "1559BlockImportImpossible_HeaderIsLegacy",
            "BlockException.IMPORT_IMPOSSIBLE_LEGACY",
            "ShanghaiBlockImportImpossible",
            "3675PreMerge1559BlockRejected",
        ],
        HeaderFault::BlobGasNotWhole { .. } => &[
            "BlockException.INCORRECT_BLOB_GAS_USED",
            "BlockException.BLOB_GAS_USED_ABOVE_LIMIT",
            "BlockException.INCORRECT_BLOCK_FORMAT",
        ],
        HeaderFault::BlobGasAboveLimit { .. } => &[
            "BlockException.BLOB_GAS_USED_ABOVE_LIMIT",
            "BlockException.INCORRECT_BLOB_GAS_USED",
            "TransactionException.TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
            "TransactionException.TYPE_3_TX_BLOB_COUNT_EXCEEDED",
            "TR_BLOBLIST_OVERSIZE",
        ],
        HeaderFault::ExcessBlobGas { .. } => &["BlockException.INCORRECT_EXCESS_BLOB_GAS"],
    }
}

/// A field is missing in a header of the fork before the one that holds.
fn missing_field(field: HeaderField) -> Names {
    match field {
        HeaderField::BaseFee => &[
            "BlockException.INCORRECT_BLOCK_FORMAT",
            "BlockException.IMPORT_IMPOSSIBLE_LEGACY",
            "BlockException.IMPORT_IMPOSSIBLE_LEGACY_WRONG_PARENT",
            "LegacyBlockImportImpossible",
            "LegacyBlockImportImpossible2",
            "BlockException.IMPORT_IMPOSSIBLE_LONDON_WRONG_PARENT",
            "1559BlockImportImpossible_HeaderIsLegacy",
            "3675PreParis1559BlockRejected",
            "3675PoWBlockRejected",
        ],
        HeaderField::WithdrawalsRoot => &[
            "BlockException.INCORRECT_BLOCK_FORMAT",
            "BlockException.IMPORT_IMPOSSIBLE_PARIS_OVER_SHANGHAI",
            "MergeBlockImportImpossible",
            "ParisBlockImportImpossible",
        ],
        _ => &["BlockException.INCORRECT_BLOCK_FORMAT"],
    }
}

fn body(fault: &BodyFault) -> Names {
    match fault {
        BodyFault::TransactionsRoot { .. } => &[
            "BlockException.INVALID_TRANSACTIONS_ROOT",
            "BlockException.INVALID_BLOCK_HASH",
            "InvalidTransactionsRoot",
        ],
        BodyFault::OmmersHash { .. } => &["BlockException.INVALID_UNCLES_HASH", "InvalidUnclesHash"],
        BodyFault::WithdrawalsRoot { .. } => {
            &["BlockException.INVALID_WITHDRAWALS_ROOT", "BlockException.INVALID_BLOCK_HASH", "InvalidWithdrawals"]
        }
        BodyFault::MissingWithdrawals | BodyFault::UnexpectedWithdrawals => &[
            "BlockException.INCORRECT_BLOCK_FORMAT",
            "BlockException.RLP_STRUCTURES_ENCODING",
            "BlockException.RLP_WITHDRAWALS_NOT_READ",
            "InvalidWithdrawals",
        ],
        BodyFault::BlobGasUsed { .. } => {
            &["BlockException.INCORRECT_BLOB_GAS_USED", "BlockException.BLOB_GAS_USED_ABOVE_LIMIT"]
        }
        BodyFault::Size { .. } => &["BlockException.RLP_BLOCK_LIMIT_EXCEEDED"],
        BodyFault::TooManyOmmers { .. } => &["BlockException.TOO_MANY_UNCLES", "TooManyUncles"],
    }
}

fn ommer(fault: &OmmerFault) -> Vec<&'static str> {
    let names: Names = match fault {
        OmmerFault::Duplicate { .. } | OmmerFault::Ancestor { .. } => &[
            "BlockException.UNCLE_IN_CHAIN",
            "BlockException.UNCLE_IS_ANCESTOR",
            "BlockException.UNCLE_IS_BROTHER",
            "UncleInChain",
            "UncleIsAncestor",
            "UncleIsBrother",
        ],
        OmmerFault::Sibling { .. } => &[
            "BlockException.UNCLE_IS_BROTHER",
            "BlockException.UNCLE_PARENT_INCORRECT",
            "UncleIsBrother",
            "UncleParentIsNotAncestor",
        ],
        OmmerFault::UnknownParent { .. } => &[
            "BlockException.UNCLE_UNKNOWN_PARENT",
            "BlockException.UNCLE_PARENT_INCORRECT",
            "InvalidUncleParentHash",
            "UncleParentIsNotAncestor",
            "UnknownParent",
            "UnknownParent2",
        ],
        OmmerFault::Header(fault) => {
            let own: Names = &["UncleParentIsNotAncestor", "BlockException.UNCLE_PARENT_INCORRECT"];
            // An ommer's number is found wrong as an age is found wrong.
            let more = if matches!(fault, HeaderFault::Number { .. }) { own } else { &[] };
            return header(fault).iter().chain(more).copied().collect();
        }
    };
    names.to_vec()
}

fn invalid(rule: &InvalidBlock) -> Names {
    match rule {
        InvalidBlock::Signature { fault, .. } => signature(*fault),
        InvalidBlock::Transaction { fault, .. } => match fault {
            TransactionFault::Invalid(fault) => transaction(fault),
            TransactionFault::BlockGas { .. } => &[
                "TransactionException.GAS_ALLOWANCE_EXCEEDED",
                "BlockException.GAS_USED_OVERFLOW",
                "TR_GasLimitReached",
                "TR_FeeCapLessThanBlocksORGasLimitReached",
                "TooMuchGasUsed",
                "TooMuchGasUsed2",
            ],
            TransactionFault::BlobGas { .. } => &[
                "TransactionException.TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
                "BlockException.BLOB_GAS_USED_ABOVE_LIMIT",
                "TransactionException.TYPE_3_TX_BLOB_COUNT_EXCEEDED",
                "TR_BLOBLIST_OVERSIZE",
            ],
        },
        InvalidBlock::SystemCall { failure: SystemCallFailure::Missing, .. } => {
            &["BlockException.SYSTEM_CONTRACT_EMPTY"]
        }
        InvalidBlock::SystemCall { .. } => &["BlockException.SYSTEM_CONTRACT_CALL_FAILED"],
        InvalidBlock::Deposit { .. } => &["BlockException.INVALID_DEPOSIT_EVENT_LAYOUT"],
        InvalidBlock::OmmerDepth { .. } => &["BlockException.UNCLE_PARENT_INCORRECT", "UncleParentIsNotAncestor"],
        InvalidBlock::Header(_)
        | InvalidBlock::MissingParentBeaconRoot
        | InvalidBlock::GenesisParentBeaconRoot { .. } => &["BlockException.INCORRECT_BLOCK_FORMAT"],
        InvalidBlock::AccessList(fault) => access_list(fault),
        InvalidBlock::SenderCount { .. } => &[],
    }
}

fn access_list(fault: &AccessListFault) -> Names {
    match fault {
        AccessListFault::Hash { .. } => {
            &["BlockException.INVALID_BAL_HASH", "BlockException.INVALID_BLOCK_ACCESS_LIST"]
        }
        AccessListFault::Malformed(_) => {
            &["BlockException.INCORRECT_BLOCK_FORMAT", "BlockException.INVALID_BLOCK_ACCESS_LIST"]
        }
        AccessListFault::GasLimit(_) | AccessListFault::TooManyItems { .. } => {
            &["BlockException.BLOCK_ACCESS_LIST_GAS_LIMIT_EXCEEDED"]
        }
        _ => &["BlockException.INVALID_BLOCK_ACCESS_LIST"],
    }
}

fn signature(fault: SignatureFault) -> Names {
    match fault {
        SignatureFault::Unrecoverable | SignatureFault::HighS => &[
            "TransactionException.INVALID_SIGNATURE_VRS",
            "TransactionException.EC_RECOVERY_FAIL",
            "InvalidVRS",
            "InvalidTransactionVRS",
            "ECRecoveryFail",
        ],
        SignatureFault::ReplayProtected => &[
            "TransactionException.INVALID_CHAINID",
            "TransactionException.INVALID_SIGNATURE_VRS",
            "InvalidVRS",
            "InvalidTransactionVRS",
            "InvalidChainID",
        ],
    }
}

fn outcome(fault: &OutcomeFault) -> Names {
    match fault {
        OutcomeFault::GasUsed { .. } => {
            &["BlockException.INVALID_GAS_USED", "InvalidGasUsed", "InvalidGasUsed2", "TooMuchGasUsed2"]
        }
        OutcomeFault::ReceiptsRoot { .. } => {
            &["BlockException.INVALID_RECEIPTS_ROOT", "InvalidReceiptsStateRoot", "InvalidReceiptsRoot"]
        }
        OutcomeFault::LogsBloom { .. } => &["BlockException.INVALID_LOG_BLOOM", "InvalidLogBloom"],
        OutcomeFault::RequestsHash { .. } => &["BlockException.INVALID_REQUESTS"],
        OutcomeFault::BlobGasUsed { .. } => &["BlockException.INCORRECT_BLOB_GAS_USED"],
        OutcomeFault::AccessListHash { .. } => &[
            "BlockException.INVALID_BLOCK_ACCESS_LIST",
            "BlockException.INVALID_BAL_HASH",
            "BlockException.INVALID_BLOCK_HASH",
        ],
        OutcomeFault::StateRoot { .. } => &["BlockException.INVALID_STATE_ROOT", "InvalidStateRoot"],
    }
}
