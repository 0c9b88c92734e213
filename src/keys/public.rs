//! Whether the numbers of a public key are those of a key that can verify signatures.
//!
//! The crypto providers find out about most mistakes only when they verify, or not at all. Nothing here is secret, so
//! the arithmetic need not take constant time.

use super::algorithm::Algorithm;
use crate::error::ConfigError;

/// The modulus and the exponent of a public RSA key, big-endian and without leading zeros.
pub(super) struct RsaNumbers<'k> {
    pub(super) modulus: &'k [u8],
    pub(super) exponent: &'k [u8],
}

impl<'k> RsaNumbers<'k> {
    /// Checks the numbers as far as that is possible without factors.
    pub(super) fn checked(modulus: &'k [u8], exponent: &'k [u8]) -> Result<Self, ConfigError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = bit_len(modulus);
        if bits < MIN_RSA_BITS {
            return Err(ConfigError::new(format!(
                "the RSA key has {bits} bits, but needs at least {MIN_RSA_BITS} (RFC 7518, section 3.3); use a longer key"
            )));
        }
        if bits > MAX_RSA_BITS {
            return Err(ConfigError::new(format!(
                "the RSA key has {bits} bits, but the crypto provider verifies with at most {MAX_RSA_BITS}; use a key of \
                 2048 to 4096 bits"
            )));
        }
        if !is_odd(modulus) {
            return Err(ConfigError::new(
                "the modulus of the RSA key is even, so it is not the product of two large primes; load the key anew",
            ));
        }
        if !is_odd(exponent) || exponent == [1] || bit_len(exponent) > MAX_EXPONENT_BITS {
            return Err(ConfigError::new(format!(
                "the exponent of the RSA key must be odd, greater than 1 and of at most {MAX_EXPONENT_BITS} bits; use \
                 a key with the exponent 65537"
            )));
        }
        Ok(Self { modulus, exponent })
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

fn bit_len(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

/// Returns `true` if the coordinates `x || y` are a point on the curve of `algorithm`: y² = x³ − 3x + b
/// (SEC 1 §3.2.2.1).
pub(super) fn is_on_curve(algorithm: Algorithm, point: &[u8]) -> bool {
    let (prime, b) = match algorithm {
        Algorithm::ES384 => (P384_PRIME, P384_B),
        _ => (P256_PRIME, P256_B),
    };
    let field = Field(Number::of(prime));
    let (x, y) = point.split_at(point.len() / 2);
    let (x, y) = (Number::of(x), Number::of(y));
    if x >= field.0 || y >= field.0 {
        return false;
    }
    let square = field.multiply(&y, &y);
    let cube = field.multiply(&field.multiply(&x, &x), &x);
    let triple = field.add(&field.add(&x, &x), &x);
    field.add(&square, &triple) == field.add(&cube, &Number::of(b))
}

/// Returns `true` if the bytes are a point of edwards25519 (RFC 8032 §5.1.3) that is not among the eight of small
/// order. Anyone can make signatures that verify under those.
pub(super) fn is_on_edwards25519(bytes: &[u8]) -> bool {
    let mut y: Vec<u8> = bytes.iter().rev().copied().collect();
    let Some(first) = y.first_mut() else {
        return false;
    };
    *first &= 0x7f; // without the sign of x
    let field = Field(Number::of(ED25519_PRIME));
    let y = Number::of(&y);
    let one = Number::of(&[1]);
    let minus_one = field.subtract(&Number::of(&[]), &one);
    let small_order = [Number::of(&[]), one, minus_one, Number::of(ED25519_ORDER_8), {
        field.subtract(&Number::of(&[]), &Number::of(ED25519_ORDER_8))
    }];
    if y >= field.0 || small_order.contains(&y) {
        return false;
    }
    // x² = (y² − 1) / (d·y² + 1) has a root if the product of both has one (Euler's criterion).
    let square = field.multiply(&y, &y);
    let (above, below) =
        (field.subtract(&square, &one), field.add(&field.multiply(&Number::of(ED25519_D), &square), &one));
    let product = field.multiply(&above, &below);
    let mut power = one;
    for bit in (0..254).rev() {
        power = field.multiply(&power, &power);
        // (p − 1) / 2 = 2²⁵⁴ − 10
        if bit >= 4 || [1, 2].contains(&bit) {
            power = field.multiply(&power, &product);
        }
    }
    power == one
}

/// A number of up to 384 bits in six words, the most significant first, so that the derived order is that of numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number([u64; 6]);

impl Number {
    /// Reads a big-endian number of up to 48 bytes.
    fn of(bytes: &[u8]) -> Self {
        let mut padded = [0; 48];
        padded[48 - bytes.len()..].copy_from_slice(bytes);
        let word = |index: usize| std::array::from_fn(|byte| padded[8 * index + byte]);
        Self(std::array::from_fn(|index| u64::from_be_bytes(word(index))))
    }

    /// Returns the sum, and whether it has more than 384 bits.
    fn plus(&self, other: &Self) -> (Self, bool) {
        let (mut sum, mut carry) = ([0; 6], 0);
        for index in (0..6).rev() {
            let word = u128::from(self.0[index]) + u128::from(other.0[index]) + carry;
            (sum[index], carry) = (word as u64, word >> 64);
        }
        (Self(sum), carry == 1)
    }

    /// Returns the difference modulo 2³⁸⁴.
    fn minus(&self, other: &Self) -> Self {
        let (mut difference, mut borrow) = ([0; 6], false);
        for index in (0..6).rev() {
            let (word, first) = self.0[index].overflowing_sub(other.0[index]);
            let (word, second) = word.overflowing_sub(u64::from(borrow));
            (difference[index], borrow) = (word, first || second);
        }
        Self(difference)
    }
}

/// Arithmetic modulo a prime, on numbers that are less than it.
struct Field(Number);

impl Field {
    fn add(&self, one: &Number, other: &Number) -> Number {
        let (sum, overflows) = one.plus(other);
        if overflows || sum >= self.0 { sum.minus(&self.0) } else { sum }
    }

    fn subtract(&self, one: &Number, other: &Number) -> Number {
        if one >= other { one.minus(other) } else { self.0.minus(other).plus(one).0 }
    }

    /// Multiplies by doubling and adding, which is slow, but short.
    fn multiply(&self, one: &Number, other: &Number) -> Number {
        let mut product = Number([0; 6]);
        let bits = other.0.iter().flat_map(|word| (0..64).rev().map(move |bit| word >> bit & 1));
        for bit in bits.skip_while(|bit| *bit == 0) {
            product = self.add(&product, &product);
            if bit == 1 {
                product = self.add(&product, one);
            }
        }
        product
    }
}

pub(super) const MIN_RSA_BITS: usize = 2048;
/// The longest keys with which the crypto provider verifies.
const MAX_RSA_BITS: usize = if cfg!(feature = "aws-lc-rs") { 8192 } else { 4096 };
/// Both providers reject longer exponents.
const MAX_EXPONENT_BITS: usize = 33;

/// 2²⁵⁶ − 2²²⁴ + 2¹⁹² + 2⁹⁶ − 1 (SEC 2 §2.4.2).
const P256_PRIME: &[u8] = &[
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];
/// The coefficient b of P-256.
const P256_B: &[u8] = &[
    0x5a, 0xc6, 0x35, 0xd8, 0xaa, 0x3a, 0x93, 0xe7, 0xb3, 0xeb, 0xbd, 0x55, 0x76, 0x98, 0x86, 0xbc, 0x65,
    0x1d, 0x06, 0xb0, 0xcc, 0x53, 0xb0, 0xf6, 0x3b, 0xce, 0x3c, 0x3e, 0x27, 0xd2, 0x60, 0x4b,
];
/// 2³⁸⁴ − 2¹²⁸ − 2⁹⁶ + 2³² − 1 (SEC 2 §2.5.1).
const P384_PRIME: &[u8] = &[
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff,
];
/// The coefficient b of P-384.
const P384_B: &[u8] = &[
    0xb3, 0x31, 0x2f, 0xa7, 0xe2, 0x3e, 0xe7, 0xe4, 0x98, 0x8e, 0x05, 0x6b, 0xe3, 0xf8, 0x2d, 0x19, 0x18,
    0x1d, 0x9c, 0x6e, 0xfe, 0x81, 0x41, 0x12, 0x03, 0x14, 0x08, 0x8f, 0x50, 0x13, 0x87, 0x5a, 0xc6, 0x56,
    0x39, 0x8d, 0x8a, 0x2e, 0xd1, 0x9d, 0x2a, 0x85, 0xc8, 0xed, 0xd3, 0xec, 0x2a, 0xef,
];
/// 2²⁵⁵ − 19.
const ED25519_PRIME: &[u8] = &[
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xed,
];
/// The coefficient d of edwards25519, −121665/121666.
const ED25519_D: &[u8] = &[
    0x52, 0x03, 0x6c, 0xee, 0x2b, 0x6f, 0xfe, 0x73, 0x8c, 0xc7, 0x40, 0x79, 0x77, 0x79, 0xe8, 0x98, 0x00,
    0x70, 0x0a, 0x4d, 0x41, 0x41, 0xd8, 0xab, 0x75, 0xeb, 0x4d, 0xca, 0x13, 0x59, 0x78, 0xa3,
];
/// One of the two y of the points of order 8; the other is its negative.
const ED25519_ORDER_8: &[u8] = &[
    0x05, 0xfc, 0x53, 0x6d, 0x88, 0x02, 0x38, 0xb1, 0x39, 0x33, 0xc6, 0xd3, 0x05, 0xac, 0xdf, 0xd5, 0xf0,
    0x98, 0xef, 0xf2, 0x89, 0xf4, 0xc3, 0x45, 0xb0, 0x27, 0xb2, 0xc2, 0x8f, 0x95, 0xe8, 0x26,
];
