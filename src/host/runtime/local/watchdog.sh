# Ends what a session has started once the engine is gone. $1 is the mark that its processes carry in their environment.
# $2 is a directory of the session's own that goes with it, if there is one.
# Standard input is a pipe that only the engine holds open.
while read -r _; do :; done
sweep "$1" 50
[ -z "${2-}" ] || rm -rf -- "$2"
