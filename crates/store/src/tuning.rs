//! Every RocksDB knob, and what it costs.
//!
//! Memory is bounded by what [`StoreOptions`] states: the block cache, which holds index and filter blocks too and is
//! shared by all column families, and the memtables. Keys begin with hashes, so neighbours have nothing in common and
//! reads are point look-ups without locality; that decides most of what follows.

use std::num::NonZeroU32;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, DataBlockIndexType, LogLevel,
    Options, ReadOptions, SliceTransform, WriteOptions,
};

use crate::layout::{Column, STORAGE_PREFIX_LENGTH};

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// What a power cut may cost.
    pub durability: Durability,
    /// How many blocks back the store can be unwound: so many of the latest blocks leave behind what they overwrote,
    /// about 100 bytes for each account or slot that they changed. With 0, none.
    pub changesets_kept: u64,
    /// Size of the block cache in bytes: data, index and filter blocks of all column families.
    pub cache_bytes: usize,
    /// Size of the cache of trie nodes in bytes: those of the head's state that the latest blocks changed or passed. They
    /// are neither looked up nor hashed again.
    pub node_cache_bytes: usize,
    /// Total size of the memtables in bytes: what is committed and not yet in sorted files. The write-ahead log, and
    /// with it the time to open after a crash, grows with it.
    pub memtable_bytes: usize,
    /// Most bytes that flushes and compactions may write in a second, so that commits need not wait for the disk behind
    /// them.
    pub compaction_bytes_per_second: u64,
}

impl Default for StoreOptions {
    /// Every block synced, 1,024 blocks back, 256 MiB of cache, 64 MiB of trie nodes, 64 MiB of memtables, 256 MiB of
    /// compaction a second.
    fn default() -> Self {
        Self {
            durability: Durability::EveryBlock,
            changesets_kept: 1024,
            cache_bytes: 256 << 20,
            node_cache_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
            compaction_bytes_per_second: 256 << 20,
        }
    }
}

/// When a committed block is safe from a power cut.
///
/// A crash or a kill of the process alone loses nothing in any case, and whatever happens, the store reopens with
/// the state of exactly one block: blocks are lost whole and from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Each block is on the disk when its commit returns: a power cut costs nothing that was committed. Each commit
    /// waits for the disk once.
    #[default]
    EveryBlock,
    /// Every so many blocks a commit waits for the disk, for its own block and those before it: a power cut costs the
    /// blocks since then, one fewer than this number at most.
    EveryBlocks(NonZeroU32),
    /// The operating system writes when it sees fit: a power cut costs the latest blocks, usually those of the last
    /// half minute. [`Store::sync`](crate::Store::sync) makes everything so far safe.
    OperatingSystem,
}

impl Durability {
    /// Whether the next commit waits for the disk, when so many blocks were committed since one did.
    pub(crate) fn syncs_after(self, unsynced: u32) -> bool {
        match self {
            Self::EveryBlock => true,
            Self::EveryBlocks(blocks) => unsynced.saturating_add(1) >= blocks.get(),
            Self::OperatingSystem => false,
        }
    }
}

/// Options of the database as a whole.
pub(crate) fn database_options(options: &StoreOptions) -> Options {
    // Each log says how far the one before it goes. Without it, where a power cut keeps a log's beginning and not the end
    // of its predecessor, both unsynced, the blocks of the one would be replayed without those of the other. The bindings
    // have no function for this option.
    let verified = "track_and_verify_wals=true";
    let verifying = Options::default().get_options_from_string(verified).expect("RocksDB knows the option");
    filled(verifying, options)
}

/// The same for a database whose creation was interrupted before it had a log to verify.
pub(crate) fn creation_options(options: &StoreOptions) -> Options {
    filled(Options::default(), options)
}

