use super::*;

#[test]
fn chunks_number_every_id_once() {
    let mut expected = (0, 0);
    for id in 0..100_000 {
        assert_eq!(chunk_of(id), expected, "id {id}");
        expected.1 += 1;
        if id as usize + 1 == first_of(expected.0 + 1) {
            expected = (expected.0 + 1, 0);
        }
    }
}

#[test]
fn the_last_id_has_a_chunk() {
    let (number, at) = chunk_of(u32::MAX);
    assert!(number < CHUNKS && first_of(number) + at == u32::MAX as usize, "chunk {number}, place {at}");
}

#[test]
fn equal_keys_get_one_id_and_different_keys_different_ids() {
    let table = Table::<u64, u8>::with_capacity(100);
    let ids: Vec<_> = (0..50_000).map(|key| table.intern(&key)).collect();
    for (key, id) in ids.iter().enumerate() {
        let key = key as u64;
        assert_eq!((table.intern(&key), table.find(&key), *table.key(*id)), (*id, Some(*id), key));
    }
    assert_eq!(table.find(&50_000), None);
    assert_eq!(table.iter().count(), 50_000);
}

/// Hashes like any other key but makes all windows collide.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Colliding(u32);

impl Hash for Colliding {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        0u8.hash(state);
    }
}

#[test]
fn keys_with_one_hash_stay_apart() {
    let table = Table::<Colliding, u8>::with_capacity(0);
    let ids: Vec<_> = (0..100).map(|key| table.intern(&Colliding(key))).collect();
    for (key, id) in ids.iter().enumerate() {
        assert_eq!(table.find(&Colliding(key as u32)), Some(*id));
    }
}

#[test]
fn racing_threads_agree_on_ids() {
    let table = Table::<u32, u8>::with_capacity(1000);
    let ids: Vec<Vec<CellId>> = std::thread::scope(|scope| {
        let handles: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..5_000).map(|key| table.intern(&key)).collect::<Vec<_>>())).collect();
        handles.into_iter().map(|handle| handle.join().expect("no thread panics")).collect()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Too many workers for each to have ids of its own.
const MANY: usize = 1_000;

#[test]
fn who_knows_a_table_finds_the_same_ids_as_everybody() {
    let table = Table::<u64, u8>::with_capacity(100);
    let mut workers = [Known::new(2), Known::new(MANY), Known::default()];
    for round in 0..3 {
        for key in 0..2_000_u64 {
            let ids = workers.each_mut().map(|known| table.intern_knowing(&key, known));
            assert_eq!(ids, [table.intern(&key); 3], "key {key} in round {round}");
            assert_eq!(table.key(ids[0]), &key);
        }
    }
    assert_eq!(table.iter().count(), 2_000);
    let largest_chunk = first_of(ALIKE_CHUNKS * 4 + 1) - first_of(ALIKE_CHUNKS * 4);
    assert!(table.len() <= 2_000 + 3 * largest_chunk, "{} ids", table.len());
}
