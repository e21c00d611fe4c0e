// An event is verified in the page: the leaf up to the root by its proof (RFC 6962), the root by the checkpoint that
// holds it, and the checkpoint by its signature (C2SP signed-note, Ed25519). The server is asked for nothing here.

type Inclusion = { index: number; leaf: string; proof: string[] | null; checkpoint: string }
export type Verified = { size: number; root: string; steps: number; signed: boolean | 'cannot'; origin: string }

const decode = (s: string) => Uint8Array.from(atob(s), (c) => c.charCodeAt(0))
const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((v, i) => v === b[i])
const join = (...parts: Uint8Array[]) => {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    out.set(p, at)
    at += p.length
  }
  return out
}
const sha = async (b: Uint8Array) => new Uint8Array(await crypto.subtle.digest('SHA-256', b as BufferSource))
const leafHash = (b: Uint8Array) => sha(join(Uint8Array.of(0), b))
const nodeHash = (l: Uint8Array, r: Uint8Array) => sha(join(Uint8Array.of(1), l, r))

/** root is what a leaf and its proof make (RFC 9162 section 2.1.3.2). */
export async function root(index: number, size: number, leaf: Uint8Array, proof: Uint8Array[]): Promise<Uint8Array> {
  if (index < 0 || index >= size) throw new Error('the event is not under this checkpoint')
  let fn = BigInt(index)
  let sn = BigInt(size - 1)
  let r = await leafHash(leaf)
  for (const p of proof) {
    if (sn === 0n) throw new Error('the proof is too long')
    if (fn & 1n || fn === sn) {
      r = await nodeHash(p, r)
      if (!(fn & 1n)) while (!(fn & 1n) && fn !== 0n) ((fn >>= 1n), (sn >>= 1n))
    } else r = await nodeHash(r, p)
    fn >>= 1n
    sn >>= 1n
  }
  if (sn !== 0n) throw new Error('the proof is too short')
  return r
}

/** verify throws what is wrong. */
export async function verify(p: Inclusion, key: string): Promise<Verified> {
  if (!globalThis.crypto?.subtle) throw new Error('this browser verifies only over https, or on this machine')
  const cut = p.checkpoint.indexOf('\n\n')
  const text = p.checkpoint.slice(0, cut + 1)
  const [origin = '', size = '', hash = ''] = text.split('\n')
  const name = key.slice(0, key.indexOf('+'))
  const [id = '', pub = ''] = key.slice(name.length + 1).split(/\+(.*)/s)
  if (origin !== name) throw new Error('the checkpoint is of another ledger')
  const made = await root(p.index, Number(size), new TextEncoder().encode(p.leaf), (p.proof ?? []).map(decode))
  if (!same(made, decode(hash))) throw new Error('the event is not what was recorded')
  return { size: Number(size), root: hash, steps: (p.proof ?? []).length, origin, signed: await signed(text, p.checkpoint.slice(cut + 2), name, id, decode(pub)) }
}

async function signed(text: string, lines: string, name: string, id: string, key: Uint8Array): Promise<boolean | 'cannot'> {
  if (key[0] !== 1) throw new Error('the verifier key is of an unknown kind')
  const hash = await sha(join(new TextEncoder().encode(name + '\n'), key))
  const short = [...hash.slice(0, 4)].map((b) => b.toString(16).padStart(2, '0')).join('')
  if (short !== id) throw new Error('the verifier key is damaged')
  let pub: CryptoKey
  try {
    pub = await crypto.subtle.importKey('raw', key.slice(1), { name: 'Ed25519' }, false, ['verify'])
  } catch {
    return 'cannot' // an older browser: the hashes are right, the signature is for another tool
  }
  for (const line of lines.split('\n')) {
    const m = /^\u2014 (\S+) (\S+)$/.exec(line)
    if (!m || m[1] !== name) continue
    const sig = decode(m[2]!)
    if ([...sig.slice(0, 4)].map((b) => b.toString(16).padStart(2, '0')).join('') !== id) continue
    if (await crypto.subtle.verify({ name: 'Ed25519' }, pub, sig.slice(4), new TextEncoder().encode(text))) return true
  }
  throw new Error('the checkpoint is not signed with the key of this ledger')
}
