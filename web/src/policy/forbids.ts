const classes: Record<string, string> = { read: 'read anything', write: 'write anything', delete: 'delete anything', admin: 'change who may do what' }

/** forbids says in plain words what a guardrail of the usual shape forbids; nothing of one that says more than that. */
export function forbids(cedar: string): string {
  const text = cedar.replace(/\/\/[^\n]*/g, '').replace(/@\w+\("[^"]*"\)/g, '').replace(/\s+/g, ' ').trim()
  const m = /^forbid ?\(([^()]*)\) ?(.*?);?$/.exec(text)
  if (!m) return ''
  const [head = '', rest = ''] = [m[1], m[2]]
  const parts = head.split(/,(?![^[]*\])/).map((s) => s.trim())
  const [principal = '', action = '', resource = ''] = parts
  const names = (s: string) => [...s.matchAll(/"([^"]+)"/g)].map((x) => x[1]!)
  if (parts.length !== 3 || rest) return ''
  const what = action === 'action' ? 'do anything' : names(action).map((a) => classes[a] ?? `do ${a}`).join(' or ')
  const where = resource === 'resource' ? '' : ` on ${names(resource).join(' or ')}`
  const kind = /^principal is Lanyard::(\w+)$/.exec(principal)?.[1]
  const who = principal === 'principal' ? 'Nobody' : kind ? `No ${kind.toLowerCase()}` : `${names(principal).map((n) => n.slice(n.lastIndexOf('/') + 1)).join(' or ')} never`
  if (!what) return ''
  return who.endsWith('never') ? `${who.slice(0, -6)} may never ${what}${where}.` : `${who} may ${what}${where}.`
}
