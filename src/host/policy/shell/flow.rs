//! What flows between commands: through pipes, and from substitutions into words.

use std::collections::BTreeMap;

use super::parse::Inside;
use super::{Arg, Does, Shell, WORDS_MAX};

/// The commands of a script, as they are joined.
#[derive(Debug, Default)]
pub(super) struct Flow {
    ran: Vec<Ran>,
}

#[derive(Debug)]
struct Ran {
    inside: Inside,
    does: Does,
    text: String,
    /// Its number among the commands; a redirection has none.
    is_command: bool,
}

impl Flow {
    /// Notes what a command, or a redirection, does.
    pub fn ran(&mut self, inside: Inside, does: Does, text: String) {
        let is_command = !text.starts_with('<');
        self.ran.push(Ran { inside, does, text, is_command });
    }

    /// Judges what flows where.
    pub fn judge(mut self, shell: &mut Shell<'_>, names: &[String]) {
        self.inward();
        let mut pipelines: BTreeMap<usize, Vec<(usize, &Ran)>> = BTreeMap::new();
        for ran in &self.ran {
            if let Some((number, place)) = ran.inside.pipe {
                pipelines.entry(number).or_default().push((place, ran));
            }
        }
        for mut parts in pipelines.into_values() {
            parts.sort_by_key(|(place, _)| *place);
            pipeline(shell, &parts);
        }
        self.words(shell);
        self.values(shell, names);
    }

    /// What a command's words are made of, it shows too: `echo $(curl …)`.
    fn inward(&mut self) {
        let numbers: Vec<usize> = (0..self.ran.len()).filter(|at| self.ran.get(*at).is_some_and(|ran| ran.is_command)).collect();
        for at in (0..self.ran.len()).rev() {
            let Some(inner) = self.ran.get(at) else { continue };
            let Some(outer) = inner.inside.words_of.and_then(|number| numbers.get(number).copied()).filter(|outer| *outer < at)
            else {
                continue;
            };
            let Does { fetches, decodes, reveals, shows, .. } = inner.does;
            if let Some(ran) = self.ran.get_mut(outer) {
                ran.does.fetches |= fetches;
                ran.does.decodes |= decodes;
                ran.does.reveals |= reveals;
                ran.does.shows |= shows;
                if fetches || decodes || reveals || shows {
                    ran.does.prints = None;
                }
            }
        }
    }

    /// `X=$(curl …); eval "$X"`.
    fn values(&self, shell: &mut Shell<'_>, names: &[String]) {
        let mut made: BTreeMap<&str, Does> = BTreeMap::new();
        for ran in &self.ran {
            if let Some(name) = ran.inside.value_of.and_then(|place| names.get(place)) {
                let does = made.entry(name).or_default();
                does.fetches |= ran.does.fetches;
                does.decodes |= ran.does.decodes;
                does.reveals |= ran.does.reveals;
                does.shows |= ran.does.shows;
            }
        }
        for (name, does) in made {
            let uses = |text: &str| {
                text.split('$').skip(1).any(|after| {
                    let after = after.trim_start_matches(['{', '!']);
                    after
                        .strip_prefix(name)
                        .is_some_and(|rest| !rest.starts_with(|char: char| char.is_alphanumeric() || char == '_'))
                })
            };
            for ran in self.ran.iter().filter(|ran| ran.is_command && uses(&ran.text)) {
                if ran.does.runs_words || ran.does.runs_input {
                    into_code(shell, &does, &ran.text);
                }
                if ran.does.sends_words {
                    into_network(shell, &does, &ran.text);
                }
            }
        }
    }

    /// `sh -c "$(curl …)"`, `curl https://…/$(cat secret)`.
    fn words(&self, shell: &mut Shell<'_>) {
        let commands: Vec<&Ran> = self.ran.iter().filter(|ran| ran.is_command).collect();
        for inner in &self.ran {
            let mut outer = inner.inside.words_of;
            // A command stands behind those whose words it makes, so this ends.
            while let Some(ran) = outer.and_then(|number| commands.get(number)) {
                if ran.does.runs_words || ran.does.runs_input {
                    into_code(shell, &inner.does, &ran.text);
                }
                if ran.does.sends_words {
                    into_network(shell, &inner.does, &ran.text);
                }
                let next = ran.inside.words_of;
                outer = next.filter(|next| Some(*next) < outer);
            }
        }
    }
}

fn pipeline(shell: &mut Shell<'_>, parts: &[(usize, &Ran)]) {
    let mut before = Does::default();
    let mut printed: Option<String> = None;
    let mut place_before = None;
    let text = |from: &Ran| from.text.clone();
    for (place, ran) in parts {
        let is_first = place_before.is_none();
        place_before = Some(*place);
        let does = &ran.does;
        if does.runs_input && !is_first {
            let shown = parts.iter().map(|(_, ran)| text(ran)).collect::<Vec<_>>().join(" | ");
            if before.fetches || before.decodes {
                into_code(shell, &before, &shown);
            } else if let Some(script) = &printed {
                let setting = shell.setting.clone();
                shell.script_beside(script, setting);
            } else {
                shell.findings.medium("hidden.input", &shown, "runs what it is given, which cannot be seen");
            }
        }
        if let (Some(args), Some(words)) = (&does.takes_words, &printed) {
            let mut args = args.clone();
            args.extend(words.split_whitespace().take(WORDS_MAX).map(Arg::plain));
            shell.argv(args, None, &format!("{} {words}", ran.text));
        }
        if does.sends_input && !is_first {
            into_network(shell, &before, &ran.text);
        }
        printed = if is_first { does.prints.clone() } else { None };
        before.fetches |= does.fetches;
        before.decodes |= does.decodes;
        before.reveals |= does.reveals;
        before.shows |= does.shows;
    }
}

fn into_code(shell: &mut Shell<'_>, from: &Does, text: &str) {
    if from.fetches {
        shell.findings.high("code.fetched", text, "runs what the network sends");
    }
    if from.decodes {
        shell.findings.high("code.decoded", text, "runs what was made unreadable");
    }
}

fn into_network(shell: &mut Shell<'_>, from: &Does, text: &str) {
    if from.reveals {
        shell.findings.high("send.secret", text, "sends secrets away");
    } else if from.shows {
        shell.findings.high("send.data", text, "sends files or what the machine says of itself away");
    }
}
