//! Codecs there and back, the frames of other writers, cut and hostile bytes, and bombs.

use proptest::prelude::*;

use super::*;

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn there_and_back(codecs: &mut Codecs, codec: Compression, plain: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    codecs.compress(codec.into(), plain, &mut compressed);
    codecs.decompress(codec, &compressed, Limit::default()).unwrap()
}

/// Text that compresses, but not to nothing.
fn prose(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"the quick brown fox "[(i * i / 7 + i / 19) % 20]).collect()
}

#[test]
fn every_codec_gives_back_what_it_took() {
    let mut codecs = Codecs::new();
    for codec in Compression::ALL {
        for len in [0, 1, 100, 32 << 10, (32 << 10) + 1, 64 << 10, (64 << 10) + 1, 300_000] {
            let plain = prose(len);
            assert_eq!(there_and_back(&mut codecs, codec, &plain), plain, "{} of {len}", codec.name());
        }
    }
}

#[test]
fn names_and_ids_are_kafkas() {
    let all: Vec<_> = Compression::ALL.iter().map(|c| (c.id(), c.name())).collect();
    assert_eq!(all, [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")]);
    assert_eq!(Compression::from_id(5), None);
    assert_eq!(Compression::from_name("zstd"), Some(Compression::Zstd));
}

#[test]
fn levels_change_the_result_and_all_can_be_read() {
    let plain = prose(50_000);
    for (codec, levels) in [
        (Compression::Gzip, [-1, 0, 1, 9]),
        (Compression::Zstd, [-131_072, -5, 1, 22]),
        (Compression::Lz4, [1, 9, 12, 17]),
    ] {
        for level in levels {
            let packed = compress(Effort { compression: codec, level: Some(level) }, &plain);
            assert_eq!(
                decompress(codec, &packed, Limit::default()).unwrap(),
                plain,
                "{} {level}",
                codec.name()
            );
        }
    }
    let size = |level| compress(Effort { compression: Compression::Gzip, level: Some(level) }, &plain).len();
    assert!(size(9) < size(1) && size(1) < size(0));
}

#[test]
fn snappy_is_read_bare_and_framed_and_written_framed() {
    let plain = prose(100_000);
    let bare = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(decompress(Compression::Snappy, &bare, Limit::default()).unwrap(), plain);
    let framed = compress(Compression::Snappy.into(), &plain);
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    // Other versions after the magic, and two frames in a row.
    let mut odd = framed.clone();
    odd[8..16].fill(0x7f);
    odd.extend_from_slice(&framed);
    assert_eq!(
        decompress(Compression::Snappy, &odd, Limit::default()).unwrap(),
        [&plain[..], &plain].concat()
    );
}

#[test]
fn a_snappy_block_cannot_promise_more_than_it_can_hold() {
    let four_gigabytes = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(matches!(
        decompress(Compression::Snappy, &four_gigabytes, Limit::default()),
        Err(CompressionError::Malformed { .. })
    ));
}

#[test]
fn a_snappy_block_beyond_the_limit_takes_no_memory() {
    let plain = prose(3 << 20);
    let bare = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let limit = Limit { max_bytes: 1 << 20, ..Limit::default() };
    let mut codecs = Codecs::new();
    assert_eq!(
        codecs.decompress(Compression::Snappy, &bare, limit),
        Err(CompressionError::TooLarge { max: 1 << 20 })
    );
    assert!(codecs.block.bytes.len() <= limit.max_bytes, "{} bytes", codecs.block.bytes.len());
}

/// Deflate reaches a ratio of 1032 at most, and a text of zeros comes near: it is no bomb.
#[test]
fn zeros_in_gzip_are_honest() {
    let plain = vec![0; 8 << 20];
    let mut codecs = Codecs::new();
    let packed = compress(Effort { compression: Compression::Gzip, level: Some(9) }, &plain);
    assert_eq!(
        codecs.decompress(Compression::Gzip, &packed, Limit::default()).map(|plain| plain.len()),
        Ok(8 << 20)
    );
}

#[test]
fn lz4_frames_are_those_of_java() {
    let framed = compress(Compression::Lz4.into(), b"hello");
    // Magic, version 1 with independent blocks, 64 KiB, header checksum, one stored block, end mark.
    assert_eq!(framed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_eq!(framed[7..], [5, 0, 0, 0x80, b'h', b'e', b'l', b'l', b'o', 0, 0, 0, 0]);
    let with = |at: usize, byte: u8| {
        let mut frame = framed.clone();
        frame[at] = byte;
        frame[6] = (xxhash::xxhash32(&frame[4..6]) >> 8) as u8;
        decompress(Compression::Lz4, &frame, Limit::default())
    };
    assert_eq!(with(5, 0x70).unwrap(), b"hello");
    let refusal = with(4, 0x40).unwrap_err().to_string();
    assert!(refusal.contains("dependent"), "{refusal}");
    assert!(
        with(4, 0xa0).is_err() && with(4, 0x61).is_err() && with(5, 0x30).is_err() && with(5, 0x41).is_err()
    );
    let mut wrong = framed.clone();
    wrong[6] ^= 1;
    assert!(decompress(Compression::Lz4, &wrong, Limit::default()).is_err());
}

#[test]
fn lz4_frames_of_another_writer_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;
    let plain = prose(700_000);
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            let mut info = FrameInfo::new().block_size(size).block_mode(mode);
            info = info.block_checksums(true).content_checksum(true).content_size(Some(plain.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&plain).unwrap();
            let frame = encoder.finish().unwrap();
            let read = decompress(Compression::Lz4, &frame, Limit::default());
            assert_eq!(read.ok().as_deref(), (mode == BlockMode::Independent).then_some(&plain[..]));
        }
    }
    let ours = compress(Compression::Lz4.into(), &plain);
    let mut theirs = Vec::new();
    std::io::Read::read_to_end(&mut lz4_flex::frame::FrameDecoder::new(&ours[..]), &mut theirs).unwrap();
    assert_eq!(theirs, plain);
}

#[test]
fn gzip_members_in_a_row_are_one_and_garbage_after_is_ignored() {
    let (one, two) = (prose(1000), prose(70_000));
    let mut both = compress(Compression::Gzip.into(), &one);
    both.extend(compress(Compression::Gzip.into(), &[]));
    both.extend(compress(Compression::Gzip.into(), &two));
    let whole = [&one[..], &two].concat();
    assert_eq!(decompress(Compression::Gzip, &both, Limit::default()).unwrap(), whole);
    both.extend_from_slice(b"garbage");
    assert_eq!(decompress(Compression::Gzip, &both, Limit::default()).unwrap(), whole);
}

#[test]
fn gzip_headers_may_have_all_their_options() {
    use flate2::{GzBuilder, read::MultiGzDecoder};
    use std::io::{Read, Write};
    let plain = prose(5000);
    let mut encoder = GzBuilder::new()
        .filename("name")
        .comment("comment")
        .extra(vec![1, 2, 3])
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(decompress(Compression::Gzip, &packed, Limit::default()).unwrap(), plain);
    let mut theirs = Vec::new();
    MultiGzDecoder::new(&compress(Compression::Gzip.into(), &plain)[..]).read_to_end(&mut theirs).unwrap();
    assert_eq!(theirs, plain);
}

#[test]
fn zstd_without_content_size_and_in_several_frames_is_read() {
    let plain = prose(200_000);
    let mut frames = zstd::stream::encode_all(&plain[..], 3).unwrap();
    frames.extend(zstd::stream::encode_all(&plain[..10], 19).unwrap());
    assert_eq!(
        decompress(Compression::Zstd, &frames, Limit::default()).unwrap(),
        [&plain[..], &plain[..10]].concat()
    );
}

#[test]
fn a_cut_anywhere_is_an_error_and_not_a_shorter_text() {
    let plain = prose(3000);
    let mut codecs = Codecs::new();
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let packed = compress(codec.into(), &plain);
        for len in 0..packed.len() {
            assert!(
                codecs.decompress(codec, &packed[..len], Limit::default()).is_err(),
                "{} cut to {len} of {}",
                codec.name(),
                packed.len()
            );
        }
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    let mut codecs = Codecs::new();
    for codec in CODECS {
        let bomb = compress(codec.into(), &zeros);
        let limit = Limit { max_bytes: 8 << 20, ..Limit::default() };
        let mut stream = codecs.stream(codec, &bomb, limit).unwrap();
        let error = loop {
            match stream.advance() {
                Ok(more) => assert!(more, "{}", codec.name()),
                Err(error) => break error,
            }
        };
        // Past the limit by one chunk at most, whatever was promised.
        assert!(stream.produced() <= (8 << 20) + (4 << 20), "{}: {}", codec.name(), stream.produced());
        assert!(matches!(error, CompressionError::TooLarge { .. } | CompressionError::TooDense));
    }
    let dense = compress(Compression::Zstd.into(), &zeros);
    assert!(zeros.len() / dense.len() > 1000);
    assert_eq!(decompress(Compression::Zstd, &dense, Limit::default()), Err(CompressionError::TooDense));
}

proptest! {
    #[test]
    fn any_bytes_come_back(plain in proptest::collection::vec(any::<u8>(), 0..5000), codec in 0..5i16) {
        let codec = Compression::from_id(codec).unwrap();
        prop_assert_eq!(there_and_back(&mut Codecs::new(), codec, &plain), plain);
    }

    #[test]
    fn hostile_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut codecs = Codecs::new();
        for codec in CODECS {
            let _ = codecs.decompress(codec, &bytes, Limit { max_bytes: 1 << 20, ..Limit::default() });
            // The contexts are whole afterwards.
            prop_assert_eq!(there_and_back(&mut codecs, codec, b"still fine"), b"still fine");
        }
    }

    #[test]
    fn a_flipped_byte_does_no_harm(at in any::<proptest::sample::Index>(), flip in 1..=255u8, codec in 1..5i16) {
        let codec = Compression::from_id(codec).unwrap();
        let mut packed = compress(codec.into(), &prose(2000));
        let at = at.index(packed.len());
        packed[at] ^= flip;
        let mut codecs = Codecs::new();
        let _ = codecs.decompress(codec, &packed, Limit { max_bytes: 1 << 20, ..Limit::default() });
        prop_assert_eq!(there_and_back(&mut codecs, codec, b"still fine"), b"still fine");
    }
}
