//! What the process says about its work when it ends.

use std::process::ExitCode;

/// The exit status. Where several apply the greatest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// Everything that was asked for was done, and every block verified.
    #[default]
    Verified,
    /// A block did not verify: its outcome is not the oracle's or not what its header claims, or it is invalid.
    Mismatch,
    /// Something that was given cannot be used: an argument, a file, a directory.
    Input,
    /// The user ended the run.
    Interrupted,
    /// Whoever reads the output has had enough.
    OutputClosed,
}

impl Status {
    /// Takes another result into account.
    pub(crate) fn add(&mut self, other: Self) {
        *self = (*self).max(other);
    }

    /// The number that the process exits with. An end by a signal is reported as shells report it: 128 and its number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Mismatch => 1,
            Self::Input => 2,
            Self::Interrupted => 130,
            Self::OutputClosed => 141,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined(statuses: &[Status]) -> u8 {
        let mut all = Status::default();
        statuses.iter().for_each(|status| all.add(*status));
        all.code()
    }

    #[test]
    fn two_wins_over_one_and_one_over_zero() {
        assert_eq!(combined(&[]), 0);
        assert_eq!(combined(&[Status::Verified, Status::Mismatch, Status::Verified]), 1);
        assert_eq!(combined(&[Status::Input, Status::Mismatch]), 2);
        assert_eq!(combined(&[Status::Mismatch, Status::Input, Status::Verified]), 2);
    }
}
