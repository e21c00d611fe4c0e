type Field = { path: string; was?: string; now?: string }
export type Difference = { kind: string; name: string; description?: string; what: 'same' | 'added' | 'removed' | 'changed'; fields: Field[] }
type Thing = Record<string, unknown>

/** differences holds what a server offers now against what was approved: by tool, prompt and resource, field by field. */
export function differences(approved: string, now: string): Difference[] {
  const a = read(approved)
  const b = read(now)
  const out: Difference[] = []
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const [kind = '', ...rest] = key.split(' ')
    const was = a.get(key)
    const is = b.get(key)
    const fields = was && is ? compare('', was, is) : []
    const description = ((is ?? was)?.description as string | undefined) ?? ''
    const what = !was ? 'added' : !is ? 'removed' : fields.length ? 'changed' : 'same'
    out.push({ kind, name: rest.join(' '), what, description, fields: what === 'added' ? flat('', is!).map(([path, v]) => ({ path, now: v })) : fields })
  }
  const order = { changed: 0, added: 1, removed: 2, same: 3 }
  return out.sort((x, y) => order[x.what] - order[y.what] || x.name.localeCompare(y.name))
}

function read(text: string): Map<string, Thing> {
  const out = new Map<string, Thing>()
  let doc: Thing
  try {
    doc = JSON.parse(text) as Thing
  } catch {
    return out
  }
  for (const [kind, list] of Object.entries(doc)) if (Array.isArray(list)) for (const t of list as Thing[]) out.set(`${kind.replace(/s$/, '')} ${String(t.name ?? t.uri ?? t.uriTemplate ?? '')}`, t)
  return out
}

const text = (v: unknown) => (typeof v === 'string' ? v : JSON.stringify(v))
const object = (v: unknown): v is Thing => typeof v === 'object' && v !== null && !Array.isArray(v)

function flat(path: string, v: unknown): [string, string][] {
  if (!object(v)) return [[path, text(v)]]
  return Object.entries(v).flatMap(([k, x]) => flat(path ? `${path}.${k}` : k, x))
}

function compare(path: string, was: unknown, now: unknown): Field[] {
  if (object(was) && object(now)) return [...new Set([...Object.keys(was), ...Object.keys(now)])].flatMap((k) => compare(path ? `${path}.${k}` : k, was[k], now[k]))
  if (JSON.stringify(was) === JSON.stringify(now)) return []
  return [{ path, ...(was !== undefined ? { was: text(was) } : {}), ...(now !== undefined ? { now: text(now) } : {}) }]
}