fn filled(mut database: Options, options: &StoreOptions) -> Options {
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_db_write_buffer_size(options.memtable_bytes);
    // A family that is seldom written (code, head) keeps the log from being dropped until it is flushed.
    database.set_max_total_wal_size(2 * options.memtable_bytes as u64);
    // Replays the log up to the first record that is not whole, which is where a power cut leaves it.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A log that went missing is found at open.
    database.set_track_and_verify_wals_in_manifest(true);
    // Bursts of compaction would make commits wait: reads and the log share the disk with it.
    database.set_ratelimiter(options.compaction_bytes_per_second.clamp(1, i64::MAX as u64) as i64, 100_000, 10);
    // Bounds file handles, and keeps open from touching every file of a large store.
    database.set_max_open_files(512);
    database.set_log_level(LogLevel::Warn);
    database.set_keep_log_file_num(2);
    database.set_stats_dump_period_sec(0);
    database
}

/// Options to look into a database that may be another's, without writing to it.
pub(crate) fn look_options() -> Options {
    let mut look = Options::default();
    // Without it RocksDB wants to drop the tracked logs from its list, and has nowhere to write that when it only reads:
    // it dereferences a null pointer (11.8).
    look.set_track_and_verify_wals_in_manifest(true);
    look
}

/// The column families with their options, around one cache.
pub(crate) fn column_descriptors(options: &StoreOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
    Column::ALL
        .iter()
        .map(|column| ColumnFamilyDescriptor::new(column.name(), column_options(*column, &cache)))
        .collect()
}

/// Options of a file with a sorted run of one family.
pub(crate) fn run_options(column: Column) -> Options {
    column_options(column, &Cache::new_lru_cache(0))
}

fn column_options(column: Column, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Since version 6 a block's checksum covers its place, so that a block in the wrong place is found too.
    table.set_format_version(6);

    let mut family = Options::default();
    match column {
        Column::Accounts | Column::Incarnations | Column::Storage => {
            // Absent accounts and slots are asked for all the time; a filter answers without touching the data.
            table.set_ribbon_filter(10.0);
            table.set_whole_key_filtering(true);
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            table.set_block_size(4 << 10);
            // Hashes do not compress, and values are short.
            family.set_compression_type(DBCompressionType::None);
            // The same for memtables, where a miss would cost a search through a skip list.
            family.set_memtable_whole_key_filtering(true);
            family.set_memtable_prefix_bloom_ratio(0.02);
        }
        Column::AccountNodes | Column::StorageNodes => {
            // A node is asked for only where its parent says that there is one: filters lead past the upper levels, and
            // at the last one they would never say no.
            table.set_ribbon_filter(10.0);
            family.set_optimize_filters_for_hits(true);
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            table.set_block_size(4 << 10);
            family.set_compression_type(DBCompressionType::None);
        }
        Column::Code => {
            table.set_block_size(16 << 10);
            family.set_compression_type(DBCompressionType::Lz4);
        }
        Column::Blocks | Column::Changesets | Column::Cleared | Column::BlockHashes | Column::Head => {
            family.set_compression_type(DBCompressionType::Lz4);
        }
    }
    if matches!(column, Column::Storage | Column::StorageNodes) {
        // Lets a scan end with its account, and the filters of slots answer whether an account has any at all.
        family.set_prefix_extractor(SliceTransform::create_fixed_prefix(STORAGE_PREFIX_LENGTH));
    }
    family.set_block_based_table_factory(&table);
    family
}

/// How a batch is written: synced or not, and whether it waits where RocksDB has to catch up.
pub(crate) fn write_options(sync: bool, waits: bool) -> WriteOptions {
    let mut write = WriteOptions::default();
    write.set_sync(sync);
    write.set_no_slowdown(!waits);
    write
}

/// How keys with one prefix are looked through, for a column family with prefixes.
///
/// A [`scan`] over several prefixes is another matter: the filters would hide keys from it.
pub(crate) fn prefix_read() -> ReadOptions {
    let mut read = ReadOptions::default();
    read.set_prefix_same_as_start(true);
    read
}

/// How all keys of a column family are looked through, in order, once: what is read need not displace what is cached.
pub(crate) fn scan() -> ReadOptions {
    let mut read = ReadOptions::default();
    read.set_total_order_seek(true);
    read.fill_cache(false);
    read
}
