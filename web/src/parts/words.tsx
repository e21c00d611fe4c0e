import type { Grant, Identity, Leaf } from '../api/types'

/** short is the name that people use of a SPIFFE ID, a person: or an operator:. */
export function short(id: string): string {
  if (id.startsWith('spiffe://')) return id.slice(id.lastIndexOf('/') + 1)
  return id.replace(/^(person|owner):/, '').replace(/^operator:local:/, 'operator ').replace(/^operator:/, 'operator ')
}

const kinds: Record<string, string> = { agent: 'an agent', service: 'a service', bot: 'a bot', api_key: 'an API key', oauth_client: 'an OAuth client' }

/** who says in one sentence who an identity is. */
export function who(i: Pick<Identity, 'name' | 'kind' | 'owner' | 'owner_name' | 'environment' | 'purpose' | 'parent' | 'client'>): string {
  const kind = kinds[i.kind] ?? i.kind
  const started = i.parent ? `, started by ${short(i.parent.id)}` : i.client ? `, which ${i.client.person} connected` : ''
  const purpose = i.purpose.trim()
  return `${i.name} is ${kind} of ${i.owner_name || i.owner} in ${i.environment}${started}. ${purpose}${/[.!?]$/.test(purpose) ? '' : '.'}`
}

const means: Record<string, string> = {
  read: 'read anything', write: 'write anything', delete: 'delete anything', admin: 'change who may do what',
  'mail.read': 'read mail', 'mail.search': 'search mail', 'mail.draft': 'write drafts', 'mail.send': 'send mail', 'mail.label': 'label mail', 'mail.delete': 'delete mail', 'mail.rule': 'change rules of mail',
  'file.read': 'read files', 'file.list': 'list files', 'file.write': 'write files', 'file.share': 'share files', 'file.export': 'export files', 'file.delete': 'delete files',
  'event.read': 'read events', 'event.create': 'make events', 'event.update': 'change events', 'event.invite': 'invite people', 'event.delete': 'delete events',
}
/** does says a class, an action or a word for actions as something that is done. */
export const does = (a: string) => means[a] ?? `do ${a}`

/** may says a grant in plain words. */
export function may(g: Pick<Grant, 'upstream' | 'actions' | 'resources' | 'conditions' | 'approve' | 'fresh' | 'only_for_others' | 'plain'>): string {
  if (!g.plain && !g.actions?.length) return `On ${g.upstream}: what its Cedar says`
  const actions = (g.actions ?? []).map(does)
  let s = `May ${list(actions)} on ${g.upstream}`
  if (g.resources?.length) s += `, at ${list(g.resources)} only`
  const conditions = Object.entries(g.conditions ?? {}).map(([arg, c]) => {
    const said: string[] = []
    if (c.is !== undefined) said.push(`is ${c.is}`)
    if (c.like !== undefined) said.push(`looks like ${c.like}`)
    if (c.one_of?.length) said.push(`is one of ${c.one_of.join(', ')}`)
    if (c.min !== undefined) said.push(`is at least ${c.min}`)
    if (c.max !== undefined) said.push(`is at most ${c.max}`)
    return `${arg} ${said.join(' and ')}`
  })
  if (conditions.length) s += `, where ${list(conditions)}`
  if (g.only_for_others) s += ', on behalf of others only'
  if (g.approve) s += `. Each call needs the yes of ${g.approve === 'owner' ? 'its owner' : g.approve === 'upstream' ? 'the upstream’s owner' : g.approve === 'operator' ? 'an operator' : g.approve}${g.fresh ? `, signed in no longer ago than ${g.fresh}` : ''}`
  return s + '.'
}

