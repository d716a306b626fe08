// Checks bundles of sessions (rekindle-bundle/1) with nothing but Node's own library, and knows nothing of the program.
//     node check_bundle.mjs FILE [KEY]    KEY, written NAME+ID+BASE64, is whose signature it must bear; more pairs may follow
// Of each it says 0 (nothing fails), 5 (something does) or 2 (no bundle), and ends with the greatest of these; then whether
// integrity and completeness hold, each with the first bad event. Determinism takes the program that folds events.
import { isUtf8 } from "node:buffer";
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const [NATURAL, HASH] = ["0|[1-9][0-9]*", '"[0-9a-f]{64}"'];
const TYPES = { // The one form in JSON that a field of each type has.
  format: '"rekindle-bundle/1"', source: '"(?:user|agent|environment)"', name: 'null|"[A-Za-z0-9._-]{1,128}"',
  text: String.raw`"[^"\\\0-\x1f]*"`, bool: "true|false",
  uuid: '"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"', salt: '"[0-9a-f]{32}"', hash: HASH, number: NATURAL,
  hashes: `\\[(?:${HASH}(?:,${HASH})*)?\\]`, cause: `null|${NATURAL}`, time: `-[1-9][0-9]*|${NATURAL}`,
};
const LINES = [ // The kinds of lines, the rank of each in their order, and the fields of its record.
  ["header", 0, "format:format session:uuid name:name head:number hash:hash of:number by:text at:time"],
  ["ancestor", 1, "session:uuid upto:number hash:hash"],
  ["event", 2, "session:uuid seq:number id:uuid kind:text v:number at:time source:source cause:cause " +
    "must_understand:bool (?:body:text salt:salt|digest:hash) hash:hash"],
  ["damaged", 2, "seq:number what:text"],
  ["blob", 3, "digest:hash content:text"],
  ["key", 4, "vkey:text"],
  ["proof", 5, "seq:number index:number path:hashes checkpoint:text"],
  ["end", 6, "sha256:hash"],
].map(([kind, rank, form]) => {
  const fields = form.replaceAll(/(\w+):(\w+)/g, (_, name, type) => `"${name}":(?<${name}>${TYPES[type]})`);
  return { kind, rank, pattern: RegExp(`^\\{"${kind}":\\{${fields.replaceAll(" ", ",")}\\}\\}$`) };
});
const ESCAPE = /\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))/g; // As few as JSON needs.
const CONTENT = new Map([ // Where the events of a kind name content that lies beside the log.
  ["session.created", ["spec.origin.trajectory"]], ["start.step_finished", ["outcome.report.organisation.contents"]],
  ["model.briefed", ["prompt", "tools"]], ["model.responded", ["prompt"]], ["workspace.captured", ["manifest"]],
]);
const RUNS = /^action\.(?:(run|run_ipython|browse|browse_interactive|read|write|edit|call_tool_mcp)|recall|delegate)$/;
const [SIGNER, TEXT] = ["[^+\\p{White_Space}\\p{Cc}]+", "[^\\0-\\x1f]+"];
const KEY = RegExp(`^(${SIGNER})\\+([0-9a-f]{8})\\+(A[Q-Za-f][A-Za-z0-9+/]{42})$`, "u");
const NOTE = RegExp(`^((${TEXT})\n(${NATURAL})\n(${TEXT})\n(?:${TEXT}\n)*)\n((?:— ${SIGNER} [^ \n]+\n){1,100})$`, "u");

const raw = (text) => Buffer.from(text, "latin1");
const unbase64 = (text) => Buffer.from(text, "base64");
const isBase64 = (text) => unbase64(text).toString("base64") === text; // In its one form, that is.
const hex = (digits) => Buffer.from(digits.replaceAll("-", ""), "hex");
const big = (number, size = 8) => hex(BigInt.asUintN(8 * size, BigInt(number)).toString(16).padStart(2 * size, "0"));
const sha = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((one) => Buffer.from(one)))).digest("hex");
const least = (numbers) => numbers.reduce((a, b) => (a < b ? a : b));

/** The kind, the rank and the record of a line; nothing where it is not in the one form that such a line has. */
function parse(line) {
  const text = isUtf8(raw(line)) ? raw(line).toString() : "";
  const shape = text.replaceAll(ESCAPE, "~"); // Which no field but a text can hold.
  const { kind, rank, pattern } = LINES.find((form) => form.pattern.test(shape)) ?? {};
  const numbers = Object.entries(pattern?.exec(shape).groups ?? {}).filter(([, value]) => /^[-0-9]/.test(value));
  const exact = Object.fromEntries(numbers.map(([name, value]) => [name, BigInt(value)])); // JSON.parse would round them.
  const fit = Object.values(exact).every((value) => value === BigInt.asIntN(64, value)) && !(exact.v >= 2n ** 16n);
  return kind && fit ? { kind, rank, record: { ...JSON.parse(text)[kind], ...exact } } : {};
}

