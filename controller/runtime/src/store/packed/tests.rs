//! What is packed reads as it was, whatever else is packed or dropped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;

/// Something that no two texts have by chance.
fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).unwrap())
    };
    std::iter::repeat_with(letter).take(len).collect()
}

fn family(name: u64) -> Key {
    Key::namespaced("shop", &format!("web-{name}"))
}

/// A text of some family: what all share, what the family shares, what is its own.
fn text(family: u64, edit: u64, own: u64) -> String {
    let (common, content) = (noise(1, 400), noise(family * 100 + edit, 600));
    format!(r#"{{"common":"{common}","content":"{content}","own":"{}"}}"#, noise(7_000_000 + own, 36))
}

fn read(packed: &Packed) -> String {
    String::from_utf8(packed.text().unwrap()).unwrap()
}

#[test]
fn all_but_the_first_of_a_family_cost_little_more_than_what_is_their_own() {
    let (packer, samples) = (Packer::default(), Samples::default());
    let pack = |role, text: &str| packer.pack(text.as_bytes(), role, Some(&family(2)), &samples).unwrap();
    packer.pack(text(1, 0, 0).as_bytes(), Role::Root, Some(&family(1)), &samples).unwrap();
    let root = pack(Role::Root, &text(2, 0, 0));
    assert!((600..800).contains(&root.bytes.len()), "what all share is in the sample: {root:?}");
    for own in 1..4 {
        let work = pack(Role::Lead, &text(2, 0, own));
        assert!(work.bytes.len() < 80, "{work:?}");
        assert_eq!(read(&work), text(2, 0, own));
    }
    let binding = pack(Role::Leaf, &text(2, 0, 9));
    assert!(binding.bytes.len() < 80 && binding.depth == 1, "{binding:?}");
}

#[test]
fn after_an_edit_one_leads_the_others_to_the_new_root_and_the_old_ones_go() {
    let (packer, samples) = (Packer::default(), Samples::default());
    let pack = |role, text: &str| packer.pack(text.as_bytes(), role, Some(&family(1)), &samples).unwrap();
    let old = [pack(Role::Root, &text(1, 0, 0)), pack(Role::Lead, &text(1, 0, 1)), pack(Role::Lead, &text(1, 0, 2))];
    let watched: Vec<_> = old.iter().map(Arc::downgrade).collect();
    let new: Vec<_> =
        [(Role::Root, 10), (Role::Lead, 11), (Role::Lead, 12)].map(|(role, own)| pack(role, &text(1, 1, own))).into();
    drop(old);
    assert!(watched.iter().all(|old| old.upgrade().is_none()), "nothing holds on to what was before");
    assert!(new[1].bytes.len() < 80 && new[2].bytes.len() < 80, "{new:?}");
}

#[test]
fn the_first_list_may_show_the_works_before_their_template() {
    let (packer, samples) = (Packer::default(), Samples::default());
    let pack = |role, text: &str| packer.pack(text.as_bytes(), role, Some(&family(1)), &samples).unwrap();
    let (lead, other, root) =
        (pack(Role::Lead, &text(1, 0, 1)), pack(Role::Lead, &text(1, 0, 2)), pack(Role::Root, &text(1, 0, 0)));
    assert!((lead.depth, other.depth, root.depth) == (0, 1, 1) && root.bytes.len() < 80);
    assert_eq!(read(&root), text(1, 0, 0));
}

#[test]
fn large_texts_and_those_without_a_family_are_packed_alone() {
    let (packer, samples) = (Packer::default(), Samples::default());
    let large = noise(3, LARGE + 1);
    let packed = packer.pack(large.as_bytes(), Role::Root, Some(&family(1)), &samples).unwrap();
    assert!(packed.base.is_none() && packed.sample.is_none());
    assert_eq!(read(&packed), large);
    let alone = packer.pack(text(1, 0, 0).as_bytes(), Role::Lead, None, &samples).unwrap();
    assert!(alone.base.is_none() && alone.sample.is_some());
    let empty = packer.pack(b"", Role::Leaf, Some(&family(1)), &samples).unwrap();
    assert_eq!(read(&empty), "");
}

#[test]
fn families_without_members_are_forgotten() {
    let (packer, samples) = (Packer::default(), Samples::default());
    let pack = |name| packer.pack(text(name, 0, 0).as_bytes(), Role::Root, Some(&family(name)), &samples).unwrap();
    let kept: Vec<_> = (0..10).map(pack).collect();
    (10..4 * SWEEP_AT as u64).map(pack).for_each(drop);
    assert!(packer.lock().members.len() <= SWEEP_AT, "{packer:?}");
    assert!(kept.iter().all(|packed| packed.text().is_some()));
}

#[test]
fn what_is_printed_says_nothing_of_the_content() {
    let packed = Packer::default().pack(b"hunter2", Role::Leaf, None, &Samples::default()).unwrap();
    assert_eq!(format!("{packed:?}").matches("hunter2").count(), 0);
}

proptest! {
    #[test]
    fn every_text_reads_as_it_was_in_whatever_order_they_come_and_go(
        steps in proptest::collection::vec((0..3_u64, 0..3_u8, 0..3_u64, 0..4_usize), 1..40),
    ) {
        let (packer, samples) = (Packer::default(), Samples::default());
        let mut kept: Vec<Option<(String, Arc<Packed>)>> = vec![None; 4];
        for (own, (name, role, edit, place)) in steps.into_iter().enumerate() {
            let role = [Role::Root, Role::Lead, Role::Leaf][usize::from(role)];
            let text = text(name, edit, own as u64);
            let packed = packer.pack(text.as_bytes(), role, Some(&family(name)), &samples).unwrap();
            prop_assert!(packed.depth <= 3);
            kept[place] = Some((text, packed));
            for (text, packed) in kept.iter().flatten() {
                prop_assert_eq!(&read(packed), text);
            }
        }
    }
}
