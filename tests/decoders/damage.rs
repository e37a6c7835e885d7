//! Bytes that were valid once.

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Bytes at which encodings change their mind: lengths of RLP and JSON's own marks.
const TELLING: [u8; 16] =
    [0x00, 0x01, 0x7f, 0x80, 0xb7, 0xb8, 0xbb, 0xbf, 0xc0, 0xf7, 0xf8, 0xfb, 0xff, b'"', b'[', b'}'];

/// The same bytes with one to four things done to them: bits flipped, lengths overwritten, pieces cut out, doubled, moved
/// or put in, the end cut off.
pub(crate) fn damaged(bytes: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..=4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.random_range(0..bytes.len());
        let end = at + random.random_range(0..=(bytes.len() - at).min(64));
        match random.random_range(0..7) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = *TELLING.choose(random).expect("not empty"),
            2 => bytes[at..end].fill(*TELLING.choose(random).expect("not empty")),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => {
                let piece: Vec<u8> = (at..end).map(|_| random.random()).collect();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Bytes that never were valid.
pub(crate) fn arbitrary(random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..400)];
    random.fill(bytes.as_mut_slice());
    bytes
}

/// JSON with one value replaced by one that its place does not expect.
pub(crate) fn misshapen(value: &Value, random: &mut ChaCha8Rng) -> Value {
    let mut value = value.clone();
    replace(&mut value, random);
    value
}

fn replace(place: &mut Value, random: &mut ChaCha8Rng) {
    let deeper = random.random_ratio(5, 6);
    match place {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let at = random.random_range(0..fields.len());
            replace(fields.values_mut().nth(at).expect("in range"), random);
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = random.random_range(0..items.len());
            replace(&mut items[at], random);
        }
        _ => *place = unexpected(random),
    }
}

fn unexpected(random: &mut ChaCha8Rng) -> Value {
    let huge = format!("0x{}", "f".repeat(random.random_range(1..200)));
    let values = [
        json!(null),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!("0x"),
        json!("0x0"),
        json!("0xffffffffffffffff"),
        json!(huge),
        json!("nonsense"),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!(true),
    ];
    values.choose(random).expect("not empty").clone()
}
