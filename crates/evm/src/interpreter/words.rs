//! A frame's stack while instructions are run in line.
//!
//! A vector keeps its length in memory, where every instruction would have to look for it, and copies a word two limbs at a
//! time. Most words were written limb by limb a moment ago, and a processor cannot read two limbs at once that are still on
//! their way to its cache: it waits until they are there.
//!
//! - W1 Words below the depth are initialised.
//! - W2 The depth is never more than the words that there is room for.

use std::ptr::{read_volatile, write_volatile};

use alloy_primitives::U256;

/// The words of a stack.
pub(super) struct Words<'a> {
    /// Knows its depth again when it is [closed](Self::close).
    stack: &'a mut Vec<U256>,
    bottom: *mut u64,
    depth: usize,
    most: usize,
}

/// Limbs of a word.
const LIMBS: usize = 4;

impl<'a> Words<'a> {
    /// The words of a stack, with room for `most`. `None` where the stack has not.
    pub(super) fn of(stack: &'a mut Vec<U256>, most: usize) -> Option<Self> {
        if stack.capacity() < most || stack.len() > most {
            return None;
        }
        Some(Self { bottom: stack.as_mut_ptr().cast(), depth: stack.len(), most, stack })
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn is_full(&self) -> bool {
        self.depth >= self.most
    }

    /// The word so many below the topmost.
    #[inline(always)]
    pub(super) fn get(&self, below: usize) -> U256 {
        assert!(below < self.depth, "a word of the stack");
        self.read(self.depth - 1 - below)
    }

    /// Changes the word so many below the topmost.
    #[inline(always)]
    pub(super) fn set(&mut self, below: usize, word: U256) {
        assert!(below < self.depth, "a word of the stack");
        self.write(self.depth - 1 - below, word);
    }

    /// Puts a word on top.
    #[inline(always)]
    pub(super) fn push(&mut self, word: U256) {
        assert!(!self.is_full(), "room on the stack");
        self.write(self.depth, word);
        self.depth += 1;
    }

    /// Takes so many words away.
    #[inline(always)]
    pub(super) fn pop(&mut self, words: usize) {
        assert!(words <= self.depth, "words of the stack");
        self.depth -= words;
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "copied limb by limb, a plain instruction takes two thirds of the time")]
    fn read(&self, at: usize) -> U256 {
        // SAFETY: the callers see to it that the word is below the depth, so it is initialised and inside the
        // stack (W1, W2), which nobody else looks at meanwhile.
        let limb = |limb| unsafe { read_volatile(self.bottom.add(LIMBS * at + limb)) };
        U256::from_limbs([limb(0), limb(1), limb(2), limb(3)])
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "copied limb by limb, a plain instruction takes two thirds of the time")]
    fn write(&mut self, at: usize, word: U256) {
        let [a, b, c, d] = word.into_limbs();
        // SAFETY: the callers see to it that there is room for the word (W2), and nobody else looks at it meanwhile.
        let limb = |limb, value| unsafe { write_volatile(self.bottom.add(LIMBS * at + limb), value) };
        limb(0, a);
        limb(1, b);
        limb(2, c);
        limb(3, d);
    }
    /// Tells the stack how deep it is now.
    #[expect(unsafe_code, reason = "the words were written behind the stack's back")]
    pub(super) fn close(self) {
        // SAFETY: there is room for as many (W2), and those below the depth are initialised (W1).
        unsafe { self.stack.set_len(self.depth) };
    }
}