/** What lies at a path in a text of JSON; nothing where it has half characters, huge numbers, or too many levels. */
function look(text, path) {
  try {
    const value = JSON.parse(text);
    return isPlain(value, 127) ? path.split(".").reduce((inner, name) => inner?.[name], value) : null;
  } catch {
    return null;
  }
}

function isPlain(value, levels) {
  if (value === null || typeof value !== "object") return !/\p{Surrogate}/u.test(value) && Math.abs(value) !== Infinity;
  return levels > 0 && Object.entries(value).flat().every((inner) => isPlain(inner, levels - 1));
}

/** The chain: a domain, the hash before, the envelope with the length of each field, the digest of salt and body. */
function eventHash(before, { session, seq, id, kind, v, at, source, cause, must_understand, body, salt, digest }) {
  const answers = cause === null ? "" : big(cause);
  const fields = [hex(session), big(seq), hex(id), kind, big(v, 2), big(at), source, answers, [must_understand]];
  const framed = fields.map((field) => Buffer.from(field)).flatMap((field) => [big(field.length), field]);
  return sha("rekindle/event/1\0", hex(before), ...framed, hex(digest ?? sha(hex(salt), body)));
}

/** A verifier key of Ed25519 as signed notes (c2sp.org/signed-note) write it; nothing if it is none. */
function readKey(vkey) {
  const [, name, id, base64] = KEY.exec(vkey) ?? [];
  if (!name || sha(name, "\n", unbase64(base64)).slice(0, 8) !== id) return null;
  const jwk = { kty: "OKP", crv: "Ed25519", x: unbase64(base64).toString("base64url", 1) };
  return { name, id, public: createPublicKey({ key: jwk, format: "jwk" }) };
}

/** Whether a checkpoint (c2sp.org/tlog-checkpoint) that a trusted key of its log signed has the event in its tree. */
function isProven(event, { index, path, checkpoint }, trusted) {
  const [, message, origin, size, root, lines] = NOTE.exec(checkpoint) ?? [];
  if (!event || !message || Buffer.byteLength(checkpoint) > 2 ** 20 || BigInt(size) >= 2n ** 64n) return false;
  const signatures = lines.trimEnd().split("\n").map((line) => line.split(" ").slice(1));
  if (signatures.some(([, text]) => !isBase64(text) || unbase64(text).length < 5)) return false;
  const idOf = (signature) => unbase64(signature).toString("hex", 0, 4);
  const by = (key) => signatures.find(([name, signature]) => name === key.name && idOf(signature) === key.id);
  const signers = trusted.map(readKey).filter((key) => key && by(key));
  const holds = (key) => verify(null, Buffer.from(message), key.public, unbase64(by(key)[1]).subarray(4));
  if (!signers.every(holds) || !signers.some(({ name }) => name === origin)) return false;
  const leaf = sha("\0rekindle/head/1\0", hex(event.session), big(event.seq), hex(event.hash));
  return treeRoot(leaf, index, BigInt(size), [...path]) === root;
}

/** The root of a tree of `size` leaves (RFC 9162, 2.1), from the hash of one and what lies beside its way up. */
function treeRoot(hash, index, size, path) {
  for (let [at, last] = [index, size - 1n]; last > 0n; [at, last] = [at / 2n, last / 2n]) {
    if (at % 2n === 0n && at === last) continue;
    if (path.length === 0) return null;
    hash = sha("\x01", hex(at % 2n === 1n ? path.shift() + hash : hash + path.shift()));
  }
  return index < size && path.length === 0 ? hex(hash).toString("base64") : null;
}

