"""Checks bundles of sessions (rekindle-bundle/1) with nothing but Python's standard library, and knows nothing of the program.

    python3 check_bundle.py FILE [KEY]     ends with 0 (nothing fails), 5 (something does) or 2 (no bundle)
    python3 check_bundle.py < LIST         many: each line is a file, or a file, a tab and a key (NAME+ID+BASE64)

Two of the three verdicts are judged here: integrity and completeness. Determinism takes the program that folds the events."""

import base64, functools, hashlib, json, re, sys

def number(low, high):
    return lambda x: type(x) is int and low <= x <= high

def text(pattern):
    return lambda x: type(x) is str and re.fullmatch(pattern, x, re.ASCII | re.DOTALL) is not None

def maybe(fits):
    return lambda x: x is None or fits(x)

SEQ, HASH = number(0, 2**63 - 1), text("[0-9a-f]{64}")
TYPES = {
    "format": text("rekindle-bundle/1"), "text": text(".*"), "source": text("user|agent|environment"),
    "uuid": text("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "hash": HASH, "salt": text("[0-9a-f]{32}"),
    "name": maybe(text("[A-Za-z0-9._-]{1,128}")), "bool": lambda x: type(x) is bool, "cause": maybe(SEQ), "seq": SEQ,
    "head": number(1, 2**63 - 1), "u16": number(0, 2**16 - 1), "u64": number(0, 2**64 - 1), "i64": number(-(2**63), 2**63 - 1),
    "path": lambda x: type(x) is list and all(map(HASH, x)),
}
ENVELOPE = "session:uuid seq:seq id:uuid kind:text v:u16 at:i64 source:source cause:cause must_understand:bool "
EVENTS, END = 2, 6
FORMS = [  # each kind of line, its rank in the order of lines, and the fields of its record
    ("header", 0, "format:format session:uuid name:name head:head hash:hash of:seq by:text at:i64"),
    ("ancestor", 1, "session:uuid upto:seq hash:hash"),
    ("event", EVENTS, ENVELOPE + "body:text salt:salt hash:hash"),
    ("event", EVENTS, ENVELOPE + "digest:hash hash:hash"),
    ("damaged", EVENTS, "seq:seq what:text"),
    ("blob", 3, "digest:hash content:text"),
    ("key", 4, "vkey:text"),
    ("proof", 5, "seq:seq index:seq path:path checkpoint:text"),
    ("end", END, "ancestors:u64 events:u64 damaged:u64 blobs:u64 keys:u64 proofs:u64 sha256:hash"),
]
CONTENT = {  # where the events of a kind name content that lies beside the log
    "session.created": ["spec.origin.trajectory"], "start.step_finished": ["outcome.report.organisation.contents"],
    "model.briefed": ["prompt", "tools"], "model.responded": ["prompt"], "workspace.captured": ["manifest"],
}
RUNNABLE = "run run_ipython browse browse_interactive read write edit call_tool_mcp".split()

class Fault(Exception):
    """What is wrong, and at which event if that is known."""

def load(encoded):
    try:
        return json.loads(encoded, parse_constant=int)
    except (ValueError, RecursionError):
        return None

def parse(line):
    """The kind, the rank and the record of a line; None where it is not in the one form that such a line has."""
    entry = load(line)
    for kind, rank, form in FORMS:
        fields = dict(field.split(":") for field in form.split())
        record = entry.get(kind) if type(entry) is dict and len(entry) == 1 else None
        if type(record) is dict and list(record) == list(fields) and all(TYPES[fields[name]](record[name]) for name in fields):
            written = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
            return (kind, rank, record) if written == line and (rank or record["head"] <= record["of"]) else None
    return None

def look_up(value, path):
    for name in path.split("."):
        value = value.get(name) if type(value) is dict else None
    return value

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def b64(encoded):
    """The bytes; None where they are not written in the one form of base64."""
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return decoded if base64.b64encode(decoded).decode() == encoded else None

def uuid(written):
    return bytes.fromhex(written.replace("-", ""))

def big(x, size=8):
    return x.to_bytes(size, "big", signed=x < 0)

def event_hash(previous, event):
    """The chain: a domain, the hash before, the envelope with the length of each field before it, the digest of salt and body."""
    body = bytes.fromhex(event["digest"]) if "digest" in event else sha(bytes.fromhex(event["salt"]), event["body"].encode())
    fields = [uuid(event["session"]), big(event["seq"]), uuid(event["id"]), event["kind"].encode(), big(event["v"], 2),
              big(event["at"]), event["source"].encode(), b"" if event["cause"] is None else big(event["cause"]),
              bytes([event["must_understand"]])]
    return sha(b"rekindle/event/1\0", previous, *(big(len(field)) + field for field in fields), body)

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # Ed25519, RFC 8032
D = -121665 * pow(121666, -1, P) % P

def add(p, q):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = p, q
    a, b, c, d = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P, 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(scalar, point):
    total = (0, 1, 1, 0)
    while scalar:
        total, point, scalar = add(total, point) if scalar & 1 else total, add(point, point), scalar >> 1
    return total

def decompress(encoded):
    sign, y = divmod(int.from_bytes(encoded, "little"), 2**255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P

BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))

