//! Generated blocks to measure, in a directory that goes when they are measured.

use std::io;

use tempfile::TempDir;

use crate::{
    arguments::BenchArguments,
    fixture::{WriteError, write_chain},
    generate::{GenerateOptions, Generator, Workload},
};

/// Why there is nothing to measure.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoWorkload {
    /// There is no room for it.
    #[error("cannot make a directory for generated blocks in {}", std::env::temp_dir().display())]
    Directory(#[source] io::Error),
    /// The arguments make no blocks.
    #[error("cannot generate {workload:?} blocks")]
    Blocks {
        workload: Workload,
        #[source]
        source: WriteError,
    },
}

/// Generates the blocks that the arguments describe.
pub(super) fn generate(workload: Workload, arguments: &BenchArguments) -> Result<TempDir, NoWorkload> {
    let &BenchArguments { seed, blocks, txs, hot, depth, link, .. } = arguments;
    let options = GenerateOptions { workload, seed, blocks, txs, hot, depth, link };
    let root = tempfile::tempdir().map_err(NoWorkload::Directory)?;
    let generator = Generator::new(options).map_err(WriteError::from);
    // Blocks are named after their directory.
    let name = format!("{workload:?}").to_lowercase();
    let written = generator.and_then(|generator| write_chain(generator, &root.path().join(name), |_| {}));
    written.map(|()| root).map_err(|source| NoWorkload::Blocks { workload, source })
}
