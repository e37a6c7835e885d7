//! When blocks are safe from a power cut, as it is written on the command line.

use std::{num::NonZeroU32, str::FromStr};

use ropewalk_store::Durability;

/// `block`, a number of blocks, or `os`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DurabilityArgument(pub Durability);

impl FromStr for DurabilityArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "block" => Ok(Self(Durability::EveryBlock)),
            "os" => Ok(Self(Durability::OperatingSystem)),
            number => match number.parse::<NonZeroU32>() {
                Ok(blocks) => Ok(Self(Durability::EveryBlocks(blocks))),
                Err(_) => Err("expected block, os, or a number of blocks above zero".to_owned()),
            },
        }
    }
}
