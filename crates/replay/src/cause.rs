//! Words for what the engine says of aborts and locations, the same wherever they are shown.

use ropewalk_block::{AbortCause, Fields, field};

/// Names of the fields in a set, the lowest bit first.
pub(crate) fn field_names(fields: Fields) -> Vec<&'static str> {
    let named = field::NAMES.into_iter().enumerate();
    named.filter(|(bit, _)| fields >> bit & 1 == 1).map(|(_, name)| name).collect()
}

/// One word for why an attempt came to nothing.
pub(crate) fn cause_name(cause: AbortCause) -> &'static str {
    match cause {
        AbortCause::Invalid(_) => "invalid",
        AbortCause::Dependency(_) => "dependency",
        AbortCause::Fault => "fault",
        AbortCause::Panic => "panic",
        AbortCause::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_from_the_lowest_bit() {
        assert_eq!(field_names(field::SLOT | field::BALANCE), ["balance", "slot"]);
        assert_eq!(field_names(0), [""; 0]);
    }
}
