# The first process of a sandboxed session: builds the session's own view of the machine, which holds nothing but what is listed,
# then waits for the engine to go. $1 is where the new root is built, $2 what is mounted in it, $3 is "net" for a network of its
# own. Then three lists, each with its length before it: directories, files, links. Standard input is a pipe that only the engine
# holds open.
set -eu
# Read while /proc still shows the machine's process ids: the engine enters the namespaces by this one.
read -r host _ < /proc/self/stat
stage=$1 table=$2 net=$3
shift 3
directories=("${@:2:$1}")
shift $(($1 + 1))
files=("${@:2:$1}")
shift $(($1 + 1))
links=("${@:2:$1}")
mount -n -t tmpfs -o mode=0755,nosuid rekindle "$stage"
cd "$stage"
mkdir -p -- proc/none "${directories[@]}"
chmod 1777 tmp var/tmp dev/shm
[ "${#links[@]}" -eq 0 ] || cp -P -- "${links[@]}" .
for file in "${files[@]}"; do
    : > "$file"
done
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
# All of it with one program: each takes milliseconds to start. The table lies where /proc is mounted over it in the end.
printf '%s' "$table" > proc/table
mount -n -a -T proc/table
[ ! -e dev/pts/ptmx ] || ln -s pts/ptmx dev/ptmx
pivot_root . .
umount -n -l .
cd /
up=
if [ "$net" = net ]; then
    # The session's own servers are reached over the loopback device, which nothing else brings up.
    ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || perl -e 'use Socket; socket(S, AF_INET, SOCK_DGRAM, 0) or exit 1;
        $request = pack("a16s", "lo", 0x41) . "\0" x 22; ioctl(S, 0x8914, $request) or exit 1' 2>/dev/null || python3 -c '
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 0x41))' 2>/dev/null || up=down
fi
printf '%s %s\n' "$host" "$up"
exec >/dev/null 2>&1
# Bash reaps orphans while it waits here. When the engine is gone, however it went, the read ends, and with this process the
# kernel ends every other one in the namespace.
while read -r _; do :; done