@functools.cache
def has_signed(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    x, y, z, t = decompress(public)
    x, y, z, _ = add(times(s, BASE), times(k, (P - x, y, z, P - t)))
    x, y = x * pow(z, -1, P) % P, y * pow(z, -1, P) % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]

SIGNER = "[^\\s+\0-\x1f\x7f-\x9f]+"

def read_key(vkey):
    """The name, the id and the public key of a verifier key as signed notes (c2sp.org/signed-note) write it; None if it is none."""
    form = re.fullmatch(f"({SIGNER})\\+([0-9a-f]{{8}})\\+(.+)", vkey)
    key = b64(form[3]) if form else None
    if key is None or len(key) != 33 or key[0] != 1 or sha(form[1].encode(), b"\n", key)[:4].hex() != form[2]:
        return None
    return form[1], bytes.fromhex(form[2]), key[1:]

def open_checkpoint(note, trusted):
    """Size and root of a checkpoint (c2sp.org/tlog-checkpoint) that a trusted key signed."""
    form = re.fullmatch(f"([^\n]+\n(?:0|[1-9][0-9]*)\n[^\n]+\n(?:[^\n]+\n)*)\n((?:— {SIGNER} [^\n]+\n){{1,100}})", note)
    if not form or len(note.encode()) > 2**20 or re.search("[\0-\x09\x0b-\x1f]", note):
        raise ValueError("no checkpoint")
    message, signatures = form.groups()
    signers = set()
    for _, name, encoded in (line.split(" ", 2) for line in signatures[:-1].split("\n")):
        signature = b64(encoded) or b""
        if len(signature) < 5:
            raise ValueError("no signature")
        for key in trusted:
            if key[:2] == (name, signature[:4]) and key not in signers:
                if not has_signed(key[2], message.encode(), signature[4:]):
                    raise ValueError("forged")
                signers.add(key)
    origin, size, root = message.split("\n")[:3]
    if origin not in [key[0] for key in signers] or int(size) >= 2**64 or len(b64(root) or b"") != 32:
        raise ValueError("not signed by the log, or no size or root")
    return int(size), b64(root)

def tree_root(leaf, index, size, path):
    """The root of a tree of `size` leaves (RFC 9162, 2.1), from one of them and what lies beside its way up."""
    if index >= size or (size == 1) != (not path):
        raise ValueError("no way through the signed log")
    if size == 1:
        return leaf
    *path, beside = path
    left = 1 << (size - 1).bit_length() - 1
    if index < left:
        return sha(b"\1", tree_root(leaf, index, left, path), beside)
    return sha(b"\1", beside, tree_root(leaf, index - left, size - left, path))

