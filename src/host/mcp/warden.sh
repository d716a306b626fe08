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
    # The same view of the machine that the session's commands have.
    see_machine "$workspace"
    workspace=/workspace
    set +eu
fi
cd -- "${workspace:-/}" || exit 1
echo ready >&5

# As the first process of a namespace this shell is spared by the first of these, and takes all others with it when it ends.
(
    exec >/dev/null 2>&1 4<&- 5>&-
    while read -r _ <&3; do :; done
    if [ "$where" = namespaces ]; then kill -KILL -1; else sweep "$mark" 20; fi
) &
guard=$!
# Signals that a shell in the background ignores, or that the engine was told to, are the server's own again.
env --default-signal=INT,QUIT,HUP,TERM,PIPE,CHLD "$mark" "$@" <&4 3<&- 4<&- 5>&- &
exec 4<&- >/dev/null 2>&1
wait $!
echo "ended $?" >&5
if [ "$where" = plain ]; then
    kill -KILL "$guard"
    sweep "$mark" 20
fi
exit 0