/** held says what a grant holds back of what it shows. */
export function held(l: NonNullable<Grant['layers']>): string {
  const said: string[] = []
  const shows: Record<string, string> = { redacted: 'text with numbers, secrets, addresses and links taken out', headers: 'who, when and what about, and no text', nothing: 'that it is there, and nothing of it' }
  if (l.show && shows[l.show]) said.push(`it sees ${shows[l.show]}`)
  if (l.time?.days) said.push(`nothing older than ${count(l.time.days, 'day')}`)
  if (l.time?.hours) said.push(`only ${l.time.hours}`)
  if (l.contacts?.see?.length) said.push(`only what has nobody on it but ${list(l.contacts.see)}`)
  if (l.contacts?.write?.length) said.push(`it writes to ${list(l.contacts.write)} only`)
  if (l.contacts?.never?.length) said.push(`never what has ${list(l.contacts.never)} on it`)
  const places = Object.values(l.within ?? {}).flatMap((v) => v ?? [])
  if (places.length) said.push(`only of ${list(places)}`)
  if (l.reduce?.mask?.length) said.push(`${list(l.reduce.mask)} taken out`)
  if (l.reduce?.strip?.length) said.push(`${list(l.reduce.strip.map((s) => (s === 'invisible' ? 'text that people do not see' : s === 'tracking' ? 'what tells a sender that it was read' : s)))} taken out`)
  if (l.reduce?.patterns?.length) said.push(`${count(l.reduce.patterns.length, 'pattern')} more masked`)
  if (l.reduce?.attachments?.length) said.push(`attachments: ${list(l.reduce.attachments)}`)
  return said.length ? `Held back: ${said.join('; ')}.` : 'Nothing is held back.'
}

export const list = (a: string[]) => (a.length < 2 ? (a[0] ?? '') : `${a.slice(0, -1).join(', ')} and ${a[a.length - 1]}`)
export const count = (n: number, one: string, many = one + 's') => `${n.toLocaleString()} ${n === 1 ? one : many}`

const verbs: Record<string, string> = {
  'token.issue': 'got a token', 'token.refuse': 'was refused a token', 'token.revoke': 'revoked a token of',
  'identity.register': 'registered', 'identity.activate': 'activated', 'identity.kill': 'pulled the cord on', 'identity.restore': 'restored',
  'identity.suspend': 'suspended', 'identity.resume': 'resumed', 'identity.retire': 'retired', 'identity.renew': 'renewed', 'identity.change': 'changed',
  'identity.expire': 'noted the end of', 'identity.transfer': 'handed over',
  'credential.add': 'added a credential to', 'credential.revoke': 'revoked a credential of',
  'grant.put': 'gave a grant to', 'grant.revoke': 'took a grant from', 'guardrail.put': 'set the guardrail', 'guardrail.remove': 'removed the guardrail',
  'owner.add': 'added the owner', 'owner.change': 'changed the owner', 'owner.remove': 'removed the owner', 'owner.sign_in': 'signed in', 'owner.sign_out': 'signed out', 'owner.sign_in_code': 'made a sign-in code for', 'owner.transfer': 'handed over what is of',
  'upstream.put': 'put the upstream', 'upstream.add': 'added the upstream', 'upstream.change': 'changed the upstream', 'upstream.kill': 'pulled the cord on the upstream', 'upstream.differ': 'saw another offer of',
  'key.rotate': 'rotated the signing key', 'approval.ask': 'asked for a yes to', 'approval.approve': 'approved', 'approval.deny': 'denied', 'approval.answer': 'answered',
  'approval.use': 'used the yes to', 'approval.agree': 'agreed to', 'approval.notify': 'told people of', 'approval.expire': 'noted the end of',
  'child.register': 'started', 'task.open': 'opened a task for', 'task.close': 'closed a task of',
}

/** did says what an event is, without who did it. */
export function did(e: Leaf): string {
  const { type, class: cls } = e.unmapped
  if (type === 'request') return `${e.api.operation || cls || 'called'} on ${e.api.service.name}`
  if (type === 'token.issue' && e.unmapped.outcome === 'refused') return `asked for a token${e.api.service.name ? ` for ${e.api.service.name}` : ''}`
  const verb = verbs[type] ?? type.replace('.', ': ').replace(/_/g, ' ')
  if (type.startsWith('approval.') && e.api.operation) return `${verb} ${e.api.operation} on ${e.api.service.name}`
  if (type.startsWith('token.') && e.api.service.name) return `${verb} for ${e.api.service.name}`
  const what = e.resources?.[0]?.name
  return what && type !== 'owner.sign_in' ? `${verb} ${short(what)}` : verb
}
export const instant = (e: Leaf) => new Date(e.time).toISOString().replace(/\d{3}Z$/, `${String(e.time % 1000).padStart(3, '0')}${String(e.unmapped.us).padStart(3, '0')}Z`)
