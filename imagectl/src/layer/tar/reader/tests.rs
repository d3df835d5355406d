use super::*;

/// A header block as a tar writer makes it, fields set by the caller.
fn header(name: &[u8], flag: u8, size: u64, change: impl FnOnce(&mut [u8; BLOCK])) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000001\0");
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn plain(name: &[u8], flag: u8, size: u64) -> [u8; BLOCK] {
    header(name, flag, size, |_| {})
}

fn gnu(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar  \0");
}

/// Data padded to whole blocks.
fn padded(data: &[u8]) -> Vec<u8> {
    let mut padded = data.to_vec();
    padded.resize(data.len().next_multiple_of(BLOCK), 0);
    padded
}

fn pax(records: &[&str]) -> Vec<u8> {
    let record = |body: &&str| {
        let mut length = body.len() + 3;
        while length != body.len() + 2 + length.to_string().len() {
            length += 1;
        }
        format!("{length} {body}\n")
    };
    let body: String = records.iter().map(record).collect();
    [plain(b"pax", b'x', body.len() as u64).to_vec(), padded(body.as_bytes())].concat()
}

/// Entries with their data, read through a buffer that cuts the stream oddly.
fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(io::BufReader::with_capacity(7, archive));
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        loop {
            let piece = reader.data()?;
            if piece.is_empty() {
                break;
            }
            data.extend_from_slice(piece);
            let length = piece.len();
            reader.consume(length);
        }
        entries.push((entry, data));
    }
    Ok(entries)
}

fn only(archive: &[u8]) -> (Entry, Vec<u8>) {
    let mut entries = read(archive).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn reason(archive: &[u8]) -> String {
    read(archive).unwrap_err().to_string()
}

const END: [u8; 1024] = [0; 1024];

#[test]
fn files_and_their_data() {
    let archive = [
        &plain(b"a", b'0', 5)[..],
        &padded(b"hello"),
        &plain(b"d/", b'0', 0),
        &plain(b"b", 0, 0),
        &END,
    ]
    .concat();
    let entries = read(&archive).unwrap();
    let paths: Vec<_> = entries.iter().map(|(e, _)| e.path.as_slice()).collect();
    assert_eq!(paths, [&b"a"[..], b"d/", b"b"]);
    assert_eq!(entries[0].1, b"hello");
    assert_eq!((entries[0].0.mode, entries[0].0.mtime), (0o644, (1, 0)));
    assert_eq!(entries[1].0.kind, Kind::Directory);
    assert_eq!(entries[2].0.kind, Kind::File);
}

#[test]
fn data_that_nobody_read_is_passed_by() {
    let archive = [&plain(b"a", b'0', 600)[..], &padded(&[b'x'; 600]), &plain(b"b", b'0', 0), &END];
    let archive = archive.concat();
    let mut reader = Reader::new(&archive[..]);
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"a");
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"b");
    assert!(reader.next_entry().unwrap().is_none());
}

#[test]
fn the_end() {
    let entry = plain(b"a", b'0', 0);
    assert_eq!(read(&entry).unwrap().len(), 1, "no zero block");
    assert_eq!(read(&[&entry[..], &END[..512]].concat()).unwrap().len(), 1, "one zero block");
    assert!(read(&[]).unwrap().is_empty());
    assert!(reason(&[&END[..512], &entry].concat()).contains("after a zero block"));
    assert!(reason(&entry[..100]).contains("inside a block"));
    assert!(reason(&plain(b"a", b'0', 1)).contains("inside an entry"));
    assert!(reason(&pax(&["path=x"])).contains("after an extension header"));
    // What follows the end is no part of the archive.
    assert_eq!(read(&[&entry[..], &END, &plain(b"b", b'0', 0)].concat()).unwrap().len(), 1);
}

#[test]
fn checksums() {
    let mut block = plain(b"a", b'0', 0);
    block[0] = b'b';
    assert!(reason(&block).contains("checksum"));
    let mut signed = plain(b"\xe9", b'0', 0);
    let sum: i64 = signed.iter().enumerate().fold(0, |sum, (i, b)| {
        sum + if (148..156).contains(&i) { 32 } else { i64::from(b.cast_signed()) }
    });
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(only(&signed).0.path, b"\xe9");
}

#[test]
fn prefixes() {
    let with_prefix = |block: &mut [u8; BLOCK]| block[345..348].copy_from_slice(b"dir");
    assert_eq!(only(&header(b"a", b'0', 0, with_prefix)).0.path, b"dir/a");
    let in_gnu = |block: &mut [u8; BLOCK]| {
        with_prefix(block);
        gnu(block);
    };
    assert_eq!(only(&header(b"a", b'0', 0, in_gnu)).0.path, b"a", "GNU keeps times there");
}

