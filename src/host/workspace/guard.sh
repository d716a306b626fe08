# Runs a program, and ends it and all that it has started as soon as nobody holds standard input open any more: the engine that
# gives up, and the one that was killed, both let go of it.
exec 3<&0 </dev/null
{ read -r _ <&3; kill -s KILL 0; } >/dev/null 2>&1 &
guard=$!
"$@" 3<&-
code=$?
exec 2>/dev/null
kill "$guard"
wait "$guard"
exit "$code"
