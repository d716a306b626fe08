//! Programs that work on services elsewhere: databases, clouds, containers.

use super::options::Options;
use crate::host::policy::shell::{Call, Does, Shell};

/// Words by which these programs destroy.
const DESTROYING: &[&str] = &[
    "delete",
    "destroy",
    "terminate",
    "terminate-instances",
    "rm",
    "rb",
    "remove",
    "purge",
    "prune",
    "uninstall",
    "drain",
    "drop",
    "wipe",
    "kill",
];

/// Programs of this family.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    let words: Vec<&str> = call.args.iter().map(|arg| arg.text.as_str()).collect();
    match call.name {
        "psql" | "mysql" | "mariadb" | "sqlite3" | "mongo" | "mongosh" | "redis-cli" | "clickhouse-client" | "duckdb"
        | "cqlsh" | "sqlcmd" | "bq" => {
            database(shell, call);
            return Some(Does { shows: true, sends_words: call.name != "sqlite3", ..Does::default() });
        }
        "dropdb" | "dropuser" | "mysqladmin" => shell.findings.high("data.drop", call.text, "deletes data"),
        "pg_dump" | "pg_dumpall" | "mysqldump" | "mongodump" | "pg_restore" | "mongorestore" | "createdb" | "initdb"
        | "pg_ctl" => {
            shell.findings.medium("service.reach", call.text, "works on a database");
        }
        "docker" | "podman" | "nerdctl" | "buildah" | "docker-compose" | "lxc" | "crictl" | "ctr" => {
            containers(shell, call, &words)
        }
        "kubectl" | "oc" | "helm" | "k9s" | "aws" | "gcloud" | "gsutil" | "az" | "doctl" | "terraform" | "tofu" | "pulumi"
        | "ansible" | "ansible-playbook" | "vagrant" | "heroku" | "flyctl" | "fly" | "vercel" | "netlify" | "wrangler"
        | "firebase" | "supabase" | "eksctl" | "s3cmd" | "argocd" | "flux" | "nomad" | "consul" | "virsh" | "multipass" => {
            // Names of operations begin so: `delete-bucket`.
            let destroys = |word: &&str| {
                DESTROYING
                    .iter()
                    .any(|verb| word == verb || word.strip_prefix(verb).is_some_and(|rest| rest.starts_with(['-', ':'])))
            };
            if words.iter().any(destroys) || words.contains(&"--delete") || words.iter().any(|word| word.contains("auto-approve"))
            {
                shell.findings.high("service.delete", call.text, "destroys what runs or lies elsewhere");
            } else if words.iter().any(|word| {
                matches!(*word, "secrets" | "secret" | "get-secret-value" | "print-access-token" | "get-login-password")
            }) {
                shell.findings.high("secret.read", call.text, "reads secrets of a service");
                return Some(Does { reveals: true, shows: true, ..Does::default() });
            } else {
                shell.findings.medium("service.reach", call.text, "works on what runs elsewhere");
            }
        }
        _ => return None,
    }
    Some(Does { shows: true, fetches: true, sends_words: true, sends_input: true, ..Does::default() })
}

fn database(shell: &mut Shell<'_>, call: &Call<'_>) {
    let given: String = call.args.iter().map(|arg| arg.text.as_str()).chain(call.input).collect::<Vec<_>>().join(" ");
    let words: Vec<String> = given
        .split(|char: char| !char.is_alphanumeric() && char != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let pair = |first: &str, seconds: &[&str]| {
        words.windows(2).any(|pair| matches!(pair, [a, b] if a == first && seconds.contains(&b.as_str())))
    };
    let drops =
        pair("drop", &["table", "database", "schema", "index", "view", "user", "role", "collection", "column", "keyspace"])
            || has("truncate")
            || has("flushall")
            || has("flushdb")
            || has("dropdatabase")
            || (pair("delete", &["from"]) && !has("where"))
            || (has("update") && has("set") && !has("where"));
    if drops {
        shell.findings.high("data.drop", call.text, "deletes or overwrites whole tables");
    } else if given.contains("\\!")
        || given.contains(".shell")
        || given.contains(".system")
        || given.contains("xp_cmdshell")
        || pair("to", &["program"])
    {
        shell.findings.medium("code.inline", call.text, "runs programs from a database's shell");
    } else if call.name != "sqlite3" && call.name != "duckdb" {
        shell.findings.medium("service.reach", call.text, "works on a database");
    }
}

fn containers(shell: &mut Shell<'_>, call: &Call<'_>, words: &[&str]) {
    let options = Options::of(call.args, "vpewuhf");
    let mounts: Vec<String> =
        ["volume", "mount"].iter().flat_map(|long| options.values(Some('v'), long)).map(|mount| mount.text).collect();
    let gives_machine = |mount: &String| {
        let source = mount.split([':', ',']).next().unwrap_or_default();
        let source = source.trim_start_matches("type=bind").trim_start_matches("source=").trim_start_matches("src=");
        matches!(source, "/" | "/etc" | "/root" | "/home" | "/var" | "/usr" | "/proc" | "/sys" | "/dev")
            || mount.contains("docker.sock")
            || mount.contains("src=/,")
            || mount.contains("source=/,")
    };
    let breaks_out = words.iter().any(|word| {
        *word == "--privileged"
            || word.starts_with("--pid=host")
            || word.starts_with("--cap-add")
            || word.starts_with("--userns=host")
            || word.starts_with("--security-opt")
    });
    if breaks_out || mounts.iter().any(gives_machine) {
        shell.findings.high("rights.container", call.text, "gives a container the rights of the machine");
    } else if matches!(
        words,
        ["ps" | "images" | "logs" | "inspect" | "version" | "info" | "stats" | "top" | "port" | "diff" | "history", ..]
    ) {
        // Only looks.
    } else if words.iter().any(|word| matches!(*word, "prune" | "rm" | "rmi" | "down" | "kill")) {
        shell.findings.medium("service.delete", call.text, "removes containers, images or what they hold");
    } else if words.first() == Some(&"push") {
        shell.findings.high("send.publish", call.text, "publishes an image");
    } else {
        shell.findings.medium("service.reach", call.text, "runs what cannot be seen from here, in a container");
    }
}