#[test]
fn kinds() {
    let device = |block: &mut [u8; BLOCK]| {
        block[329..337].copy_from_slice(b"0000007\0");
        block[337..345].copy_from_slice(b"0000454\0");
    };
    let link = |block: &mut [u8; BLOCK]| block[157..160].copy_from_slice(b"a/b");
    for (flag, kind) in [
        (b'1', Kind::Hardlink(b"a/b".to_vec())),
        (b'2', Kind::Symlink(b"a/b".to_vec())),
        (b'3', Kind::Character(7, 300)),
        (b'4', Kind::Block(7, 300)),
        (b'5', Kind::Directory),
        (b'6', Kind::Fifo),
        (b'7', Kind::File),
    ] {
        let block = header(b"x", flag, 0, |block| {
            device(block);
            link(block);
        });
        assert_eq!(only(&block).0.kind, kind);
    }
    assert!(reason(&plain(b"x", b'V', 0)).contains("'V'"));
    // A size on what has no data is ignored, as Go does.
    let archive = [&plain(b"d", b'5', 512)[..], &plain(b"a", b'0', 0)].concat();
    assert_eq!(read(&archive).unwrap().len(), 2);
}

#[test]
fn gnu_long_names() {
    let (name, link) = (vec![b'n'; 300], vec![b'l'; 200]);
    let long = |flag, text: &[u8]| {
        [
            &header(b"././@LongLink", flag, text.len() as u64 + 1, gnu)[..],
            &padded(&[text, b"\0"].concat()),
        ]
        .concat()
    };
    let archive =
        [long(b'L', &name), long(b'K', &link), plain(b"short", b'2', 0).to_vec()].concat();
    let entry = only(&archive).0;
    assert_eq!(entry.path, name);
    assert_eq!(entry.kind, Kind::Symlink(link));
}

#[test]
fn pax_overrides() {
    let archive = [
        pax(&[
            "path=p/q",
            "uid=70000",
            "gid=4294967294",
            "mtime=2.5",
            "size=3",
            "SCHILY.xattr.user.a=b",
        ]),
        plain(b"short", b'0', 1).to_vec(),
        padded(b"abc"),
        plain(b"next", b'0', 0).to_vec(),
    ]
    .concat();
    let entries = read(&archive).unwrap();
    let (entry, data) = &entries[0];
    assert_eq!(entry.path, b"p/q");
    assert_eq!((entry.uid, entry.gid, entry.mtime), (70000, 4_294_967_294, (2, 500_000_000)));
    assert_eq!(data, b"abc");
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"b".to_vec())]);
    let next = &entries[1].0;
    assert_eq!((next.path.as_slice(), next.uid, next.xattrs.len()), (&b"next"[..], 0, 0));
}

#[test]
fn a_pax_size_does_not_reach_into_other_headers() {
    // CVE-2025-62518: the size belongs to the file, not to the long name between.
    let archive = [
        pax(&["size=5"]),
        [&header(b"././@LongLink", b'L', 2, gnu)[..], &padded(b"n\0")].concat(),
        plain(b"short", b'0', 0).to_vec(),
        padded(b"hello"),
    ]
    .concat();
    let (entry, data) = only(&archive);
    assert_eq!((entry.path.as_slice(), data.as_slice()), (&b"n"[..], &b"hello"[..]));
}

#[test]
fn global_headers_are_ignored() {
    let mut global = pax(&["path=everywhere"]);
    global[156] = b'g';
    let fixed = header(b"pax", b'g', u64::try_from(global.len() - BLOCK).unwrap().min(19), |_| {});
    global[..BLOCK].copy_from_slice(&fixed);
    let archive = [global, plain(b"a", b'0', 0).to_vec()].concat();
    assert_eq!(only(&archive).0.path, b"a");
}

