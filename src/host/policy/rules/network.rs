//! Programs that reach the network.

use super::options::Options;
use super::{code, files, names_secret};
use crate::host::policy::shell::{Arg, Call, Does, Shell};

/// Programs of this family.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    let reach = Does { fetches: true, shows: true, sends_words: true, ..Does::default() };
    if names_secret(call.text) && is_network(call.name) {
        shell.findings.high("send.secret", call.text, "sends a secret away");
    }
    match call.name {
        "curl" => return Some(curl(shell, call)),
        "wget" => return Some(wget(shell, call)),
        "nc" | "ncat" | "netcat" | "socat" | "telnet" => return Some(netcat(shell, call)),
        "ssh" | "mosh" => return Some(ssh(shell, call)),
        "scp" | "rsync" | "sftp" | "rclone" => return Some(copy(shell, call)),
        "http" | "https" | "xh" | "aria2c" | "axel" | "lynx" | "w3m" | "elinks" | "links" | "ftp" | "tftp" | "lftp" | "mail"
        | "mailx" | "sendmail" | "mutt" | "swaks" | "openssl" | "grpcurl" | "websocat" => {
            if call.name == "openssl" {
                return Some(openssl(shell, call));
            }
            shell.findings.medium("network.reach", call.text, "reaches the network");
            return Some(Does { sends_input: true, ..reach });
        }
        "ping" | "ping6" | "dig" | "nslookup" | "host" | "traceroute" | "tracepath" | "mtr" | "whois" | "getent" => {
            if call.name != "getent" {
                shell.findings.medium("network.reach", call.text, "reaches the network");
            }
        }
        "nmap" | "masscan" | "nikto" | "sqlmap" | "hydra" | "tcpdump" | "wireshark" | "tshark" | "aircrack-ng" | "msfconsole" => {
            shell.findings.high("network.attack", call.text, "looks into other machines, or at their traffic");
        }
        "ngrok" | "cloudflared" | "localtunnel" | "lt" | "frpc" | "chisel" | "tailscale" => {
            shell.findings.high("network.tunnel", call.text, "lets others in from outside");
        }
        "ss" | "netstat" | "ifconfig" | "arp" => return Some(Does { shows: true, ..Does::default() }),
        "ip" | "iw" | "nmcli" | "resolvectl" => {
            if call.args.iter().any(|arg| matches!(arg.text.as_str(), "add" | "del" | "set" | "flush" | "up" | "down")) {
                shell.findings.high("system.network", call.text, "changes the network of the machine");
            }
            return Some(Does { shows: true, ..Does::default() });
        }
        _ => return None,
    }
    Some(reach)
}

fn is_network(name: &str) -> bool {
    matches!(
        name,
        "curl"
            | "wget"
            | "nc"
            | "ncat"
            | "netcat"
            | "socat"
            | "ssh"
            | "http"
            | "https"
            | "xh"
            | "ping"
            | "dig"
            | "nslookup"
            | "host"
            | "mail"
    )
}

fn last_part(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// What is read of a file in the words of the command: `@file`, `name=@file`, `name=<file`.
fn uploaded(value: &str) -> Option<&str> {
    value.split_once('@').or_else(|| value.split_once("=<")).map(|(_, file)| file.split(';').next().unwrap_or(file))
}

fn curl(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let text = call.text;
    let options = Options::of(call.args, "oTdFHXuAbceEKmxrwCDPQtUyYz");
    let mut sends_input = false;
    let mut local = true;
    let urls: Vec<&Arg> = options.operands().collect();
    for url in &urls {
        if url.text.starts_with("file:") {
            files::reads(shell, url, text);
        } else if !is_loopback(&url.text) {
            local = false;
        }
    }
    if !local {
        shell.findings.medium("network.reach", text, "reaches the network");
    }
    let bodies = ["data", "data-binary", "data-raw", "data-ascii", "data-urlencode", "json", "form", "url-query"];
    let mut values: Vec<Arg> = bodies.iter().flat_map(|body| options.values(None, body)).collect();
    values.extend(options.values(Some('d'), "").into_iter().chain(options.values(Some('F'), "")));
    let mut files: Vec<String> = values.iter().filter_map(|value| uploaded(&value.text).map(str::to_owned)).collect();
    files.extend(options.values(Some('T'), "upload-file").into_iter().map(|file| file.text));
    for file in files {
        if matches!(file.as_str(), "-" | "/dev/stdin" | ".") {
            sends_input = true;
            continue;
        }
        let is_secret = files::reads(shell, &Arg::plain(&file), text);
        if is_secret {
            shell.findings.high("send.secret", text, "sends secrets away");
        } else if !local {
            shell.findings.high("send.data", text, "sends files away");
        }
    }
    for output in options.values(Some('o'), "output").into_iter().chain(options.values(None, "output-dir")) {
        files::writes(shell, &output, text);
        shell.fetch(&output.text);
    }
    if options.has('O', "remote-name") {
        urls.iter().for_each(|url| shell.fetch(last_part(&url.text)));
    }
    for settings in options.values(Some('K'), "config") {
        files::reads(shell, &settings, text);
    }
    Does { fetches: true, sends_input, sends_words: true, shows: true, ..Does::default() }
}

/// Whether an address is one of this machine: servers that are being worked on are asked so.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // What stands before an `@` is no host.
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = if host.starts_with('[') { host.split_inclusive(']').next() } else { host.split(':').next() };
    matches!(host, Some("localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0"))
}

