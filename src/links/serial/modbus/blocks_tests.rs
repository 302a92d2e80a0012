//! Registers grouped and read, whatever they are.

use proptest::prelude::*;

use super::*;

fn register(function: RegisterFunction, address: u16, kind: RegisterKind) -> RegisterSection {
    RegisterSection {
        name: format!("r{address}"),
        function,
        address,
        kind: Some(kind),
        words: WordOrder::Big,
        scale: 1.0,
        unit: None,
        door_closed: None,
        held_open_s: None,
    }
}

/// The value that a register alone has, written in these words.
fn read(register: &RegisterSection, words: &[u16]) -> Option<Value> {
    let blocks = group(std::slice::from_ref(register), |_| true);
    blocks[0].value(register, &Contents::Words(words.to_vec()))
}

#[test]
fn neighbours_are_one_request_and_strangers_another() {
    use RegisterFunction::{Coil, Discrete, Holding, Input};
    use RegisterKind::{Bool, F32, U16};
    let registers = [
        register(Input, 1, U16),
        register(Holding, 5, U16),
        register(Input, 2, F32),
        register(Input, 30, U16),
        register(Coil, 0, Bool),
        register(Discrete, 1, Bool),
        register(Coil, 60, Bool),
        register(Input, 12, U16),
    ];
    let blocks = group(&registers, |_| true);
    let shown: Vec<_> = blocks
        .iter()
        .map(|b| (b.function, b.start, b.count, b.registers.clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (Coil, 0, 61, vec![4, 6]),
            (Discrete, 1, 1, vec![5]),
            (Holding, 5, 1, vec![1]),
            (Input, 1, 12, vec![0, 2, 7]),
            (Input, 30, 1, vec![3]),
        ]
    );
    let alone: Vec<_> = blocks[3].split(&registers);
    let alone: Vec<_> = alone.iter().map(|b| (b.start, b.count)).collect();
    assert_eq!(alone, [(1, 1), (2, 2), (12, 1)]);
    assert_eq!(blocks[4].split(&registers), []);
}

#[test]
fn numbers_are_what_people_write() {
    let with = |kind, scale, words: WordOrder| RegisterSection {
        scale,
        words,
        ..register(RegisterFunction::Input, 7, kind)
    };
    use RegisterKind::{F32, I16, I32, U16, U32};
    use WordOrder::{Big, Little};
    assert_eq!(
        read(&with(U16, 1.0, Big), &[65_535]),
        Some(65_535_u32.into())
    );
    assert_eq!(read(&with(I16, 1.0, Big), &[65_535]), Some(Value::Int(-1)));
    assert_eq!(read(&with(I16, 0.1, Big), &[3]), Some(Value::Float(0.3)));
    assert_eq!(
        read(&with(I16, 0.1, Big), &[0xff85]),
        Some(Value::Float(-12.3))
    );
    assert_eq!(read(&with(U16, 2.5, Big), &[3]), Some(Value::Float(7.5)));
    assert_eq!(
        read(&with(U32, 1.0, Big), &[1, 2]),
        Some(Value::Int(0x0001_0002))
    );
    assert_eq!(
        read(&with(U32, 1.0, Little), &[1, 2]),
        Some(Value::Int(0x0002_0001))
    );
    assert_eq!(
        read(&with(I32, 1.0, Big), &[0xffff, 0xfffe]),
        Some(Value::Int(-2))
    );
    // 21.3 in IEEE 754 is 41 AA 66 66.
    assert_eq!(
        read(&with(F32, 1.0, Big), &[0x41aa, 0x6666]),
        Some(Value::Float(21.3))
    );
    assert_eq!(
        read(&with(F32, 1.0, Little), &[0x6666, 0x41aa]),
        Some(Value::Float(21.3))
    );
}

#[test]
fn the_last_address_is_a_request_too() {
    let last = register(RegisterFunction::Holding, 65_534, RegisterKind::U32);
    let blocks = group(&[last], |_| true);
    assert_eq!((blocks[0].start, blocks[0].count), (65_534, 2));
}

