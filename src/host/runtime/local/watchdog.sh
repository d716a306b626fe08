# Ends what a session has started once the engine is gone. $1 is the mark that its processes carry in their environment.
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
