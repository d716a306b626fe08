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
for entry in /*; do
    name=${entry#/}
    case $name in proc | workspace) continue ;; esac
    if [ -L "$entry" ]; then
        cp -P "$entry" "./$name"
    elif [ -d "$entry" ]; then
        mkdir "./$name"
        mount --rbind "$entry" "./$name"
    elif [ -f "$entry" ]; then
        : > "./$name"
        mount --bind "$entry" "./$name"
    fi
done
mkdir workspace proc
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