#[test]
fn what_is_no_number_is_no_value() {
    let float = register(RegisterFunction::Input, 0, RegisterKind::F32);
    for bits in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_bits) {
        let words = [(bits >> 16) as u16, (bits & 0xffff) as u16];
        assert_eq!(read(&float, &words), None);
    }
    let huge = RegisterSection {
        scale: f64::MAX,
        ..register(RegisterFunction::Input, 0, RegisterKind::U16)
    };
    assert_eq!(read(&huge, &[2]), None);
    // An answer that is too short.
    assert_eq!(read(&float, &[1]), None);
    assert_eq!(read(&float, &[]), None);
}

fn functions() -> impl Strategy<Value = RegisterFunction> {
    use RegisterFunction::{Coil, Discrete, Holding, Input};
    prop_oneof![Just(Coil), Just(Discrete), Just(Holding), Just(Input)]
}

fn kinds() -> impl Strategy<Value = RegisterKind> {
    use RegisterKind::{F32, I16, I32, U16, U32};
    prop_oneof![Just(U16), Just(I16), Just(U32), Just(I32), Just(F32)]
}

prop_compose! {
    fn sections()(
        function in functions(),
        kind in kinds(),
        address in prop_oneof![0..300_u16, any::<u16>()],
        little in any::<bool>(),
        scale in prop_oneof![Just(1.0), Just(0.1), Just(0.01), any::<f64>()],
    ) -> RegisterSection {
        let kind = if function.is_bit() { RegisterKind::Bool } else { kind };
        RegisterSection {
            words: if little { WordOrder::Little } else { WordOrder::Big },
            scale,
            ..register(function, address.min(65_534), kind)
        }
    }
}

proptest! {
    /// Every register is in one block, whole; no block is larger than a request may be.
    #[test]
    fn every_register_is_asked_for_once(registers in prop::collection::vec(sections(), 0..60)) {
        let blocks = group(&registers, |_| true);
        let mut seen: Vec<usize> = blocks.iter().flat_map(|b| b.registers.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..registers.len()).collect::<Vec<_>>());
        for block in &blocks {
            let most = if block.function.is_bit() { 2_000 } else { 125 };
            prop_assert!((1..=most).contains(&block.count));
            for register in block.registers.iter().map(|index| &registers[*index]) {
                let from = u32::from(register.address);
                let to = from + u32::from(register.kind().words());
                let start = u32::from(block.start);
                prop_assert_eq!(register.function, block.function);
                prop_assert!(from >= start && to <= start + u32::from(block.count));
            }
        }
    }

    /// Whatever a slave answers, a value is a finite number or a bit, or none.
    #[test]
    fn no_answer_makes_a_value_that_is_none(
        registers in prop::collection::vec(sections(), 1..20),
        words in prop::collection::vec(any::<u16>(), 0..130),
        bits in prop::collection::vec(any::<bool>(), 0..2_010),
    ) {
        for block in group(&registers, |_| true) {
            for contents in [Contents::Words(words.clone()), Contents::Bits(bits.clone())] {
                for index in &block.registers {
                    match block.value(&registers[*index], &contents) {
                        None | Some(Value::Int(_) | Value::Bool(_)) => {}
                        Some(Value::Float(x)) => prop_assert!(x.is_finite()),
                        Some(other) => prop_assert!(false, "{:?}", other),
                    }
                }
            }
        }
    }

    /// What was written in either order is read.
    #[test]
    fn whole_numbers_come_back(number in any::<u32>(), little in any::<bool>(), signed in any::<bool>()) {
        let (high, low) = ((number >> 16) as u16, (number & 0xffff) as u16);
        let kind = if signed { RegisterKind::I32 } else { RegisterKind::U32 };
        let section = RegisterSection {
            words: if little { WordOrder::Little } else { WordOrder::Big },
            ..register(RegisterFunction::Holding, 0, kind)
        };
        let words = if little { [low, high] } else { [high, low] };
        let expected = if signed { i128::from(number.cast_signed()) } else { i128::from(number) };
        prop_assert_eq!(read(&section, &words), Some(Value::Int(expected)));
    }

    /// A float's value is the number that was meant, in single precision.
    #[test]
    fn floats_come_back(number in any::<f32>()) {
        let section = register(RegisterFunction::Holding, 0, RegisterKind::F32);
        let bits = number.to_bits();
        let words = [(bits >> 16) as u16, (bits & 0xffff) as u16];
        match read(&section, &words) {
            Some(Value::Float(read)) => prop_assert_eq!(read as f32, number),
            none => prop_assert!(none.is_none() && !number.is_finite()),
        }
    }
}
