// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/maps`: the dma-bufs that a process has mapped.

/// A mapping of a dma-buf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub inode: u64,
    /// The end of the mapping within the dma-buf, in bytes: a lower bound of its size.
    pub end_offset: u64,
    pub name: Option<String>,
}

/// Parses the file and returns the mappings of dma-bufs. Their file system has no device, and their
/// names start with `/dmabuf:`.
pub fn parse(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
    let len = hexadecimal(end)?.checked_sub(hexadecimal(start)?)?;
    let _access = fields.next()?;
    let offset = hexadecimal(fields.next()?)?;
    let (major, _) = fields.next()?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    let name = fields.next()?.trim_start().strip_prefix("/dmabuf:")?;
    if hexadecimal(major)? != 0 {
        return None;
    }
    Some(Mapping {
        inode,
        end_offset: offset.checked_add(len)?,
        name: (!name.is_empty()).then(|| name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mappings_are_parsed() {
        let text = "00400000-0056f000 r-xp 00000000 00:03 78                                 \
            /usr/bin/heap-demo\n\
            1f6dd000-1f6ff000 rw-p 00000000 00:00 0                                  [heap]\n\
            b6d3f000-b6d41000 rw-s 00001000 00:10 5                                  /dmabuf:a b\n\
            b6d3f000-b6d41000 rw-s 00000000 00:10 6                                  /dmabuf:\n\
            b6d3f000-b6d41000 rw-s 00000000 fe:01 7                                  \
            /dmabuf:a file\n";
        assert_eq!(
            parse(text),
            [
                Mapping {
                    inode: 5,
                    end_offset: 0x3000,
                    name: Some("a b".into())
                },
                Mapping {
                    inode: 6,
                    end_offset: 0x2000,
                    name: None
                }
            ]
        );
    }

    proptest! {
        #[test]
        fn any_input_is_accepted(
            text in "([0-9a-f]{1,20}-[0-9a-f]{1,20} rw-s [0-9a-f]{1,20} \
                00:10 [0-9]{1,25} /dmabuf:)?[\\PC\n]{0,60}"
        ) {
            parse(&text);
        }
    }
}
