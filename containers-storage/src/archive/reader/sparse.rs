//! Sparse members: the old GNU form and PAX 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files"). Other versions are refused.
//!
//! Invariant: segments are in order, do not overlap, lie within the real size, and account for every stored byte.

use super::super::Refusal;
use super::block::number;
use super::pax::decimal;

/// Most segments of one member. GNU tar writes one per hole; 24 bytes of archive each in the densest form (A32).
const SEGMENT_LIMIT: usize = 65_536;
const TOO_MANY: Refusal = Refusal::Unsupported("a sparse file of more than 65,536 segments");

/// A run of stored bytes and its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The records `GNU.sparse.*` of an extended header.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    real_size: Option<u64>,
    count: Option<u64>,
    map: Vec<u64>,
    has_map: bool,
    has_pairs: bool,
}

/// Where the map of a PAX sparse member is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Not sparse.
    Dense,
    /// The map was in the extended header (0.0 and 0.1).
    InHeader { segments: Vec<Segment>, real_size: u64 },
    /// The map precedes the data (1.0).
    InData { real_size: u64 },
}

impl PaxSparse {
    pub(super) fn apply(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match keyword {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => {
                if value.contains(&0) {
                    return Err(Refusal::Name("holds a NUL byte"));
                }
                self.name = Some(value.to_vec());
            }
            b"size" => self.size = Some(decimal(value)?),
            b"realsize" => self.real_size = Some(decimal(value)?),
            b"numblocks" => self.count = Some(decimal(value)?),
            b"map" => {
                self.has_map = true;
                for part in value.split(|&byte| byte == b',') {
                    self.push(decimal(part)?)?;
                }
            }
            b"offset" | b"numbytes" => {
                // The two alternate, offset first.
                let expected: &[u8] = if self.map.len().is_multiple_of(2) { b"offset" } else { b"numbytes" };
                if keyword != expected {
                    return Err(Refusal::Header("a malformed sparse map"));
                }
                self.has_pairs = true;
                self.push(decimal(value)?)?;
            }
            _ => return Err(Refusal::Unsupported("this kind of sparse file")),
        }
        Ok(())
    }

    fn push(&mut self, value: u64) -> Result<(), Refusal> {
        if self.map.len() >= 2 * SEGMENT_LIMIT {
            return Err(TOO_MANY);
        }
        self.map.push(value);
        Ok(())
    }

    /// Decides the version, as far as the header tells it.
    pub(super) fn layout(&self) -> Result<Layout, Refusal> {
        let anything = self.has_map || self.has_pairs || self.count.is_some() || self.name.is_some();
        let sizes = match (self.size, self.real_size) {
            (Some(_), Some(_)) => return Err(Refusal::Ambiguous("two real sizes of a sparse file")),
            (size, real) => size.or(real),
        };
        match (self.major, self.minor) {
            (None, None) if !anything && sizes.is_none() => Ok(Layout::Dense),
            (Some(1), Some(0)) if !self.has_map && !self.has_pairs => {
                Ok(Layout::InData { real_size: sizes.ok_or(Refusal::Header("a sparse file without its real size"))? })
            }
            (None, None) | (Some(0), Some(0 | 1)) if self.has_map != self.has_pairs => {
                let segments = pairs(&self.map)?;
                if self.count.is_some_and(|count| count != segments.len() as u64) {
                    return Err(Refusal::Header("a sparse map of another length than announced"));
                }
                let real_size = sizes.ok_or(Refusal::Header("a sparse file without its real size"))?;
                Ok(Layout::InHeader { segments, real_size })
            }
            _ => Err(Refusal::Unsupported("this kind of sparse file")),
        }
    }
}

fn pairs(map: &[u64]) -> Result<Vec<Segment>, Refusal> {
    let (pairs, rest) = map.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Refusal::Header("a malformed sparse map"));
    }
    Ok(pairs.iter().map(|&[offset, length]| Segment { offset, length }).collect())
}

/// Reads the map of format 1.0 as it arrives in blocks: a count and as many pairs, decimal, one number a line.
#[derive(Debug, Default)]
pub(super) struct DataMap {
    numbers: Vec<u64>,
    line: Vec<u8>,
}