class Contents:
    """The content that events refer to, and that trees of files among it refer to, each once and behind what wants it."""

    def __init__(self):
        self.wanted, self.seen = {}, set()

    def want(self, digest, by, is_tree):
        """Whether that was to be known before the content was read."""
        if not HASH(digest):
            return True
        known = self.wanted.setdefault(digest, [by, False])
        is_late = is_tree and not known[1] and digest in self.seen
        known[1] |= is_tree
        return not is_late

    def event(self, event):
        for path in CONTENT.get(event["kind"], []):
            self.want(look_up(load(event.get("body", "")), path), event["seq"], event["kind"] == "workspace.captured")

    def blob(self, record):
        digest, content = record["digest"], b64(record["content"])
        by, is_tree = self.wanted.get(digest, (None, False))
        if content is None or sha(content).hex() != digest:
            raise Fault(by, f"the content {digest} is not what its name says")
        in_place = by is not None and digest not in self.seen
        if in_place:
            self.seen.add(digest)
            entries = look_up(load(content), "entries") if is_tree else None
            for entry in entries if type(entries) is list else []:
                field = {"file": "content", "directory": "tree"}.get(str(look_up(entry, "kind")))
                in_place &= field is None or self.want(look_up(entry, field), by, field == "tree")
        if not in_place:
            raise Fault(None, f"the content {digest} is there twice, too early, or for nothing")

def integrity(lines, parsed, rest, pinned):
    """Follows the lines in their order; the first thing that is wrong is a Fault."""
    header, rank, before = parsed[0][2], 1, hashlib.sha256(lines[0] + b"\n")
    head, hashes, lineage, contents = header["head"], [bytes(32)], [], Contents()
    keys, is_signed = [read_key(pinned)] if pinned else [], False

    def session_at(seq):
        return next((one["session"] for one in lineage if seq <= one["upto"]), header["session"])

    def events_are_over():
        if len(hashes) == head + 1 and hashes[head].hex() != header["hash"]:
            raise Fault(head, "the chain ends in another hash than the head says")

    for line, found in zip(lines[1:], parsed[1:]):
        place = len(hashes)
        here = place if place <= head else None
        if found is None or found[1] < rank or rank == END:
            raise Fault(here, "a line is not written as a bundle writes it, or does not belong there")
        if rank <= EVENTS < found[1]:
            events_are_over()
        kind, rank, record = found
        seq = record.get("seq")
        if kind == "ancestor":
            if not (lineage[-1]["upto"] if lineage else 0) < record["upto"] <= head:
                raise Fault(here, "a session cannot lie there under a fork")
            lineage.append(record)
        elif kind == "event":
            contents.event(record)
            if seq != place or place > head:
                raise Fault(place, f"event {seq} stands where event {place} should, or behind the end")
            hashes.append(event_hash(hashes[-1], record))
            if record["session"] != session_at(seq) or hashes[-1].hex() != record["hash"]:
                raise Fault(seq, f"event {seq} is not what was appended: its hash does not match")
            if any(one["upto"] == seq and one["hash"] != record["hash"] for one in lineage):
                raise Fault(seq, f"event {seq} has another hash than the fork says that it goes on from")
        elif kind == "damaged":
            raise Fault(here, f"the store had no event {seq} that could be read: {record['what']}")
        elif kind == "blob":
            contents.blob(record)
        elif kind == "key":
            keys.append(read_key(record["vkey"]))
            if keys[-1] is None or pinned not in (None, record["vkey"]):
                raise Fault(None, "the key in the file is none, or another one than was asked for")
        elif kind == "proof":
            try:
                size, root = open_checkpoint(record["checkpoint"], keys)
                leaf = sha(b"\0rekindle/head/1\0", uuid(session_at(seq)), big(seq), hashes[seq] if seq else b"")
                if tree_root(leaf, record["index"], size, [bytes.fromhex(beside) for beside in record["path"]]) != root:
                    raise ValueError("the signed log does not hold the event as it is here")
            except (ValueError, IndexError) as error:
                raise Fault(seq, f"the proof of event {seq} does not hold: {error}") from None
            is_signed = True
        elif record["sha256"] != before.hexdigest():
            raise Fault(None, "the lines of the file are not those that its last one speaks of")
        before.update(line + b"\n")
    if rank <= EVENTS:
        events_are_over()
    if rank == END and rest:
        raise Fault(None, "something stands behind the end")
    if pinned and not is_signed:
        raise Fault(None, "nothing in it is signed with the key that was asked for")

