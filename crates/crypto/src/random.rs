//! Randomness, as a thing that is handed in.

/// Says that the system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct RandomError;

/// Fills buffers with bytes nobody can guess.
pub trait Random {
    /// Fills the whole buffer.
    ///
    /// # Errors
    /// When the source fails; the buffer must not be used then.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError>;
}

impl<T: Random + ?Sized> Random for &mut T {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        (**self).fill(out)
    }
}

/// Draws from the operating system, by way of the cryptographic library.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        aws_lc_rs::rand::fill(out).map_err(|_| RandomError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        SystemRandom.fill(&mut one).unwrap();
        SystemRandom.fill(&mut two).unwrap();
        assert_ne!(one, two);
    }
}
