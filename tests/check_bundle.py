"""Checks bundles of sessions (rekindle-bundle/1) with nothing but Python's standard library, and knows nothing of the program.

    python3 check_bundle.py [--key NAME+ID+BASE64] FILE      one bundle; ends with 0 (nothing fails), 5 (something does), 2 (no bundle)
    python3 check_bundle.py < LIST                           many: each line of LIST is a file, or a file, a tab and a key

Two of the three verdicts are judged here: integrity and completeness. Determinism takes the program that folds the events."""

import base64
import functools
import hashlib
import json
import re
import sys

ZERO, SEQ_MAX = bytes(32), 2**63 - 1
RUNNABLE = {"run", "run_ipython", "browse", "browse_interactive", "read", "write", "edit", "call_tool_mcp"}
CONTENT = {  # where events of a kind name content that lies beside the log
    "session.created": [("spec", "origin", "trajectory")],
    "start.step_finished": [("outcome", "report", "organisation", "contents")],
    "model.briefed": [("prompt",), ("tools",)],
    "model.responded": [("prompt",)],
    "workspace.captured": [("manifest",)],
}

def number(low, high):
    return lambda x: type(x) is int and low <= x <= high

def text(pattern):
    return lambda x: type(x) is str and re.fullmatch(pattern, x, re.ASCII | re.DOTALL) is not None

