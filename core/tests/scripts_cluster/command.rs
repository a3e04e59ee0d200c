//! A command line of a script: a verb, words and `key=value` pairs.

/// One parsed line.
pub struct Command<'a> {
    pub verb: &'a str,
    pub words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Command<'a> {
    pub fn parse(line: &'a str) -> Result<Self, String> {
        let mut parts = line.split_whitespace();
        let verb = parts.next().ok_or("an empty command")?;
        let mut command = Self { verb, words: Vec::new(), options: Vec::new() };
        for part in parts {
            match part.split_once('=') {
                Some(option) => command.options.push(option),
                None => command.words.push(part),
            }
        }
        Ok(command)
    }

    pub fn word(&self, index: usize) -> Result<&'a str, String> {
        self.words.get(index).copied().ok_or_else(|| format!("word {} is missing", index + 1))
    }

    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.options.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    pub fn all(&self, key: &str) -> Vec<&'a str> {
        self.options.iter().filter(|(name, _)| *name == key).map(|(_, value)| *value).collect()
    }

    pub fn options(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.options.iter().copied()
    }

    pub fn number<N: std::str::FromStr>(&self, key: &str) -> Result<Option<N>, String> {
        self.text(key).map(|value| number(value)).transpose()
    }
}

pub fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}
