//! Where coordinators may be: those that were configured, and those that coordinators named.

/// See the module. Asked in turn; one that was pointed to comes before all others, once.
pub(super) struct Candidates {
    configured: Vec<String>,
    /// As the last coordinator that took a registration named them.
    learned: Vec<String>,
    next: usize,
    pointed_to: Option<String>,
}

impl Candidates {
    pub(super) fn new(configured: &[String]) -> Self {
        Self { configured: configured.to_vec(), learned: Vec::new(), next: 0, pointed_to: None }
    }

    /// Whom to ask now; `None` = nobody is known.
    pub(super) fn next(&mut self) -> Option<String> {
        if let Some(address) = self.pointed_to.take() {
            return Some(address);
        }
        let all: Vec<&String> = self.all().collect();
        let address = (*all.get(self.next % all.len().max(1))?).clone();
        self.next = (self.next + 1) % all.len();
        Some(address)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all().count()
    }

    /// All others.
    pub(super) fn but(&self, address: &str) -> Vec<String> {
        self.all().filter(|known| *known != address).cloned().collect()
    }

    /// A coordinator on standby says that this one is active.
    pub(super) fn point_to(&mut self, address: String) {
        self.pointed_to = Some(address);
    }

    /// The active one names all of them; an empty list says nothing.
    pub(super) fn learn(&mut self, addresses: Vec<String>) {
        if !addresses.is_empty() {
            self.learned = addresses;
        }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        let named_only = self.learned.iter().filter(|address| !self.configured.contains(address));
        self.configured.iter().chain(named_only)
    }
}

#[cfg(test)]
mod tests {
    use super::Candidates;

    #[test]
    fn everybody_is_asked_in_turn_and_who_was_pointed_to_first() {
        let mut candidates = Candidates::new(&["a:1".to_owned(), "b:1".to_owned()]);
        let asked = |candidates: &mut Candidates| candidates.next().unwrap_or_default();
        assert_eq!(asked(&mut candidates), "a:1");
        candidates.point_to("z:1".to_owned());
        assert_eq!(asked(&mut candidates), "z:1");
        assert_eq!(asked(&mut candidates), "b:1");
        candidates.learn(vec!["b:1".to_owned(), "c:1".to_owned()]);
        candidates.learn(Vec::new());
        let round: Vec<String> = (0..3).map(|_| asked(&mut candidates)).collect();
        assert_eq!(round, ["a:1", "b:1", "c:1"]);
        assert_eq!(Candidates::new(&[]).next(), None);
    }
}
