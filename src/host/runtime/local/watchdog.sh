# Ends what a session has started once the engine is gone. $1 is the mark that its processes carry in their environment.
# $2 is a directory of the session's own that goes with it, if there is one.
# Standard input is a pipe that only the engine holds open.
while read -r _; do :; done
round=0
# A process that is about to become another program has no environment for a moment, so seeing none once proves little.
clear=0
while [ "$round" -lt 500 ] && [ "$clear" -lt 50 ]; do
    found=$(grep -lzxFs -- "$1" /proc/[0-9]*/environ)
    [ -n "$found" ] || clear=$((clear + 1))
    for file in $found; do
        clear=0
        pid=${file#/proc/}
        kill -KILL "${pid%/environ}" 2>/dev/null
    done
    round=$((round + 1))
    sleep 0.02
done
[ -z "${2-}" ] || rm -rf -- "$2"
