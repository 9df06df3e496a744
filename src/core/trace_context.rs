//! Trace and span ids, and the parent that a host's environment may name.

/// The span that caused the host's operations, from `TRACEPARENT` (W3C Trace Context, level 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace that the spans belong to.
    pub trace_id: [u8; 16],
    /// The parent's span id.
    pub span_id: [u8; 8],
}

impl Parent {
    /// Parses a `traceparent` value. `None` if the W3C's rules do not allow it.
    ///
    /// A version above 00 may have more fields after the flags; `ff` is invalid.
    pub fn parse(value: &str) -> Option<Self> {
        let (head, rest) = value.split_at_checked(55)?;
        let mut fields = head.split('-');
        let version = hex::<1>(fields.next()?)?[0];
        let parent = Self { trace_id: hex(fields.next()?)?, span_id: hex(fields.next()?)? };
        hex::<1>(fields.next()?)?;
        let well_formed = match version {
            0 => rest.is_empty(),
            0xFF => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let valid = parent.trace_id != [0; 16] && parent.span_id != [0; 8];
        (well_formed && fields.next().is_none() && valid).then_some(parent)
    }
}

/// Reads exactly `N` bytes of lower-case hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

/// The ids of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Trace id: the parent's, or a new one for this operation.
    pub trace_id: [u8; 16],
    /// Span id.
    pub span_id: [u8; 8],
}

/// Makes ids from a random seed and the operation's number. Both are in the ledger from PRE on, so
/// every process that exports the operation makes the same ids each time.
#[derive(Clone, Copy, Debug)]
pub struct IdSource {
    seed: [u64; 3],
    parent: Option<Parent>,
}

impl IdSource {
    /// A source whose ids differ for different seeds and for different numbers.
    pub fn new(seed: [u64; 3], parent: Option<Parent>) -> Self {
        Self { seed, parent }
    }

    /// The seed.
    pub fn seed(&self) -> [u64; 3] {
        self.seed
    }

    /// The ids of operation `number`.
    pub fn ids(&self, number: u64) -> Ids {
        let [high, low, span] = self.seed;
        let trace_id = match self.parent {
            Some(parent) => parent.trace_id,
            None => {
                let high = u128::from(mix(high, number));
                // `| 1`, because an id of zeros means "no id" to every receiver.
                (high << 64 | u128::from(mix(low, number) | 1)).to_be_bytes()
            }
        };
        Ids { trace_id, span_id: mix(span, number).max(1).to_be_bytes() }
    }
}

/// SplitMix64's output function over a Weyl sequence. For every seed it is a bijection of `number`,
/// so two operations of one process never have the same id.
fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_valid_traceparent_names_the_parent() {
        let parent = Parent::parse(&format!("00-{TRACE}-{SPAN}-01")).expect("valid");
        assert_eq!(parent.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(parent.span_id[7], 0xb7);
        assert_eq!(Parent::parse(&format!("01-{TRACE}-{SPAN}-00-more")), Some(parent));
    }

    #[test]
    fn an_invalid_traceparent_names_no_parent() {
        let zeros = "0".repeat(32);
        for value in [
            String::new(),
            "00".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("00_{TRACE}_{SPAN}_01"),
            "ü".repeat(55),
        ] {
            assert_eq!(Parent::parse(&value), None, "{value}");
        }
    }

    #[test]
    fn ids_do_not_repeat_and_are_never_zero() {
        let source = IdSource::new([1, 2, 3], None);
        let mut spans = HashSet::new();
        let mut traces = HashSet::new();
        for number in 0..100_000 {
            let ids = source.ids(number);
            assert_ne!(ids.span_id, [0; 8]);
            assert_ne!(ids.trace_id[8..], [0; 8]);
            assert!(spans.insert(ids.span_id));
            assert!(traces.insert(ids.trace_id));
        }
    }

    #[test]
    fn every_operation_joins_the_parents_trace() {
        let parent = Parent::parse(&format!("00-{TRACE}-{SPAN}-01"));
        let source = IdSource::new([1, 2, 3], parent);
        assert_eq!(Some(source.ids(7).trace_id), parent.map(|parent| parent.trace_id));
        assert_ne!(source.ids(7).span_id, source.ids(8).span_id);
    }
}