/** The two verdicts, each with the first bad event where that is known; none where this is no bundle. */
function check(path, pinned) {
  const lines = readFileSync(path, "latin1").split("\n");
  const rest = lines.pop();
  const [{ record: header } = {}, ...entries] = lines.map(parse);
  if (!header?.format || header.head < 1n || header.head > header.of || (pinned && !readKey(pinned))) return [];
  const there = { ancestor: [], event: [], damaged: [], blob: [], key: [], proof: [], end: [] };
  const [faults, wanted] = [[], new Map()];
  let [spec, waiting, lost] = [null, new Set(), []]; // Which actions wait for an outcome, and will never have one.
  const demand = (holds, seq) => holds || faults.push(["fails", seq]);
  function want(digest, by, isTree) {
    if (!/^"[0-9a-f]{64}"$/.test(JSON.stringify(digest))) return;
    const known = wanted.get(digest) ?? { by, isTree, isThere: false };
    demand(known.isTree || !isTree || !known.isThere, null); // It was read as no directory.
    wanted.set(digest, { ...known, isTree: known.isTree || isTree });
  }
  function blob({ digest, content }) {
    const known = wanted.get(digest) ?? { by: null, isThere: true };
    const isWhole = isBase64(content) && sha(unbase64(content)) === digest;
    demand(isWhole, known.by);
    demand(!known.isThere, null); // Twice, or for nothing.
    if (!isWhole || known.isThere) return;
    wanted.set(digest, { ...known, isThere: true });
    const entries = known.isTree && isUtf8(unbase64(content)) ? look(unbase64(content), "entries") : [];
    for (const entry of Array.isArray(entries) ? entries : []) {
      if (entry?.kind === "file") want(entry.content, known.by, false);
      if (entry?.kind === "directory") want(entry.tree, known.by, true);
    }
  }
  function act({ kind, seq, cause, body }) {
    const [isAction, isForAll] = RUNS.exec(kind) ?? [];
    if (kind === "session.created") spec = look(body, "spec");
    if (/^observation(\.|$)/.test(kind)) waiting.delete(cause);
    if (isAction && (isForAll || spec?.agent != null) && spec?.origin?.type !== "import") waiting.add(seq);
    if (kind === "session.closed") [lost, waiting] = [[...lost, ...waiting], new Set()];
  }
  function event(record, place) {
    const { session, seq, kind, hash } = record;
    act(record);
    CONTENT.get(kind)?.forEach((path) => want(look(record.body, path), seq, kind === "workspace.captured"));
    demand(seq === place && seq <= header.head, place);
    const holder = there.ancestor.find(({ upto }) => seq <= upto) ?? header;
    demand(session === holder.session && hash === eventHash(there.event.at(-1)?.hash ?? "0".repeat(64), record), seq);
    demand((seq !== holder.upto || hash === holder.hash) && (seq !== header.head || hash === header.hash), seq);
  }
  function completeness() {
    const seqs = new Set(there.event.map(({ seq }) => seq));
    let missing = 1n;
    while (seqs.has(missing)) missing += 1n;
    if (missing <= header.head) return ["fails", missing];
    if (!there.end.length) return ["fails", null];
    const lacking = [...wanted.values()].filter(({ isThere }) => !isThere).map(({ by }) => by);
    for (const bad of [lacking, lost]) if (bad.length) return ["fails", least(bad)];
    return waiting.size ? ["open", least([...waiting])] : ["holds", null];
  }
  for (const [at, { kind, rank, record }] of entries.entries()) {
    const place = BigInt(there.event.length) + 1n;
    const here = place <= header.head ? place : null;
    const [before, last] = [entries[at - 1]?.rank ?? 1, there.ancestor.at(-1)?.upto ?? 0n];
    const { seq, upto, vkey, sha256 } = record ?? {};
    demand(rank >= before && before < 6 && kind !== "damaged", here);
    if (kind === "ancestor") demand(last < upto && upto < header.head, here);
    if (kind === "event") event(record, place);
    if (kind === "blob") blob(record);
    if (kind === "key") demand(readKey(vkey) && vkey === (pinned || vkey), null);
    const trusted = pinned ? [pinned] : there.key.map((key) => key.vkey);
    if (kind === "proof") demand(isProven(there.event[seq - 1n], record, trusted), seq);
    if (kind === "end") demand(sha(raw([...lines.slice(0, at + 1), ""].join("\n"))) === sha256, null);
    there[kind]?.push(record);
  }
  demand((!rest || !there.end.length) && (!pinned || there.proof.length), null);
  return [faults[0] ?? ["holds", null], completeness()];
}

process.exitCode = process.argv.length > 2 ? 0 : 2; // Where no file is named nothing holds.
for (let at = 2; at < process.argv.length; at += 2) {
  const verdicts = check(process.argv[at], process.argv[at + 1]);
  const code = verdicts.length === 0 ? 2 : verdicts.some(([word]) => word === "fails") ? 5 : 0;
  console.log([code, ...verdicts.map(([word, seq]) => `${word} ${seq ?? "-"}`)].join(" "));
  process.exitCode = Math.max(process.exitCode, code);
}
