//! Zig-zag varints, as the records of a batch use them: at most 5 bytes for 32 bits, at most 10 for 64.

/// The longest varint of 64 bits.
const MAX_LEN: usize = 10;

/// Reads 32 bits at `at` and moves it on; `None` when the bytes end or go on too long.
#[inline]
pub(super) fn read_i32(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag_32(u32::from(first)));
    }
    let second = *bytes.get(*at + 1)?;
    if second < 0x80 {
        *at += 2;
        return Some(unzigzag_32(u32::from(first & 0x7f) | u32::from(second) << 7));
    }
    let (value, len) = read_long(bytes.get(*at..)?, 5)?;
    *at += len;
    Some(unzigzag_32(value as u32))
}

/// Reads 64 bits at `at` and moves it on; `None` when the bytes end or go on too long.
#[inline]
pub(super) fn read_i64(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag_64(u64::from(first)));
    }
    let (value, len) = read_long(bytes.get(*at..)?, MAX_LEN)?;
    *at += len;
    Some(unzigzag_64(value))
}

#[inline]
fn read_long(bytes: &[u8], max_len: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(max_len) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Reads 32 bits byte by byte, from wherever they come.
pub(super) fn read_i32_from<E>(next: impl FnMut() -> Result<u8, E>) -> Result<Option<i32>, E> {
    Ok(read_from(next, 5)?.map(|value| unzigzag_32(value as u32)))
}

/// Reads 64 bits byte by byte, from wherever they come.
pub(super) fn read_i64_from<E>(next: impl FnMut() -> Result<u8, E>) -> Result<Option<i64>, E> {
    Ok(read_from(next, MAX_LEN)?.map(unzigzag_64))
}

fn read_from<E>(mut next: impl FnMut() -> Result<u8, E>, max_len: usize) -> Result<Option<u64>, E> {
    let mut value = 0u64;
    for i in 0..max_len {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put(out, u64::from(zigzag_32(value)));
}

pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag_64(value));
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that `value` takes.
pub(super) fn len_i32(value: i32) -> usize {
    len(u64::from(zigzag_32(value)))
}

/// Bytes that `value` takes.
pub(super) fn len_i64(value: i64) -> usize {
    len(zigzag_64(value))
}

fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges() {
        for value in [0, -1, 1, 63, -64, 64, -65, 8191, -8192, 8192, i32::MAX, i32::MIN] {
            let mut out = Vec::new();
            put_i32(&mut out, value);
            assert_eq!(out.len(), len_i32(value), "{value}");
            assert_eq!(read_i32(&out, &mut 0), Some(value));
        }
        for value in [0, -1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            assert_eq!((out.len(), read_i64(&out, &mut 0)), (len_i64(value), Some(value)));
        }
        assert_eq!((len_i32(-64), len_i32(64), len_i32(i32::MIN), len_i64(i64::MIN)), (1, 2, 5, 10));
    }

    #[test]
    fn over_long_and_cut_ones_are_refused() {
        assert_eq!(read_i32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], &mut 0), None);
        assert_eq!(read_i64(&[[0x80; 10].as_slice(), &[0]].concat(), &mut 0), None);
        assert_eq!(read_i32(&[0x80, 0x80], &mut 0), None);
        assert_eq!(read_i32(&[], &mut 0), None);
        assert_eq!(read_i64(&[0xff], &mut 0), None);
        assert_eq!(read_i64(&[], &mut 5), None);
    }

    proptest! {
        #[test]
        fn both_readers_agree(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let (mut at, mut i) = (0, 0);
            let slow = read_i32_from(|| { i += 1; bytes.get(i - 1).copied().ok_or(()) });
            prop_assert_eq!(read_i32(&bytes, &mut at), slow.ok().flatten());
            let (mut at, mut i) = (0, 0);
            let slow = read_i64_from(|| { i += 1; bytes.get(i - 1).copied().ok_or(()) });
            prop_assert_eq!(read_i64(&bytes, &mut at), slow.ok().flatten());
        }

        #[test]
        fn every_number_comes_back(value in any::<i64>()) {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            put_i32(&mut out, value as i32);
            let mut at = 0;
            prop_assert_eq!(read_i64(&out, &mut at), Some(value));
            prop_assert_eq!(at, len_i64(value));
            prop_assert_eq!(read_i32(&out, &mut at), Some(value as i32));
            prop_assert_eq!(at, out.len());
        }
    }
}
