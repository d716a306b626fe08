# The first process of a session's namespaces: builds the session's own view of the machine, then waits for the engine to go.
# $1 is the workspace on the machine. Standard input is a pipe that only the engine holds open.
set -eu
PATH=$PATH:/usr/sbin:/sbin
# Read while /proc still shows the machine's process ids: the engine enters the namespaces by this one.
read -r host _ < /proc/self/stat
# /proc is the one directory that is replaced anyway, so the new root is built on top of it and nothing is made in the real root.
mount -t tmpfs -o mode=0755 rekindle /proc
cd /proc
shopt -s dotglob nullglob
# Names are collected first: each program that is started takes milliseconds, and a root directory has some twenty entries.
links=() directories=() files=()
for entry in /*; do
    case $entry in /proc | /workspace) continue ;; esac
    if [ -L "$entry" ]; then
        links+=("$entry")
    elif [ -d "$entry" ]; then
        directories+=("${entry#/}")
    elif [ -f "$entry" ]; then
        files+=("${entry#/}")
    fi
done
mkdir -- "${directories[@]}" workspace proc
[ "${#links[@]}" -eq 0 ] || cp -P -- "${links[@]}" .
for name in "${files[@]}"; do
    : > "./$name"
    mount --bind "/$name" "./$name"
done
for name in "${directories[@]}"; do
    mount --rbind "/$name" "./$name"
done
mount --rbind "$1" workspace
mount -t proc proc proc
pivot_root . .
umount -l .
cd /
printf '%s\n' "$host"
exec >/dev/null 2>&1
# Bash reaps orphans while it waits here. When the engine is gone, however it went, the read ends, and with this process the
# kernel ends every other one in the namespace.
while read -r _; do :; done
