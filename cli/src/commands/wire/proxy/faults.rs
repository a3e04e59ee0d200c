use std::time::Duration;
use yak_protocol::decode::Direction;

/// A value for one way, or for both.
#[derive(Clone, Copy, Debug)]
pub(super) struct PerWay<T> {
    way: Option<Direction>,
    value: T,
}

impl<T> PerWay<T> {
    /// Reads `VALUE`, `to-server=VALUE` or `to-client=VALUE`.
    pub(super) fn parse(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        let (way, value) = match text.split_once('=') {
            None => (None, text),
            Some(("to-server", value)) => (Some(Direction::ToServer), value),
            Some(("to-client", value)) => (Some(Direction::ToClient), value),
            Some((other, _)) => {
                return Err(format!("{other:?} is no way; there are to-server and to-client"));
            }
        };
        Ok(Self { way, value: parse(value)? })
    }
}

/// The last value that is given for a way.
fn of_way<T: Copy>(values: &[PerWay<T>], direction: Direction) -> Option<T> {
    let matching = values.iter().rev().find(|value| value.way.is_none_or(|way| way == direction));
    matching.map(|value| value.value)
}

/// A part of all frames, from 0 to 1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub(super) struct Share(f64);

impl Share {
    /// Reads `1%` or `0.01`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (digits, unit) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
        let share = digits.parse::<f64>().map(|number| number / unit).unwrap_or(f64::NAN);
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("{text:?} is no share; write 1% or 0.01"))
        }
    }
}

/// After what a connection is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    Frames(u64),
    Bytes(u64),
}

impl Cut {
    /// Reads `10`, `10frames` or `4096bytes`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (digits, of): (&str, fn(u64) -> Self) =
            match (text.strip_suffix("bytes"), text.strip_suffix("frames")) {
                (Some(digits), _) => (digits, Self::Bytes),
                (_, Some(digits)) => (digits, Self::Frames),
                _ => (text, Self::Frames),
            };
        match digits.trim().parse() {
            Ok(0) => Err("a connection can be cut after 1 at the earliest".to_owned()),
            Ok(count) => Ok(of(count)),
            Err(_) => Err(format!("{text:?} is no count; write 10, 10frames or 4096bytes")),
        }
    }
}

/// What is done to connections.
#[derive(Debug)]
pub(super) struct Faults {
    ways: [OfWay; 2],
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
struct OfWay {
    delay: Duration,
    drop: Option<Share>,
    cut: Option<Cut>,
}

/// What is done to one way of one connection.
#[derive(Debug)]
pub(super) struct WayFaults {
    pub(super) delay: Duration,
    pub(super) cut: Option<Cut>,
    drop: Option<Share>,
    random: fastrand::Rng,
}

impl Faults {
    pub(super) fn new(
        delay: &[PerWay<Duration>],
        drop: &[PerWay<Share>],
        cut: &[PerWay<Cut>],
        seed: u64,
    ) -> Self {
        let of = |direction| OfWay {
            delay: of_way(delay, direction).unwrap_or_default(),
            drop: of_way(drop, direction),
            cut: of_way(cut, direction),
        };
        Self { ways: [of(Direction::ToServer), of(Direction::ToClient)], seed }
    }

    /// Each way of each connection has its own sequence of chances, so that the same seed means the same
    /// whatever happens elsewhere.
    pub(super) fn of(&self, direction: Direction, connection: usize) -> WayFaults {
        let index = usize::from(direction == Direction::ToClient);
        let OfWay { delay, drop, cut } = self.ways[index];
        let mut seeds = fastrand::Rng::with_seed(self.seed);
        for _ in 0..2 * connection + index {
            seeds.u64(..);
        }
        WayFaults { delay, cut, drop, random: fastrand::Rng::with_seed(seeds.u64(..)) }
    }
}

impl WayFaults {
    /// Whether the next frame is lost.
    pub(super) fn drops(&mut self) -> bool {
        self.drop.is_some_and(|share| self.random.f64() < share.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_for_both_ways_or_one() {
        let parse = |text| PerWay::parse(text, Share::parse);
        let values = [parse("1%").expect("legal"), parse("to-client=0.5").expect("legal")];
        assert_eq!(of_way(&values, Direction::ToServer), Some(Share(0.01)));
        assert_eq!(of_way(&values, Direction::ToClient), Some(Share(0.5)));
        assert_eq!(of_way::<Share>(&[], Direction::ToClient), None);
        assert!(parse("up=1%").expect_err("no way").contains("to-server"));
        for wrong in ["", "101%", "-1%", "2", "x", "NaN"] {
            assert!(Share::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cuts() {
        assert_eq!(Cut::parse("10"), Ok(Cut::Frames(10)));
        assert_eq!(Cut::parse("10frames"), Ok(Cut::Frames(10)));
        assert_eq!(Cut::parse("10 bytes"), Ok(Cut::Bytes(10)));
        for wrong in ["", "0", "-1", "10k"] {
            assert!(Cut::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_seed_means_the_same_faults() {
        let half = [PerWay::parse("50%", Share::parse).expect("legal")];
        let fates = |seed, direction, connection| {
            let mut way = Faults::new(&[], &half, &[], seed).of(direction, connection);
            (0..64).map(|_| way.drops()).collect::<Vec<_>>()
        };
        let one = fates(7, Direction::ToServer, 1);
        assert_eq!(one, fates(7, Direction::ToServer, 1));
        for other in [
            fates(8, Direction::ToServer, 1),
            fates(7, Direction::ToClient, 1),
            fates(7, Direction::ToServer, 2),
        ] {
            assert_ne!(one, other);
        }
    }
}
