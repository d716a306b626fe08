# Runs one server, and ends everything that it started when it has ended or the engine is gone, however that went.
# $1 says where this runs: `namespaces` or `plain`. $2 is the session's workspace on the machine, where it has one there. $3 is the mark
# that the server's processes carry in their environment; the rest is the server.
# Standard input, output and error are the server's. 3 is a pipe that only the engine holds open; 5 tells it how far this has come.
exec 4<&0 </dev/null
where=$1 workspace=$2 mark=$3
shift 3
if [ "$where" = namespaces ]; then
    set -eu
    PATH=$PATH:/usr/sbin:/sbin
    # The same view of the machine that the session's commands have: the workspace at /workspace, everything else as it is. It is built
    # on top of /proc, which is replaced anyway, so that nothing is made in the real root.
    mount -t tmpfs -o mode=0755 rekindle /proc
    cd /proc
    shopt -s dotglob nullglob
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
    [ -z "$workspace" ] || mount --rbind "$workspace" workspace
    mount -t proc proc proc
    pivot_root . .
    umount -l .
    workspace=/workspace
    set +eu
fi
cd -- "${workspace:-/}" || exit 1
echo ready >&5

# Ends what carries the mark. A process that is about to become another program has no environment for a moment, so seeing none once
# proves little.
sweep() {
    round=0 clear=0
    while [ "$round" -lt 500 ] && [ "$clear" -lt 20 ]; do
        found=$(grep -lzxFs -- "$mark" /proc/[0-9]*/environ)
        [ -n "$found" ] || clear=$((clear + 1))
        for file in $found; do
            clear=0
            pid=${file#/proc/}
            kill -KILL "${pid%/environ}" 2>/dev/null
        done
        round=$((round + 1))
        sleep 0.02
    done
}

# As the first process of a namespace this shell is spared by the first of these, and takes all others with it when it ends.
(
    exec >/dev/null 2>&1 4<&- 5>&-
    while read -r _ <&3; do :; done
    if [ "$where" = namespaces ]; then kill -KILL -1; else sweep; fi
) &
guard=$!
# Signals that a shell in the background ignores, or that the engine was told to, are the server's own again.
env --default-signal=INT,QUIT,HUP,TERM,PIPE,CHLD "$mark" "$@" <&4 3<&- 4<&- 5>&- &
exec 4<&- >/dev/null 2>&1
wait $!
echo "ended $?" >&5
if [ "$where" = plain ]; then
    kill -KILL "$guard"
    sweep
fi
exit 0