def actions(events):
    """The actions that have no outcome: of a session that is not closed yet, and of one that is."""
    waiting, lost, has_agent, is_import = set(), set(), False, False
    for event in events:
        family, _, tag = event["kind"].partition(".")
        if family == "observation":
            waiting.discard(event["cause"])
        elif family == "action" and not is_import:
            if tag in RUNNABLE or (has_agent and tag in ("recall", "delegate")):
                waiting.add(event["seq"])
        elif event["kind"] == "session.created":
            spec = look_up(load(event.get("body", "")), "spec")
            has_agent, is_import = look_up(spec, "agent") is not None, look_up(spec, "origin.type") == "import"
        elif event["kind"] == "session.closed":
            waiting, lost = set(), lost | waiting
    return waiting, lost

def completeness(parsed):
    head, contents, there = parsed[0][2]["head"], Contents(), {}
    for kind, _, record in filter(None, parsed):
        there.setdefault(kind, []).append(record)
        try:
            if kind in ("event", "blob"):
                getattr(contents, kind)(record)
        except Fault:
            pass  # A question of integrity.
    events, ends = there.get("event", []), there.get("end")
    missing = min(set(range(1, len(events) + 2)) - {event["seq"] for event in events})
    if missing <= head:
        return "fails", missing, f"event {missing} is missing"
    if not ends:
        return "fails", None, "the file is cut off: its last line is not there"
    lacking = [by for digest, (by, _) in contents.wanted.items() if digest not in contents.seen]
    if lacking:
        return "fails", min(lacking), f"content that event {min(lacking)} refers to is not there"
    if any(count != len(there.get(name.rstrip("s"), [])) for name, count in ends[0].items() if name != "sha256"):
        return "fails", None, "the last line counts other lines than there are"
    waiting, lost = actions(events)
    if lost:
        return "fails", min(lost), f"action {min(lost)} has no outcome, and the session is closed"
    return ("open", min(waiting), f"{len(waiting)} actions have no outcome yet") if waiting else ("holds", None, "")

def check(path, pinned=None):
    """The two verdicts, each with the first bad event and what is wrong; None where this is no bundle."""
    with open(path, "rb") as file:
        *lines, rest = file.read().split(b"\n")
    parsed = [parse(line) for line in lines]
    if not parsed or parsed[0] is None or parsed[0][0] != "header" or (pinned and read_key(pinned) is None):
        return None
    try:
        integrity(lines, parsed, rest, pinned)
        whole = "holds", None, ""
    except Fault as fault:
        whole = "fails", *fault.args
    return whole, completeness(parsed)

def code_of(verdicts):
    return 2 if verdicts is None else 5 if "fails" in [verdict[0] for verdict in verdicts] else 0

def main(arguments):
    if not arguments:
        for line in sys.stdin.read().splitlines():
            path, _, key = line.partition("\t")
            verdicts = check(path, key or None)
            print(code_of(verdicts), *(f"{word} {bad or '-'}" for word, bad, _ in verdicts or []))
        return 0
    verdicts = check(*arguments)
    for name, (word, _, what) in zip(["integrity", "completeness"], verdicts or []):
        print(name, word + (f": {what}" if what else ""))
    return code_of(verdicts)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