#[test]
fn refused_headers() {
    let field = |at: usize, text: &'static [u8]| {
        header(b"a", b'0', 0, move |block| block[at..at + text.len()].copy_from_slice(text))
    };
    for (archive, word) in [
        (field(100, b"-1      ").to_vec(), "mode"),
        (field(108, b"\xff\xff\xff\xff\xff\xff\xff\xff").to_vec(), "owner"),
        (field(116, b"\x80\0\0\0\xff\xff\xff\xff").to_vec(), "group"),
        (field(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").to_vec(), "size"),
        (field(136, b"9").to_vec(), "time"),
        ([pax(&["uid=4294967295"]), plain(b"a", b'0', 0).to_vec()].concat(), "owner"),
        ([pax(&["size=9223372036854775808"]), plain(b"a", b'0', 0).to_vec()].concat(), "size"),
        ([pax(&["path=a"]), pax(&["path=b"]), plain(b"a", b'0', 0).to_vec()].concat(), "two PAX"),
        (plain(b"pax", b'x', 2 << 20).to_vec(), "larger than 1 MiB"),
        (plain(b"name", b'L', 2 << 20).to_vec(), "larger than 1 MiB"),
    ] {
        let reason = reason(&archive);
        assert!(reason.contains(word), "{reason} has no {word}");
    }
}

#[test]
fn sparse_files() {
    let parts = vec![(0, 2), (1024, 3)];
    let expected = Some(Sparse { size: 2000, parts });
    let data = padded(b"abcde");
    let pax_1_0 = [
        pax(&[
            "GNU.sparse.major=1",
            "GNU.sparse.minor=0",
            "GNU.sparse.name=s",
            "GNU.sparse.realsize=2000",
        ]),
        plain(b"GNUSparseFile.0/s", b'0', 517).to_vec(),
        padded(b"2\n0\n2\n1024\n3\n"),
        data.clone(),
    ];
    let pax_0_1 = [
        pax(&["GNU.sparse.size=2000", "GNU.sparse.map=0,2,1024,3", "GNU.sparse.name=s"]),
        plain(b"x", b'0', 5).to_vec(),
        data.clone(),
        Vec::new(),
    ];
    let pax_0_0 = [
        pax(&[
            "GNU.sparse.size=2000",
            "GNU.sparse.numblocks=2",
            "GNU.sparse.offset=0",
            "GNU.sparse.numbytes=2",
            "GNU.sparse.offset=1024",
            "GNU.sparse.numbytes=3",
        ]),
        plain(b"s", b'0', 5).to_vec(),
        data.clone(),
        Vec::new(),
    ];
    let old_gnu = [
        header(b"s", b'S', 5, |block| {
            gnu(block);
            block[386..434]
                .copy_from_slice(b"00000000000\x0000000000002\x0000000002000\x0000000000003\0");
            block[483..495].copy_from_slice(b"00000003720\0");
        })
        .to_vec(),
        data.clone(),
        Vec::new(),
        Vec::new(),
    ];
    for archive in [pax_1_0, pax_0_1, pax_0_0, old_gnu] {
        let archive = [archive.concat(), plain(b"next", b'0', 0).to_vec()].concat();
        let entries = read(&archive).unwrap();
        assert_eq!(entries.len(), 2);
        let (entry, stored) = &entries[0];
        assert_eq!((entry.path.as_slice(), entry.size), (&b"s"[..], 5));
        assert_eq!(entry.sparse, expected);
        assert_eq!(stored, b"abcde");
    }
}

#[test]
fn an_old_gnu_map_goes_on_in_further_blocks() {
    let place = |offset: u64| format!("{offset:011o}\0{:011o}\0", 1);
    let mut more = [0; BLOCK];
    more[..24].copy_from_slice(place(1024).as_bytes());
    let first = header(b"s", b'S', 5, |block| {
        gnu(block);
        for (i, chunk) in block[386..482].chunks_exact_mut(24).enumerate() {
            chunk.copy_from_slice(place(10 * i as u64).as_bytes());
        }
        block[482] = 1;
        block[483..495].copy_from_slice(b"00000003720\0");
    });
    let (entry, data) = only(&[&first[..], &more, &padded(b"abcde")].concat());
    assert_eq!(entry.sparse.unwrap().parts, [(0, 1), (10, 1), (20, 1), (30, 1), (1024, 1)]);
    assert_eq!(data, b"abcde");
}

#[test]
fn refused_sparse_files() {
    for records in [
        &["GNU.sparse.size=1", "GNU.sparse.map=0,5"][..],
        &["GNU.sparse.size=9", "GNU.sparse.map=0,4"],
        &["GNU.sparse.size=9", "GNU.sparse.map=0,3,2,2"],
        &["GNU.sparse.map=0,5"],
        &["GNU.sparse.size=9", "GNU.sparse.map=0"],
        &["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=9"],
        &["GNU.sparse.major=2", "GNU.sparse.minor=0", "GNU.sparse.realsize=9"],
    ] {
        let archive = [pax(records), plain(b"a", b'0', 5).to_vec(), padded(b"abcde")].concat();
        assert!(read(&archive).is_err(), "{records:?}");
    }
}
