//! Arithmetic in GF(256) with the polynomial of AES, x⁸ + x⁴ + x³ + x + 1.
//!
//! No table and no branch depends on a value, so that neither time nor the cache tells anything about it.

/// Multiplies two elements.
pub(super) fn multiply(one: u8, other: u8) -> u8 {
    let (mut one, mut product) = (one, 0);
    for bit in 0..8 {
        // All ones where the bit is set, all zeros where it is not.
        product ^= one & ((other >> bit) & 1).wrapping_neg();
        one = (one << 1) ^ (0x1b & (one >> 7).wrapping_neg());
    }
    product
}

/// Returns what an element has to be multiplied with to give 1; 0 for 0. It is the 254th power.
pub(super) fn inverse(element: u8) -> u8 {
    // 254 is 11111110 in binary: square and multiply, seven times, and square.
    let mut power = element;
    for _ in 0..6 {
        power = multiply(multiply(power, power), element);
    }
    multiply(power, power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_standard() {
        // FIPS 197, section 4.2.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        assert_eq!(multiply(0x57, 0x02), 0xae);
        assert_eq!(multiply(0x53, 0xca), 0x01);
        assert_eq!(inverse(0x53), 0xca);
    }

    #[test]
    fn it_is_a_field() {
        assert_eq!(inverse(0), 0);
        for a in 0..=255 {
            assert_eq!(multiply(a, 1), a);
            assert_eq!(multiply(a, 0), 0);
            assert!(a == 0 || multiply(a, inverse(a)) == 1);
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply(b, a));
                assert_eq!(multiply(a, b ^ 0x1d), multiply(a, b) ^ multiply(a, 0x1d));
                assert_eq!(multiply(multiply(a, b), 0x3b), multiply(a, multiply(b, 0x3b)));
            }
        }
    }
}