impl DataMap {
    /// Takes one block; `Some` when the map is complete with it.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<Vec<Segment>>, Refusal> {
        for &byte in block {
            if byte != b'\n' {
                if self.line.len() >= 20 {
                    return Err(Refusal::Header("a malformed sparse map"));
                }
                self.line.push(byte);
                continue;
            }
            self.numbers.push(decimal(&self.line)?);
            self.line.clear();
            let count = self.numbers[0];
            if count > SEGMENT_LIMIT as u64 {
                return Err(TOO_MANY);
            }
            if self.numbers.len() as u64 == 1 + 2 * count {
                return Ok(Some(pairs(&self.numbers[1..])?));
            }
        }
        Ok(None)
    }
}

/// Adds the segments in `fields` (24 bytes each, offset and length) of an old GNU header; an all-zero one ends the list.
pub(super) fn gnu_segments(fields: &[u8], into: &mut Vec<Segment>) -> Result<(), Refusal> {
    let (fields, _) = fields.as_chunks::<24>();
    for field in fields {
        // GNU tar and Go both stop at an unused field.
        if field[0] == 0 || field[12] == 0 {
            break;
        }
        let part = |field: &[u8]| u64::try_from(number(field)?).map_err(|_| Refusal::Header("a negative number"));
        if into.len() >= SEGMENT_LIMIT {
            return Err(TOO_MANY);
        }
        into.push(Segment { offset: part(&field[..12])?, length: part(&field[12..])? });
    }
    Ok(())
}

/// Checks the module's invariant.
pub(super) fn validate(segments: &[Segment], real_size: u64, stored: u64) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::Header("a sparse map that contradicts itself");
    let mut end: u64 = 0;
    let mut total: u64 = 0;
    for segment in segments {
        if segment.offset < end {
            return Err(BAD);
        }
        end = segment.offset.checked_add(segment.length).ok_or(BAD)?;
        total = total.checked_add(segment.length).ok_or(BAD)?;
    }
    if end > real_size || total != stored {
        return Err(BAD);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(list: &[(&str, &str)]) -> Result<PaxSparse, Refusal> {
        let mut sparse = PaxSparse::default();
        for (keyword, value) in list {
            sparse.apply(keyword.as_bytes(), value.as_bytes())?;
        }
        Ok(sparse)
    }

    #[test]
    fn versions_by_their_records() {
        let none = records(&[]).unwrap();
        assert_eq!(none.layout(), Ok(Layout::Dense));
        let first = records(&[("size", "9"), ("numblocks", "1"), ("offset", "2"), ("numbytes", "3")]).unwrap();
        let segments = vec![Segment { offset: 2, length: 3 }];
        assert_eq!(first.layout(), Ok(Layout::InHeader { segments: segments.clone(), real_size: 9 }));
        let second = records(&[("size", "9"), ("numblocks", "1"), ("map", "2,3")]).unwrap();
        assert_eq!(second.layout(), Ok(Layout::InHeader { segments, real_size: 9 }));
        let third = records(&[("major", "1"), ("minor", "0"), ("realsize", "9"), ("name", "x")]).unwrap();
        assert_eq!(third.layout(), Ok(Layout::InData { real_size: 9 }));
        assert!(records(&[("major", "2"), ("minor", "0"), ("realsize", "9")]).unwrap().layout().is_err());
        assert!(records(&[("realsize", "9")]).unwrap().layout().is_err());
        assert!(records(&[("numbytes", "9")]).is_err());
    }

    #[test]
    fn maps_account_for_all_bytes() {
        let map = [Segment { offset: 0, length: 4 }, Segment { offset: 8, length: 2 }];
        assert!(validate(&map, 10, 6).is_ok());
        assert!(validate(&map, 9, 6).is_err());
        assert!(validate(&map, 10, 5).is_err());
        assert!(validate(&[map[1], map[0]], 10, 6).is_err());
        assert!(validate(&[Segment { offset: u64::MAX, length: 2 }], u64::MAX, 2).is_err());
    }

    #[test]
    fn a_map_in_the_data() {
        let mut map = DataMap::default();
        assert_eq!(map.block(b"1\n4\n1"), Ok(None));
        assert_eq!(map.block(b"2\n\0\0\0"), Ok(Some(vec![Segment { offset: 4, length: 12 }])));
        assert!(DataMap::default().block(b"99999999\n").is_err());
        assert!(DataMap::default().block(&[b'1'; 512]).is_err());
        assert!(DataMap::default().block(b"-1\n").is_err());
    }
}
