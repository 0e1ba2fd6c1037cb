//! Names the broker makes up: numbered in what is received, put back into what is sent.

/// What generated names begin with, and how many characters follow; 0 is as many as belong to a name.
const GENERATED: [(&str, usize); 3] = [("amq.gen-", 22), ("amq.ctag-", 22), ("amq.rabbitmq.reply-to.", 0)];

/// The names seen in one conversation.
#[derive(Default)]
pub(crate) struct Names {
    seen: [Vec<String>; 3],
}

fn belongs(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_+/=.".contains(c)
}

impl Names {
    /// Replaces generated names by `amq.gen-#1` and so on.
    pub(crate) fn hide(&mut self, line: &str) -> String {
        let mut line = line.to_owned();
        for ((prefix, length), seen) in GENERATED.iter().zip(&mut self.seen) {
            let mut from = 0;
            while let Some(at) = line[from..].find(prefix).map(|at| from + at + prefix.len()) {
                from = at;
                let mut end = line[at..].find(|c| !belongs(c)).map_or(line.len(), |n| at + n);
                if *length > 0 {
                    if end - at < *length {
                        continue;
                    }
                    end = at + length;
                } else if end - at < 20 {
                    continue;
                }
                let secret = line[at..end].to_owned();
                let number = seen.iter().position(|known| *known == secret).unwrap_or_else(|| {
                    seen.push(secret);
                    seen.len() - 1
                });
                line.replace_range(at..end, &format!("#{}", number + 1));
            }
        }
        line
    }

    /// Puts generated names in for `amq.gen-#1` and so on.
    pub(crate) fn reveal(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for ((prefix, _), seen) in GENERATED.iter().zip(&self.seen) {
            for (n, secret) in seen.iter().enumerate() {
                line = line.replace(&format!("{prefix}#{}", n + 1), &format!("{prefix}{secret}"));
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hidden_and_revealed() {
        let mut names = Names::default();
        let line = "queue=amq.gen-ABCDEFGHIJKLMNOPQRSTU_ and 'amq.gen-ABCDEFGHIJKLMNOPQRSTU-', amq.gen-short";
        let hidden = names.hide(line);
        assert_eq!(hidden, "queue=amq.gen-#1 and 'amq.gen-#2', amq.gen-short");
        assert_eq!(names.reveal(&hidden), line);
        let reply = "reply-to=amq.rabbitmq.reply-to.g1h2AA5yZXBseUAxMzQ4NTY3OAAAAAAAAA.m+/x== x";
        assert_eq!(names.hide(reply), "reply-to=amq.rabbitmq.reply-to.#1 x");
    }
}