fn wget(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let text = call.text;
    let options = Options::of(call.args, "OPoaietTwQUl");
    let urls: Vec<&Arg> = options.operands().collect();
    if urls.iter().any(|url| !is_loopback(&url.text)) || urls.is_empty() {
        shell.findings.medium("network.reach", text, "reaches the network");
    }
    for file in options.values(None, "post-file").into_iter().chain(options.values(None, "body-file")) {
        let is_secret = files::reads(shell, &file, text);
        let rule = if is_secret { "send.secret" } else { "send.data" };
        shell.findings.high(rule, text, "sends files away");
    }
    let outputs = options.values(Some('O'), "output-document");
    for output in outputs.iter().filter(|output| output.text != "-") {
        files::writes(shell, output, text);
        shell.fetch(&output.text);
    }
    for directory in options.values(Some('P'), "directory-prefix") {
        files::writes(shell, &directory, text);
        urls.iter().for_each(|url| shell.fetch(&format!("{}/{}", directory.text, last_part(&url.text))));
    }
    if outputs.is_empty() {
        urls.iter().for_each(|url| shell.fetch(last_part(&url.text)));
    }
    Does { fetches: true, sends_words: true, shows: true, ..Does::default() }
}

fn netcat(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let options = Options::of(call.args, "wpsiIOqXxTg");
    let all: String = call.args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ");
    let runs = options.has('e', "exec")
        || options.has('c', "sh-exec")
        || all.to_ascii_uppercase().contains("EXEC:")
        || all.to_ascii_uppercase().contains("SYSTEM:");
    if runs && call.name != "telnet" {
        shell.findings.high("network.shell", call.text, "opens a shell to the network");
    } else if options.has('l', "listen") || all.contains("LISTEN") {
        shell.findings.medium("network.serve", call.text, "lets the network in");
    } else if options.has('z', "") {
        shell.findings.medium("network.reach", call.text, "looks for open ports");
    } else {
        shell.findings.medium("network.reach", call.text, "opens a connection");
    }
    Does { fetches: true, sends_input: true, sends_words: true, shows: true, ..Does::default() }
}

fn ssh(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let options = Options::of(call.args, "bcDEeFIiJLlmOopQRSWw");
    shell.findings.medium("network.remote", call.text, "works on another machine");
    for setting in options.values(Some('o'), "") {
        let lower = setting.text.to_ascii_lowercase();
        if ["proxycommand", "localcommand", "knownhostscommand"].iter().any(|name| lower.starts_with(name)) {
            let script = setting.text.split_once(['=', ' ']).map_or("", |(_, script)| script).to_owned();
            shell.findings.medium("hidden.program", call.text, "runs a program from an option");
            let setting = shell.setting.clone();
            shell.script_beside(&script, setting);
        }
    }
    if options.has('R', "") || options.has('D', "") || options.has('L', "") {
        shell.findings.high("network.tunnel", call.text, "opens a way between networks");
    }
    let words: Vec<&str> = options.operands().skip(1).map(|arg| arg.text.as_str()).collect();
    if !words.is_empty() {
        code::remote(shell, &words.join(" "));
    } else if let Some(input) = call.input {
        code::remote(shell, input);
    }
    Does { fetches: true, sends_input: true, sends_words: true, shows: true, ..Does::default() }
}

fn is_remote(place: &str) -> bool {
    place.starts_with("rsync://")
        || place.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/') && !host.starts_with('.'))
}

fn copy(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let text = call.text;
    let options = Options::of(call.args, "PiFlocSJXefMTB");
    let mut operands: Vec<&Arg> = options.operands().collect();
    if call.name == "rclone" && !operands.is_empty() {
        operands.remove(0);
    }
    for program in options.values(Some('e'), "rsh") {
        let setting = shell.setting.clone();
        shell.script_beside(&program.text, setting);
    }
    let target = operands.pop();
    let sends = target.is_some_and(|target| is_remote(&target.text));
    if !sends && !operands.iter().any(|source| is_remote(&source.text)) && call.name == "rsync" {
        // Between two directories of this machine.
        for source in &operands {
            files::reads(shell, source, text);
        }
        if let Some(target) = target {
            files::writes(shell, target, text);
            if options.is_given("--delete") {
                files::deletes(shell, target, true, text);
            }
        }
        return Does::default();
    }
    for source in operands.iter().filter(|source| !is_remote(&source.text)) {
        let is_secret = files::reads(shell, source, text);
        if sends {
            shell.findings.high(if is_secret { "send.secret" } else { "send.data" }, text, "sends files to another machine");
        }
    }
    shell.findings.medium("network.reach", text, "reaches another machine");
    if let Some(target) = target.filter(|_| !sends) {
        files::writes(shell, target, text);
        shell.fetch(&target.text);
    }
    Does { fetches: true, sends_words: true, ..Does::default() }
}

fn openssl(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let options = Options::of(call.args, "");
    match options.subcommand() {
        "s_client" | "s_server" => {
            shell.findings.medium("network.reach", call.text, "reaches the network");
            Does { fetches: true, sends_input: true, ..Does::default() }
        }
        "enc" | "base64" | "aes-256-cbc" => Does { decodes: options.has('d', ""), shows: true, ..Does::default() },
        "version" | "rand" | "dgst" | "passwd" => Does { shows: true, ..Does::default() },
        _ => {
            for (at, arg) in call.args.iter().enumerate() {
                let value = call.args.get(at + 1);
                match (arg.text.as_str(), value) {
                    ("-in" | "-key" | "-inkey", Some(file)) => {
                        files::reads(shell, file, call.text);
                    }
                    ("-out" | "-keyout", Some(file)) => files::writes(shell, file, call.text),
                    _ => {}
                }
            }
            Does { shows: true, ..Does::default() }
        }
    }
}
