//! How traffic is split between primary and canary, and what a provider's router can do about it.

/// A split of traffic. The primary gets what the canary does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Split {
    /// Percent of the traffic that the canary answers.
    pub canary: u8,
    /// The canary is sent copies of the primary's traffic; its answers are dropped.
    pub mirrored: bool,
}

impl Split {
    /// Everything to the primary.
    pub const NONE: Split = Split {
        canary: 0,
        mirrored: false,
    };
    /// Everything to the canary.
    pub const ALL: Split = Split {
        canary: 100,
        mirrored: false,
    };
    /// Everything to the primary, and a copy to the canary.
    pub const MIRRORED: Split = Split {
        canary: 0,
        mirrored: true,
    };

    /// So many percent to the canary.
    pub fn to_canary(percent: u8) -> Self {
        Split {
            canary: percent.min(100),
            mirrored: false,
        }
    }

    /// Percent of the traffic that the primary answers.
    pub fn primary(self) -> u8 {
        100_u8.saturating_sub(self.canary)
    }

    /// The canary sees no traffic of any kind.
    pub fn is_none(self) -> bool {
        self == Split::NONE
    }
}

/// What a provider's router can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Split traffic by weight.
    pub weights: bool,
    /// Copy traffic to the canary.
    pub mirror: bool,
    /// Send requests with certain headers to the canary.
    pub matches: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_a_whole() {
        for percent in 0..=u8::MAX {
            let split = Split::to_canary(percent);
            assert_eq!(u16::from(split.canary) + u16::from(split.primary()), 100);
            assert_eq!(split.is_none(), percent == 0);
        }
        assert!(!Split::MIRRORED.is_none());
    }
}
