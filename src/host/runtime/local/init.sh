# The first process of a session's namespaces: builds the session's own view of the machine, then waits for the engine to go.
# $1 is the workspace on the machine. Standard input is a pipe that only the engine holds open.
set -eu
PATH=$PATH:/usr/sbin:/sbin
# Read while /proc still shows the machine's process ids: the engine enters the namespaces by this one.
read -r host _ < /proc/self/stat
see_machine "$1"
cd /
printf '%s\n' "$host"
exec >/dev/null 2>&1
# Bash reaps orphans while it waits here. When the engine is gone, however it went, the read ends, and with this process the
# kernel ends every other one in the namespace.
while read -r _; do :; done
