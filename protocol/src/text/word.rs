macro_rules! words {
    ($($word:ident = $text:literal, $about:literal;)+) => {
        /// A word in the manner of `ZooKeeper`: the whole connection says nothing else, and is closed after
        /// the answer.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Word { $(#[doc = $about] $word,)+ }

        impl Word {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];

            /// As it is typed: lower case only.
            #[must_use]
            pub fn text(self) -> &'static str { match self { $(Self::$word => $text,)+ } }

            /// What it answers, in one line.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$word => $about,)+ }
            }
        }
    };
}

words! {
    Ruok = "ruok", "whether the process can do its job: `imok` or `imno: <reason>`";
    Role = "role", "what it is: leader, follower, coordinator";
    Isro = "isro", "whether writes are taken: `rw` or `ro`";
    Stat = "stat", "the process and its connections in short";
    Srvr = "srvr", "the process in short";
    Mntr = "mntr", "numbers for monitoring: `key<TAB>value`; keys may be added";
    Conf = "conf", "the configuration";
    Cons = "cons", "the connections";
    Dump = "dump", "leases and sessions";
    Envi = "envi", "the environment of the process";
    Dirs = "dirs", "the data dirs";
    Tops = "tops", "the topics";
    Isrs = "isrs", "the in-sync replicas";
    Lead = "lead", "the leaders";
    Evnt = "evnt", "the last events";
}

impl Word {
    /// The word that these bytes are; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|word| word.text().as_bytes() == bytes).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lower_case_words() {
        assert_eq!(Word::parse(b"ruok"), Some(Word::Ruok));
        assert_eq!(Word::Ruok.about(), "whether the process can do its job: `imok` or `imno: <reason>`");
        for other in [&b"RUOK"[..], b"ruo", b"ruok ", b""] {
            assert_eq!(Word::parse(other), None);
        }
        // A word is told from a line by its silence: no word may begin another one.
        for word in Word::ALL {
            assert_eq!(word.text().len(), 4);
        }
    }
}