ANY, SEQ, UUID, HASH = text(".*"), number(0, SEQ_MAX), text("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), text("[0-9a-f]{64}")
COUNTS = ["ancestors", "events", "damaged", "blobs", "keys", "proofs"]
ENVELOPE = {
    "session": UUID, "seq": SEQ, "id": UUID, "kind": ANY, "v": number(0, 2**16 - 1), "at": number(-(2**63), SEQ_MAX),
    "source": text("user|agent|environment"), "cause": lambda x: x is None or SEQ(x), "must_understand": lambda x: type(x) is bool,
}
FORMS = [  # rank, name and fields of each kind of line, in the order in which they stand
    (0, "header", {"format": text("rekindle-bundle/1"), "session": UUID, "name": lambda x: x is None or text("[A-Za-z0-9._-]{1,128}")(x),
                   "head": number(1, SEQ_MAX), "hash": HASH, "of": SEQ, "by": ANY, "at": number(-(2**63), SEQ_MAX)}),
    (1, "ancestor", {"session": UUID, "upto": SEQ, "hash": HASH}),
    (2, "event", {**ENVELOPE, "body": ANY, "salt": text("[0-9a-f]{32}"), "hash": HASH}),
    (2, "event", {**ENVELOPE, "digest": HASH, "hash": HASH}),
    (2, "damaged", {"seq": SEQ, "what": ANY}),
    (3, "blob", {"digest": HASH, "content": ANY}),
    (4, "key", {"vkey": ANY}),
    (5, "proof", {"seq": SEQ, "index": SEQ, "path": lambda x: type(x) is list and all(map(HASH, x)), "checkpoint": ANY}),
    (6, "end", {**{name: number(0, 2**64 - 1) for name in COUNTS}, "sha256": HASH}),
]

def parse(line):
    """The rank, the kind and the record of a line; ValueError where it is not in the one form that such a line has."""
    entry = json.loads(line.decode("utf-8"), parse_constant=int)
    if json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8") != line or type(entry) is not dict:
        raise ValueError("not in its one form")
    for rank, kind, fields in FORMS:
        record = entry.get(kind)
        if list(entry) == [kind] and type(record) is dict and list(record) == list(fields):
            if all(fits(record[name]) for name, fits in fields.items()) and (rank or record["head"] <= record["of"]):
                return rank, kind, record
    raise ValueError("no such record")

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def event_hash(previous, event):
    """The chain: a domain, the hash before, the envelope with the length of each field before it, the digest of salt and body."""
    body = bytes.fromhex(event["digest"]) if "digest" in event else sha(bytes.fromhex(event["salt"]), event["body"].encode())
    uuid, big = lambda x: bytes.fromhex(x.replace("-", "")), lambda x, size: x.to_bytes(size, "big", signed=x < 0)
    cause = b"" if event["cause"] is None else big(event["cause"], 8)
    fields = [uuid(event["session"]), big(event["seq"], 8), uuid(event["id"]), event["kind"].encode(), big(event["v"], 2),
              big(event["at"], 8), event["source"].encode(), cause, bytes([event["must_understand"]])]
    return sha(b"rekindle/event/1\0", previous, *(len(x).to_bytes(8, "big") + x for x in fields), body)

def b64(encoded):
    decoded = base64.b64decode(encoded, validate=True)
    if base64.b64encode(decoded).decode() != encoded:
        raise ValueError("not in the one form of base64")
    return decoded

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
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ~(1 << 255)
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

def is_name(name):
    return name and not any(c.isspace() or ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c == "+" for c in name)

def read_key(vkey):
    """The name, the id and the public key of a verifier key as signed notes write it."""
    name, key_id, encoded = vkey.split("+", 2)
    key = b64(encoded)
    if not is_name(name) or len(key) != 33 or key[0] != 1 or sha(name.encode(), b"\n", key)[:4].hex() != key_id:
        raise ValueError("no key")
    return name, bytes.fromhex(key_id), key[1:]

def open_checkpoint(note, trusted):
    """Size and root of a checkpoint (c2sp.org/tlog-checkpoint) that a trusted key signed (c2sp.org/signed-note)."""
    blank = note.rindex("\n\n")
    message, lines = note[: blank + 1], note[blank + 2 :].split("\n")
    if len(note.encode()) > 2**20 or re.search("[\0-\x09\x0b-\x1f]", note) or lines.pop() != "" or not 1 <= len(lines) <= 100:
        raise ValueError("no note")
    signers = []
    for name, signature in ((name, b64(encoded)) for name, encoded in (line.removeprefix("— ").split(" ", 1) for line in lines)):
        if not is_name(name) or len(signature) < 5:
            raise ValueError("no signature")
        for key in trusted:
            if key[:2] == (name, signature[:4]) and key not in signers:
                if not has_signed(key[2], message.encode(), signature[4:]):
                    raise ValueError("forged")
                signers.append(key)
    if not all(line.startswith("— ") for line in lines):
        raise ValueError("no signature")
    origin, size, root, *more = message[:-1].split("\n")
    if not all([origin, *more]) or not re.fullmatch("0|[1-9][0-9]*", size, re.ASCII) or int(size) >= 2**64 or len(b64(root)) != 32:
        raise ValueError("no checkpoint")
    if origin not in [key[0] for key in signers]:
        raise ValueError("not signed by the log")
    return int(size), b64(root)

def is_included(leaf, index, size, root, path):
    """RFC 9162, 2.1.3.2."""
    at, last = index, size - 1
    for beside in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            leaf = sha(b"\1", beside, leaf)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            leaf = sha(b"\1", leaf, beside)
        at, last = at >> 1, last >> 1
    return index < size and last == 0 and leaf == root

def look_up(value, names):
    for name in names:
        value = value.get(name) if type(value) is dict else None
    return value

def load(encoded):
    try:
        return json.loads(encoded, parse_constant=int)
    except (ValueError, RecursionError):
        return None

class Check:
    def __init__(self, pinned):
        self.pinned, self.keys, self.signed_upto = pinned, [read_key(pinned)] if pinned else [], 0
        self.fault, self.hashes, self.lineage = None, [ZERO], []
        self.there, self.open, self.lost, self.has_agent, self.is_import = set(), set(), set(), False, False
        self.wanted, self.seen, self.counts, self.end = {}, set(), dict.fromkeys(COUNTS, 0), None

    def fail(self, bad, what):
        self.fault = self.fault or (bad, what)

    def here(self):
        return len(self.hashes) if len(self.hashes) <= self.header["head"] else None

    def session_at(self, seq):
        return next((one["session"] for one in self.lineage if seq <= one["upto"]), self.header["session"])

    def ancestor(self, record):
        last = self.lineage[-1]["upto"] if self.lineage else 0
        if not last < record["upto"] <= self.header["head"]:
            return self.fail(self.here(), "a session cannot lie there under a fork")
        self.lineage.append(record)

    def event(self, record):
        seq, kind, cause = record["seq"], record["kind"], record["cause"]
        family, _, tag = kind.partition(".")
        body = load(record["body"]) if "body" in record and (kind in CONTENT or kind == "session.created") else None
        self.there.add(seq)
        if family == "observation":
            self.open.discard(cause)
        elif family == "action" and not self.is_import:
            if tag in RUNNABLE or (self.has_agent and tag in ("recall", "delegate")):
                self.open.add(seq)
        elif kind == "session.created":
            self.has_agent = look_up(body, ["spec", "agent"]) is not None
            self.is_import = look_up(body, ["spec", "origin", "type"]) == "import"
        elif kind == "session.closed":
            self.lost, self.open = self.lost | self.open, set()
        for names in CONTENT.get(kind, []):
            self.want(look_up(body, names), seq, kind == "workspace.captured")
        if self.fault:
            return
        place = len(self.hashes)
        if seq != place or place > self.header["head"]:
            return self.fail(place, f"event {seq} stands where event {place} should, or behind the end")
        digest = event_hash(self.hashes[-1], record)
        if record["session"] != self.session_at(seq) or digest.hex() != record["hash"]:
            return self.fail(seq, f"event {seq} is not what was appended: its hash does not match")
        self.hashes.append(digest)
        if any(one["upto"] == seq and one["hash"] != record["hash"] for one in self.lineage):
            self.fail(seq, f"event {seq} has another hash than the fork says that it goes on from")

    def events_are_over(self):
        if len(self.hashes) - 1 == self.header["head"] and self.hashes[-1].hex() != self.header["hash"]:
            self.fail(self.header["head"], "the chain ends in another hash than the head says")

    def want(self, digest, by, is_tree):
        if not HASH(digest):
            return True
        known = self.wanted.setdefault(digest, [by, is_tree])
        late = is_tree and not known[1] and digest in self.seen
        known[1] = known[1] or is_tree
        return not late

    def blob(self, record):
        digest = record["digest"]
        by, is_tree = self.wanted.get(digest, (None, False))
        try:
            content = b64(record["content"])
        except ValueError:
            return self.fail(by, f"the content {digest} is not written in base64")
        if sha(content).hex() != digest:
            return self.fail(by, f"the content {digest} is not what its name says")
        in_place = by is not None and digest not in self.seen
        if in_place:
            self.seen.add(digest)
            entries = look_up(load(content), ["entries"]) if is_tree else None
            for entry in entries if type(entries) is list else []:
                field = {"file": "content", "directory": "tree"}.get(str(look_up(entry, ["kind"])))
                in_place &= field is None or self.want(look_up(entry, [field]), by, field == "tree")
        if not in_place:
            self.fail(None, f"the content {digest} is there twice, too early, or for nothing")

    def key(self, record):
        try:
            if self.pinned not in (None, record["vkey"]):
                raise ValueError("another one than was asked for")
            self.keys.append(read_key(record["vkey"]))
        except ValueError as error:
            self.fail(None, f"the key in the file: {error}")

    def proof(self, record):
        seq, path = record["seq"], [bytes.fromhex(beside) for beside in record["path"]]
        try:
            if self.fault or not 1 <= seq < len(self.hashes):
                raise ValueError("no such event")
            session = bytes.fromhex(self.session_at(seq).replace("-", ""))
            size, root = open_checkpoint(record["checkpoint"], self.keys)
            leaf = sha(b"\0", b"rekindle/head/1\0", session, seq.to_bytes(8, "big"), self.hashes[seq])
            if not is_included(leaf, record["index"], size, root, path):
                raise ValueError("the signed log does not hold the event as it is here")
            self.signed_upto = max(self.signed_upto, seq)
        except ValueError as error:
            self.fail(seq, f"the proof of event {seq} does not hold: {error}")

    def run(self, data):
        """The two verdicts, each with the first bad event and what is wrong; None where this is no bundle."""
        *lines, cut = data.split(b"\n")
        try:
            rank, _, self.header = parse(lines[0])
        except (IndexError, ValueError, RecursionError):
            return None
        if rank != 0:
            return None
        rank, before = 1, hashlib.sha256(lines[0] + b"\n")
        for line in lines[1:]:
            try:
                at, kind, record = parse(line)
            except (ValueError, RecursionError):
                self.fail(self.here(), "a line is not written as a bundle writes it")
                before.update(line + b"\n")
                continue
            if kind + "s" in self.counts or kind == "damaged":
                self.counts[kind if kind == "damaged" else kind + "s"] += 1
            in_order = at >= rank and self.end is None
            if not in_order:
                self.fail(self.here(), "a line stands where it should not")
            elif rank <= 2 < at:
                self.events_are_over()
            rank = at if in_order else rank
            if kind == "damaged":
                self.fail(self.here(), f"the store had no event {record['seq']} that could be read: {record['what']}")
            elif kind == "end":
                if self.end is None and record["sha256"] != before.hexdigest():
                    self.fail(None, "the lines of the file are not those that its last one speaks of")
                self.end = self.end or record
            elif kind != "header" and (kind != "ancestor" or in_order):
                getattr(self, kind)(record)
            before.update(line + b"\n")
        if rank <= 2:
            self.events_are_over()
        if self.end and cut:
            self.fail(None, "something stands behind the end")
        if self.pinned and not self.signed_upto:
            self.fail(None, "nothing in it is signed with the key that was asked for")
        return ("fails", *self.fault) if self.fault else ("holds", None, ""), self.completeness()

    def completeness(self):
        missing = next(seq for seq in range(1, len(self.there) + 2) if seq not in self.there)
        if missing <= self.header["head"]:
            return "fails", missing, f"event {missing} is missing"
        if self.end is None:
            return "fails", None, "the file is cut off: its last line is not there"
        blobs = [by for digest, (by, _) in self.wanted.items() if digest not in self.seen]
        if blobs:
            return "fails", min(blobs), f"content that event {min(blobs)} refers to is not there"
        if any(self.end[name] != count for name, count in self.counts.items()):
            return "fails", None, "the last line counts other lines than there are"
        if self.lost:
            return "fails", min(self.lost), f"action {min(self.lost)} has no outcome, and the session is closed"
        return ("open", min(self.open), f"{len(self.open)} actions have no outcome yet") if self.open else ("holds", None, "")

def check(path, pinned):
    with open(path, "rb") if path != "-" else sys.stdin.buffer as file:
        return Check(pinned).run(file.read())

def code_of(verdicts):
    return 2 if verdicts is None else 5 if "fails" in [verdict[0] for verdict in verdicts] else 0

def main(arguments):
    if not arguments:
        for line in sys.stdin.read().splitlines():
            path, _, key = line.partition("\t")
            verdicts = check(path, key or None)
            print(code_of(verdicts), *(f"{word} {bad or '-'}" for word, bad, _ in verdicts or []))
        return 0
    pinned = arguments[1] if arguments[0] == "--key" and len(arguments) == 3 else None
    if len(arguments) != (3 if pinned else 1):
        print(__doc__, file=sys.stderr)
        return 2
    verdicts = check(arguments[-1], pinned)
    if verdicts is None:
        print(f"{arguments[-1]} is no bundle of the format rekindle-bundle/1", file=sys.stderr)
    for name, (word, _, what) in zip(["integrity", "completeness"], verdicts or []):
        print(name, word + (f": {what}" if what else ""))
    return code_of(verdicts)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
