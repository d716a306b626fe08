# The view of the machine that a session has: the workspace $1 at /workspace, where it has one, everything else as it is.
see_machine() {
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
    [ -z "$1" ] || mount --rbind "$1" workspace
    mount -t proc proc proc
    pivot_root . .
    umount -l .
}
